//! A decoder on a thread of its own: complete access units in, pictures to a participant's slot.
//!
//! A damaged picture is never shown. After a gap or an error nothing is decoded until a keyframe
//! is; meanwhile the picture stands still, and that counts as a freeze.
//!
//! ```text
//!            ┌──────── gap, error: ask for a keyframe ───────┐
//! waiting ───┴ keyframe decoded ─▶ following ─ each unit ─▶ shown
//! ```

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{decoder::Decoder, slot::PictureSlot};
use crate::{
    clock,
    latest::{Latest, Reader},
    media::{VideoFrame, Way},
};

/// How often a keyframe is asked for while waiting for one.
const ASK_INTERVAL: Duration = Duration::from_millis(300);

/// A received access unit, complete, in decoding order.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// NAL units in Annex B form.
    pub data: bytes::Bytes,
    /// Whether it is, or contains, an IDR picture.
    pub keyframe: bool,
    /// Whether everything it refers to was received: false right after a gap that was given up on.
    /// The decoder shows nothing from such a unit until the next keyframe.
    pub continuous: bool,
    /// RTP time stamp (90 kHz).
    pub timestamp: u32,
    /// Estimated capture time on this computer's clock, where the sender's reports allow it.
    pub captured: Option<Instant>,
}

/// What a decode thread has done so far; every figure counts from its start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DecodeStats {
    /// Pictures decoded, shown or not.
    pub frames: u64,
    /// Units that could not be decoded or shown.
    pub failed: u64,
    /// Time spent decoding, all pictures together.
    pub busy: Duration,
}

/// A decoder on a thread of its own. Dropping it ends the thread.
#[derive(Debug)]
pub struct DecodeThread {
    stats: Latest<DecodeStats>,
    /// Dropped with the rest, which is what ends the thread.
    _alive: oneshot::Sender<()>,
}

impl DecodeThread {
    /// Starts the thread for what comes one `way`; its pictures go to `slot`, which shows those that
    /// are newer than what another way has brought. `need_keyframe` is called, on that thread, when
    /// only a keyframe helps: every 300 ms at most.
    ///
    /// # Errors
    /// Fails if the system gives no thread.
    pub fn start(
        name: &str,
        input: mpsc::Receiver<AccessUnit>,
        way: Way,
        slot: PictureSlot,
        need_keyframe: Arc<dyn Fn() + Send + Sync>,
    ) -> io::Result<Self> {
        let stats = Latest::new();
        let (alive, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let work = Work {
            way,
            slot,
            published: stats.clone(),
            stats: DecodeStats::default(),
            need_keyframe,
            asked: None,
            decoder: None,
            following: false,
        };
        thread::Builder::new()
            .name(format!("decode {name}"))
            .spawn(move || runtime.block_on(work.run(input, ended)))?;
        Ok(Self {
            stats,
            _alive: alive,
        })
    }

    /// Returns a reader of what it has done.
    pub fn stats(&self) -> Reader<DecodeStats> {
        self.stats.reader()
    }
}

struct Work {
    way: Way,
    slot: PictureSlot,
    published: Latest<DecodeStats>,
    stats: DecodeStats,
    need_keyframe: Arc<dyn Fn() + Send + Sync>,
    asked: Option<Instant>,
    decoder: Option<Decoder>,
    /// Whether the picture before was decoded, so that the next can refer to it.
    following: bool,
}

impl Work {
    /// Runs on this thread's own little runtime, which has nothing else to do: decoding may block it.
    async fn run(
        mut self,
        mut input: mpsc::Receiver<AccessUnit>,
        mut ended: oneshot::Receiver<()>,
    ) {
        loop {
            let unit = tokio::select! {
                // The end comes first: after it nobody looks at pictures any more.
                biased;
                _ = &mut ended => break,
                unit = input.recv() => match unit {
                    Some(unit) => unit,
                    None => break,
                },
            };
            self.unit(&unit);
            self.published.set(self.stats);
        }
    }

    fn unit(&mut self, unit: &AccessUnit) {
        // A keyframe refers to nothing, so a gap before it does not matter.
        self.following &= unit.continuous || unit.keyframe;
        if !self.following && !unit.keyframe {
            self.stats.failed += 1;
            self.ask();
            return;
        }
        let start = clock::now();
        let picture = self.decode(unit);
        let now = clock::now();
        self.stats.busy += now.saturating_duration_since(start);
        match picture {
            Some(picture) => {
                self.following = true;
                self.asked = None;
                self.stats.frames += 1;
                let (timestamp, captured) = (unit.timestamp, unit.captured);
                (self.slot).show(self.way, picture, timestamp, captured, now);
            }
            None => {
                self.following = false;
                self.stats.failed += 1;
                self.ask();
            }
        }
    }

    fn decode(&mut self, unit: &AccessUnit) -> Option<VideoFrame> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            empty => match Decoder::new() {
                Ok(decoder) => empty.insert(decoder),
                Err(error) => {
                    tracing::error!(%error, "no decoder");
                    return None;
                }
            },
        };
        let captured = unit.captured.unwrap_or_else(clock::now);
        match decoder.decode(&unit.data, captured) {
            Ok(picture) => picture,
            Err(error) => {
                tracing::debug!(%error, keyframe = unit.keyframe, "a picture could not be decoded");
                // What the damage left behind in the decoder ends here.
                self.decoder = None;
                None
            }
        }
    }

    fn ask(&mut self) {
        let now = clock::now();
        let recently = |asked: Instant| now.duration_since(asked) < ASK_INTERVAL;
        if !self.asked.is_some_and(recently) {
            self.asked = Some(now);
            (self.need_keyframe)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use nonstop_rate::Bitrate;

    use super::*;
    use crate::{
        latest::Wait,
        media::{
            Size,
            video::{
                encoder::{Encoded, Encoder},
                test_card::{self, TestCard},
            },
        },
    };

    const SIZE: Size = Size::new(320, 180);
    /// Long enough for the busiest computer.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Encoded test cards of one size, counted on.
    struct Cards {
        card: TestCard,
        encoder: Encoder,
        counter: u32,
    }

    impl Cards {
        fn new(size: Size, counter: u32) -> Self {
            Self {
                card: TestCard::new(size),
                encoder: Encoder::new(size, 30.0, Bitrate::from_kbps(400)).unwrap(),
                counter,
            }
        }

        fn next(&mut self) -> (u32, Encoded) {
            loop {
                let counter = self.counter;
                self.counter += 1;
                let time = Duration::from_secs(1) * counter / 30;
                let frame = self.card.draw(counter, time, clock::start() + time);
                if let Some(encoded) = self.encoder.encode(&frame).unwrap() {
                    return (counter, encoded);
                }
            }
        }
    }

    fn unit(encoded: &Encoded) -> AccessUnit {
        AccessUnit {
            data: encoded.data.clone(),
            keyframe: encoded.keyframe,
            continuous: true,
            timestamp: 0,
            captured: None,
        }
    }

    /// A decode thread and what comes out of it.
    struct Stage {
        thread: DecodeThread,
        input: mpsc::Sender<AccessUnit>,
        slot: PictureSlot,
        pictures: Reader<VideoFrame>,
        /// Time stamp of the newest unit.
        timestamp: Cell<u32>,
        asked: Arc<AtomicUsize>,
    }

    impl Stage {
        fn new() -> Self {
            let (input, units) = mpsc::channel(64);
            let slot = PictureSlot::new(None);
            let asked = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&asked);
            let ask = Arc::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
            });
            let place = slot.clone();
            let thread = DecodeThread::start("test", units, Way::Direct, place, ask).unwrap();
            Self {
                thread,
                input,
                pictures: slot.reader(),
                slot,
                timestamp: Cell::new(0),
                asked,
            }
        }

        fn send(&self, unit: AccessUnit) {
            let timestamp = self.timestamp.get() + 3_000;
            self.timestamp.set(timestamp);
            let unit = AccessUnit { timestamp, ..unit };
            self.input.blocking_send(unit).unwrap();
        }

        /// Sends a unit that must be shown, and returns the counter that is read off it.
        fn shown(&mut self, unit: AccessUnit) -> Option<u32> {
            self.send(unit);
            match self.pictures.wait(PATIENCE) {
                Wait::New(picture) => test_card::read_counter(&picture),
                other => panic!("not shown: {other:?}"),
            }
        }

        /// Sends a unit that must not be shown.
        fn hidden(&mut self, unit: AccessUnit) {
            let failed = self.stats().failed;
            self.send(unit);
            let start = clock::now();
            while self.stats().failed == failed {
                assert!(clock::now() - start < PATIENCE, "was not refused");
                std::thread::sleep(Duration::from_millis(2));
            }
            assert!(self.pictures.take_new().is_none());
        }

        fn stats(&self) -> DecodeStats {
            self.thread.stats().newest().unwrap_or_default()
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn pictures_are_shown_in_order_and_may_change_size() {
        let mut stage = Stage::new();
        let mut cards = Cards::new(SIZE, 0);
        for _ in 0..20 {
            let (counter, encoded) = cards.next();
            assert_eq!(stage.shown(unit(&encoded)), Some(counter));
        }
        let mut larger = Cards::new(Size::new(640, 360), 1_000);
        for _ in 0..5 {
            let (counter, encoded) = larger.next();
            assert_eq!(stage.shown(unit(&encoded)), Some(counter));
        }
        let stats = stage.stats();
        assert_eq!((stats.frames, stats.failed), (25, 0));
        let shown = stage.slot.stats().newest().unwrap();
        assert_eq!(shown.size, Some(Size::new(640, 360)));
        assert_eq!(stage.asked(), 0);
    }

    #[test]
    fn after_a_gap_nothing_is_shown_until_a_keyframe() {
        let mut stage = Stage::new();
        let mut cards = Cards::new(SIZE, 0);
        let (_, first) = cards.next();
        stage.shown(unit(&first));
        cards.next();
        let (_, after_gap) = cards.next();
        let torn = AccessUnit {
            continuous: false,
            ..unit(&after_gap)
        };
        stage.hidden(torn);
        assert_eq!(stage.asked(), 1);
        for _ in 0..5 {
            let (_, encoded) = cards.next();
            stage.hidden(unit(&encoded));
        }
        assert!((1..10).contains(&stage.asked()));
        cards.encoder.request_keyframe();
        let (counter, keyframe) = cards.next();
        let keyframe = AccessUnit {
            continuous: false,
            ..unit(&keyframe)
        };
        assert_eq!(stage.shown(keyframe), Some(counter));
        let (counter, encoded) = cards.next();
        assert_eq!(stage.shown(unit(&encoded)), Some(counter));
    }

    #[test]
    fn a_gap_that_nobody_noticed_is_not_shown_either() {
        let mut stage = Stage::new();
        let mut cards = Cards::new(SIZE, 0);
        stage.shown(unit(&cards.next().1));
        cards.next();
        stage.hidden(unit(&cards.next().1));
        assert_eq!(stage.asked(), 1);
    }

    #[test]
    fn garbage_is_refused_and_the_next_keyframe_is_shown() {
        let mut stage = Stage::new();
        let mut cards = Cards::new(SIZE, 0);
        let (_, keyframe) = cards.next();
        let mut random = 7_u32;
        let mut byte = move || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        };
        let mut damaged: Vec<Vec<u8>> = vec![vec![], vec![0, 0, 0, 1], vec![0, 0, 1, 0x65]];
        for _ in 0..100 {
            let length = usize::from(byte()) * 4;
            let mut noise: Vec<u8> = (0..length).map(|_| byte()).collect();
            damaged.push(noise.clone());
            noise.splice(0..0, [0, 0, 0, 1, byte()]);
            damaged.push(noise);
            let mut cut = keyframe.data.to_vec();
            cut.truncate(usize::from(byte()) * cut.len() / 256);
            damaged.push(cut);
            let mut flipped = keyframe.data.to_vec();
            for _ in 0..=byte() % 8 {
                let at = usize::from(byte()) << 8 | usize::from(byte());
                let at = at % flipped.len();
                flipped[at] ^= 1 << (byte() % 8);
            }
            damaged.push(flipped);
        }
        for data in damaged {
            let torn = AccessUnit {
                data: data.into(),
                ..unit(&keyframe)
            };
            stage.send(torn);
        }
        for _ in 0..3 {
            cards.encoder.request_keyframe();
            let (counter, whole) = cards.next();
            stage.send(unit(&whole));
            // Damage that still decodes may be shown before it; what counts is that this comes.
            let start = clock::now();
            loop {
                assert!(clock::now() - start < PATIENCE);
                if let Wait::New(picture) = stage.pictures.wait(PATIENCE)
                    && test_card::read_counter(&picture) == Some(counter)
                {
                    break;
                }
            }
        }
        assert!(stage.stats().failed > 100);
    }
}
