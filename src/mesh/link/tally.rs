//! Finds out sooner that pictures are missing: by the numbers that all packets of a connection have
//! together (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! ```text
//! together   7  8  9 10        what came: picture 3, sound 5 and 6
//! sound      .  5  .  6        of 9 nothing came, and of sound nothing is missing:
//! pictures   3  .  4  .        picture 4 is missing, before 5 can show it
//! ```
//! A picture is often one packet; that one of them is missing shows in the next, 33 ms later. Sound comes
//! every 20 ms, and between pictures. A guess that is wrong (what was lost was a repair) asks for a packet
//! that was not sent yet.

use crate::mesh::peer::RtpIn;

/// A longer gap is no loss: numbers begin anew.
const LONGEST: u16 = 100;

/// Numbers of one connection with one stream of sound and one of pictures.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The highest number of all.
    together: Option<u16>,
    /// The stream of sound, and its highest number.
    sound: Option<(u32, u16)>,
}

impl Tally {
    /// Takes note of a packet of sound. Returns how many packets of pictures are missing before it, beyond
    /// those that are known to be.
    pub(super) fn note_sound(&mut self, packet: &RtpIn) -> u16 {
        let before = self.sound.filter(|(ssrc, _)| *ssrc == packet.ssrc);
        let lost = before.map(|(_, before)| gap(before, packet.sequence));
        if before.is_none_or(|(_, before)| is_after(before, packet.sequence)) {
            self.sound = Some((packet.ssrc, packet.sequence));
        }
        let missing = self.note(packet);
        lost.map_or(0, |lost| missing.saturating_sub(lost))
    }

    /// Takes note of a packet of pictures; what is missing before it shows in its own number.
    pub(super) fn note_picture(&mut self, packet: &RtpIn) {
        self.note(packet);
    }

    /// Returns how many packets are missing before this one.
    fn note(&mut self, packet: &RtpIn) -> u16 {
        let Some(number) = packet.together else {
            return 0;
        };
        let before = self.together;
        if before.is_none_or(|before| is_after(before, number)) {
            self.together = Some(number);
        }
        before.map_or(0, |before| gap(before, number))
    }
}

fn is_after(before: u16, number: u16) -> bool {
    (1..1 << 15).contains(&number.wrapping_sub(before))
}

/// Returns how many numbers lie between two; none if the second is not a little after the first.
fn gap(before: u16, number: u16) -> u16 {
    let between = number.wrapping_sub(before).wrapping_sub(1);
    if between <= LONGEST { between } else { 0 }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock;

    const SOUND: u32 = 1;
    const PICTURES: u32 = 2;

    fn packet(ssrc: u32, sequence: u16, together: Option<u16>) -> RtpIn {
        RtpIn {
            payload_type: 111,
            sequence,
            timestamp: 0,
            marker: false,
            ssrc,
            payload: Bytes::new(),
            arrived: clock::now(),
            together,
        }
    }

    #[test]
    fn sound_shows_that_a_picture_is_missing() {
        let mut tally = Tally::default();
        let mut sound =
            |sequence, together| tally.note_sound(&packet(SOUND, sequence, Some(together)));
        // Numbers wrap; with sound itself lost, and once more what is late.
        let course = [
            (65_534, 65_533, 0),
            (65_535, 65_534, 0),
            (0, 0, 1),
            (2, 4, 2),
            (1, 2, 0),
            (3, 5, 0),
        ];
        for (sequence, together, missing) in course {
            assert_eq!(sound(sequence, together), missing, "{sequence}");
        }
        // A picture shows by itself what is missing before it.
        tally.note_picture(&packet(PICTURES, 9, Some(8)));
        let next = packet(SOUND, 4, Some(9));
        assert_eq!(tally.note_sound(&next), 0);
    }

    #[test]
    fn what_says_nothing_shows_nothing() {
        let mut tally = Tally::default();
        for (ssrc, sequence, together) in [
            (SOUND, 1, None),
            (SOUND, 5, None),
            (SOUND, 6, Some(100)),
            // Far ahead: the other side began anew.
            (SOUND, 7, Some(900)),
            // Another stream.
            (3, 70, Some(905)),
        ] {
            let sound = packet(ssrc, sequence, together);
            assert_eq!(tally.note_sound(&sound), 0, "{sequence}");
        }
    }
}
