//! What the log tells of a packet: the fields of its headers that are never encrypted.

use std::net::IpAddr;

/// The protocol number of TCP.
const TCP: u8 = 6;
/// The protocol number of UDP.
const UDP: u8 = 17;
/// Payload types that RTCP takes in place of RTP (RFC 5761, section 4).
const RTCP: std::ops::RangeInclusive<u8> = 64..=95;
/// First bytes of a ChannelData message of TURN (RFC 8656, section 12.4), in which packets travel
/// to and from a relay.
const CHANNEL_DATA: std::ops::RangeInclusive<u8> = 0x40..=0x4f;
/// Bytes before the data of a ChannelData message.
const CHANNEL_HEADER: usize = 4;

/// The last byte of the types of Send and Data indications, in which packets travel before there is
/// a channel (RFC 8656, section 11).
const SEND: u8 = 0x16;
const DATA: u8 = 0x17;
/// Bytes before the attributes of a STUN message, and the attribute that holds a packet.
const STUN_HEADER: usize = 20;
const DATA_ATTRIBUTE: u16 = 0x0013;

/// The headers of one IP packet, as far as they were there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headers {
    pub(crate) protocol: u8,
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    /// What a datagram or a segment begins with: tells TLS, STUN and HTTP from each other.
    pub(crate) head: Option<[u8; 4]>,
    /// Payload type, SSRC and sequence number (RFC 3550, section 5.1), if it looks like RTP, bare
    /// or on its way to or from a relay.
    pub(crate) rtp: Option<(u8, u32, u16)>,
}

impl Headers {
    /// Reads an IPv4 or IPv6 packet without extension headers; what is missing stays zero.
    pub(crate) fn read(packet: &[u8]) -> Headers {
        let (protocol, rest) = match packet.first().map(|first| first >> 4) {
            Some(4) if packet.len() >= 20 => {
                (packet[9], packet.get(usize::from(packet[0] & 15) * 4..))
            }
            Some(6) if packet.len() >= 40 => (packet[6], packet.get(40..)),
            _ => return Headers::default(),
        };
        let (source, destination) = addresses(packet);
        let mut headers = Headers {
            protocol,
            source,
            destination,
            ..Headers::default()
        };
        if let (TCP | UDP, Some([a, b, c, d, rest @ ..])) = (protocol, rest) {
            headers.source_port = u16::from_be_bytes([*a, *b]);
            headers.destination_port = u16::from_be_bytes([*c, *d]);
            let skipped = match protocol {
                UDP => 4,
                // The ports are four bytes of the header that its own field counts in words.
                _ => {
                    rest.get(8)
                        .map_or(0, |field| usize::from(field >> 4) * 4)
                        .max(4)
                        - 4
                }
            };
            let data = rest.get(skipped..).unwrap_or_default();
            headers.head = data.first_chunk().copied();
            if protocol == UDP {
                headers.rtp = rtp(data);
            }
        }
        headers
    }
}

/// What a Send or Data indication carries (RFC 8656, section 18.2).
fn data_attribute(indication: &[u8]) -> Option<&[u8]> {
    let mut rest = indication.get(STUN_HEADER..)?;
    while let [a, b, c, d, value @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        if u16::from_be_bytes([*a, *b]) == DATA_ATTRIBUTE {
            return value.get(..length);
        }
        rest = value.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// Where a packet comes from and goes to; nothing for one that is cut short.
fn addresses(packet: &[u8]) -> (Option<IpAddr>, Option<IpAddr>) {
    let at = |from: usize| -> Option<IpAddr> {
        match packet[0] >> 4 {
            4 => Some(IpAddr::from(*packet[from..].first_chunk::<4>()?)),
            _ => Some(IpAddr::from(*packet[from..].first_chunk::<16>()?)),
        }
    };
    match packet[0] >> 4 {
        4 => (at(12), at(16)),
        _ => (at(8), at(24)),
    }
}

fn rtp(datagram: &[u8]) -> Option<(u8, u32, u16)> {
    let datagram = match datagram {
        [first, ..] if CHANNEL_DATA.contains(first) => datagram.get(CHANNEL_HEADER..)?,
        [0, SEND | DATA, ..] => data_attribute(datagram)?,
        _ => datagram,
    };
    let [first, second, s0, s1, _, _, _, _, a, b, c, d, ..] = *datagram else {
        return None;
    };
    let payload_type = second & 0x7f;
    (first >> 6 == 2 && !RTCP.contains(&payload_type)).then(|| {
        (
            payload_type,
            u32::from_be_bytes([a, b, c, d]),
            u16::from_be_bytes([s0, s1]),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An RTP packet of payload type 111 from port 0x1234 to 0x5678.
    const DATAGRAM: [u8; 20] = [
        0x12, 0x34, 0x56, 0x78, 0, 20, 0, 0, 0x80, 111, 1, 2, 0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef,
    ];

    fn expected(source: &str, destination: &str) -> Headers {
        Headers {
            protocol: UDP,
            source: Some(source.parse().unwrap()),
            destination: Some(destination.parse().unwrap()),
            source_port: 0x1234,
            destination_port: 0x5678,
            head: Some([0x80, 111, 1, 2]),
            rtp: Some((111, 0xdead_beef, 0x0102)),
        }
    }

    fn ipv4(protocol: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[9] = protocol;
        packet[12..20].copy_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
        [&packet, rest].concat()
    }

    #[test]
    fn rtp_is_read_under_both_versions_of_ip() {
        let headers = Headers::read(&ipv4(UDP, &DATAGRAM));
        assert_eq!(headers, expected("192.0.2.1", "192.0.2.2"));
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        packet[6] = UDP;
        packet[23] = 1;
        packet[39] = 2;
        let headers = Headers::read(&[&packet, &DATAGRAM[..]].concat());
        assert_eq!(headers, expected("::1", "::2"));
    }

    #[test]
    fn rtp_is_read_on_its_way_through_a_relay() {
        let (ports, data) = DATAGRAM.split_at(8);
        let relayed = [ports, &[0x40, 1, 0, 12], data].concat();
        let headers = Headers::read(&ipv4(UDP, &relayed));
        assert_eq!(headers.head, Some([0x40, 1, 0, 12]));
        assert_eq!(headers.rtp, expected("::", "::").rtp);
    }

    #[test]
    fn rtp_is_read_in_an_indication_whatever_comes_before_it() {
        let (ports, data) = DATAGRAM.split_at(8);
        let mut indication = [ports, &[0, 0x17, 0, 24], &[0; 16]].concat();
        // A peer's address of five bytes, which are padded to eight.
        indication.extend([0, 0x12, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]);
        indication.extend([0, 0x13, 0, 12]);
        indication.extend(data);
        let whole = ipv4(UDP, &indication);
        assert_eq!(Headers::read(&whole).rtp, expected("::", "::").rtp);
        for end in 0..whole.len() {
            assert_eq!(Headers::read(&whole[..end]).rtp, None);
        }
    }

    #[test]
    fn what_a_tcp_segment_begins_with_is_read_past_its_options() {
        let mut segment = vec![0; 24];
        segment[12] = 6 << 4;
        segment.extend([0x16, 3, 1, 2, 0]);
        let headers = Headers::read(&ipv4(TCP, &segment));
        assert_eq!(headers.head, Some([0x16, 3, 1, 2]));
        segment.truncate(24);
        assert_eq!(Headers::read(&ipv4(TCP, &segment)).head, None);
    }

    #[test]
    fn rtcp_stun_and_tcp_are_no_rtp() {
        let mut rtcp = DATAGRAM;
        rtcp[9] = 200;
        assert_eq!(Headers::read(&ipv4(UDP, &rtcp)).rtp, None);
        let mut stun = DATAGRAM;
        stun[8] = 0;
        assert_eq!(Headers::read(&ipv4(UDP, &stun)).rtp, None);
        let tcp = Headers::read(&ipv4(TCP, &DATAGRAM));
        assert_eq!((tcp.source_port, tcp.rtp), (0x1234, None));
    }

    #[test]
    fn packets_cut_short_anywhere_are_read_as_far_as_they_go() {
        let whole = ipv4(UDP, &DATAGRAM);
        for end in 0..whole.len() {
            let headers = Headers::read(&whole[..end]);
            assert_eq!(headers.rtp, None);
        }
    }
}
