//! What DTLS sent last, to be sent again until it is answered.
//!
//! webrtc-rs repeats a flight after a second. If the other side's timer is faster and repeats its own, it
//! takes that in, forgets its timer and waits for ever: the loss of one datagram would end in a
//! connection that is never made. So the flight is repeated below it, byte for byte and sooner. Whoever
//! has it already drops it as a replay (RFC 6347 section 4.1.2.6).
//!
//! Pure: time is an argument.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// How long an answer may take at first; then twice as long each time, at most.
const FIRST: Duration = Duration::from_millis(300);
const SLOWEST: Duration = Duration::from_secs(2);
/// How long a handshake may take at all.
const LONGEST: Duration = Duration::from_secs(15);
/// Datagrams that leave one after the other within this time are of one flight.
const ONE_FLIGHT: Duration = Duration::from_millis(50);
/// Most datagrams of a flight.
const MOST: usize = 8;
/// Content types (RFC 6347 section 4.1), and the type of a handshake message that begins one.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Where the type of a handshake message stands in a datagram.
const MESSAGE_TYPE: usize = 13;

/// The last flight.
#[derive(Debug, Default)]
pub(super) struct Flight {
    datagrams: Vec<Bytes>,
    began: Option<Instant>,
    left: Option<Instant>,
    due: Option<(Instant, Duration)>,
    /// Whether something was answered since: what leaves next is another flight.
    answered: bool,
    /// Whether we began the handshake.
    client: bool,
    over: bool,
}

impl Flight {
    /// Takes in a datagram that leaves. Returns whether it is the first of a handshake.
    pub(super) fn handle_sent(&mut self, datagram: &[u8], now: Instant) -> bool {
        if self.over || !is_handshake(datagram) {
            return false;
        }
        let first = self.began.is_none();
        if first {
            self.began = Some(now);
            self.client = datagram.get(MESSAGE_TYPE) == Some(&CLIENT_HELLO);
        }
        let before = self.left.replace(now);
        let apart = before.is_none_or(|at| now.saturating_duration_since(at) > ONE_FLIGHT);
        if std::mem::take(&mut self.answered) || apart {
            self.datagrams.clear();
        }
        if self.datagrams.len() < MOST {
            self.datagrams.push(Bytes::copy_from_slice(datagram));
        }
        self.due = Some((now + FIRST, FIRST));
        first
    }

    /// Takes in a datagram that came.
    pub(super) fn handle_received(&mut self, datagram: &[u8]) {
        match datagram {
            // The server's last flight.
            [CHANGE_CIPHER_SPEC, ..] if self.client => self.end(),
            _ if is_handshake(datagram) => self.answered = true,
            // Protected media.
            [128..=191, ..] => self.end(),
            _ => {}
        }
    }

    /// Returns what is to be sent again now; `None` once the handshake is over.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Vec<Bytes>> {
        if (self.began).is_some_and(|at| now.saturating_duration_since(at) >= LONGEST) {
            self.end();
        }
        if self.over {
            return None;
        }
        let Some((_, waited)) = self.due.filter(|(due, _)| *due <= now) else {
            return Some(Vec::new());
        };
        let wait = (2 * waited).min(SLOWEST);
        self.due = Some((now + wait, wait));
        Some(self.datagrams.clone())
    }

    fn end(&mut self) {
        self.over = true;
        self.datagrams = Vec::new();
    }
}

/// Tells whether a datagram is part of a handshake.
pub(super) fn is_handshake(datagram: &[u8]) -> bool {
    matches!(datagram, [CHANGE_CIPHER_SPEC | HANDSHAKE, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn handshake(message: u8) -> [u8; 14] {
        let mut datagram = [0; 14];
        datagram[0] = HANDSHAKE;
        datagram[MESSAGE_TYPE] = message;
        datagram
    }

    #[test]
    fn a_flight_is_repeated_until_something_else_leaves_and_ends_with_the_servers_last() {
        let now = clock::now();
        let mut flight = Flight::default();
        assert!(flight.handle_sent(&handshake(CLIENT_HELLO), now));
        assert_eq!(flight.poll(now), Some(Vec::new()));
        let first = now + FIRST;
        assert_eq!(flight.poll(first).map(|again| again.len()), Some(1));
        assert_eq!(flight.poll(first + FIRST), Some(Vec::new()));
        let second = first + 2 * FIRST;
        assert_eq!(flight.poll(second).map(|again| again.len()), Some(1));
        // An answer, and what follows from it.
        flight.handle_received(&handshake(2));
        assert!(!flight.handle_sent(&handshake(11), second));
        flight.handle_sent(&handshake(16), second);
        let third = second + FIRST;
        let again = flight.poll(third).expect("it goes on");
        assert_eq!(again, [&handshake(11)[..], &handshake(16)]);
        // The other side repeats itself: ours was lost, and is repeated all the same.
        flight.handle_received(&handshake(2));
        let again = flight.poll(third + 2 * FIRST).expect("it goes on");
        assert_eq!(again.len(), 2);
        flight.handle_received(&[CHANGE_CIPHER_SPEC, 254, 253]);
        assert_eq!(flight.poll(third + SLOWEST), None);
    }

    #[test]
    fn what_webrtc_repeats_by_itself_takes_the_place_of_what_it_sent() {
        let now = clock::now();
        let mut flight = Flight::default();
        flight.handle_sent(&handshake(CLIENT_HELLO), now);
        let later = now + Duration::from_secs(1);
        flight.handle_sent(&handshake(CLIENT_HELLO), later);
        assert_eq!(flight.poll(later + FIRST).map(|again| again.len()), Some(1));
    }

    #[test]
    fn a_server_repeats_its_last_flight_until_media_comes_or_for_a_while() {
        let now = clock::now();
        for media in [true, false] {
            let mut flight = Flight::default();
            flight.handle_received(&handshake(CLIENT_HELLO));
            flight.handle_sent(&handshake(2), now);
            flight.handle_received(&[CHANGE_CIPHER_SPEC, 254, 253]);
            flight.handle_sent(&[CHANGE_CIPHER_SPEC, 254, 253], now);
            let again = flight.poll(now + FIRST).expect("it goes on");
            assert_eq!(again, [&[CHANGE_CIPHER_SPEC, 254, 253][..]]);
            if media {
                flight.handle_received(&[128, 111]);
                assert_eq!(flight.poll(now + FIRST), None);
            }
            assert_eq!(flight.poll(now + LONGEST), None);
            // A farewell is none of it.
            assert!(!flight.handle_sent(&[21, 254, 253], now + LONGEST));
        }
    }
}
