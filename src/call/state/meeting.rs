//! Opening, joining and leaving a meeting, and who comes and goes in it.

use std::time::{Duration, Instant};

use nonstop_wire::{MeetingLink, ParticipantId, ParticipantState, Strain, Topology};

use super::{Call, Effect, Phase, State};
use crate::{
    call::{
        Command, Happening, NoticeKind, Picture, Side,
        person::Person,
        slowness::{self, Slow, SlowWatch},
        words,
    },
    config::RecentMeeting,
    latest::Reader,
    media::{Size, VideoFrame, audio::VoiceStats},
    mesh::{End, LinkNews},
};

/// How long what is only good to know stays on the screen.
const PASSING: Duration = Duration::from_secs(5);
/// How long it stands on the screen that UDP is blocked: it stays so, and the path's card says it.
const BLOCKED_STANDS: Duration = Duration::from_secs(12);

impl State {
    pub(super) fn new_meeting(&mut self) {
        self.leave();
        self.retry = Some(Command::NewMeeting);
        self.attempts += 1;
        let server = self.settings.server.clone();
        let server = server.filter(|server| !server.trim().is_empty());
        let place = server.as_deref().unwrap_or("this computer").to_owned();
        self.phase = Phase::Opening {
            attempt: self.attempts,
            place,
        };
        self.effects.push_back(Effect::OpenMeeting {
            attempt: self.attempts,
            server,
        });
    }

    pub(super) fn join(&mut self, text: &str, now: Instant) {
        self.notices.clear(NoticeKind::Link);
        match text.parse::<MeetingLink>() {
            Ok(link) => {
                self.leave();
                self.retry = Some(Command::Join(text.to_owned()));
                self.enter(link, now);
            }
            Err(error) => self.say(words::link(&error)),
        }
    }

    pub(super) fn enter(&mut self, link: MeetingLink, now: Instant) {
        self.end_test();
        let me = self.me();
        self.described = Some(me.clone());
        self.phase = Phase::Joining(Call {
            link: link.clone(),
            since: now,
            others_at_first: 0,
            seen: 0,
            people: Vec::new(),
            reconnecting_since: None,
            slow: SlowWatch::default(),
            said_slow: None,
            said_blocked: false,
            topology: Topology::default(),
            sent_through_relay: false,
            speakers: Vec::new(),
            told_strain: Strain::default(),
            viewed: None,
        });
        self.effects.push_back(Effect::Join {
            link,
            me,
            hide_address: self.settings.hide_address,
            proxy: self.settings.proxy.clone(),
        });
    }

    /// Leaves whatever is going on, for the lobby.
    pub(super) fn leave(&mut self) {
        let before = std::mem::replace(&mut self.phase, Phase::Lobby);
        self.described = None;
        self.notices.clear(NoticeKind::Link);
        self.notices.clear(NoticeKind::Meeting);
        self.notices.clear(NoticeKind::Presence);
        self.notices.clear(NoticeKind::Connection);
        self.notices.clear(NoticeKind::Network);
        self.notices.clear(NoticeKind::Relay);
        match before {
            Phase::Lobby | Phase::Opening { .. } => {}
            Phase::Joining(_) => self.effects.push_back(Effect::Leave),
            Phase::InCall(_) => {
                self.effects.push_back(Effect::Leave);
                self.happenings.push_back(Happening::Ended(End::Left));
            }
        }
    }

    pub(super) fn joined(&mut self, me: ParticipantId, others: usize, now: Instant) {
        let mut call = match std::mem::replace(&mut self.phase, Phase::Lobby) {
            Phase::Joining(call) => call,
            other => {
                self.phase = other;
                return;
            }
        };
        let after = now.saturating_duration_since(call.since);
        call.since = now;
        call.others_at_first = others;
        self.offered_link = None;
        self.settings.remember(RecentMeeting {
            room: call.link.room().to_string(),
            link: call.link.reveal(),
        });
        self.phase = Phase::InCall(call);
        self.save();
        self.happenings
            .push_back(Happening::Joined { me, others, after });
    }

    pub(super) fn ended(&mut self, end: End) {
        let host = self.call_mut().map(|call| call.link.host().to_owned());
        self.phase = Phase::Lobby;
        self.described = None;
        self.notices.clear(NoticeKind::Presence);
        self.notices.clear(NoticeKind::Connection);
        self.notices.clear(NoticeKind::Network);
        self.notices.clear(NoticeKind::Relay);
        match &end {
            End::Left => {}
            End::Refused(code) => self.say(words::refused(*code)),
            End::Unreachable(_) => self.say(words::unreachable(&host.unwrap_or_default())),
        }
        self.happenings.push_back(Happening::Ended(end));
    }

    pub(super) fn came(
        &mut self,
        id: ParticipantId,
        frames: Reader<VideoFrame>,
        voice: Reader<VoiceStats>,
        now: Instant,
    ) {
        self.happenings
            .push_back(Happening::ParticipantJoined { id });
        let stream = self.next_stream();
        if let Some(call) = self.call_mut() {
            call.people.retain(|person| person.id() != id);
            let newcomer = call.seen >= call.others_at_first;
            call.seen += 1;
            let picture = Picture { stream, frames };
            call.people
                .push(Person::new(id, newcomer, picture, voice, now));
        }
    }

    pub(super) fn described(&mut self, id: ParticipantId, state: ParticipantState, now: Instant) {
        let Some(person) = self.person_mut(id) else {
            return;
        };
        let first = !person.described;
        let (microphone, camera) = (state.microphone, state.camera);
        person.describe(state);
        let announced = first && person.newcomer;
        let name = self.name_of(id);
        if announced {
            self.post(words::joined(&name), Some(now + PASSING));
        }
        self.happenings.push_back(Happening::ParticipantDescribed {
            id,
            name,
            microphone,
            camera,
        });
    }

    pub(super) fn left(&mut self, id: ParticipantId, lost: bool, now: Instant) {
        let described = self.person_mut(id).is_some_and(|person| person.described);
        let name = self.name_of(id);
        if described {
            self.post(words::left(&name, lost), Some(now + PASSING));
        }
        if let Some(call) = self.call_mut() {
            call.people.retain(|person| person.id() != id);
        }
        self.happenings
            .push_back(Happening::ParticipantLeft { id, name, lost });
    }

    pub(super) fn viewed(&mut self, sizes: &[(u64, Size)]) {
        let Some(call) = self.call_mut() else {
            return;
        };
        let sizes = sizes.iter();
        let sizes: Vec<_> = sizes
            .map(|(id, size)| (ParticipantId::from_bits(*id), *size))
            .collect();
        for person in &mut call.people {
            let shown = sizes.iter().find(|(id, _)| *id == person.id());
            person.set_viewed(shown.map_or(Size::new(0, 0), |(_, size)| *size));
        }
        if call.viewed.as_ref() != Some(&sizes) {
            call.viewed = Some(sizes.clone());
            self.effects.push_back(Effect::View(sizes));
        }
    }

    pub(super) fn link_news(&mut self, id: ParticipantId, news: LinkNews, now: Instant) {
        if let Some(person) = self.person_mut(id) {
            person.handle_news(&news, now);
        }
        self.say_blocked(now);
        self.happenings.push_back(Happening::Link { id, news });
    }

    /// Says once a call that this network blocks UDP, where a link goes through a stream for that.
    fn say_blocked(&mut self, now: Instant) {
        let Phase::InCall(call) = &mut self.phase else {
            return;
        };
        let blocked = |person: &&Person| person.attempt().udp_blocked == Side::Ours;
        let path = call.people.iter().find(blocked).and_then(Person::path);
        if let Some(path) = path
            && !std::mem::replace(&mut call.said_blocked, true)
        {
            self.post(words::udp_blocked(path), Some(now + BLOCKED_STANDS));
        }
    }

    /// Tells the others how our links do, and says whose connection is slow, while that is worth
    /// saying.
    pub(super) fn watch_slowness(&mut self, now: Instant) {
        let Phase::InCall(call) = &mut self.phase else {
            return;
        };
        let links = call.witnesses();
        let strain = slowness::strain(&links);
        if strain != call.told_strain {
            call.told_strain = strain;
            self.effects.push_back(Effect::Strain(strain));
        }
        let found = slowness::find(&links);
        let slow = call.slow.update(found.slow, now);
        if slow == call.said_slow {
            return;
        }
        call.said_slow = slow;
        self.changed = true;
        self.notices.clear(NoticeKind::Connection);
        if let Some(slow) = slow {
            let name = match slow {
                Slow::Ours | Slow::Everybodys => String::new(),
                Slow::Theirs(id) | Slow::Between(id) => self.name_of(id),
            };
            self.say(words::slow(slow, found.ours, &name));
        }
    }
}
