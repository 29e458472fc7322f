//! Senders, receivers and links, and the time that moves them from event to event.

use std::{
    cmp::Reverse,
    fmt,
    io::{self, Write},
    time::{Duration, Instant},
};

use nonstop_netem::{Link, Record, Settings};

use super::{
    packet::{Body, FlowId, Packet, Tag},
    receiver::{Habits, Receiver},
    sender::{Sender, Source},
    tcp::{Law, Tcp, Work},
};

/// Names a link: its place in the world.
pub(crate) type LinkId = usize;

/// A link's packet log.
pub(crate) type Log = Vec<Record<Tag>>;

/// What takes part.
#[derive(Debug)]
enum Party {
    Media(Box<Sender>, Box<Receiver>),
    Tcp(Box<Tcp>),
}

#[derive(Debug)]
struct Member {
    party: Party,
    forth: Vec<LinkId>,
    back: Vec<LinkId>,
}

/// Where the time series goes: a line every 50 ms a flow.
const TRACE_GAP: Duration = Duration::from_millis(50);
/// This many events at one moment: someone asks to be woken in the past, again and again.
const STILL: u32 = 100_000;
/// How often an arbiter looks.
const SHARE_GAP: Duration = Duration::from_millis(100);

/// Divides an uplink: is shown the senders that share it, and sets their shares.
pub(crate) type Divider = Box<dyn FnMut(Instant, &mut [&mut Sender])>;

/// The simulated world.
pub(crate) struct World {
    now: Duration,
    origin: Instant,
    seed: u64,
    links: Vec<Link<Packet, Tag>>,
    members: Vec<Member>,
    /// Changes of links, latest first.
    script: Vec<(Duration, LinkId, String)>,
    divider: Option<Divider>,
    next_division: Duration,
    trace: Option<Duration>,
    traced: Vec<(u64, u64)>,
}

impl World {
    /// Makes an empty world. Clocks start at whatever ours says: only differences count.
    #[expect(
        clippy::disallowed_methods,
        reason = "simulated time starts at whatever the clock says"
    )]
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            origin: Instant::now(),
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            links: Vec::new(),
            members: Vec::new(),
            script: Vec::new(),
            divider: None,
            next_division: Duration::MAX,
            trace: None,
            traced: Vec::new(),
        }
    }

    /// Prints a time series while it runs.
    pub(crate) fn trace(&mut self) {
        line(format_args!(
            "t_s,flow,capacity_kbps,estimate_kbps,target_kbps,sent_kbps,arrived_kbps,acked_kbps,\
             link_queue_ms,seen_queue_ms,pacer_ms,loss,in_flight,window,congested,probes"
        ));
        self.trace = Some(Duration::ZERO);
    }

    /// Adds a link; the words are those of [`Settings::apply`].
    pub(crate) fn link(&mut self, words: &str) -> LinkId {
        let settings = Settings::parse(words).expect("the words of a case are right");
        let mut link = Link::new(settings, self.draw());
        link.keep_records();
        self.links.push(link);
        self.links.len() - 1
    }

    /// Changes a link at a time.
    pub(crate) fn at(&mut self, seconds: f64, link: LinkId, words: &str) {
        let at = Duration::from_secs_f64(seconds);
        self.script.push((at, link, words.to_owned()));
        self.script.sort_by_key(|(at, ..)| Reverse(*at));
    }

    /// Adds a media flow over these links.
    pub(crate) fn media(
        &mut self,
        forth: &[LinkId],
        back: &[LinkId],
        source: Source,
        habits: Habits,
    ) -> FlowId {
        let flow = self.members.len();
        let seed = self.draw();
        let sender = Sender::new(flow, source, self.origin, seed);
        let receiver = Receiver::new(flow, habits);
        let party = Party::Media(Box::new(sender), Box::new(receiver));
        self.join(party, forth, back)
    }

    /// Adds a TCP flow over these links.
    pub(crate) fn tcp(
        &mut self,
        forth: &[LinkId],
        back: &[LinkId],
        law: Law,
        work: Work,
    ) -> FlowId {
        let tcp = Tcp::new(self.members.len(), law, work, self.draw());
        self.join(Party::Tcp(Box::new(tcp)), forth, back)
    }

    /// Lets `divider` share out an uplink among all senders.
    pub(crate) fn divide(&mut self, divider: Divider) {
        self.divider = Some(divider);
        self.next_division = Duration::ZERO;
    }

    pub(crate) fn sender(&self, flow: FlowId) -> &Sender {
        match &self.members[flow].party {
            Party::Media(sender, _) => sender,
            Party::Tcp(_) => panic!("flow {flow} is TCP"),
        }
    }

    pub(crate) fn receiver(&self, flow: FlowId) -> &Receiver {
        match &self.members[flow].party {
            Party::Media(_, receiver) => receiver,
            Party::Tcp(_) => panic!("flow {flow} is TCP"),
        }
    }

    /// Returns the log of a link, which ends it.
    pub(crate) fn log(&mut self, link: LinkId) -> Log {
        self.links[link].take_records()
    }

    /// Runs until `seconds`, and closes the receivers' accounts.
    pub(crate) fn run(&mut self, seconds: f64) {
        self.run_until(Duration::from_secs_f64(seconds), |_| {});
        for member in &mut self.members {
            if let Party::Media(_, receiver) = &mut member.party {
                receiver.finish(self.now);
            }
        }
    }

    /// Runs until `end`, and shows the world to `watch` after every event.
    pub(crate) fn run_until(&mut self, end: Duration, mut watch: impl FnMut(&World)) {
        let mut out = Vec::new();
        let mut still = 0;
        loop {
            let next = self.next_event();
            if next > end {
                break;
            }
            still = if next > self.now { 0 } else { still + 1 };
            assert!(still < STILL, "time stands still at {:?}", self.now);
            self.now = next.max(self.now);
            self.step(&mut out);
            watch(self);
        }
        self.now = end;
    }

    fn next_event(&self) -> Duration {
        let links = self.links.iter().filter_map(Link::next_event).min();
        let members = self.members.iter().map(Member::next_event).min();
        let script = self.script.last().map(|(at, ..)| *at);
        let own = self.next_division.min(self.trace.unwrap_or(Duration::MAX));
        [links, members, script, Some(own)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Duration::MAX)
    }

    fn step(&mut self, out: &mut Vec<Packet>) {
        let now = self.now;
        while self.script.last().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, link, words)) = self.script.pop() {
                let changed = self.links[link].apply(now, &words);
                changed.expect("the words of a case are right");
            }
        }
        for link in 0..self.links.len() {
            while let Some(packet) = self.links[link].poll(now) {
                self.pass(packet, out);
            }
        }
        if self.next_division <= now {
            self.next_division = now + SHARE_GAP;
            self.share_out();
        }
        for member in &mut self.members {
            if member.next_event() <= now {
                member.handle_timeout(now, out);
            }
        }
        for packet in out.drain(..) {
            enter(&mut self.links, &self.members, now, packet);
        }
        if self.trace.is_some_and(|at| at <= now) {
            self.trace = Some(now + TRACE_GAP);
            self.print();
        }
    }

    /// Takes a packet that came out of a link to the next, or to its end.
    fn pass(&mut self, mut packet: Packet, out: &mut Vec<Packet>) {
        packet.hop += 1;
        let member = &mut self.members[packet.flow];
        let route = if packet.forward {
            &member.forth
        } else {
            &member.back
        };
        if packet.hop < route.len() {
            enter(&mut self.links, &self.members, self.now, packet);
            return;
        }
        match &mut member.party {
            Party::Media(_, receiver) if packet.forward => receiver.receive(self.now, packet),
            Party::Media(sender, _) => sender.receive(self.now, packet.body, out),
            Party::Tcp(tcp) => tcp.receive(self.now, packet, out),
        }
    }

    fn share_out(&mut self) {
        let Some(divider) = &mut self.divider else {
            return;
        };
        let mut senders: Vec<&mut Sender> = (self.members.iter_mut())
            .filter_map(|member| match &mut member.party {
                Party::Media(sender, _) if sender.running(self.now) => Some(&mut **sender),
                _ => None,
            })
            .collect();
        divider(self.origin + self.now, &mut senders);
    }

    fn print(&mut self) {
        self.traced.resize(self.members.len(), (0, 0));
        for (flow, member) in self.members.iter().enumerate() {
            let Party::Media(sender, receiver) = &member.party else {
                continue;
            };
            let link = &self.links[member.forth[0]];
            let controller = &sender.controller;
            let plan = controller.plan();
            let (sent, came) = (sender.sent.bytes, receiver.received.bytes);
            let (sent_before, came_before) = self.traced[flow];
            self.traced[flow] = (sent, came);
            let kbps = |bytes: u64| bytes as f64 * 8.0 / TRACE_GAP.as_secs_f64() / 1e3;
            line(format_args!(
                "{:.3},{flow},{:.0},{:.0},{:.0},{:.0},{:.0},{:.0},{:.1},{:.1},{:.1},{:.3},{},{},{},{}",
                self.now.as_secs_f64(),
                link.settings().rate_bps / 1e3,
                controller.estimate().as_f64() / 1e3,
                sender.target().as_f64() / 1e3,
                kbps(sent - sent_before),
                kbps(came - came_before),
                controller.acknowledged().unwrap_or_default().as_f64() / 1e3,
                link.queue_delay(self.now).as_secs_f64() * 1e3,
                controller.queue_delay().as_secs_f64() * 1e3,
                sender.waiting().as_secs_f64() * 1e3,
                controller.loss().unwrap_or_default(),
                plan.in_flight.bytes(),
                plan.window.bytes(),
                u8::from(plan.congested),
                sender.sent.probes,
            ));
        }
    }

    fn join(&mut self, party: Party, forth: &[LinkId], back: &[LinkId]) -> FlowId {
        self.members.push(Member {
            party,
            forth: forth.to_vec(),
            back: back.to_vec(),
        });
        self.members.len() - 1
    }

    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x2545_f491_4f6c_dd1d);
        self.seed
    }
}

impl Member {
    fn next_event(&self) -> Duration {
        match &self.party {
            Party::Media(sender, receiver) => sender.next_event().min(receiver.next_event()),
            Party::Tcp(tcp) => tcp.next_event(),
        }
    }

    fn handle_timeout(&mut self, now: Duration, out: &mut Vec<Packet>) {
        match &mut self.party {
            Party::Media(sender, receiver) => {
                if sender.next_event() <= now {
                    sender.handle_timeout(now, out);
                }
                if receiver.next_event() <= now {
                    receiver.handle_timeout(now, out);
                }
            }
            Party::Tcp(tcp) => tcp.handle_timeout(now, out),
        }
    }
}

/// Puts a packet on the link where it is.
fn enter(links: &mut [Link<Packet, Tag>], members: &[Member], now: Duration, packet: Packet) {
    let member = &members[packet.flow];
    let route = if packet.forward {
        &member.forth
    } else {
        &member.back
    };
    let (bytes, tag) = (packet.bytes, packet.tag());
    debug_assert!(!matches!(packet.body, Body::Ack { .. }) || !packet.forward);
    links[route[packet.hop]].arrive(now, packet, bytes, tag);
}

/// Prints a line; a reader who has seen enough is no error.
fn line(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{text}");
}
