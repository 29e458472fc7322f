//! What the log tells of a packet: the fields of its headers that are never encrypted.

/// The protocol number of TCP.
const TCP: u8 = 6;
/// The protocol number of UDP.
const UDP: u8 = 17;
/// Payload types that RTCP takes in place of RTP (RFC 5761, section 4).
const RTCP: std::ops::RangeInclusive<u8> = 64..=95;

/// The headers of one IP packet, as far as they were there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headers {
    pub(crate) protocol: u8,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    /// Payload type, SSRC and sequence number (RFC 3550, section 5.1), if it looks like RTP.
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
        let mut headers = Headers {
            protocol,
            ..Headers::default()
        };
        if let (TCP | UDP, Some([a, b, c, d, rest @ ..])) = (protocol, rest) {
            headers.source_port = u16::from_be_bytes([*a, *b]);
            headers.destination_port = u16::from_be_bytes([*c, *d]);
            if protocol == UDP {
                headers.rtp = rest.get(4..).and_then(rtp);
            }
        }
        headers
    }
}

fn rtp(datagram: &[u8]) -> Option<(u8, u32, u16)> {
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
    const EXPECTED: Headers = Headers {
        protocol: UDP,
        source_port: 0x1234,
        destination_port: 0x5678,
        rtp: Some((111, 0xdead_beef, 0x0102)),
    };

    fn ipv4(protocol: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[9] = protocol;
        [&packet, rest].concat()
    }

    #[test]
    fn rtp_is_read_under_both_versions_of_ip() {
        assert_eq!(Headers::read(&ipv4(UDP, &DATAGRAM)), EXPECTED);
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        packet[6] = UDP;
        assert_eq!(Headers::read(&[&packet, &DATAGRAM[..]].concat()), EXPECTED);
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
