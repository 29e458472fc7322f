//! Nothing opens but what was sealed, and that once, however envelopes are mangled.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nonstop_seal::{MeetingKeys, SealedChannel};
use nonstop_wire::{LinkSecret, ParticipantId, PeerMessage};

fuzz_target!(|input: (&str, u8, usize, u8)| {
    let (text, kind, position, change) = input;
    let room = "standup".parse().expect("a room name");
    let keys = MeetingKeys::derive(&LinkSecret::from_bytes([7; 16]), &room);
    let (ann, bob) = (ParticipantId::from_bits(1), ParticipantId::from_bits(2));
    let mut sender = SealedChannel::new(&keys, ann, bob);
    let mut receiver = SealedChannel::new(&keys, bob, ann);

    assert!(receiver.open(text).is_err());
    let sealed = sender.seal(&PeerMessage::Bye, [change; 24]);
    let mut mangled = sealed.clone().into_bytes();
    let position = position % mangled.len();
    match kind % 3 {
        0 => mangled[position] = change,
        1 => mangled.truncate(position),
        _ => mangled.insert(position, change),
    }
    if let Ok(mangled) = str::from_utf8(&mangled)
        && mangled != sealed
    {
        assert!(receiver.open(mangled).is_err());
    }
    assert_eq!(receiver.open(&sealed), Ok(PeerMessage::Bye));
    assert!(receiver.open(&sealed).is_err());
});
