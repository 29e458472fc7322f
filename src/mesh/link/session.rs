//! One peer connection of a link: the loop in which everything about it happens, in order.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nonstop_rate::LinkReport;
use nonstop_wire::{DescriptionKind, ParticipantId, PeerMessage};
use tokio::sync::mpsc;

use super::{
    LinkConfig, LinkError, LinkEvent, Order, Path, figures,
    fresh::Fresh,
    health::{Health, Verdict},
    inbound::Inbound,
    remote_clock::NtpClock,
    task::Media,
};
use crate::{
    clock,
    media::Size,
    mesh::{
        paths::{PathEvent, Ways},
        peer::{
            Kind, Peer, PeerError, PeerEvent, Received,
            negotiation::{Action, Candidate, Negotiation},
        },
        uplink::Seat,
    },
};

/// How often the other side hears that we live, and how our clocks belong together.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// How often while the path is interrupted: what arrives tells that it is back.
const CALL_INTERVAL: Duration = Duration::from_millis(100);
/// How often figures go out.
const STATS_INTERVAL: Duration = Duration::from_secs(1);
/// How often the encoder is told the newest estimate: once a picture.
const STEER_INTERVAL: Duration = Duration::from_millis(33);
/// How often the pacer is looked at while it has no room for another picture.
const ROOM_INTERVAL: Duration = Duration::from_millis(10);
/// The share of lost packets above which sound is sent on a second path as well.
const BOTH_WAYS_LOSS: f32 = 0.05;
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);
/// Most events that wait for the mesh; beyond that figures are left out, and candidates, which
/// the next description lists again.
const MOST_EVENTS: usize = 128;

/// How a connection ended.
pub(super) enum End {
    /// Nobody holds the link any more.
    Dropped,
    /// Only a new link helps.
    Failed(LinkError),
    /// The other side has a new connection: make one too, beginning with this offer or our own.
    Renew(Option<String>),
}

/// The state of one connection.
pub(super) struct Session<'a> {
    config: &'a LinkConfig,
    media: &'a mut Media,
    peer: Peer,
    uplink: Seat,
    events: &'a mpsc::Sender<(ParticipantId, LinkEvent)>,
    /// What the mesh has not taken yet.
    untold: VecDeque<LinkEvent>,
    offers: bool,
    negotiation: Negotiation,
    health: Health,
    inbound: Inbound,
    clock: NtpClock,
    path: Option<nonstop_ice::Path>,
    /// What the mesh knows of what is tried.
    told_ways: Option<Ways>,
    round_trip: Option<Duration>,
    next_report: Instant,
    next_stats: Instant,
    next_steer: Instant,
    fresh: Fresh,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        config: &'a LinkConfig,
        media: &'a mut Media,
        peer: Peer,
        events: &'a mpsc::Sender<(ParticipantId, LinkEvent)>,
        offers: bool,
    ) -> Self {
        let now = clock::now();
        let untold = media.talk.restart().into_iter().collect();
        Self {
            config,
            media,
            peer,
            uplink: config.uplink.join(now),
            events,
            untold,
            offers,
            // Of the two, the smaller id gives way.
            negotiation: Negotiation::new(config.me < config.peer),
            health: Health::new(config.me > config.peer, now),
            inbound: Inbound::new(),
            clock: NtpClock::new(now, clock::unix_time()),
            path: None,
            told_ways: None,
            round_trip: None,
            next_report: now,
            next_stats: now + STATS_INTERVAL,
            next_steer: now,
            fresh: Fresh::default(),
        }
    }

    /// Runs the connection to its end, and closes it.
    pub(super) async fn run(
        mut self,
        signals: &mut mpsc::Receiver<Order>,
        peer_events: mpsc::Receiver<PeerEvent>,
        received: mpsc::Receiver<Received>,
        first_offer: Option<String>,
    ) -> End {
        let end = match self.work(signals, peer_events, received, first_offer).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        self.media.outbound.set_active(false);
        if tokio::time::timeout(GOODBYE, self.peer.close())
            .await
            .is_err()
        {
            tracing::debug!("the connection took too long to close");
        }
        end
    }

    async fn work(
        &mut self,
        signals: &mut mpsc::Receiver<Order>,
        mut peer_events: mpsc::Receiver<PeerEvent>,
        mut received: mpsc::Receiver<Received>,
        first_offer: Option<String>,
    ) -> Result<std::convert::Infallible, End> {
        let now = clock::now();
        let actions = match first_offer {
            Some(offer) => self.negotiation.handle_offer(offer, now),
            None if self.offers => self.negotiation.start(now),
            None => Vec::new(),
        };
        self.perform(actions).await?;
        loop {
            let now = clock::now();
            self.handle_time(now).await?;
            let connected = self.health.connected();
            let room = connected && self.peer.flow().has_room();
            let mut deadline = self.deadline();
            if connected && !room {
                deadline = deadline.min(now + ROOM_INTERVAL);
            }
            tokio::select! {
                biased;
                // 1. Rare, and everything else depends on it.
                signal = signals.recv() => match signal {
                    Some(Order::Signal(signal)) => self.handle_signal(signal).await?,
                    Some(Order::Pass(message)) => {
                        self.peer.beside.say(message).await;
                    }
                    None => return Err(End::Dropped),
                },
                // 2. Rare too; comes from the connection's task, which must not wait.
                Some(event) = peer_events.recv() => self.handle_peer_event(event).await?,
                // 3. The mesh may be slow: it is offered one event at a time.
                Ok(permit) = self.events.reserve(), if !self.untold.is_empty() => {
                    if let Some(event) = self.untold.pop_front() {
                        permit.send((self.config.peer, event));
                    }
                }
                // 4. Sound and pictures to send; 20 ms of sound must not wait for what arrives.
                // While the path is interrupted only sound goes out: the first to arrive ends that.
                outgoing = self.media.outbound.next(room), if self.health.may_be_heard() => {
                    self.media.outbound.send(outgoing, &mut self.peer).await;
                }
                // 5. What arrives; its queue is the longest.
                Some(received) = received.recv() => self.handle_received(received).await?,
                // 6. What is said beside the media: seldom, and it can wait for the media.
                // While the mesh is behind, it waits.
                event = self.peer.beside.next(), if self.untold.len() < MOST_EVENTS / 2 => {
                    let news = self.media.talk.handle(event);
                    self.untold.extend(news);
                }
                // 7. The decoder showed its first picture or needs a keyframe.
                () = self.media.wake.notified() => self.handle_decoder(),
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
        }
    }

    fn deadline(&self) -> Instant {
        let now_and_then = [
            Some(self.next_stats),
            self.negotiation.poll_timeout(),
            self.health.poll_timeout(),
        ];
        let report = Some(self.next_report).filter(|_| self.health.may_be_heard());
        let flowing = [
            Some(self.next_steer),
            self.inbound.poll_timeout(),
            self.media.outbound.poll_timeout(),
        ];
        let flowing = flowing.into_iter().filter(|_| self.health.connected());
        now_and_then
            .into_iter()
            .chain(flowing)
            .chain([report])
            .flatten()
            .fold(self.next_stats, Instant::min)
    }

    async fn handle_time(&mut self, now: Instant) -> Result<(), End> {
        let actions = self.negotiation.handle_timeout(now);
        self.perform(actions).await?;
        let verdict = self.health.handle_timeout(now);
        self.conclude(verdict).await?;
        if self.health.connected() {
            self.inbound.advance(&self.media.decoder, now);
            if let Some((ssrc, missing)) = self.inbound.ask(now) {
                self.peer.video.request_again(ssrc, &missing).await;
            }
            if let Some(ssrc) = self.inbound.ask_keyframe(now) {
                self.peer.video.request_keyframe(ssrc).await;
            }
            if self.peer.flow().needs_keyframe() {
                self.media.outbound.handle_dropped(self.peer.flow(), now);
            }
            if self.next_steer <= now || self.media.outbound.poll_timeout().is_some() {
                self.next_steer = now + STEER_INTERVAL;
                self.steer(now).await;
            }
        }
        if self.next_report <= now && self.health.may_be_heard() {
            self.next_report = match self.health.connected() {
                true => now + REPORT_INTERVAL,
                false => now + CALL_INTERVAL,
            };
            let outbound = &self.media.outbound;
            outbound.report(&self.clock, &self.peer, now).await;
        }
        if self.next_stats <= now {
            self.next_stats = now + STATS_INTERVAL;
            self.look_at_path();
            self.tell_ways();
            self.tell_figures(now);
        }
        Ok(())
    }

    /// Tells the encoder what it may spend and what is looked at, and the other side what we show.
    async fn steer(&mut self, now: Instant) {
        let wanted = self.media.talk.wanted();
        let useful = self.media.outbound.useful();
        let flow = self.peer.flow();
        let share = self.uplink.report(
            now,
            LinkReport {
                estimate: flow.estimate(),
                acknowledged: flow.acknowledged().unwrap_or_default(),
                queue_delay: flow.queue_delay(),
                weight: pixels(wanted.unwrap_or(self.config.max_size)),
                wanted: useful,
            },
        );
        flow.set_share(share);
        flow.set_wanted(useful);
        let (target, lasting) = (flow.target(), flow.lasting());
        (self.media.outbound).set_deaf(self.media.talk.deaf());
        let carried = self.config.carried.newest().unwrap_or_default();
        self.fresh.look(carried, self.pictures());
        let (loss, understood) = (flow.loss(), self.peer.audio.redundant().is_some());
        let news = (self.media.outbound).steer(target, lasting, wanted, loss, understood, now);
        if let Some(event) = news {
            self.tell(event);
        }
        let paused = self.media.outbound.paused();
        self.media.talk.tell(&self.peer.beside, paused, now).await;
    }

    async fn handle_signal(&mut self, signal: PeerMessage) -> Result<(), End> {
        let now = clock::now();
        let actions = match signal {
            PeerMessage::Description { kind, sdp } => match kind {
                DescriptionKind::Offer => self.negotiation.handle_offer(sdp, now),
                DescriptionKind::Answer => self.negotiation.handle_answer(sdp),
            },
            PeerMessage::Candidate {
                candidate,
                sdp_mid,
                sdp_mline_index,
                username_fragment,
            } if !candidate.is_empty() => self.negotiation.handle_candidate(Candidate {
                line: candidate,
                mid: sdp_mid,
                index: sdp_mline_index,
                ufrag: username_fragment,
            }),
            _ => Vec::new(),
        };
        self.perform(actions).await
    }

    async fn perform(&mut self, actions: Vec<Action>) -> Result<(), End> {
        for action in actions {
            tracing::debug!(peer = %self.config.peer, action = action.name(), "negotiation");
            match action {
                Action::Offer { restart } => {
                    let sdp = self.peer.offer(restart).await.map_err(failed)?;
                    self.tell_description(DescriptionKind::Offer, sdp);
                }
                Action::SendAgain => {
                    if let Some((sdp, is_offer)) = self.peer.local_description().await {
                        let kind = match is_offer {
                            true => DescriptionKind::Offer,
                            false => DescriptionKind::Answer,
                        };
                        self.tell_description(kind, sdp);
                    }
                }
                Action::Rollback => self.peer.roll_back().await.map_err(failed)?,
                Action::Accept(sdp) => {
                    let sdp = self.peer.accept(sdp).await.map_err(failed)?;
                    self.tell_description(DescriptionKind::Answer, sdp);
                }
                Action::Apply(sdp) => self.peer.apply(sdp).await.map_err(failed)?,
                Action::Add(candidate) => match candidate.line.parse() {
                    Ok(candidate) => self.peer.add(candidate),
                    // One way less, of several.
                    Err(error) => tracing::debug!(%error, "a candidate cannot be used"),
                },
                Action::Renew(offer) => return Err(End::Renew(offer)),
            }
        }
        Ok(())
    }

    async fn handle_peer_event(&mut self, event: PeerEvent) -> Result<(), End> {
        let now = clock::now();
        let verdict = match event {
            PeerEvent::Path(PathEvent::Candidate(candidate)) => {
                self.tell(LinkEvent::Signal(PeerMessage::Candidate {
                    candidate: candidate.to_string(),
                    sdp_mid: None,
                    sdp_mline_index: Some(0),
                    username_fragment: Some(self.peer.wire().credentials().ufrag),
                }));
                None
            }
            PeerEvent::Path(PathEvent::Selected(Some(path))) => {
                self.peer.let_in().await.map_err(failed)?;
                self.take_path(path);
                None
            }
            PeerEvent::Path(PathEvent::Selected(None)) | PeerEvent::Lost => {
                self.health.handle_lost(now)
            }
            PeerEvent::Connected => self.health.handle_connected(now),
            PeerEvent::CertificateRefused => return Err(End::Failed(LinkError::WrongParty)),
        };
        self.conclude(verdict).await
    }

    async fn conclude(&mut self, verdict: Option<Verdict>) -> Result<(), End> {
        match verdict {
            None => {}
            Some(Verdict::Connected) => {
                self.peer.learn_streams().await.map_err(failed)?;
                self.media.outbound.set_active(true);
                self.tell(LinkEvent::Connected(self.way().unwrap_or(Path::Direct)));
            }
            Some(Verdict::Interrupted) => {
                self.peer.wire().doubt();
                self.media.outbound.set_active(false);
                self.tell(LinkEvent::Interrupted);
            }
            Some(Verdict::Restart) => {
                self.peer.wire().recheck();
                let actions = self.negotiation.restart(clock::now());
                Box::pin(self.perform(actions)).await?;
            }
            Some(Verdict::Failed) => return Err(End::Failed(LinkError::NoPath)),
        }
        Ok(())
    }

    async fn handle_received(&mut self, received: Received) -> Result<(), End> {
        let now = clock::now();
        let mut heard = now;
        match received {
            Received::Rtp(Kind::Video, packet) => {
                heard = packet.arrived;
                self.inbound.handle_video(packet, &self.media.decoder, now);
            }
            Received::Rtp(Kind::Audio, packet) => {
                heard = packet.arrived;
                if self
                    .inbound
                    .handle_audio(packet, &self.peer.audio, self.config)
                    && !std::mem::replace(&mut self.media.heard, true)
                {
                    self.tell(LinkEvent::FirstAudio);
                }
                if let Some(event) = self.fresh.sound() {
                    self.tell(event);
                }
            }
            Received::KeyframeRequest => self.media.outbound.handle_keyframe_request(now),
            Received::SenderReport {
                kind,
                ntp,
                timestamp,
                arrived,
            } => self.inbound.handle_report(kind, ntp, timestamp, arrived),
            Received::ReceptionReport {
                last_sender_report,
                delay,
                arrived,
            } => {
                if let Some(trip) = self.clock.round_trip(last_sender_report, delay, arrived) {
                    self.handle_round_trip(trip);
                }
            }
            Received::Goodbye => {
                let verdict = self.health.handle_closed(now);
                return self.conclude(verdict).await;
            }
            Received::Alive(at) => heard = at,
        }
        let verdict = self.health.handle_heard(heard);
        self.conclude(verdict).await
    }

    fn handle_decoder(&mut self) {
        let pictures = self.pictures();
        if pictures > 0 && !std::mem::replace(&mut self.media.seen, true) {
            self.tell(LinkEvent::FirstVideoFrame);
        }
        if let Some(event) = self.fresh.pictures(pictures) {
            self.tell(event);
        }
    }

    /// Returns how many pictures were decoded so far.
    fn pictures(&self) -> u64 {
        let decode = self.media.sources.decode.newest();
        decode.map_or(0, |stats| stats.frames)
    }

    fn handle_round_trip(&mut self, round_trip: Duration) {
        // Smoothed as in TCP (RFC 6298 section 2).
        let smooth = match self.round_trip {
            Some(old) => old * 7 / 8 + round_trip / 8,
            None => round_trip,
        };
        self.round_trip = Some(smooth);
        self.inbound.set_round_trip(smooth);
    }

    /// Takes another path into account: what was learned about the old one does not hold.
    fn take_path(&mut self, path: nonstop_ice::Path) {
        let before = self.path.replace(path);
        let Some(before) = before else {
            return;
        };
        let same = self
            .path
            .as_ref()
            .is_some_and(|now| (now.base, now.remote) == (before.base, before.remote));
        if same {
            return;
        }
        self.peer.flow().path_changed();
        self.round_trip = None;
        self.tell_way(Path::from(before.way));
    }

    /// Tells of another way while media flows; otherwise the word of the connection names it.
    fn tell_way(&mut self, before: Path) {
        let way = self.way().filter(|_| self.health.connected());
        if let Some(way) = way.filter(|way| *way != before) {
            self.tell(LinkEvent::PathChanged(way));
        }
    }

    fn way(&self) -> Option<Path> {
        self.path.as_ref().map(|path| path.way.into())
    }

    /// Looks at what the checks of the path have found.
    fn look_at_path(&mut self) {
        let Some(path) = self.peer.wire().path() else {
            return;
        };
        if let Some(round_trip) = path.round_trip.filter(|_| self.round_trip.is_none()) {
            self.handle_round_trip(round_trip);
        }
        // The way is known better once the other side has said how it reaches its relay.
        if let Some(before) = self.path.replace(path) {
            self.tell_way(before.way.into());
        }
        let lossy = (self.peer.flow().loss()).is_some_and(|loss| loss > BOTH_WAYS_LOSS);
        self.peer.wire().set_audio_on_both(lossy);
    }

    fn tell_ways(&mut self) {
        let ways = self.peer.wire().ways();
        if self.told_ways.as_ref() != Some(&ways) {
            self.told_ways = Some(ways.clone());
            self.tell(LinkEvent::Ways(ways));
        }
    }

    fn tell_figures(&mut self, now: Instant) {
        let stats = self.media.figures.take(
            now,
            &self.media.outbound,
            &self.inbound,
            self.peer.flow(),
            &self.media.sources,
        );
        let flow = self.peer.flow();
        tracing::debug!(
            peer = %self.config.peer,
            estimate = %flow.estimate(),
            target = %flow.target(),
            pace = %flow.pace(),
            congested = flow.congested(),
            queue_delay = ?flow.queue_delay(),
            round_trip = ?flow.round_trip(),
            waiting = %flow.waiting(),
            dropped = flow.dropped(),
            probes = flow.probes(),
            feedback = flow.feedback(),
            "rate control"
        );
        let path = self.way().filter(|_| self.health.connected());
        let stats = figures::with_path(stats, path, self.round_trip);
        // The mesh is behind: newer figures come in a second.
        if self.untold.len() < MOST_EVENTS / 2 {
            self.untold.push_back(LinkEvent::Stats(Box::new(stats)));
        }
    }

    fn tell_description(&mut self, kind: DescriptionKind, sdp: String) {
        self.tell(LinkEvent::Signal(PeerMessage::Description { kind, sdp }));
    }

    fn tell(&mut self, event: LinkEvent) {
        if self.untold.len() < MOST_EVENTS {
            self.untold.push_back(event);
        } else {
            tracing::warn!(peer = %self.config.peer, "the mesh does not listen: an event is lost");
        }
    }
}

/// What pictures of this size are worth, against others.
fn pixels(size: Size) -> f64 {
    f64::from(size.width) * f64::from(size.height)
}

fn failed(error: PeerError) -> End {
    End::Failed(match error {
        PeerError::Setup(error) => LinkError::Setup(error.to_string()),
        PeerError::BadDescription(error) => LinkError::BadDescription(error.to_string()),
    })
}
