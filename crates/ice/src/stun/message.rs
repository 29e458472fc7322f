//! Reading and writing of binding messages.

use std::net::{IpAddr, SocketAddr};

use stun_types::{
    attribute::{Fingerprint, MessageIntegrity},
    message::{IntegrityKey, ShortTermCredentials},
};

use super::{MAGIC, Transaction};

/// No longer message is read: ours have less than 200 bytes, and a user name at most 513.
const LONGEST: usize = 1500;
const HEADER: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

mod attribute {
    pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(super) const REALM: u16 = 0x0014;
    pub(super) const NONCE: u16 = 0x0015;
    pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802a;
    /// draft-thatcher-ice-renomination-01 section 4.
    pub(super) const NOMINATION: u16 = 0xc001;
    /// Ours: how the sender reaches the relay through which it sends. Others ignore it (RFC 8489
    /// section 14), and it is on no list yet.
    pub(super) const RELAYED: u16 = 0xc7e1;
}

/// What a binding message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Success,
    Error,
}

/// Which role the sender of a request has, with its tie breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Controlling(u64),
    Controlled(u64),
}

/// A binding message that was read. What follows MESSAGE-INTEGRITY is left out, as RFC 8489
/// section 14.5 wants it, and FINGERPRINT is right where there is one.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    packet: &'a [u8],
    integrity: Option<usize>,
    pub(crate) class: Class,
    pub(crate) transaction: Transaction,
    pub(crate) username: Option<&'a str>,
    pub(crate) priority: Option<u32>,
    pub(crate) use_candidate: bool,
    pub(crate) nomination: Option<u32>,
    pub(crate) relayed: Option<u8>,
    pub(crate) role: Option<Role>,
    pub(crate) error_code: Option<u16>,
    pub(crate) mapped: Option<SocketAddr>,
    /// Attributes that must be understood and are not, at most eight.
    pub(crate) unknown: Vec<u16>,
}

impl<'a> Message<'a> {
    /// Reads a binding request or response; `None` for anything else.
    pub(crate) fn read(packet: &'a [u8]) -> Option<Self> {
        if !super::is_stun(packet) || packet.len() > LONGEST {
            return None;
        }
        let class = match u16::from_be_bytes([packet[0], packet[1]]) {
            BINDING_REQUEST => Class::Request,
            BINDING_SUCCESS => Class::Success,
            BINDING_ERROR => Class::Error,
            _ => return None,
        };
        let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        if length + HEADER != packet.len() || !length.is_multiple_of(4) {
            return None;
        }
        let mut message = Self {
            packet,
            integrity: None,
            class,
            transaction: packet[8..HEADER].try_into().ok()?,
            username: None,
            priority: None,
            use_candidate: false,
            nomination: None,
            relayed: None,
            role: None,
            error_code: None,
            mapped: None,
            unknown: Vec::new(),
        };
        let mut at = HEADER;
        while at < packet.len() {
            let head = packet.get(at..at + 4)?;
            let kind = u16::from_be_bytes([head[0], head[1]]);
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let value = packet.get(at + 4..at + 4 + length)?;
            match (kind, message.integrity) {
                (attribute::FINGERPRINT, _) => {
                    // The last one, over everything before it.
                    let last = at + 8 == packet.len();
                    if !last || value != fingerprint(&packet[..at]) {
                        return None;
                    }
                }
                (attribute::MESSAGE_INTEGRITY, None) if length == 20 => {
                    message.integrity = Some(at);
                }
                (attribute::MESSAGE_INTEGRITY, _) => return None,
                (_, Some(_)) => {}
                (kind, None) => message.take(kind, value)?,
            }
            at += 4 + length.next_multiple_of(4);
        }
        Some(message)
    }

    fn take(&mut self, kind: u16, value: &'a [u8]) -> Option<()> {
        let long = |value: &[u8]| Some(u64::from_be_bytes(value.try_into().ok()?));
        let word = |value: &[u8]| Some(u32::from_be_bytes(value.try_into().ok()?));
        match kind {
            attribute::USERNAME => self.username = Some(std::str::from_utf8(value).ok()?),
            attribute::PRIORITY => self.priority = Some(word(value)?),
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::NOMINATION => self.nomination = Some(word(value)?),
            attribute::RELAYED => self.relayed = value.first().copied(),
            attribute::ICE_CONTROLLING => self.role = Some(Role::Controlling(long(value)?)),
            attribute::ICE_CONTROLLED => self.role = Some(Role::Controlled(long(value)?)),
            attribute::ERROR_CODE => {
                let code = value.get(2..4)?;
                self.error_code = Some(u16::from(code[0] & 7) * 100 + u16::from(code[1]));
            }
            attribute::XOR_MAPPED_ADDRESS => {
                self.mapped = Some(read_address(value, Some(&self.transaction))?);
            }
            attribute::MAPPED_ADDRESS if self.mapped.is_none() => {
                self.mapped = Some(read_address(value, None)?);
            }
            attribute::MAPPED_ADDRESS
            | attribute::UNKNOWN_ATTRIBUTES
            | attribute::REALM
            | attribute::NONCE
            | attribute::MESSAGE_INTEGRITY_SHA256 => {}
            0..0x8000 if self.unknown.len() < 8 => self.unknown.push(kind),
            _ => {}
        }
        Some(())
    }

    /// Returns whether MESSAGE-INTEGRITY is there and was made with this key.
    pub(crate) fn is_authentic(&self, key: &IntegrityKey) -> bool {
        let Some(at) = self.integrity else {
            return false;
        };
        let Ok(expected) = <&[u8; 20]>::try_from(&self.packet[at + 4..at + 24]) else {
            return false;
        };
        let head = header_until(self.packet, at + 24);
        MessageIntegrity::verify(&[&head, &self.packet[4..at]], key, expected)
    }
}

/// The first four bytes of the header of a message that would end at `end`.
fn header_until(packet: &[u8], end: usize) -> [u8; 4] {
    let length = u16::try_from(end - HEADER).expect("messages are shorter than LONGEST");
    let length = length.to_be_bytes();
    [packet[0], packet[1], length[0], length[1]]
}

/// The checksum that tells STUN from other packets (RFC 8489 section 14.7).
fn fingerprint(covered: &[u8]) -> [u8; 4] {
    let mut code = Fingerprint::compute(&[covered]);
    for (byte, mask) in code.iter_mut().zip(*b"STUN") {
        *byte ^= mask;
    }
    code
}

/// Makes the key of a password (RFC 8489 section 9.1.1).
pub(crate) fn key_of(password: &str) -> IntegrityKey {
    ShortTermCredentials::new(password.to_owned()).make_key()
}

fn read_address(value: &[u8], xored_for: Option<&Transaction>) -> Option<SocketAddr> {
    let mut mask = [0; 16];
    if let Some(transaction) = xored_for {
        mask[..4].copy_from_slice(&MAGIC);
        mask[4..].copy_from_slice(transaction);
    }
    let port = u16::from_be_bytes([value.get(2)? ^ mask[0], value.get(3)? ^ mask[1]]);
    let unmasked = |bytes: &mut [u8]| {
        for (byte, mask) in bytes.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    };
    let ip: IpAddr = match (value.get(1)?, value.len()) {
        (1, 8) => {
            let mut bytes: [u8; 4] = value[4..].try_into().ok()?;
            unmasked(&mut bytes);
            bytes.into()
        }
        (2, 20) => {
            let mut bytes: [u8; 16] = value[4..].try_into().ok()?;
            unmasked(&mut bytes);
            bytes.into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// A message that is being written.
pub(crate) struct Writer {
    packet: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(class: Class, transaction: Transaction) -> Self {
        let kind = match class {
            Class::Request => BINDING_REQUEST,
            Class::Success => BINDING_SUCCESS,
            Class::Error => BINDING_ERROR,
        };
        let mut packet = Vec::with_capacity(160);
        packet.extend(kind.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(MAGIC);
        packet.extend(transaction);
        Self { packet }
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).expect("attributes of ours are short");
        self.packet.extend(kind.to_be_bytes());
        self.packet.extend(length.to_be_bytes());
        self.packet.extend(value);
        let padded = self.packet.len().next_multiple_of(4);
        self.packet.resize(padded, 0);
        self
    }

    pub(crate) fn username(self, ours: &str, theirs: &str) -> Self {
        // What the receiver calls its own comes first (RFC 8445 section 7.2.2).
        self.attribute(attribute::USERNAME, format!("{theirs}:{ours}").as_bytes())
    }

    pub(crate) fn priority(self, priority: u32) -> Self {
        self.attribute(attribute::PRIORITY, &priority.to_be_bytes())
    }

    pub(crate) fn role(self, role: Role) -> Self {
        match role {
            Role::Controlling(tie) => {
                self.attribute(attribute::ICE_CONTROLLING, &tie.to_be_bytes())
            }
            Role::Controlled(tie) => self.attribute(attribute::ICE_CONTROLLED, &tie.to_be_bytes()),
        }
    }

    pub(crate) fn use_candidate(self) -> Self {
        self.attribute(attribute::USE_CANDIDATE, &[])
    }

    pub(crate) fn nomination(self, number: u32) -> Self {
        self.attribute(attribute::NOMINATION, &number.to_be_bytes())
    }

    pub(crate) fn relayed(self, protocol: u8) -> Self {
        self.attribute(attribute::RELAYED, &[protocol, 0, 0, 0])
    }

    pub(crate) fn mapped(self, address: SocketAddr) -> Self {
        let mut mask = [0; 16];
        mask[..4].copy_from_slice(&MAGIC);
        mask[4..].copy_from_slice(&self.packet[8..HEADER]);
        let family = if address.is_ipv4() { 1 } else { 2 };
        let port = address.port().to_be_bytes();
        let mut value = vec![0, family, port[0] ^ mask[0], port[1] ^ mask[1]];
        match address.ip() {
            IpAddr::V4(ip) => value.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
            IpAddr::V6(ip) => value.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
        }
        self.attribute(attribute::XOR_MAPPED_ADDRESS, &value)
    }

    pub(crate) fn error(self, code: u16, reason: &str) -> Self {
        let (class, number) = (code / 100, code % 100);
        let mut value = vec![0, 0, class as u8, number as u8];
        value.extend(reason.as_bytes());
        self.attribute(attribute::ERROR_CODE, &value)
    }

    pub(crate) fn unknown(self, kinds: &[u16]) -> Self {
        let value: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.attribute(attribute::UNKNOWN_ATTRIBUTES, &value)
    }

    /// Adds MESSAGE-INTEGRITY, made with `key`.
    pub(crate) fn signed(self, key: &IntegrityKey) -> Self {
        let end = self.packet.len();
        let head = header_until(&self.packet, end + 24);
        let code = MessageIntegrity::compute(&[&head, &self.packet[4..end]], key)
            .expect("a key of a password serves any algorithm");
        self.attribute(attribute::MESSAGE_INTEGRITY, &code)
    }

    /// Adds FINGERPRINT and returns the message.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let head = header_until(&self.packet, self.packet.len() + 8);
        self.packet[..4].copy_from_slice(&head);
        let code = fingerprint(&self.packet);
        self.attribute(attribute::FINGERPRINT, &code).packet
    }

    /// Returns the message without FINGERPRINT.
    pub(crate) fn finish_plain(mut self) -> Vec<u8> {
        let head = header_until(&self.packet, self.packet.len());
        self.packet[..4].copy_from_slice(&head);
        self.packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample request of RFC 5769 section 2.1.
    const SAMPLE_REQUEST: [u8; 108] = [
        0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6,
        0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74,
        0x65, 0x73, 0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e,
        0x00, 0x01, 0xff, 0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36,
        0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20,
        0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e,
        0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5,
        0x7a, 0x3b, 0xcf,
    ];
    const SAMPLE_PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    #[test]
    fn the_sample_request_of_the_rfc_is_read_and_proved() {
        let message = Message::read(&SAMPLE_REQUEST).unwrap();
        assert_eq!(message.class, Class::Request);
        assert_eq!(message.username, Some("evtj:h6vY"));
        assert_eq!(message.priority, Some(0x6e00_01ff));
        assert_eq!(message.role, Some(Role::Controlled(0x932f_f9b1_5126_3b36)));
        assert!(message.is_authentic(&key_of(SAMPLE_PASSWORD)));
        assert!(!message.is_authentic(&key_of("VOkJxbRl1RmTxUk/WvJxBu")));
    }

    #[test]
    fn a_changed_byte_is_noticed_everywhere() {
        // But for the kind of FINGERPRINT, without which a message is as good.
        for at in (0..100).chain(102..108) {
            let mut packet = SAMPLE_REQUEST;
            packet[at] ^= 1;
            assert!(
                Message::read(&packet)
                    .is_none_or(|message| !message.is_authentic(&key_of(SAMPLE_PASSWORD))),
                "byte {at}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let key = key_of("0123456789012345678901");
        for address in ["192.0.2.1:32853", "[2001:db8::11]:32853"] {
            let packet = Writer::new(Class::Success, [7; 12])
                .mapped(address.parse().unwrap())
                .signed(&key)
                .finish();
            let message = Message::read(&packet).unwrap();
            assert_eq!(message.mapped, Some(address.parse().unwrap()));
            assert_eq!(message.transaction, [7; 12]);
            assert!(message.is_authentic(&key));
        }
        let packet = Writer::new(Class::Request, [1; 12])
            .username("ours", "theirs")
            .priority(5)
            .role(Role::Controlling(9))
            .use_candidate()
            .nomination(3)
            .relayed(2)
            .signed(&key)
            .finish();
        let message = Message::read(&packet).unwrap();
        assert_eq!(message.username, Some("theirs:ours"));
        assert_eq!(message.role, Some(Role::Controlling(9)));
        assert!(message.use_candidate);
        assert_eq!((message.nomination, message.relayed), (Some(3), Some(2)));
        let packet = Writer::new(Class::Error, [1; 12])
            .error(487, "Role Conflict")
            .signed(&key)
            .finish();
        assert_eq!(Message::read(&packet).unwrap().error_code, Some(487));
    }
}
