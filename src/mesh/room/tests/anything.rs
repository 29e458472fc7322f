//! Whatever happens in whatever order, a room that was woken does not ask to be woken again at once.

use std::collections::BTreeSet;

use nonstop_wire::Topology;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::mesh::room::RelayedNews;

const PEOPLE: [u64; 6] = [0xa, 0xb, 0xc, 0xe, 0x20, 0x21];

/// One thing that happens.
#[derive(Debug, Clone)]
enum Fact {
    Welcome {
        resumed: bool,
        relay: bool,
        relayed: bool,
        others: Vec<u64>,
    },
    Disconnected,
    Joined(u64),
    Away(u64),
    Back(u64),
    Left(u64, DepartureReason),
    State {
        from: u64,
        relay: bool,
        knows: Vec<u64>,
    },
    Goodbye(u64),
    Link(u64, usize),
    Topology(Topology),
    RelayUp,
    RelayDown,
    Published(u64, bool),
    Unpublished(u64),
    Viewed(Vec<u64>),
    Starving(bool),
    Relayed(u64, u8),
}

fn person() -> impl Strategy<Value = u64> {
    select(&PEOPLE[..])
}

fn people() -> impl Strategy<Value = Vec<u64>> {
    vec(person(), 0..6)
}

fn topology() -> impl Strategy<Value = Topology> {
    select(vec![Topology::Mesh, Topology::Relay, Topology::Unknown])
}

/// What a link tells, by its place.
const LINK_EVENTS: &[fn() -> LinkEvent] = &[
    || LinkEvent::Connected(Path::Direct),
    || LinkEvent::PathChanged(Path::Direct),
    || LinkEvent::Interrupted,
    || LinkEvent::Failed(LinkError::NoPath),
    || LinkEvent::Failed(LinkError::WrongParty),
    || LinkEvent::FirstVideoFrame,
    || LinkEvent::FirstAudio,
    || LinkEvent::VideoPaused,
    || LinkEvent::VideoResumed,
    || LinkEvent::Carried(true),
    || LinkEvent::Carried(false),
    || LinkEvent::Sound,
    || LinkEvent::Picture,
];

fn fact() -> impl Strategy<Value = Fact> {
    let reason = select(vec![
        DepartureReason::Left,
        DepartureReason::Lost,
        DepartureReason::Unknown,
    ]);
    let welcome = (any::<bool>(), any::<bool>(), any::<bool>(), people());
    prop_oneof![
        3 => welcome.prop_map(|(resumed, relay, relayed, others)| Fact::Welcome { resumed, relay, relayed, others }),
        2 => Just(Fact::Disconnected),
        3 => person().prop_map(Fact::Joined),
        1 => person().prop_map(Fact::Away),
        1 => person().prop_map(Fact::Back),
        1 => (person(), reason).prop_map(|(id, reason)| Fact::Left(id, reason)),
        6 => (person(), any::<bool>(), people()).prop_map(|(from, relay, knows)| Fact::State { from, relay, knows }),
        1 => person().prop_map(Fact::Goodbye),
        8 => (person(), 0..LINK_EVENTS.len()).prop_map(|(id, event)| Fact::Link(id, event)),
        3 => topology().prop_map(Fact::Topology),
        3 => Just(Fact::RelayUp),
        2 => Just(Fact::RelayDown),
        4 => (person(), any::<bool>()).prop_map(|(id, preferred)| Fact::Published(id, preferred)),
        1 => person().prop_map(Fact::Unpublished),
        1 => people().prop_map(Fact::Viewed),
        1 => any::<bool>().prop_map(Fact::Starving),
        4 => (person(), 0..4u8).prop_map(|(id, news)| Fact::Relayed(id, news)),
    ]
}

fn ids(people: &[u64]) -> Vec<ParticipantId> {
    let ids: BTreeSet<_> = people
        .iter()
        .map(|id| ParticipantId::from_bits(*id))
        .collect();
    ids.into_iter().collect()
}

impl Scene {
    fn happen(&mut self, fact: Fact) {
        let (room, now) = (&mut self.room, self.now);
        let id = ParticipantId::from_bits;
        match fact {
            Fact::Welcome {
                resumed,
                relay,
                relayed,
                others,
            } => {
                let mut welcome = welcome(&ids(&others), resumed);
                welcome.relay = relay;
                if relayed {
                    welcome.topology = Topology::Relay;
                }
                room.handle_welcome(&welcome, now);
            }
            Fact::Disconnected => room.handle_disconnected(now),
            Fact::Joined(who) => room.handle_joined(id(who), now),
            Fact::Away(who) => room.handle_away(id(who), now),
            Fact::Back(who) => room.handle_back(id(who), now),
            Fact::Left(who, reason) => room.handle_left(id(who), reason, now),
            Fact::State { from, relay, knows } => {
                let mut knows = ids(&knows);
                knows.push(id(ME));
                let mut state = state("them", knows);
                state.relay = relay;
                self.hear(id(from), PeerMessage::State(state));
            }
            Fact::Goodbye(from) => self.hear(id(from), PeerMessage::Bye),
            Fact::Link(who, event) => {
                if self.number(id(who)).is_some() {
                    self.link(id(who), LINK_EVENTS[event]());
                }
            }
            Fact::Topology(topology) => room.handle_topology(topology, now),
            Fact::RelayUp => room.handle_relay_up(now),
            Fact::RelayDown => room.handle_relay_down(now),
            Fact::Published(who, preferred) => room.handle_published(id(who), preferred, now),
            Fact::Unpublished(who) => room.handle_unpublished(id(who), now),
            Fact::Viewed(whom) => room.handle_viewed(ids(&whom).into_iter().collect(), now),
            Fact::Starving(starving) => room.handle_starving(starving, now),
            Fact::Relayed(who, news) => {
                let news = match news {
                    0 => RelayedNews::Sound,
                    1 => RelayedNews::Picture,
                    news => RelayedNews::PicturesPaused(news == 2),
                };
                room.handle_relayed(id(who), news, now);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_room_that_was_woken_is_not_due_again_at_once(
        facts in vec((0u64..20_000, fact()), 1..60),
    ) {
        let mut scene = Scene::outside();
        for (gap, fact) in facts {
            scene.happen(fact);
            scene.effects();
            let until = scene.now + Duration::from_millis(gap);
            while let Some(due) = scene.room.poll_timeout().filter(|due| *due <= until) {
                scene.now = scene.now.max(due);
                scene.room.handle_timeout(scene.now);
                scene.effects();
                let again = scene.room.poll_timeout();
                prop_assert!(again.is_none_or(|again| again > scene.now));
            }
            scene.now = until;
        }
    }
}
