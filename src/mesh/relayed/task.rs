//! The task of the connection to the relay: the loop in which everything about it happens, in order.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use nonstop_rate::{Bitrate, Limits};
use nonstop_wire::{ClientMessage, RelayOpened, ServerMessage};
use tokio::sync::{Notify, mpsc};

use super::{
    Intake, Lost, Offer, Order, RelayedConfig, RelayedEvent, UplinkStats,
    course::{Course, Step},
    figures::Figures,
    people::People,
    person::Ask,
    publishing::Publishing,
};
use crate::{
    clock,
    latest::Reader,
    mesh::{
        link::remote_clock::NtpClock,
        paths::{Path, PathEvent},
        peer::{FromRelay, LAYERS, PeerError, PeerEvent, RelayPeer, RelayPeerConfig},
    },
};

/// Packets that may wait for the task; more are lost like on the network. A second of a page of
/// pictures and the sound of the loudest at 8 Mb/s.
const MOST_RECEIVED: usize = 1_024;
/// Events of the connection that may wait: each interface finds a few candidates.
const MOST_PEER_EVENTS: usize = 128;
/// Most events that wait for the mesh; beyond half of it figures are left out.
const MOST_EVENTS: usize = 1_024;
/// How often the relay hears how our clocks belong together, while something is sent.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// How often figures go out, and the path is looked at.
const STATS_INTERVAL: Duration = Duration::from_secs(1);
/// How often the encoders are told the newest estimate: once a picture.
const STEER_INTERVAL: Duration = Duration::from_millis(33);
/// How often the pacer is looked at while it has no room for another picture.
const ROOM_INTERVAL: Duration = Duration::from_millis(10);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(300);

/// The state of it all.
pub(super) struct Task {
    config: RelayedConfig,
    offer: Reader<Option<Offer>>,
    takes: Reader<Intake>,
    /// Notified when a decoder, or one of the two above, has something new.
    wake: Arc<Notify>,
    /// What the mesh has not taken yet.
    untold: VecDeque<RelayedEvent>,
    course: Course,
    peer: Option<RelayPeer>,
    publishing: Publishing,
    people: People,
    figures: Figures,
    clock: NtpClock,
    round_trip: Option<Duration>,
    /// Whether the paths believe that nothing flows.
    told_idle: bool,
    /// Whether the mesh believes that something is sent.
    told_active: bool,
    next_report: Instant,
    next_stats: Instant,
    next_steer: Instant,
}

/// What comes from one connection. Without one, both ends are closed.
struct Ends {
    events: mpsc::Receiver<PeerEvent>,
    received: mpsc::Receiver<FromRelay>,
}

impl Ends {
    fn closed() -> Self {
        Self {
            events: mpsc::channel(1).1,
            received: mpsc::channel(1).1,
        }
    }
}

impl Task {
    pub(super) fn new(
        config: RelayedConfig,
        offer: Reader<Option<Offer>>,
        takes: Reader<Intake>,
        wake: Arc<Notify>,
    ) -> Self {
        let now = clock::now();
        let unix = clock::unix_time();
        Self {
            publishing: Publishing::new(config.max_size),
            people: People::new(Arc::clone(&wake)),
            config,
            offer,
            takes,
            wake,
            untold: VecDeque::new(),
            // Larger than any number of an earlier task of this participant.
            course: Course::new(unix.as_secs() as u32, now),
            peer: None,
            figures: Figures::new(now),
            clock: NtpClock::new(now, unix),
            round_trip: None,
            told_idle: false,
            told_active: false,
            next_report: now,
            next_stats: now + STATS_INTERVAL,
            next_steer: now,
        }
    }

    /// Runs until nobody holds the connection any more.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<RelayedEvent>,
    ) {
        let mut ends = Ends::closed();
        loop {
            // What the relay says goes through a large library. Should it panic, the connection is
            // lost, and another is opened.
            let work = AssertUnwindSafe(Box::pin(self.work(&mut orders, &events, &mut ends)));
            if work.catch_unwind().await.is_ok() {
                break;
            }
            tracing::error!("the connection to the relay panicked");
            let step = self.course.handle_failed(Lost::Setup, clock::now());
            ends = Ends::closed();
            self.peer = None;
            self.lose(step);
        }
        if let Some(peer) = self.peer {
            let _ = tokio::time::timeout(GOODBYE, peer.close()).await;
        }
    }

    async fn work(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        events: &mpsc::Sender<RelayedEvent>,
        ends: &mut Ends,
    ) {
        loop {
            let now = clock::now();
            self.handle_time(ends, now).await;
            let up = self.course.up();
            let room = up
                && self
                    .peer
                    .as_ref()
                    .is_some_and(|peer| peer.flow().has_room());
            let deadline = self.deadline(now, room);
            tokio::select! {
                biased;
                // 1. Rare, and everything else depends on it.
                order = orders.recv() => match order {
                    Some(order) => self.handle_order(order, ends).await,
                    None => return,
                },
                // 2. Rare too; comes from the connection's task, which must not wait.
                Some(event) = ends.events.recv() => self.handle_peer_event(event, ends).await,
                // 3. The mesh may be slow: it is offered one event at a time.
                Ok(permit) = events.reserve(), if !self.untold.is_empty() => {
                    if let Some(event) = self.untold.pop_front() {
                        permit.send(event);
                    }
                }
                // 4. Sound and pictures to send; 20 ms of sound must not wait for what arrives.
                outgoing = self.publishing.next(room), if up => {
                    if let Some(peer) = &mut self.peer {
                        self.publishing.send(outgoing, peer, &self.config, now).await;
                    }
                }
                // 5. What arrives; its queue is the longest.
                Some(received) = ends.received.recv() => self.handle_received(received, ends),
                // 6. A decoder showed its first picture or needs a keyframe; or other wishes.
                () = self.wake.notified() => self.handle_wake(),
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
        }
    }

    fn deadline(&self, now: Instant, room: bool) -> Instant {
        let up = self.course.up();
        let active = up && self.publishing.active();
        let busy = up && (active || !self.people.is_empty());
        let due = [
            Some(self.course.poll_timeout()),
            // The answers to checks of the path are not told of: they are looked for.
            up.then_some(self.next_stats),
            active.then_some(self.next_report),
            active.then_some(self.next_steer),
            (active && !room).then_some(now + ROOM_INTERVAL),
            self.publishing.poll_timeout().filter(|_| active),
            self.people.poll_timeout().filter(|_| busy),
        ];
        due.into_iter()
            .flatten()
            .fold(now + STATS_INTERVAL * 10, Instant::min)
    }

    async fn handle_time(&mut self, ends: &mut Ends, now: Instant) {
        if let Some(heard) = self.peer.as_ref().and_then(|peer| peer.wire().last_heard()) {
            self.course.handle_heard(heard, false);
        }
        if let Some(step) = self.course.handle_timeout(now) {
            self.do_step(step, ends).await;
        }
        self.tell_server(now);
        let asked = self.people.handle_timeout(now);
        let Some(peer) = self.peer.as_ref().filter(|_| self.course.up()) else {
            return;
        };
        for ask in asked {
            match ask {
                Ask::Again(ssrc, missing) => peer.sound.request_again(ssrc, &missing).await,
                Ask::Keyframe(ssrc) => peer.sound.request_keyframe(ssrc).await,
            }
        }
        let idle = !self.publishing.active() && self.people.is_empty();
        if std::mem::replace(&mut self.told_idle, idle) != idle {
            peer.wire().set_idle(idle);
        }
        if self.next_steer <= now || self.publishing.poll_timeout().is_some_and(|due| due <= now) {
            self.next_steer = now + STEER_INTERVAL;
            self.publishing.steer(&self.config, peer.flow(), now);
        }
        if self.next_report <= now {
            self.next_report = now + REPORT_INTERVAL;
            let report = self.publishing.report(&self.clock, peer, &self.config, now);
            report.await;
        }
        if self.next_stats <= now {
            self.next_stats = now + STATS_INTERVAL;
            self.publishing.set_source(self.config.renditions.source());
            self.look_at_path();
            self.look_at_loss(now);
            self.tell_figures(now);
        }
    }

    /// Says to the server what it does not know yet, once media can flow.
    fn tell_server(&mut self, now: Instant) {
        if !self.course.up() {
            return;
        }
        let news = [self.publishing.due(), self.people.due(now)];
        for message in news.into_iter().flatten() {
            self.tell(RelayedEvent::Say(message));
        }
    }

    async fn handle_order(&mut self, order: Order, ends: &mut Ends) {
        let now = clock::now();
        match order {
            Order::Back { resumed } => {
                let step = self.course.handle_back(resumed, now);
                match step {
                    Some(step) => self.do_step(step, ends).await,
                    None => {
                        self.publishing.tell_again();
                        self.people.tell_again();
                    }
                }
            }
            Order::Said(message) => self.handle_server(message, ends, now).await,
        }
    }

    async fn handle_server(&mut self, message: ServerMessage, ends: &mut Ends, now: Instant) {
        match message {
            ServerMessage::RelayOpened(opened) => self.handle_opened(&opened, ends, now).await,
            ServerMessage::RelayClosed { connection } => {
                if let Some(step) = self.course.handle_closed(connection, now) {
                    self.do_step(step, ends).await;
                }
            }
            ServerMessage::Published(published) => {
                let news = self.people.handle_published(published);
                self.untold.extend(news);
            }
            ServerMessage::Unpublished { participant } => {
                let news = self.people.handle_unpublished(participant);
                self.untold.extend(news);
            }
            ServerMessage::Wanted(wanted) => {
                tracing::debug!(?wanted, "somebody takes in what we publish");
                self.publishing.handle_wanted(&wanted, &self.config);
                self.next_steer = now;
            }
            ServerMessage::Allotted { pictures } => {
                let news = self.people.handle_allotted(&pictures);
                self.untold.extend(news);
            }
            ServerMessage::Speakers { participants } => {
                self.tell(RelayedEvent::Speakers(participants));
            }
            _ => {}
        }
    }

    async fn handle_opened(&mut self, opened: &RelayOpened, ends: &mut Ends, now: Instant) {
        if !self.course.handle_opened(opened.connection, now) {
            return;
        }
        let Some(peer) = &mut self.peer else { return };
        if let Err(error) = peer.apply(opened).await {
            tracing::warn!(%error, "the relay cannot be used");
            let step = self.course.handle_failed(Lost::Setup, now);
            self.fail(step, ends);
        }
    }

    async fn do_step(&mut self, step: Step, ends: &mut Ends) {
        match step {
            Step::Open(number) => {
                if let Err(error) = self.open(number, ends).await {
                    tracing::warn!(%error, "no connection to the relay can be set up");
                    let step = self.course.handle_failed(Lost::Setup, clock::now());
                    self.fail(step, ends);
                }
            }
            Step::Lose(..) => self.fail(Some(step), ends),
        }
    }

    async fn open(&mut self, number: u32, ends: &mut Ends) -> Result<(), PeerError> {
        let (events, peer_events) = mpsc::channel(MOST_PEER_EVENTS);
        let (received_in, received) = mpsc::channel(MOST_RECEIVED);
        *ends = Ends {
            events: peer_events,
            received,
        };
        let config = RelayPeerConfig {
            paths: self.config.paths.clone(),
            limits: self.limits(),
            events,
            received: received_in,
        };
        let mut peer = RelayPeer::open(config).await?;
        let open = peer.offer(number, LAYERS).await?;
        self.peer = Some(peer);
        self.people.restart();
        self.figures.restart();
        self.tell(RelayedEvent::Say(ClientMessage::RelayOpen(open)));
        Ok(())
    }

    fn limits(&self) -> Limits {
        let defaults = Limits::default();
        let ceiling = self.config.max_bitrate.unwrap_or(defaults.ceiling);
        Limits {
            start: defaults.start.min(ceiling),
            floor: defaults.floor.min(ceiling),
            ceiling,
        }
    }

    /// Lets a connection go that is lost.
    fn fail(&mut self, step: Option<Step>, ends: &mut Ends) {
        *ends = Ends::closed();
        self.peer = None;
        self.lose(step);
    }

    fn lose(&mut self, step: Option<Step>) {
        self.publishing.restart(clock::now());
        self.people.restart();
        self.round_trip = None;
        self.told_idle = false;
        if let Some(Step::Lose(why, up)) = step {
            tracing::debug!(?why, up, "the connection to the relay is lost");
            if up {
                self.tell(RelayedEvent::Down { why });
            }
        }
    }

    async fn handle_peer_event(&mut self, event: PeerEvent, ends: &mut Ends) {
        let now = clock::now();
        let Some(peer) = &mut self.peer else { return };
        let failed = match event {
            PeerEvent::Path(PathEvent::Selected(Some(path))) => {
                peer.flow().path_changed();
                tracing::debug!(way = %path.way, "the way to the relay");
                self.round_trip = None;
                peer.let_in().await.err().map(|error| {
                    tracing::warn!(%error, "the connection to the relay cannot begin");
                    Lost::Setup
                })
            }
            // The server's word and silence tell whether the relay is gone.
            PeerEvent::Path(_) => None,
            PeerEvent::Connected => {
                let learned = peer.learn_streams().await;
                if learned.is_ok() && self.course.handle_connected(now) {
                    self.next_stats = now;
                    let way = peer
                        .wire()
                        .path()
                        .map_or(Path::Direct, |path| path.way.into());
                    self.tell(RelayedEvent::Up(way));
                }
                learned.err().map(|_| Lost::Setup)
            }
            PeerEvent::Lost => Some(Lost::Silent),
            PeerEvent::CertificateRefused => Some(Lost::WrongParty),
        };
        if let Some(why) = failed {
            let step = self.course.handle_failed(why, now);
            self.fail(step, ends);
        }
    }

    fn handle_received(&mut self, received: FromRelay, ends: &mut Ends) {
        let now = clock::now();
        match received {
            FromRelay::Rtp(packet) => {
                self.course.handle_heard(packet.arrived, true);
                let news = self.people.handle_packet(packet, now);
                self.untold.extend(news);
            }
            FromRelay::KeyframeRequest(ssrc) => {
                let mut layers = self.peer.iter().flat_map(|peer| &peer.layers);
                let layer = layers.position(|layer| layer.ssrc() == ssrc);
                if let Some(layer) = layer {
                    self.publishing.request_keyframe(layer, now);
                }
            }
            FromRelay::SenderReport {
                ssrc,
                ntp,
                timestamp,
                arrived,
            } => self.people.handle_report(ssrc, ntp, timestamp, arrived),
            FromRelay::Goodbye => {
                let step = self.course.handle_failed(Lost::Closed, now);
                self.fail(step, ends);
            }
            FromRelay::Alive(at) => self.course.handle_heard(at, false),
        }
    }

    fn handle_wake(&mut self) {
        let now = clock::now();
        if let Some(offer) = self.offer.take_new() {
            self.publishing.set_offer(offer);
        }
        if let Some(takes) = self.takes.take_new() {
            self.people.set_takes(takes, now);
        }
        let news = self.people.handle_decoders(now);
        self.untold.extend(news);
    }

    /// Looks at what the checks of the path have found.
    fn look_at_path(&mut self) {
        let path = self.peer.as_ref().and_then(|peer| peer.wire().path());
        let Some(round_trip) = path.and_then(|path| path.round_trip) else {
            return;
        };
        // Smoothed as in TCP (RFC 6298 section 2).
        let smooth = match self.round_trip {
            Some(old) => old * 7 / 8 + round_trip / 8,
            None => round_trip,
        };
        self.round_trip = Some(smooth);
        self.people.set_round_trip(smooth);
    }

    fn look_at_loss(&mut self, now: Instant) {
        if let Some(peer) = self.peer.as_ref() {
            self.people.set_loss(peer.flow().loss_received(), now);
        }
    }

    fn tell_figures(&mut self, now: Instant) {
        let Some(peer) = &self.peer else { return };
        let flow = peer.flow();
        let target = self.publishing.target();
        let (mut stats, time) = self.figures.take(now, self.publishing.sent(), flow, target);
        stats.round_trip_time = self.round_trip;
        let way = peer.wire().path().map(|path| Path::from(path.way));
        stats.protocol = way.map(Path::protocol);
        // The mesh is behind: newer figures come in a second.
        if self.untold.len() >= MOST_EVENTS / 2 {
            return;
        }
        let active = self.publishing.active();
        let silent = stats.video_sent.unwrap_or_default() + stats.audio_sent.unwrap_or_default()
            == Bitrate::ZERO;
        if active || self.told_active {
            self.told_active = active || !silent;
            let (sent, offered, paused) = self.publishing.state();
            self.untold.push_back(RelayedEvent::Uplink(UplinkStats {
                estimate: flow.estimate(),
                target: flow.target(),
                round_trip_time: self.round_trip,
                video_sent: stats.video_sent.unwrap_or_default(),
                audio_sent: stats.audio_sent.unwrap_or_default(),
                offered,
                sent,
                paused,
            }));
        }
        let people = self.people.figures(now, time, &stats);
        self.untold.extend(people);
    }

    fn tell(&mut self, event: RelayedEvent) {
        if self.untold.len() < MOST_EVENTS {
            self.untold.push_back(event);
        } else {
            tracing::warn!("the mesh does not listen: an event of the relay is lost");
        }
    }
}
