//! The part of STUN (RFC 8489) that ICE and the discovery of reflexive addresses need.
//!
//! Messages are read here and not by the crate `stun-types`, which gives the arithmetic
//! (MESSAGE-INTEGRITY and FINGERPRINT): its reader logs a warning for every malformed packet, and
//! whoever can reach the socket can send those.

use std::net::SocketAddr;

mod message;

pub(crate) use message::{Class, Message, Role, Writer, key_of};

/// The number of a transaction: 96 bits.
pub type Transaction = [u8; 12];

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Returns whether a packet is STUN: its first byte (RFC 7983 section 7) and the magic cookie.
pub fn is_stun(packet: &[u8]) -> bool {
    packet.len() >= 20 && packet[0] < 4 && packet[4..8] == MAGIC
}

/// Returns the number of the transaction that a STUN packet belongs to.
pub fn transaction_of(packet: &[u8]) -> Option<Transaction> {
    if !is_stun(packet) {
        return None;
    }
    packet[8..20].try_into().ok()
}

/// Returns the user name of a binding request: what its receiver calls itself, a colon, and what
/// its sender calls itself (RFC 8445 section 7.2.2).
pub fn username_of(packet: &[u8]) -> Option<&str> {
    let message = Message::read(packet)?;
    (message.class == Class::Request)
        .then_some(message.username)
        .flatten()
}

/// Returns a binding request without credentials, to ask a server for our address (RFC 8489
/// section 2).
pub fn binding_request(transaction: Transaction) -> Vec<u8> {
    Writer::new(Class::Request, transaction).finish_plain()
}

/// Returns the address that a success response to a binding request tells.
pub fn mapped_address(response: &[u8]) -> Option<SocketAddr> {
    let message = Message::read(response)?;
    (message.class == Class::Success)
        .then_some(message.mapped)
        .flatten()
}

/// Makes the number of a transaction from 128 random bits.
pub(crate) fn transaction(random: u128) -> Transaction {
    let mut transaction = [0; 12];
    transaction.copy_from_slice(&random.to_be_bytes()[4..]);
    transaction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_tells_our_address() {
        let request = binding_request([3; 12]);
        assert_eq!(request.len(), 20);
        assert_eq!(transaction_of(&request), Some([3; 12]));
        let address = "203.0.113.7:4000".parse().unwrap();
        let response = Writer::new(Class::Success, [3; 12])
            .mapped(address)
            .finish_plain();
        assert_eq!(mapped_address(&response), Some(address));
        assert_eq!(mapped_address(&request), None);
    }

    #[test]
    fn media_is_not_stun() {
        let mut rtp = [0; 40];
        rtp[0] = 0x80;
        assert!(!is_stun(&rtp));
        assert!(!is_stun(&binding_request([0; 12])[..19]));
    }
}
