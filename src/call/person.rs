//! One other participant, folded from the mesh's news into what is painted of them.

use std::time::{Duration, Instant};

use nonstop_wire::{MAX_PERSON_NAME, ParticipantId, ParticipantState, PauseReason as Why, Strain};

use super::{
    Attempt, History, Participant, PauseReason, Picture, Protection, Sample, Side, Stage,
    quality::{Circumstances, Judgement, QualityMeter},
    slowness::Witness,
};
use crate::{
    latest::Reader,
    media::{Size, audio::VoiceStats},
    mesh::{LinkNews, LinkStats, Path, Ways},
};

/// A voice louder than this is somebody speaking: −42 dB on the meter, under quiet speech and over
/// what noise suppression leaves of a room.
const SPEAKING_LEVEL: f32 = 0.3;
/// A voice must be loud this long before it counts: a cough or a key stroke does not.
const SPEAKING_AFTER: Duration = Duration::from_millis(100);
/// A voice must be quiet this long before it stops counting: longer than the gaps between words.
const QUIET_AFTER: Duration = Duration::from_millis(500);
/// A connection that is not there after this long is shown as failed, while it goes on trying.
const GIVE_UP_HOPE: Duration = Duration::from_secs(20);
/// A meter moves in steps of this much; less is not worth painting.
pub(super) const LEVEL_STEP: f32 = 0.02;

/// One other participant.
#[derive(Debug)]
pub(super) struct Person {
    id: ParticipantId,
    /// Whether they came after us.
    pub(super) newcomer: bool,
    /// Whether they have described themselves.
    pub(super) described: bool,
    since: Instant,
    state: Option<ParticipantState>,
    picture: Picture,
    has_picture: bool,
    voice: Reader<VoiceStats>,
    level: f32,
    speaking: Speaking,
    spoke_at: Option<Instant>,
    stage: Stage,
    path: Option<Path>,
    ways: Ways,
    meter: QualityMeter,
    judgement: Judgement,
    strain: Option<Strain>,
    video_paused: Option<PauseReason>,
    sending_paused: bool,
    viewed: Option<Size>,
    history: History,
}

impl Person {
    /// Makes somebody who has just appeared.
    pub(super) fn new(
        id: ParticipantId,
        newcomer: bool,
        picture: Picture,
        voice: Reader<VoiceStats>,
        now: Instant,
    ) -> Self {
        Self {
            id,
            newcomer,
            described: false,
            since: now,
            state: None,
            picture,
            has_picture: false,
            voice,
            level: 0.0,
            speaking: Speaking::default(),
            spoke_at: None,
            stage: Stage::Connecting,
            path: None,
            ways: Ways::default(),
            meter: QualityMeter::default(),
            judgement: Judgement::default(),
            strain: None,
            video_paused: None,
            sending_paused: false,
            viewed: None,
            history: History::default(),
        }
    }

    /// Returns who they are.
    pub(super) fn id(&self) -> ParticipantId {
        self.id
    }

    /// Returns their name, empty until they said it.
    pub(super) fn name(&self) -> &str {
        self.state.as_ref().map_or("", |state| &state.name)
    }

    /// Takes their description of themselves. The name comes from another computer: what would
    /// not stand on one line of a screen is left out.
    pub(super) fn describe(&mut self, mut state: ParticipantState) {
        let printable = |c: &char| !c.is_control() && !is_direction_mark(*c);
        let name = state.name.trim().chars().filter(printable);
        state.name = name.take(MAX_PERSON_NAME).collect();
        self.described = true;
        self.state = Some(state);
    }

    /// Takes news of the link to them.
    pub(super) fn handle_news(&mut self, news: &LinkNews, now: Instant) {
        match news {
            LinkNews::Connected { path, .. } => {
                self.path = Some(*path);
                self.stage = Stage::Connected;
            }
            LinkNews::PathChanged(path) => {
                if (self.path == Some(Path::Relay)) != (*path == Path::Relay) {
                    // What was said of the other way does not hold.
                    self.video_paused = None;
                    self.strain = None;
                }
                self.path = Some(*path);
            }
            LinkNews::Ways(ways) => self.ways.clone_from(ways),
            LinkNews::Interrupted if self.stage == Stage::Connected => {
                self.stage = Stage::Reconnecting { since: now };
            }
            LinkNews::Stats(stats) => self.take_figures(stats, now),
            LinkNews::FirstVideoFrame { .. } => self.has_picture = true,
            LinkNews::PicturesPaused(Why::Bandwidth) => {
                self.video_paused = Some(PauseReason::SlowConnection);
            }
            LinkNews::PicturesPaused(Why::Unknown) | LinkNews::PicturesResumed => {
                self.video_paused = None;
            }
            LinkNews::Strain(strain) => self.strain = Some(*strain),
            LinkNews::VideoPaused => self.sending_paused = true,
            LinkNews::VideoResumed => self.sending_paused = false,
            LinkNews::Interrupted | LinkNews::FirstAudio { .. } => {}
        }
    }

    /// Looks at the meter, the picture and the time. Returns whether something changed.
    pub(super) fn handle_tick(&mut self, now: Instant) -> bool {
        let before = (self.stage, self.has_picture, self.speaking.on);
        self.has_picture |= self.picture.frames.version() > 0;
        let level = self.voice.newest().map_or(0.0, |voice| voice.level);
        let loud = self.microphone() && level > SPEAKING_LEVEL;
        if self.speaking.update(loud, now) {
            self.spoke_at = Some(now);
        }
        let hope_until = match self.stage {
            Stage::Connecting => Some(self.since + GIVE_UP_HOPE),
            Stage::Reconnecting { since } => Some(since + GIVE_UP_HOPE),
            Stage::Connected | Stage::Failed => None,
        };
        if hope_until.is_some_and(|until| now >= until) {
            self.stage = Stage::Failed;
        }
        let moved = (level - self.level).abs() >= LEVEL_STEP;
        if moved {
            self.level = level;
        }
        moved || before != (self.stage, self.has_picture, self.speaking.on)
    }

    /// Returns what is tried, and what is in the way.
    pub(super) fn attempt(&self) -> Attempt {
        Attempt::read(&self.ways, self.path)
    }

    /// Returns how packets travel, where they do now.
    pub(super) fn path(&self) -> Option<Path> {
        self.path.filter(|_| self.stage == Stage::Connected)
    }

    /// Returns how what comes from them is protected.
    pub(super) fn protection(&self) -> Protection {
        match self.path {
            Some(Path::Relay) => Protection::ToTheServer,
            _ => Protection::EndToEnd,
        }
    }

    /// Notes that they spoke at that time, as the relay heard. What is heard here says more.
    pub(super) fn spoke(&mut self, at: Instant) {
        if !self.speaking.on {
            self.spoke_at = Some(at);
        }
    }

    /// Returns what both ends know of how the connection to them suffers; nothing while it is not
    /// up.
    pub(super) fn witness(&self) -> Option<Witness> {
        (self.stage == Stage::Connected).then(|| Witness {
            id: self.id,
            suffering: self.meter.suffering(),
            theirs: self.strain,
        })
    }

    /// Takes how large they are shown, 0x0 where they are not.
    pub(super) fn set_viewed(&mut self, size: Size) {
        self.viewed = Some(size);
    }

    /// Returns what is painted of them, but for the side on which the connection is slow, which
    /// only all connections together tell.
    pub(super) fn participant(&self) -> Participant {
        let newest = self.history.newest();
        let shown = self.has_picture && self.camera();
        Participant {
            id: self.id.bits(),
            name: self.name().to_owned(),
            picture: shown.then(|| self.picture.clone()),
            microphone: self.microphone(),
            camera: self.camera(),
            level: self.level,
            speaking: self.speaking.on,
            spoke_at: self.spoke_at,
            stage: self.stage,
            attempt: self.attempt(),
            path: self.path.map(|path| path.to_string()).unwrap_or_default(),
            protection: self.protection(),
            quality: self.judgement.quality,
            cause: self.judgement.cause,
            side: Side::Unknown,
            video_paused: self.video_paused,
            round_trip: newest.and_then(|sample| sample.round_trip),
            received: newest.and_then(|sample| sample.received_size),
            history: self.history.clone(),
        }
    }

    fn camera(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.camera)
    }

    fn microphone(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.microphone)
    }

    fn take_figures(&mut self, stats: &LinkStats, now: Instant) {
        self.history.push(Sample::of(stats, now));
        // A new link begins with pictures, without a word about it.
        self.sending_paused &= stats.video_sent.is_none_or(|rate| rate.bps() == 0);
        // Who is not shown is asked for no pictures, and sends none.
        let shown = self.viewed.is_none_or(|size| size.pixels() > 0);
        let around = Circumstances {
            camera: self.camera() && shown,
            viewed: self.viewed,
            paused_up: self.sending_paused,
            paused_down: self.video_paused.is_some(),
        };
        self.judgement = self.meter.update(stats, around);
    }
}

/// Tells characters that turn the direction of writing: with them a name could pose as another.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether somebody is speaking, smoothed.
#[derive(Debug, Default)]
struct Speaking {
    on: bool,
    otherwise_since: Option<Instant>,
}

impl Speaking {
    /// Returns whether they began or ceased.
    fn update(&mut self, loud: bool, now: Instant) -> bool {
        if loud == self.on {
            self.otherwise_since = None;
            return false;
        }
        let since = *self.otherwise_since.get_or_insert(now);
        let long_enough = if loud { SPEAKING_AFTER } else { QUIET_AFTER };
        let turned = now.saturating_duration_since(since) >= long_enough;
        if turned {
            self.on = loud;
            self.otherwise_since = None;
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, latest::Latest, media::VideoFrame, mesh::Path};

    const MS: Duration = Duration::from_millis(1);

    fn person(now: Instant) -> (Person, Latest<VoiceStats>, Latest<VideoFrame>) {
        let (voice, frames) = (Latest::new(), Latest::new());
        let picture = Picture {
            stream: 1,
            frames: frames.reader(),
        };
        let id = ParticipantId::from_bits(7);
        let person = Person::new(id, true, picture, voice.reader(), now);
        (person, voice, frames)
    }

    fn described(name: &str, microphone: bool, camera: bool) -> ParticipantState {
        ParticipantState {
            name: name.into(),
            microphone,
            camera,
            knows: Vec::new(),
            relay: false,
        }
    }

    fn loudness(level: f32) -> VoiceStats {
        VoiceStats {
            level,
            ..VoiceStats::default()
        }
    }

    #[test]
    fn speaking_begins_after_a_tenth_of_a_second_and_outlasts_the_gaps_between_words() {
        let start = clock::now();
        let (mut person, voice, _frames) = person(start);
        person.describe(described("Ada", true, true));
        let mut speaking = |level, at: u32| {
            voice.set(loudness(level));
            person.handle_tick(start + at * MS);
            person.participant().speaking
        };
        assert!(!speaking(0.8, 0));
        assert!(!speaking(0.8, 50));
        assert!(speaking(0.8, 100));
        assert!(speaking(0.0, 150));
        assert!(speaking(0.0, 600));
        assert!(speaking(0.8, 620), "the gap was too short");
        assert!(speaking(0.0, 700));
        assert!(!speaking(0.0, 1_200));
    }

    #[test]
    fn nobody_speaks_through_a_microphone_that_is_off() {
        let start = clock::now();
        let (mut person, voice, _frames) = person(start);
        person.describe(described("Ada", false, true));
        voice.set(loudness(1.0));
        for at in [0, 200, 400] {
            person.handle_tick(start + at * MS);
        }
        assert!(!person.participant().speaking);
    }

    #[test]
    fn a_picture_shows_once_there_is_one_and_while_the_camera_is_on() {
        let now = clock::now();
        let (mut person, _voice, frames) = person(now);
        person.describe(described("Ada", true, true));
        person.handle_tick(now);
        assert_eq!(person.participant().picture, None);
        let size = Size::new(2, 2);
        frames.set(VideoFrame::new(size, vec![0; 6], now));
        assert!(person.handle_tick(now));
        assert!(person.participant().picture.is_some());
        person.describe(described("Ada", true, false));
        assert_eq!(person.participant().picture, None);
    }

    #[test]
    fn a_connection_that_breaks_reconnects_and_is_called_failed_when_that_takes_long() {
        let start = clock::now();
        let (mut person, _voice, _frames) = person(start);
        let connected = LinkNews::Connected {
            path: Path::Direct,
            after: 80 * MS,
        };
        person.handle_news(&connected, start);
        assert_eq!(person.participant().stage, Stage::Connected);
        assert_eq!(person.participant().path, "direct");
        person.handle_news(&LinkNews::Interrupted, start);
        let since = start;
        assert_eq!(person.participant().stage, Stage::Reconnecting { since });
        person.handle_tick(start + GIVE_UP_HOPE);
        assert_eq!(person.participant().stage, Stage::Failed);
        person.handle_news(&connected, start + GIVE_UP_HOPE);
        assert_eq!(person.participant().stage, Stage::Connected);
    }

    #[test]
    fn a_name_cannot_fill_the_screen_or_turn_the_writing_around() {
        let (mut person, _voice, _frames) = person(clock::now());
        person.describe(described(" A\nd\u{202e}a ", true, true));
        assert_eq!(person.name(), "Ada");
        person.describe(described(&"x".repeat(500), true, true));
        assert_eq!(person.name().len(), MAX_PERSON_NAME);
    }

    #[test]
    fn pictures_that_they_pause_are_told_with_the_reason() {
        let now = clock::now();
        let (mut person, _voice, _frames) = person(now);
        person.handle_news(&LinkNews::PicturesPaused(Why::Bandwidth), now);
        let paused = person.participant().video_paused;
        assert_eq!(paused, Some(PauseReason::SlowConnection));
        person.handle_news(&LinkNews::PicturesResumed, now);
        assert_eq!(person.participant().video_paused, None);
    }
}
