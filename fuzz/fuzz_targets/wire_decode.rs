//! Whatever arrives is a message within its limits or an error; what is decoded, encoded and
//! decoded again is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nonstop_wire::{BesideMessage, ClientMessage, PeerMessage, ServerMessage};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = PeerMessage::decode(bytes)
        && message != PeerMessage::Unknown
        && let Ok(again) = PeerMessage::decode(message.encode().as_bytes())
    {
        assert_eq!(again, message);
    }
    if let Ok(message) = BesideMessage::decode(bytes) {
        assert_eq!(BesideMessage::decode(message.encode().as_bytes()), Ok(message));
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    if let Ok(message) = ClientMessage::decode(text)
        && message != ClientMessage::Unknown
    {
        assert_eq!(ClientMessage::decode(&message.encode()), Ok(message));
    }
    // Encoding may be longer than what was decoded (escapes), so a second decoding may refuse it.
    if let Ok(message) = ServerMessage::decode(text)
        && message != ServerMessage::Unknown
        && let Ok(again) = ServerMessage::decode(&message.encode())
    {
        assert_eq!(again, message);
    }
});
