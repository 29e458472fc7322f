//! STUN messages as this server takes and gives them, on the codecs of `stun-types` and
//! `turn-types`, and `ChannelData`, which is read and written here.

use std::net::{IpAddr, SocketAddr};

use stun_types::{
    attribute::{
        Attribute, AttributeFromRaw, AttributeStaticType, AttributeType, AttributeWrite, ErrorCode,
        Fingerprint, MessageIntegrity, Nonce, Realm, UnknownAttributes, Username,
    },
    message::{
        IntegrityAlgorithm, IntegrityKey, MAGIC_COOKIE, Message, MessageWrite, MessageWriteExt,
        MessageWriteVec,
    },
};
use turn_types::attribute::{
    ChannelNumber, Data, EvenPort, Lifetime, RequestedAddressFamily, RequestedTransport,
    ReservationToken, XorPeerAddress,
};

/// Bytes before the attributes of a message.
pub(crate) const HEADER: usize = 20;
/// Bytes before the payload of `ChannelData`.
pub(crate) const CHANNEL_HEADER: usize = 4;
/// The first and last channel number: those of RFC 5766, of which RFC 8656 section 12 uses a
/// quarter. Older clients use the rest.
pub(crate) const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x7ffe;

/// The attributes that have to be understood, and are.
const KNOWN: [AttributeType; 12] = [
    Username::TYPE,
    Realm::TYPE,
    Nonce::TYPE,
    MessageIntegrity::TYPE,
    ChannelNumber::TYPE,
    Lifetime::TYPE,
    XorPeerAddress::TYPE,
    Data::TYPE,
    RequestedTransport::TYPE,
    RequestedAddressFamily::TYPE,
    EvenPort::TYPE,
    ReservationToken::TYPE,
];

/// Why a request is refused: a code of RFC 8489 section 14.8 or RFC 8656 section 19.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    Code(u16),
    /// It has attributes that it must not be answered without understanding.
    Unknown(Vec<AttributeType>),
}

impl Refusal {
    pub(crate) const BAD_REQUEST: Self = Self::Code(ErrorCode::BAD_REQUEST);
    pub(crate) const UNAUTHORIZED: Self = Self::Code(ErrorCode::UNAUTHORIZED);
    pub(crate) const FORBIDDEN: Self = Self::Code(ErrorCode::FORBIDDEN);
    pub(crate) const MISMATCH: Self = Self::Code(ErrorCode::ALLOCATION_MISMATCH);
    pub(crate) const STALE_NONCE: Self = Self::Code(ErrorCode::STALE_NONCE);
    pub(crate) const FAMILY: Self = Self::Code(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED);
    pub(crate) const WRONG_CREDENTIALS: Self = Self::Code(ErrorCode::WRONG_CREDENTIALS);
    pub(crate) const TRANSPORT: Self = Self::Code(ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL);
    pub(crate) const PEER_FAMILY: Self = Self::Code(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
    pub(crate) const QUOTA: Self = Self::Code(ErrorCode::ALLOCATION_QUOTA_REACHED);
    pub(crate) const CAPACITY: Self = Self::Code(ErrorCode::INSUFFICIENT_CAPACITY);
}

/// Reads a message that fills `data`; `None` is not worth an answer.
///
/// Stricter than the codec, which passes over what follows the integrity and trips over a second
/// one: nothing but one fingerprint may follow it, for nothing after it is proven.
pub(crate) fn read(data: &[u8]) -> Option<Message<'_>> {
    let length = usize::from(u16::from_be_bytes([*data.get(2)?, *data.get(3)?]));
    let cookie = data.get(4..8)?;
    if data.len() != HEADER + length
        || length % 4 != 0
        || data[0] & 0xc0 != 0
        || cookie != MAGIC_COOKIE.to_be_bytes()
    {
        return None;
    }
    let mut rest = &data[HEADER..];
    let mut proven = false;
    while let [kind_high, kind_low, length_high, length_low, after @ ..] = rest {
        let kind = AttributeType::new(u16::from_be_bytes([*kind_high, *kind_low]));
        let length = u16::from_be_bytes([*length_high, *length_low]);
        rest = after.get(usize::from(length).next_multiple_of(4)..)?;
        match kind {
            Fingerprint::TYPE if !rest.is_empty() => return None,
            Fingerprint::TYPE => {}
            _ if proven => return None,
            _ => proven = kind == MessageIntegrity::TYPE,
        }
    }
    Message::from_bytes(data).ok()
}

/// Returns an attribute that may be missing.
pub(crate) fn optional<'a, A>(message: &'a Message<'_>) -> Result<Option<A>, Refusal>
where
    A: AttributeFromRaw<'a> + AttributeStaticType,
{
    if !message.has_attribute(A::TYPE) {
        return Ok(None);
    }
    message
        .attribute()
        .map(Some)
        .map_err(|_| Refusal::BAD_REQUEST)
}

/// Returns an attribute that has to be there.
pub(crate) fn required<'a, A>(message: &'a Message<'_>) -> Result<A, Refusal>
where
    A: AttributeFromRaw<'a> + AttributeStaticType,
{
    optional(message)?.ok_or(Refusal::BAD_REQUEST)
}

/// Returns all peers that a message names.
pub(crate) fn peers(message: &Message<'_>) -> Result<Vec<SocketAddr>, Refusal> {
    let transaction = message.transaction_id();
    let attributes = message.iter_attributes().map(|(_, attribute)| attribute);
    let peers = attributes.filter(|attribute| attribute.get_type() == XorPeerAddress::TYPE);
    let peers = peers.map(|attribute| {
        let peer = XorPeerAddress::from_raw_ref(&attribute);
        peer.map(|peer| peer.addr(transaction))
            .map_err(|_| Refusal::BAD_REQUEST)
    });
    peers.collect()
}

/// Refuses a request with attributes that have to be understood and are not, such as
/// DONT-FRAGMENT, which not every system can do.
pub(crate) fn understood(message: &Message<'_>) -> Result<(), Refusal> {
    let kinds = message
        .iter_attributes()
        .map(|(_, attribute)| attribute.get_type());
    let unknown = kinds.filter(|kind| kind.comprehension_required() && !KNOWN.contains(kind));
    let unknown: Vec<_> = unknown.take(16).collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Unknown(unknown)),
    }
}

/// An answer that is being written.
pub(crate) struct Answer(MessageWriteVec);

impl Answer {
    /// Begins the answer to a request that was granted.
    pub(crate) fn success(request: &Message<'_>) -> Self {
        Self(Message::builder_success(
            request,
            MessageWriteVec::with_capacity(128),
        ))
    }

    /// Begins the answer to a request that is refused.
    pub(crate) fn error(request: &Message<'_>, refusal: &Refusal) -> Self {
        let builder = Message::builder_error(request, MessageWriteVec::with_capacity(128));
        let (code, unknown) = match refusal {
            Refusal::Code(code) => (*code, None),
            Refusal::Unknown(unknown) => (ErrorCode::UNKNOWN_ATTRIBUTE, Some(unknown)),
        };
        let reason = ErrorCode::default_reason_for_code(code);
        let error = ErrorCode::new(code, reason).expect("the codes are those of the standard");
        let answer = Self(builder).with(&error);
        match unknown {
            Some(unknown) => answer.with(&UnknownAttributes::new(unknown)),
            None => answer,
        }
    }

    /// Adds an attribute.
    pub(crate) fn with(mut self, attribute: &dyn AttributeWrite) -> Self {
        let added = self.0.add_attribute(attribute);
        added.expect("an answer is short and is not signed yet");
        self
    }

    /// Returns the bytes, signed if there is a key.
    pub(crate) fn finish(mut self, key: Option<&IntegrityKey>) -> Vec<u8> {
        if let Some(key) = key {
            let signed = self
                .0
                .add_message_integrity_with_key(key, IntegrityAlgorithm::Sha1);
            signed.expect("an answer is short and signed once");
        }
        self.0.finish()
    }
}

/// Reads `ChannelData`: the channel and the payload. What follows the payload is padding.
pub(crate) fn read_channel(data: &[u8]) -> Option<(u16, &[u8])> {
    let [high, low, length_high, length_low, rest @ ..] = data else {
        return None;
    };
    let length = u16::from_be_bytes([*length_high, *length_low]);
    Some((
        u16::from_be_bytes([*high, *low]),
        rest.get(..usize::from(length))?,
    ))
}

/// Returns what stands before the payload of `ChannelData`.
pub(crate) fn channel_head(channel: u16, length: u16) -> [u8; CHANNEL_HEADER] {
    let ([a, b], [c, d]) = (channel.to_be_bytes(), length.to_be_bytes());
    [a, b, c, d]
}

/// What stands before the payload of a Data indication (RFC 8656 section 11.3).
pub(crate) struct IndicationHead {
    bytes: [u8; HEADER + 24 + 4],
    length: usize,
}

impl IndicationHead {
    /// Writes it for `length` bytes from `peer`.
    pub(crate) fn new(peer: SocketAddr, length: u16, transaction: [u8; 12]) -> Self {
        let mut head = Self {
            bytes: [0; HEADER + 24 + 4],
            length: 0,
        };
        let address_length: u16 = if peer.is_ipv4() { 8 } else { 20 };
        let attributes = 4 + address_length + 4 + length.next_multiple_of(4);
        head.push(&0x0017_u16.to_be_bytes());
        head.push(&attributes.to_be_bytes());
        let mut mask = [0; 16];
        mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        mask[4..].copy_from_slice(&transaction);
        head.push(&mask);
        head.push(&0x0012_u16.to_be_bytes());
        head.push(&address_length.to_be_bytes());
        head.push(&[0, if peer.is_ipv4() { 1 } else { 2 }]);
        head.push(&(peer.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
        let masked = |byte: (usize, u8)| byte.1 ^ mask[byte.0];
        match peer.ip() {
            IpAddr::V4(address) => {
                for byte in address.octets().into_iter().enumerate() {
                    head.push(&[masked(byte)]);
                }
            }
            IpAddr::V6(address) => {
                for byte in address.octets().into_iter().enumerate() {
                    head.push(&[masked(byte)]);
                }
            }
        }
        head.push(&0x0013_u16.to_be_bytes());
        head.push(&length.to_be_bytes());
        head
    }

    /// Returns the bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use stun_types::message::BINDING;
    use turn_types::message::DATA;

    use super::*;

    #[test]
    fn a_data_indication_is_read_as_it_was_written() {
        for peer in ["192.0.2.1:1000", "[2001:db8::1]:65535"] {
            let peer = peer.parse().unwrap();
            for payload in [&b""[..], b"a", b"ab", b"abcd", &[7; 1200]] {
                let head = IndicationHead::new(peer, payload.len() as u16, [9; 12]);
                let mut bytes = [head.bytes(), payload].concat();
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                let message = read(&bytes).unwrap();
                assert_eq!(message.method(), DATA);
                assert_eq!(peers(&message), Ok(vec![peer]));
                assert_eq!(required::<Data<'_>>(&message).unwrap().data(), payload);
            }
        }
    }

    #[test]
    fn nothing_may_follow_what_proves_a_message() {
        let attribute = |kind: u16, value: &[u8]| {
            let length = (value.len() as u16).to_be_bytes();
            [&kind.to_be_bytes()[..], &length, value].concat()
        };
        let message = |attributes: &[Vec<u8>]| {
            let attributes = attributes.concat();
            let length = (attributes.len() as u16).to_be_bytes();
            let cookie = MAGIC_COOKIE.to_be_bytes();
            [&[0, 1], &length[..], &cookie, &[1; 12], &attributes].concat()
        };
        let integrity = attribute(0x0008, &[1; 20]);
        let other = attribute(0x8022, b"name");
        assert!(read(&message(&[])).is_some());
        assert!(read(&message(&[other.clone(), integrity.clone()])).is_some());
        assert!(read(&message(&[integrity.clone(), other.clone()])).is_none());
        assert!(read(&message(&[integrity.clone(), integrity.clone()])).is_none());
        let mut long = message(std::slice::from_ref(&other));
        long.push(0);
        assert!(read(&long).is_none());
        let mut builder = Message::builder_request(BINDING, MessageWriteVec::new());
        builder.add_fingerprint().unwrap();
        let mut signed = builder.finish();
        assert!(read(&signed).is_some());
        signed[27] ^= 1;
        assert!(read(&signed).is_none());
    }

    #[test]
    fn channel_data_may_be_padded_but_not_cut() {
        assert_eq!(
            read_channel(&[0x40, 1, 0, 2, 7, 8]),
            Some((0x4001, &[7, 8][..]))
        );
        assert_eq!(
            read_channel(&[0x40, 1, 0, 2, 7, 8, 0, 0]),
            Some((0x4001, &[7, 8][..]))
        );
        assert_eq!(read_channel(&[0x40, 1, 0, 0]), Some((0x4001, &[][..])));
        assert_eq!(read_channel(&[0x40, 1, 0, 2, 7]), None);
        assert_eq!(read_channel(&[0x40, 1, 0]), None);
        assert_eq!(channel_head(0x4001, 2), [0x40, 1, 0, 2]);
    }
}
