//! The relay, as the room sees it: how the call travels, whether we have a way to the relay, and who
//! can be taken in through it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use nonstop_wire::{ParticipantId, Topology};

use super::{
    Effect, Room, ServerView,
    carriage::{Outlook, Side},
    next_link,
    person::{LinkState, Person},
};
use crate::mesh::{LinkNews, LinkStats, Path};

/// A relay that is down for longer than this is no way.
const HOPE: Duration = Duration::from_secs(5);
/// A way that was not found for this long is told of.
const NO_WAY: Duration = Duration::from_secs(10);
/// A link that nobody needs stays for this long.
const NEEDLESS: Duration = Duration::from_secs(3);
/// From so many in the call on, a way to the relay is kept: between two there is nothing to gain.
const WORTH_IT: usize = 3;

/// Our connection to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Not asked for.
    Closed,
    /// Not there (yet), since then.
    Down(Instant),
    /// There.
    Up,
}

/// What the room knows of the relay.
#[derive(Debug)]
pub(super) struct Relay {
    /// Whether the server has one.
    offered: bool,
    /// The most who are a mesh.
    limit: usize,
    told: Topology,
    /// What those above were told.
    shown: Topology,
    way: Way,
    /// Who publishes, and whether they want to be taken in through it in a mesh, too.
    published: BTreeMap<ParticipantId, bool>,
    /// Whether our uplink cannot feed a mesh.
    starving: bool,
    /// How we publish; nothing while we do not.
    publishing: Option<bool>,
    warned: bool,
    /// Whether the others were told that we have a way.
    described: bool,
    /// Whose pictures are shown; everybody's until it is said.
    viewed: Option<BTreeSet<ParticipantId>>,
}

impl Relay {
    pub(super) fn new() -> Self {
        Self {
            offered: false,
            limit: usize::MAX,
            told: Topology::Mesh,
            shown: Topology::Mesh,
            way: Way::Closed,
            published: BTreeMap::new(),
            starving: false,
            publishing: None,
            warned: false,
            described: false,
            viewed: None,
        }
    }

    /// Tells whether there is a relay that takes in those who are too many for a mesh.
    pub(super) fn offered(&self) -> bool {
        self.offered
    }

    /// Tells whether we have a way to the relay, or are about to.
    pub(super) fn hoped(&self, now: Instant) -> bool {
        match self.way {
            Way::Closed => false,
            Way::Down(since) => now < since + HOPE,
            Way::Up => true,
        }
    }

    fn available(&self, id: ParticipantId) -> bool {
        self.way == Way::Up && self.published.contains_key(&id)
    }

    /// The server is reached again: what was not found without it may be found now.
    pub(super) fn hope_anew(&mut self, now: Instant) {
        if let Way::Down(since) = &mut self.way {
            *since = now;
        }
    }

    /// `reached` tells whether the server is: without it nothing is said of the way to the relay.
    fn poll_timeout(&self, reached: bool) -> [Option<Instant>; 2] {
        let Way::Down(since) = self.way else {
            return [None; 2];
        };
        [
            self.described.then_some(since + HOPE),
            (reached && !self.warned).then_some(since + NO_WAY),
        ]
    }
}

/// What came through the relay of somebody.
#[derive(Debug)]
pub(in crate::mesh) enum RelayedNews {
    /// Their sound.
    Sound,
    /// A picture of theirs that was shown.
    Picture,
    /// Whether the relay has too little room on our way for their pictures.
    PicturesPaused(bool),
    /// Figures, once a second.
    Stats(Box<LinkStats>),
}

impl Room {
    /// Takes in what the server says of its relay when it welcomes us.
    pub(super) fn learn_relay(&mut self, offered: bool, limit: usize, topology: Topology) {
        self.relay.offered = offered;
        self.relay.limit = limit;
        self.relay.told = topology;
    }

    /// Takes in how the call travels from now on.
    pub(in crate::mesh) fn handle_topology(&mut self, topology: Topology, now: Instant) {
        self.relay.told = topology;
        self.settle(now);
    }

    /// Takes in that there is a way to the relay now.
    pub(in crate::mesh) fn handle_relay_up(&mut self, now: Instant) {
        self.relay.way = Way::Up;
        self.settle(now);
    }

    /// Takes in that the way to the relay is lost.
    pub(in crate::mesh) fn handle_relay_down(&mut self, now: Instant) {
        if self.relay.way == Way::Up {
            self.relay.way = Way::Down(now);
        }
        self.relay.published.clear();
        self.relay.publishing = None;
        self.settle(now);
    }

    /// Takes in that somebody's media can be had through the relay; `preferred` says that it is not to
    /// be had straight from them.
    pub(in crate::mesh) fn handle_published(
        &mut self,
        id: ParticipantId,
        preferred: bool,
        now: Instant,
    ) {
        self.relay.published.insert(id, preferred);
        self.settle(now);
    }

    /// Takes in that somebody's media can no longer be had through the relay.
    pub(in crate::mesh) fn handle_unpublished(&mut self, id: ParticipantId, now: Instant) {
        self.relay.published.remove(&id);
        self.settle(now);
    }

    /// Takes in whose pictures are shown.
    pub(in crate::mesh) fn handle_viewed(&mut self, viewed: BTreeSet<ParticipantId>, now: Instant) {
        self.relay.viewed = Some(viewed);
        self.settle(now);
    }

    /// Takes in whether our uplink is too narrow for a mesh.
    pub(in crate::mesh) fn handle_starving(&mut self, starving: bool, now: Instant) {
        self.relay.starving = starving;
        self.settle(now);
    }

    /// Takes in what came of somebody through the relay.
    pub(in crate::mesh) fn handle_relayed(
        &mut self,
        id: ParticipantId,
        news: RelayedNews,
        now: Instant,
    ) {
        let Some(member) = self.people.get_mut(&id).and_then(Person::member_mut) else {
            return;
        };
        let by_relay = member.carriage.by_relay();
        let after = now.saturating_duration_since(member.since);
        let news = match news {
            RelayedNews::Sound => {
                member.carriage.handle_sound(Side::Relay);
                let first = !std::mem::replace(&mut member.heard, true);
                first.then_some(LinkNews::FirstAudio { after })
            }
            RelayedNews::Picture => {
                member.carriage.handle_picture(Side::Relay);
                let first = !std::mem::replace(&mut member.seen, true);
                first.then_some(LinkNews::FirstVideoFrame { after })
            }
            RelayedNews::PicturesPaused(paused) => {
                member.carriage.handle_withheld(paused);
                by_relay.then_some(match paused {
                    true => LinkNews::PicturesPaused(nonstop_wire::PauseReason::Bandwidth),
                    false => LinkNews::PicturesResumed,
                })
            }
            RelayedNews::Stats(stats) => by_relay.then_some(LinkNews::Stats(stats)),
        };
        if let Some(news) = news {
            self.effects.push_back(Effect::News { id, news });
        }
        self.settle(now);
    }

    /// Returns how the call travels. A server that was restarted counts those who are back: it is not
    /// believed about a mesh that would be too large.
    pub(super) fn topology(&self) -> Topology {
        let members = self.people.values().filter_map(Person::member).count();
        match self.relay.told {
            _ if !self.relay.offered => Topology::Mesh,
            Topology::Mesh if members < self.relay.limit => Topology::Mesh,
            _ => Topology::Relay,
        }
    }

    /// Does what concerns the relay as a whole.
    pub(super) fn settle_relay(&mut self, now: Instant) {
        let topology = self.topology();
        if std::mem::replace(&mut self.relay.shown, topology) != topology {
            self.effects.push_back(Effect::Topology(topology));
        }
        let worth_it = self.people.len() + 1 >= WORTH_IT || topology == Topology::Relay;
        if self.relay.offered && worth_it && self.relay.way == Way::Closed && self.in_the_room() {
            self.relay.way = Way::Down(now);
            self.effects.push_back(Effect::OpenRelay);
        }
        let preferred = self.relay.starving && topology == Topology::Mesh;
        if self.relay.way == Way::Up && self.relay.publishing != Some(preferred) {
            self.relay.publishing = Some(preferred);
            self.effects.push_back(Effect::Publish { preferred });
        }
        let no_way = matches!(self.relay.way, Way::Down(since) if now >= since + NO_WAY)
            && self.server == ServerView::Connected;
        if no_way != self.relay.warned && (no_way || self.relay.way == Way::Up) {
            self.relay.warned = no_way;
            self.effects.push_back(Effect::RelayUnreachable(no_way));
        }
        let hoped = self.relay.hoped(now);
        if std::mem::replace(&mut self.relay.described, hoped) != hoped {
            for person in self.people.values_mut() {
                person.describe_at = now;
            }
        }
    }

    /// Decides which way somebody is taken in, and whether a link to them is needed.
    pub(super) fn settle_carriage(&mut self, id: ParticipantId, now: Instant) {
        let topology = self.relay.shown;
        let available = self.relay.available(id);
        let preferred = self.relay.published.get(&id).copied().unwrap_or_default();
        let shown = (self.relay.viewed.as_ref()).is_none_or(|viewed| viewed.contains(&id));
        let Some(person) = self.people.get_mut(&id) else {
            return;
        };
        let Some(member) = person.member_mut() else {
            return;
        };
        let state = member.state.as_ref();
        let outlook = Outlook {
            available,
            wanted: available && (topology == Topology::Relay || preferred),
            link: member.flows(),
            sound: state.is_none_or(|state| state.microphone),
            picture: shown && state.is_none_or(|state| state.camera),
        };
        if member.carriage.update(&outlook, now) {
            self.effects.push_back(Effect::Carry {
                id,
                taken: member.carriage.taken(),
                carried: member.carriage.carried(),
            });
        }
        self.tell_path(id, now);
        self.settle_link(id, now);
    }

    fn settle_link(&mut self, id: ParticipantId, now: Instant) {
        let reached = self.reaches(id) && self.in_the_room();
        let needed = self.needs_link(id, now);
        let first = self.me < id;
        let Some(person) = self.people.get_mut(&id) else {
            return;
        };
        let Some(member) = person.member_mut() else {
            return;
        };
        if needed {
            member.needless_since = None;
        }
        match member.link {
            LinkState::Unneeded if needed && reached => {
                let number = next_link(&mut self.links_started);
                member.link = LinkState::Running(number);
                member.beside = false;
                self.effects.push_back(Effect::StartLink {
                    id,
                    number,
                    // Both learn of it at about the same time: one of them offers.
                    initiator: first,
                });
            }
            LinkState::Waiting { .. } if !needed => member.link = LinkState::Unneeded,
            LinkState::Running(_) if !needed => {
                let since = *member.needless_since.get_or_insert(now);
                if now < since + NEEDLESS {
                    return;
                }
                member.link = LinkState::Unneeded;
                member.needless_since = None;
                member.beside = false;
                member.link_path = None;
                member.takes_relayed = false;
                person.end_session();
                self.effects.push_back(Effect::StopLink { id });
                self.tell_path(id, now);
            }
            _ => {}
        }
    }

    /// Tells whether there must be a link to a member.
    fn needs_link(&self, id: ParticipantId, now: Instant) -> bool {
        let Some(member) = self.people.get(&id).and_then(Person::member) else {
            return false;
        };
        // A call of few becomes a mesh soon, and has to at once where the relay and with it the server is
        // gone: then it would be too late to make links.
        if self.relay.shown != Topology::Relay || self.people.len() < self.relay.limit {
            return true;
        }
        let theirs = self.relay.published.contains_key(&id)
            || member.state.as_ref().is_none_or(|state| state.relay);
        if !(theirs && self.relay.hoped(now)) {
            return true;
        }
        let running = matches!(member.link, LinkState::Running(_));
        running && !(member.carriage.carried() && member.takes_relayed)
    }

    /// Tells of the way somebody's media takes, where it has changed.
    pub(super) fn tell_path(&mut self, id: ParticipantId, now: Instant) {
        let available = self.relay.available(id);
        let Some(member) = self.people.get_mut(&id).and_then(Person::member_mut) else {
            return;
        };
        let path = match available && member.carriage.by_relay() {
            true => Some(Path::Relay),
            false => member.link_path,
        };
        let after = now.saturating_duration_since(member.since);
        let before = std::mem::replace(&mut member.path, path);
        match path {
            Some(_) => member.down_since = None,
            None => _ = member.down_since.get_or_insert(now),
        }
        let news = match (before, path) {
            (before, now) if before == now => return,
            (None, Some(path)) => {
                member.last_word = None;
                LinkNews::Connected { path, after }
            }
            (Some(_), Some(path)) => LinkNews::PathChanged(path),
            (_, None) => LinkNews::Interrupted,
        };
        self.effects.push_back(Effect::News { id, news });
    }

    /// Returns when something that concerns the relay is due.
    pub(super) fn relay_timeout(&self) -> Option<Instant> {
        let members = self.people.values().filter_map(Person::member);
        let members = members.flat_map(|member| {
            let needless = member.needless_since.map(|since| since + NEEDLESS);
            [member.carriage.poll_timeout(), needless]
        });
        let relay = (self.relay).poll_timeout(self.server == ServerView::Connected);
        members.chain(relay).flatten().min()
    }
}
