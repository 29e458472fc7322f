//! Two agents, the network between them, and media that flows as they say.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nonstop_ice::{
    Agent, Base, Candidate, CandidateKind, Config, Credentials, Event, Path, RelayProtocol,
};

use crate::network::{Nat, Port, Random};

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn credentials(name: &str) -> Credentials {
    Credentials {
        ufrag: name.to_owned(),
        password: format!("{name}0123456789abcdefABCDEF"),
    }
}

enum Parcel {
    Stun(Vec<u8>),
    Audio(u64),
}

enum Signal {
    Remote(Credentials),
    Candidate(Candidate),
    Restart(Credentials),
}

enum Happening {
    Packet {
        to_side: usize,
        base: Base,
        from: SocketAddr,
        parcel: Parcel,
    },
    Signal(usize, Signal),
}

/// Where a packet leaves and where it would arrive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hop {
    pub(crate) from_side: usize,
    pub(crate) from: Base,
    pub(crate) to: Base,
}

type Cut = Box<dyn Fn(Hop) -> bool>;

pub(crate) struct Side {
    pub(crate) agent: Agent,
    pub(crate) ports: BTreeMap<Base, Port>,
    pub(crate) suspect: bool,
    /// What was selected, and when.
    pub(crate) paths: Vec<(Duration, Option<Path>)>,
    pub(crate) events: Vec<(Duration, Event)>,
    pub(crate) checks_sent: u64,
    /// The number of each audio packet received, when, and where.
    pub(crate) heard: Vec<(Duration, u64, Base)>,
    /// When each audio packet was sent, and where.
    pub(crate) said: Vec<(Duration, Base)>,
    talks_from: Option<Instant>,
    candidates: Vec<Candidate>,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    start: Instant,
    pub(crate) sides: [Side; 2],
    queue: BTreeMap<(Instant, u64), Happening>,
    sequence: u64,
    pub(crate) random: Random,
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
    /// Up to so much each packet is late at random.
    pub(crate) jitter: Duration,
    pub(crate) renomination: bool,
    pub(crate) signalling: Duration,
    cut: Option<Cut>,
    /// Every STUN packet that was carried, for those who forge.
    pub(crate) seen: Vec<(usize, Base, SocketAddr, Vec<u8>)>,
    /// Every STUN packet that was lost, and who sent it.
    pub(crate) lost: Vec<(usize, Vec<u8>)>,
}

impl World {
    #[expect(
        clippy::disallowed_methods,
        reason = "simulated time starts at whatever the clock says"
    )]
    pub(crate) fn new(seed: u64, ports: [Vec<Port>; 2]) -> Self {
        let start = Instant::now();
        let mut number = 0;
        let sides = ports.map(|ports| {
            let side = number;
            number += 1;
            let mut random = Random(seed ^ (0xabcd + side as u64));
            let agent = Agent::new(Config {
                local: credentials(["alice", "bobby"][side]),
                controlling: side == 0,
                tie_breaker: random.next(),
                random: Box::new(move || {
                    u128::from(random.next()) << 64 | u128::from(random.next())
                }),
            });
            Side {
                agent,
                ports: (0u32..).map(Base).zip(ports).collect(),
                suspect: false,
                paths: Vec::new(),
                events: Vec::new(),
                checks_sent: 0,
                heard: Vec::new(),
                said: Vec::new(),
                talks_from: None,
                candidates: Vec::new(),
            }
        });
        Self {
            now: start,
            start,
            sides,
            queue: BTreeMap::new(),
            sequence: 0,
            random: Random(seed),
            loss: 0.0,
            duplicates: 0.0,
            jitter: Duration::ZERO,
            renomination: true,
            signalling: Duration::ZERO,
            cut: None,
            seen: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// Each side with one interface behind a router and a relay, at a round trip of 40 ms directly
    /// and 60 ms through both relays.
    pub(crate) fn ordinary(seed: u64, nats: [Nat; 2]) -> Self {
        let mut side = 0;
        let ports = nats.map(|nat| {
            let protocol = if nat == Nat::Blocked {
                RelayProtocol::Tcp
            } else {
                RelayProtocol::Udp
            };
            side += 1;
            vec![
                Port::interface(side - 1, 0, nat, 10),
                Port::relay(side - 1, 1, protocol, 15),
            ]
        });
        Self::new(seed, ports)
    }

    /// Both gather, and tell each other everything.
    pub(crate) fn connect(&mut self) {
        self.gather_all();
        self.tell_all(0);
        self.tell_all(1);
    }

    pub(crate) fn gather_all(&mut self) {
        for side in 0..2 {
            let bases: Vec<Base> = self.sides[side].ports.keys().copied().collect();
            for base in bases {
                self.gather(side, base);
            }
        }
    }

    pub(crate) fn gather(&mut self, side: usize, base: Base) -> Vec<Candidate> {
        let now = self.now;
        let it = &mut self.sides[side];
        let port = it.ports.get_mut(&base).unwrap();
        let kind = if port.relay.is_some() {
            CandidateKind::Relayed
        } else {
            CandidateKind::Host
        };
        let mut found = vec![Candidate::new(
            kind,
            port.address,
            port.relay,
            port.preference,
        )];
        if let Some(address) = port.reflexive() {
            let kind = CandidateKind::ServerReflexive;
            found.push(Candidate::new(kind, address, None, port.preference));
        }
        for candidate in &found {
            it.agent.add_local(now, base, candidate.clone());
        }
        it.candidates.extend(found.clone());
        self.drain(side);
        found
    }

    pub(crate) fn tell_credentials(&mut self, side: usize) {
        let told = self.sides[side].agent.credentials().clone();
        self.signal(1 - side, Signal::Remote(told));
    }

    pub(crate) fn tell_all(&mut self, side: usize) {
        self.tell_credentials(side);
        let ufrag = Some(self.sides[side].agent.credentials().ufrag.clone());
        for mut candidate in self.sides[side].candidates.clone() {
            candidate.ufrag.clone_from(&ufrag);
            self.signal(1 - side, Signal::Candidate(candidate));
        }
    }

    pub(crate) fn tell(&mut self, side: usize, candidates: Vec<Candidate>) {
        for candidate in candidates {
            self.signal(1 - side, Signal::Candidate(candidate));
        }
    }

    /// One side starts anew and tells the other, which follows and tells back.
    pub(crate) fn restart(&mut self, side: usize, names: [&str; 2]) {
        let now = self.now;
        self.sides[side].agent.restart(now, credentials(names[0]));
        self.drain(side);
        self.signal(1 - side, Signal::Restart(credentials(names[1])));
        self.tell_all(side);
    }

    fn signal(&mut self, to: usize, signal: Signal) {
        let at = self.now + self.signalling;
        self.put(at, Happening::Signal(to, signal));
    }

    fn put(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), happening);
    }

    /// From now on packets for which this holds are lost.
    pub(crate) fn cut(&mut self, cut: impl Fn(Hop) -> bool + 'static) {
        self.cut = Some(Box::new(cut));
    }

    pub(crate) fn mend(&mut self) {
        self.cut = None;
    }

    /// Both send an audio packet every 20 ms, on the selected path, and on the standby too while
    /// the path is suspect.
    pub(crate) fn talk(&mut self) {
        for side in &mut self.sides {
            side.talks_from = Some(self.now);
        }
    }

    pub(crate) fn hush(&mut self, side: usize) {
        self.sides[side].talks_from = None;
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// How often each side was told a path.
    pub(crate) fn path_counts(&self) -> [usize; 2] {
        self.sides.each_ref().map(|it| it.paths.len())
    }

    pub(crate) fn event_counts(&self) -> [usize; 2] {
        self.sides.each_ref().map(|it| it.events.len())
    }

    pub(crate) fn path(&self, side: usize) -> Option<&Path> {
        self.sides[side].agent.selected()
    }

    /// Whether both sides send on the same pair of bases.
    pub(crate) fn agree(&self) -> bool {
        let Some(path) = self.path(0) else {
            return false;
        };
        let Some(back) = self.path(1) else {
            return false;
        };
        let ours = &self.sides[1].ports[&back.base];
        let theirs = &self.sides[0].ports[&path.base];
        // Behind a router the address is another one, which only its owner's packets show.
        let reaches = |port: &Port, remote: SocketAddr| {
            port.address == remote || port.relay.is_none() && remote.ip() != port.address.ip()
        };
        reaches(ours, path.remote) && reaches(theirs, back.remote)
    }

    pub(crate) fn run(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    /// Runs until something holds, at most so long; returns how long it took.
    pub(crate) fn run_until(
        &mut self,
        duration: Duration,
        done: impl Fn(&Self) -> bool,
    ) -> Option<Duration> {
        let began = self.now;
        let end = began + duration;
        loop {
            if done(self) {
                return Some(self.now - began);
            }
            let timers = self.sides.iter().filter_map(|it| it.agent.poll_timeout());
            let talks = self.sides.iter().filter_map(|it| it.talks_from);
            let queue = self.queue.keys().next().map(|(at, _)| *at);
            let next = timers.chain(talks).chain(queue).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return done(self).then_some(duration);
            };
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let happening = entry.remove();
            self.happen(happening);
        }
        for side in 0..2 {
            let it = &mut self.sides[side];
            if it.agent.poll_timeout().is_some_and(|at| at <= now) {
                it.agent.handle_timeout(now);
                self.drain(side);
            }
            if let Some(at) = self.sides[side].talks_from.filter(|at| *at <= now) {
                self.sides[side].talks_from = Some(at + millis(20));
                self.say(side);
            }
        }
    }

    fn say(&mut self, side: usize) {
        let it = &self.sides[side];
        let number = it.said.len() as u64;
        let Some(path) = it.agent.selected().cloned() else {
            return;
        };
        let standby = it.agent.standby().cloned().filter(|_| it.suspect);
        let elapsed = self.elapsed();
        self.sides[side].said.push((elapsed, path.base));
        for path in std::iter::once(path).chain(standby) {
            self.send(side, path.base, path.remote, Parcel::Audio(number));
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        let elapsed = self.elapsed();
        match happening {
            Happening::Packet {
                to_side,
                base,
                from,
                parcel,
            } => {
                let it = &mut self.sides[to_side];
                match parcel {
                    Parcel::Stun(packet) => {
                        it.agent.handle_stun(now, base, from, &packet);
                        self.seen.push((to_side, base, from, packet));
                    }
                    Parcel::Audio(number) => {
                        it.agent.handle_data(now, base, from);
                        it.heard.push((elapsed, number, base));
                    }
                }
                self.drain(to_side);
            }
            Happening::Signal(side, signal) => {
                let renomination = self.renomination;
                let agent = &mut self.sides[side].agent;
                match signal {
                    Signal::Remote(remote) => agent.set_remote(now, remote, renomination),
                    Signal::Candidate(candidate) => agent.add_remote(now, candidate),
                    Signal::Restart(local) => {
                        agent.restart(now, local);
                        self.tell_all(side);
                    }
                }
                self.drain(side);
            }
        }
    }

    pub(crate) fn drain(&mut self, side: usize) {
        while let Some(event) = self.sides[side].agent.poll_event() {
            let elapsed = self.elapsed();
            let it = &mut self.sides[side];
            match &event {
                Event::Selected(path) => it.paths.push((elapsed, path.clone())),
                Event::Suspect(suspect) => it.suspect = *suspect,
                _ => {}
            }
            it.events.push((elapsed, event));
        }
        while let Some(transmit) = self.sides[side].agent.poll_transmit() {
            self.sides[side].checks_sent += 1;
            let parcel = Parcel::Stun(transmit.packet);
            self.send(side, transmit.base, transmit.to, parcel);
        }
    }

    fn send(&mut self, side: usize, base: Base, to: SocketAddr, parcel: Parcel) {
        let Some(port) = self.sides[side].ports.get_mut(&base) else {
            return;
        };
        let Some(from) = port.outward(to) else {
            return;
        };
        let delay = port.delay;
        let other = &self.sides[1 - side].ports;
        let Some((&arrives, port)) = other.iter().find(|(_, port)| port.takes(from, to)) else {
            return;
        };
        let mut delay = delay + port.delay;
        let hop = Hop {
            from_side: side,
            from: base,
            to: arrives,
        };
        if self.cut.as_ref().is_some_and(|cut| cut(hop)) || self.random.chance(self.loss) {
            if let Parcel::Stun(packet) = parcel {
                self.lost.push((side, packet));
            }
            return;
        }
        if !self.jitter.is_zero() {
            delay += self
                .jitter
                .mul_f64(self.random.next() as f64 / u64::MAX as f64);
        }
        if let Parcel::Stun(packet) = &parcel
            && self.random.chance(self.duplicates)
        {
            let again = Happening::Packet {
                to_side: 1 - side,
                base: arrives,
                from,
                parcel: Parcel::Stun(packet.clone()),
            };
            let late = millis(self.random.next() % 2000);
            self.put(self.now + delay + late, again);
        }
        let packet = Happening::Packet {
            to_side: 1 - side,
            base: arrives,
            from,
            parcel,
        };
        self.put(self.now + delay, packet);
    }
}
