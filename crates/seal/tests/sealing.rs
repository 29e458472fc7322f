//! What opens, what does not, and the vectors that `docs/protocol.md` gives to implementers.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nonstop_seal::{MeetingKeys, OpenError, SealedChannel};
use nonstop_wire::{LinkSecret, ParticipantId, ParticipantState, PeerMessage};

const ANN: ParticipantId = ParticipantId::from_bits(0x0123_4567_89ab_cdef);
const BOB: ParticipantId = ParticipantId::from_bits(0xfedc_ba98_7654_3210);
const EVE: ParticipantId = ParticipantId::from_bits(0xe4e);

/// Made with another implementation: HKDF of Python's `cryptography`, the cipher of libsodium.
const ADMISSION: &str = "DgDSWbrDi9UiG-wqx5l3pMtkYzBi7jwpEvEZfzI9ZXw";
const ENVELOPE: &str =
    "AQAAAAAAAAABQEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXlQAQKpKRzUBmHELPNO-c2Df9shpYmlYkCnZ7rZDm";

#[test]
fn another_implementation_agrees() {
    let keys = keys_of("standup");
    assert_eq!(keys.admission().reveal(), ADMISSION);

    let nonce: Vec<u8> = (0x40..0x58).collect();
    let mut ann = SealedChannel::new(&keys, ANN, BOB);
    assert_eq!(
        ann.seal(&PeerMessage::Bye, nonce.try_into().unwrap()),
        ENVELOPE
    );
    let mut bob = SealedChannel::new(&keys, BOB, ANN);
    assert_eq!(bob.open(ENVELOPE), Ok(PeerMessage::Bye));
}

#[test]
fn messages_open_at_the_other_end_in_any_order() {
    let (mut ann, mut bob) = pair();
    let sealed: Vec<_> = (0..1024)
        .map(|i| (state(i), ann.seal(&state(i), nonce(i))))
        .collect();
    for (message, envelope) in sealed.into_iter().rev() {
        assert_eq!(bob.open(&envelope), Ok(message));
    }
    let reply = bob.seal(&state(7), nonce(7));
    assert_eq!(ann.open(&reply), Ok(state(7)));
}

#[test]
fn a_message_opens_once() {
    let (mut ann, mut bob) = pair();
    let first = ann.seal(&state(1), nonce(1));
    let second = ann.seal(&state(2), nonce(2));
    assert_eq!(bob.open(&second), Ok(state(2)));
    assert_eq!(bob.open(&second), Err(OpenError::Replayed));
    assert_eq!(bob.open(&first), Ok(state(1)));
    assert_eq!(bob.open(&first), Err(OpenError::Replayed));
}

#[test]
fn what_is_too_old_to_tell_counts_as_replayed() {
    let (mut ann, mut bob) = pair();
    let sealed: Vec<_> = (0..1025).map(|i| ann.seal(&state(i), nonce(i))).collect();
    assert_eq!(bob.open(&sealed[1024]), Ok(state(1024)));
    assert_eq!(bob.open(&sealed[0]), Err(OpenError::Replayed));
    assert_eq!(bob.open(&sealed[1]), Ok(state(1)));
}

#[test]
fn only_the_receiver_opens_and_only_as_from_the_sender() {
    let keys = keys_of("standup");
    let sealed = SealedChannel::new(&keys, ANN, BOB).seal(&state(1), nonce(1));
    for (me, peer) in [(ANN, BOB), (BOB, EVE), (EVE, ANN), (BOB, BOB)] {
        let opened = SealedChannel::new(&keys, me, peer).open(&sealed);
        assert_eq!(opened, Err(OpenError::Forged), "{me} from {peer}");
    }
    let elsewhere = SealedChannel::new(&keys_of("review"), BOB, ANN).open(&sealed);
    assert_eq!(elsewhere, Err(OpenError::Forged));
    let stranger = MeetingKeys::derive(
        &LinkSecret::from_bytes([9; 16]),
        &"standup".parse().unwrap(),
    );
    let opened = SealedChannel::new(&stranger, BOB, ANN).open(&sealed);
    assert_eq!(opened, Err(OpenError::Forged));
}

#[test]
fn a_changed_envelope_is_refused_and_does_not_move_the_window() {
    let (mut ann, mut bob) = pair();
    let sealed = ann.seal(&state(1), nonce(1));
    let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 0x80;
        let expected = if position == 0 {
            OpenError::Malformed
        } else {
            OpenError::Forged
        };
        assert_eq!(
            bob.open(&URL_SAFE_NO_PAD.encode(changed)),
            Err(expected),
            "byte {position}"
        );
    }
    // One of the changes raised the counter to far beyond the window.
    assert_eq!(bob.open(&sealed), Ok(state(1)));
}

#[test]
fn what_is_no_envelope_is_malformed() {
    let (mut ann, mut bob) = pair();
    let sealed = ann.seal(&state(1), nonce(1));
    let long = "A".repeat(nonstop_wire::MAX_SEALED + 4);
    for bad in [
        "",
        "AQ",
        "not base64 at all",
        &sealed[..40],
        &format!("{sealed}="),
        &long,
    ] {
        assert_eq!(bob.open(bad), Err(OpenError::Malformed), "{bad}");
    }
    assert_eq!(bob.open(&sealed[..44]), Err(OpenError::Forged));
}

#[test]
fn keys_and_channels_do_not_show_themselves() {
    let keys = keys_of("standup");
    let shown = format!("{keys:?} {:?}", SealedChannel::new(&keys, ANN, BOB));
    assert!(
        shown.starts_with("MeetingKeys(…) SealedChannel { me: 0123456789abcdef"),
        "{shown}"
    );
    assert!(!shown.contains("key") && !shown.contains('['), "{shown}");
}

fn keys_of(room: &str) -> MeetingKeys {
    let secret: Vec<u8> = (0..16).collect();
    MeetingKeys::derive(
        &LinkSecret::from_bytes(secret.try_into().unwrap()),
        &room.parse().unwrap(),
    )
}

fn pair() -> (SealedChannel, SealedChannel) {
    let keys = keys_of("standup");
    (
        SealedChannel::new(&keys, ANN, BOB),
        SealedChannel::new(&keys, BOB, ANN),
    )
}

fn nonce(number: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce
}

fn state(number: u64) -> PeerMessage {
    PeerMessage::State(ParticipantState {
        name: format!("Ann {number}"),
        microphone: true,
        camera: true,
        knows: Vec::new(),
        relay: false,
    })
}
