//! Packets as the relay writes them: the header of RTP (RFC 3550 section 5.1) with its extensions (RFC
//! 8285 section 4.2), sender reports (RFC 3550 section 6.4.1) and requests to send something again (RFC 4585
//! section 6.2.1).

use std::time::Duration;

/// What extensions begin with; their length in words follows.
const PROFILE: [u8; 2] = [0xbe, 0xde];
const VERSION: u8 = 2 << 6;
const EXTENSION: u8 = 1 << 4;
const MARKER: u8 = 1 << 7;
/// A sender report, and how many words follow the first where it reports nothing received.
const SENDER_REPORT: u8 = 200;
const SENDER_REPORT_WORDS: u8 = 6;
pub(super) const SENDER_REPORT_BYTES: usize = 28;
/// From 1900, where NTP begins, to 1970.
const NTP_EPOCH: u64 = 2_208_988_800;

/// The fixed part of a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    pub(super) number: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
}

impl Header {
    /// Writes it to the end of `packet`, with extensions: identifiers from 1 to 14, each with a value
    /// of up to sixteen bytes. Those without a value are left out.
    pub(super) fn write(&self, packet: &mut Vec<u8>, extensions: &[(u8, &[u8])]) {
        let begin = packet.len();
        let marker = if self.marker { MARKER } else { 0 };
        packet.extend([VERSION, self.payload_type & !MARKER | marker]);
        packet.extend(self.number.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        if extensions.iter().all(|(_, value)| value.is_empty()) {
            return;
        }
        packet[begin] |= EXTENSION;
        packet.extend([PROFILE[0], PROFILE[1], 0, 0]);
        let values = packet.len();
        for (identifier, value) in extensions.iter().filter(|(_, value)| !value.is_empty()) {
            packet.push(identifier << 4 | (value.len().saturating_sub(1) as u8 & 0xf));
            packet.extend_from_slice(value);
        }
        let words = (packet.len() - values).div_ceil(4);
        packet.resize(values + 4 * words, 0);
        packet[values - 1] = words as u8;
    }
}

/// What a sender reports of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct SenderReport {
    pub(super) ssrc: u32,
    /// The wall clock, from 1970 on.
    pub(super) time: Duration,
    /// What the stream's timestamp was then.
    pub(super) timestamp: u32,
    /// How many packets were sent, and how many bytes in them without headers.
    pub(super) packets: u32,
    pub(super) bytes: u32,
}

impl SenderReport {
    /// Appends it to a compound packet.
    pub(super) fn write(&self, compound: &mut Vec<u8>) {
        let seconds = (self.time.as_secs() + NTP_EPOCH) as u32;
        let fraction = (u64::from(self.time.subsec_nanos()) << 32) / 1_000_000_000;
        compound.extend([VERSION, SENDER_REPORT, 0, SENDER_REPORT_WORDS]);
        for word in [
            self.ssrc,
            seconds,
            fraction as u32,
            self.timestamp,
            self.packets,
            self.bytes,
        ] {
            compound.extend(word.to_be_bytes());
        }
    }
}

/// Transport-layer feedback, and which.
const FEEDBACK: u8 = 205;
const GENERIC_NACK: u8 = 1;

/// Writes a request to send these packets of a stream again, in rising order and at least one.
pub(super) fn nack(from: u32, ssrc: u32, missing: &[u64]) -> Vec<u8> {
    // A number, and which of the 16 after it.
    let mut entries: Vec<(u64, u16)> = Vec::new();
    for number in missing {
        match entries.last_mut() {
            Some((first, others)) if (1..=16).contains(&number.wrapping_sub(*first)) => {
                *others |= 1 << (number - *first - 1);
            }
            _ => entries.push((*number, 0)),
        }
    }
    let mut packet = vec![VERSION | GENERIC_NACK, FEEDBACK];
    packet.extend((entries.len() as u16 + 2).to_be_bytes());
    packet.extend([from.to_be_bytes(), ssrc.to_be_bytes()].concat());
    for (first, others) in entries {
        packet.extend((first as u16).to_be_bytes());
        packet.extend(others.to_be_bytes());
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        payload_type: 96,
        marker: true,
        number: 0x1234,
        timestamp: 0x0102_0304,
        ssrc: 0xa0b0_c0d0,
    };

    #[test]
    fn a_header_is_written_as_the_standard_draws_it() {
        let fixed = [0x80, 0xe0, 0x12, 0x34, 1, 2, 3, 4, 0xa0, 0xb0, 0xc0, 0xd0];
        let mut packet = vec![7];
        HEADER.write(&mut packet, &[]);
        assert_eq!(packet[0], 7);
        assert_eq!(packet[1..], fixed);

        packet.clear();
        HEADER.write(&mut packet, &[(3, &[0xd9, 0, 7]), (5, &[1, 2])]);
        assert_eq!(packet[0], 0x90);
        assert_eq!(packet[1..12], fixed[1..]);
        // One byte fills the last word.
        let extensions = [0xbe, 0xde, 0, 2, 0x32, 0xd9, 0, 7, 0x51, 1, 2, 0];
        assert_eq!(packet[12..], extensions);
    }

    #[test]
    fn a_request_names_what_is_missing() {
        let head = [0x81, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2];
        let packet = nack(1, 2, &[65_535, 65_536, 65_551, 65_552, 65_600]);
        assert_eq!(packet[..12], head);
        // The next, and the sixteenth after it; the seventeenth and one far ahead stand alone.
        let entries = [0xff, 0xff, 0x80, 1, 0, 16, 0, 0, 0, 64, 0, 0];
        assert_eq!(packet[12..], entries);
    }

    #[test]
    fn a_report_says_the_time_as_ntp_does() {
        let mut compound = Vec::new();
        let report = SenderReport {
            ssrc: 1,
            time: Duration::new(1, 500_000_000),
            timestamp: 3,
            packets: 4,
            bytes: 5,
        };
        report.write(&mut compound);
        assert_eq!(compound.len(), SENDER_REPORT_BYTES);
        // RFC 868: 1 January 1970 is 2 208 988 800 seconds after 1900.
        let words: Vec<_> = compound
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().expect("four bytes")))
            .collect();
        assert_eq!(words, [0x80c8_0006, 1, 2_208_988_801, 1 << 31, 3, 4, 5]);
    }
}
