//! The limits both sides keep. A message beyond one of them is refused, never cut.

use std::time::Duration;

/// The version of the signalling protocol spoken here.
pub const PROTOCOL_VERSION: u32 = 1;
/// Longest room name, in characters.
pub const MAX_ROOM_NAME: usize = 64;
/// Longest name of a person, in characters.
pub const MAX_PERSON_NAME: usize = 64;
/// Longest signalling message, in bytes of JSON text. An SDP with candidates takes about 8 kB.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Longest sealed payload, in characters of base64url.
pub const MAX_SEALED: usize = 48 * 1024;
/// Most participants in one room.
pub const MAX_PARTICIPANTS: usize = 200;
/// Largest call that stays a mesh, unless the room says otherwise.
pub const MESH_LIMIT: usize = 5;
/// How long the server keeps the seat of a participant whose connection broke.
pub const RESUME_WINDOW: Duration = Duration::from_secs(60);
