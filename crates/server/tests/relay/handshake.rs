//! Losses in a handshake.

/// Counts datagrams of a handshake each way, and says which is lost.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    /// Those that come, and those that leave.
    pub(crate) lost: [Option<usize>; 2],
    seen: [usize; 2],
}

impl Handshake {
    /// Tells whether a datagram that goes this way, 0 or 1, is lost.
    pub(crate) fn loses(&mut self, way: usize, datagram: &[u8]) -> bool {
        // RFC 7983 section 7.
        if !matches!(datagram, [20..=63, ..]) {
            return false;
        }
        self.seen[way] += 1;
        self.lost[way] == Some(self.seen[way])
    }
}
