//! Datagrams on their way out, put together where they go the same way: the system takes many of
//! one length to one destination at the price of little more than one (generic segmentation
//! offload). A video frame is such a bundle.

use std::net::{IpAddr, SocketAddr};

use super::allocation::Relay;

/// Most datagrams in a bundle (`UDP_MAX_SEGMENTS` of Linux).
const MOST_DATAGRAMS: usize = 64;
/// Most bytes in a bundle: those of one IP packet, without headers.
const MOST_BYTES: usize = 65_000;
/// Most bundles that are open at once; to find the right one among them is to try each.
const MOST_OPEN: usize = 32;

/// Through which socket, and from which address of it, if that is not clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Listener(u16, IpAddr),
    Relay(Relay),
}

/// Datagrams of one length; only the last may be shorter.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) exit: Exit,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    /// The length of each.
    pub(crate) length: usize,
    pub(crate) datagrams: usize,
    full: bool,
}

/// The bundles of what was read at once.
#[derive(Debug, Default)]
pub(crate) struct Bundles {
    open: Vec<Bundle>,
    /// Buffers that are used again.
    spare: Vec<Vec<u8>>,
}

impl Bundles {
    /// Puts in a datagram that consists of parts; false if the bundles have to go out first.
    pub(crate) fn push(&mut self, exit: Exit, to: SocketAddr, parts: &[&[u8]]) -> bool {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let ours = |bundle: &&mut Bundle| bundle.to == to && bundle.exit == exit;
        // The last one, for datagrams keep their order.
        let bundle = self.open.iter_mut().rev().find(ours);
        let bundle = bundle.filter(|bundle| bundle.takes(length));
        if let Some(bundle) = bundle {
            bundle.add(length, parts);
            return true;
        }
        if self.open.len() >= MOST_OPEN {
            return false;
        }
        let mut bundle = Bundle {
            exit,
            to,
            bytes: self.spare.pop().unwrap_or_default(),
            length,
            datagrams: 0,
            full: false,
        };
        bundle.add(length, parts);
        self.open.push(bundle);
        true
    }

    /// Takes all bundles out, in order; give their buffers back with
    /// [`reuse`](Self::reuse).
    pub(crate) fn take(&mut self) -> Vec<Bundle> {
        std::mem::take(&mut self.open)
    }

    /// Takes back what [`take`](Self::take) gave.
    pub(crate) fn reuse(&mut self, mut bundles: Vec<Bundle>) {
        for mut bundle in bundles.drain(..) {
            bundle.bytes.clear();
            self.spare.push(bundle.bytes);
        }
        self.open = bundles;
    }
}

impl Bundle {
    fn takes(&self, length: usize) -> bool {
        !self.full
            && length <= self.length
            && length > 0
            && self.datagrams < MOST_DATAGRAMS
            && self.bytes.len() + length <= MOST_BYTES
    }

    fn add(&mut self, length: usize, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.datagrams += 1;
        self.full = length < self.length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXIT: Exit = Exit::Listener(0, IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn datagrams_of_one_length_to_one_place_go_together_and_in_order() {
        let mut bundles = Bundles::default();
        let to = |port| SocketAddr::from(([192, 0, 2, 1], port));
        for (port, payload) in [
            (1, "aaa"),
            (2, "bbb"),
            (1, "ccc"),
            (1, "d"),
            (1, "eee"),
            (1, "ffff"),
        ] {
            assert!(bundles.push(EXIT, to(port), &[payload.as_bytes()]));
        }
        let bundles = bundles.take();
        let out: Vec<_> = bundles
            .iter()
            .map(|bundle| {
                (
                    bundle.to.port(),
                    bundle.length,
                    bundle.datagrams,
                    &bundle.bytes[..],
                )
            })
            .collect();
        let expected: [(u16, usize, usize, &[u8]); 4] = [
            (1, 3, 3, b"aaacccd"),
            (2, 3, 1, b"bbb"),
            (1, 3, 1, b"eee"),
            (1, 4, 1, b"ffff"),
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_bundle_is_never_larger_than_the_system_takes() {
        let mut bundles = Bundles::default();
        let to = SocketAddr::from(([192, 0, 2, 1], 1));
        for _ in 0..100 {
            assert!(bundles.push(EXIT, to, &[&[0; 4], &[1; 1200]]));
        }
        for _ in 0..100 {
            assert!(bundles.push(EXIT, to, &[&[0; 4]]));
        }
        for bundle in bundles.take() {
            assert!(bundle.datagrams <= 64 && bundle.bytes.len() <= 65_535);
        }
    }
}
