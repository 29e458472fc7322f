//! The limits both sides keep. What is beyond one of them is refused, never cut.

use std::time::Duration;

/// The version of the signalling protocol spoken here.
pub const PROTOCOL_VERSION: u32 = 1;
/// Longest meeting link, in bytes: the longest host name and room leave room to spare.
pub const MAX_LINK: usize = 512;
/// Longest host name, in characters (RFC 1035, section 2.3.4).
pub const MAX_HOST_NAME: usize = 253;
/// Longest room name, in characters.
pub const MAX_ROOM_NAME: usize = 64;
/// Longest name of a person, in characters.
pub const MAX_PERSON_NAME: usize = 64;
/// Longest signalling message, in bytes of JSON text. An SDP with candidates takes about 8 kB.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Longest sealed payload, in characters of base64url.
pub const MAX_SEALED: usize = 48 * 1024;
/// Longest message from participant to participant, in bytes of JSON text before sealing:
/// what fits into [`MAX_SEALED`] beside the 49 bytes that an envelope adds.
pub const MAX_PEER_MESSAGE: usize = MAX_SEALED / 4 * 3 - 49;
/// The version of the messages over the data channel spoken here.
pub const BESIDE_VERSION: u32 = 1;
/// Longest message over the data channel, in bytes of JSON text: an envelope with the longest
/// [`MAX_SEALED`]. WebRTC carries 65,536 where nothing else is negotiated (RFC 8841, section 6.1).
pub const MAX_BESIDE: usize = MAX_SEALED + 256;
/// Longest side of a picture that somebody may say to show, in pixels.
pub const MAX_SIDE: usize = 32_768;
/// Longest session description, in bytes; its line ends grow when written as JSON.
pub const MAX_SDP: usize = 32 * 1024;
/// Longest ICE candidate line, in bytes.
pub const MAX_CANDIDATE: usize = 1024;
/// Longest media section identification or ICE user name fragment, in bytes
/// (RFC 8839, section 5.4: 256 characters).
pub const MAX_ICE_FIELD: usize = 256;
/// Most STUN and TURN servers a participant is told of, and most addresses of each.
pub const MAX_ICE_SERVERS: usize = 16;
/// Longest address, user name or credential of a STUN or TURN server, in bytes.
pub const MAX_ICE_SERVER_FIELD: usize = 512;
/// Longest explanation of a refusal, in bytes.
pub const MAX_EXPLANATION: usize = 512;
/// Most participants in one room.
pub const MAX_PARTICIPANTS: usize = 200;
/// Most layers of a participant's pictures.
pub const MAX_LAYERS: usize = 3;
/// Most addresses of a relay that a participant is told of.
pub const MAX_RELAY_ADDRESSES: usize = 16;
/// Most recent speakers that a participant is told of.
pub const MAX_SPEAKERS: usize = 8;
/// Largest call that stays a mesh, unless the room says otherwise.
pub const MESH_LIMIT: usize = 5;
/// How long the server keeps the seat of a participant whose connection broke.
pub const RESUME_WINDOW: Duration = Duration::from_secs(60);
