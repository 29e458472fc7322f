//! Against an agent that only answers (ICE-lite, RFC 8445 section 2.5), as the relay does.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use nonstop_ice::{
    Agent, Base, Candidate, CandidateKind, Config, Event, Path, RelayProtocol, StandIn, Way,
};

use crate::{
    network::Random,
    world::{credentials, millis},
};

const DIRECT: Base = Base(0);
const RELAYED: Base = Base(1);
const TRIP: Duration = Duration::from_millis(30);

/// An agent that leads, with an interface and an allocation, and one that only answers.
struct Scene {
    agent: Agent,
    lite: StandIn,
    now: Instant,
    /// Answers on their way.
    answers: Vec<(Instant, Base, Vec<u8>)>,
    dead: Vec<Base>,
    checks: u32,
    selected: Vec<Option<Path>>,
}

impl Scene {
    #[expect(
        clippy::disallowed_methods,
        reason = "simulated time starts at whatever the clock says"
    )]
    fn new() -> Self {
        let now = Instant::now();
        let mut random = Random(7);
        let mut agent = Agent::new(Config {
            local: credentials("alice"),
            controlling: true,
            tie_breaker: 1,
            random: Box::new(move || u128::from(random.next())),
        });
        let lite = StandIn::new(
            credentials("relay"),
            credentials("alice"),
            true,
            Box::new(|| 9),
        );
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let host = Candidate::new(CandidateKind::Host, address("10.0.0.2:5000"), None, 9);
        agent.add_local(now, DIRECT, host);
        let udp = Some(RelayProtocol::Udp);
        let own = Candidate::new(CandidateKind::Relayed, address("203.0.113.1:6000"), udp, 0);
        agent.add_local(now, RELAYED, own);
        agent.set_remote(now, credentials("relay"), false);
        let theirs = Candidate::new(CandidateKind::Host, remote(), None, 0);
        agent.add_remote(now, theirs);
        Self {
            agent,
            lite,
            now,
            answers: Vec::new(),
            dead: Vec::new(),
            checks: 0,
            selected: Vec::new(),
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            while let Some(transmit) = self.agent.poll_transmit() {
                self.checks += 1;
                if self.dead.contains(&transmit.base) {
                    continue;
                }
                // It answers and never asks.
                let answers = self.lite.answer(&transmit.packet, transmit.to);
                let answer = answers.into_iter().next();
                let due = self.now + TRIP;
                (self.answers).extend(answer.map(|answer| (due, transmit.base, answer)));
            }
            while let Some(event) = self.agent.poll_event() {
                if let Event::Selected(path) = event {
                    self.selected.push(path);
                }
            }
            self.now += millis(5);
            let now = self.now;
            for (_, base, answer) in self.answers.extract_if(.., |(due, ..)| *due <= now) {
                self.agent.handle_stun(now, base, remote(), &answer);
            }
            if self.agent.poll_timeout().is_some_and(|due| due <= now) {
                self.agent.handle_timeout(now);
            }
        }
    }

    fn way(&self) -> Option<Way> {
        self.agent.selected().map(|path| path.way)
    }
}

fn remote() -> SocketAddr {
    "198.51.100.1:7000".parse().expect("an address")
}

#[test]
fn who_never_asks_is_reached_and_stays_so() {
    let mut scene = Scene::new();
    scene.run(millis(1_000));
    assert_eq!(scene.way(), Some(Way::Direct));
    assert!(scene.agent.standby().is_some());
    let told = scene.selected.len();
    scene.run(Duration::from_secs(300));
    assert_eq!(scene.selected.len(), told, "{:?}", scene.selected);
    assert_eq!(scene.way(), Some(Way::Direct));
    let heard = scene.agent.last_heard().expect("it answers");
    assert!(scene.now - heard < millis(1_100));
}

#[test]
fn the_standby_takes_over_and_without_any_answer_consent_ends() {
    let mut scene = Scene::new();
    scene.run(Duration::from_secs(20));
    scene.dead.push(DIRECT);
    scene.run(millis(2_000));
    assert_eq!(scene.way(), Some(Way::RelayUdp));
    scene.dead.push(RELAYED);
    scene.run(Duration::from_secs(25));
    assert_eq!(scene.way(), Some(Way::RelayUdp), "there is no better");
    scene.run(Duration::from_secs(8));
    assert_eq!(scene.way(), None);
}

#[test]
fn an_idle_path_is_checked_once_a_second_and_others_seldom() {
    let mut scene = Scene::new();
    scene.run(Duration::from_secs(20));
    let now = scene.now;
    scene.agent.set_idle(now, true);
    let before = scene.checks;
    scene.run(Duration::from_secs(60));
    let checks = scene.checks - before;
    assert!((60..=68).contains(&checks), "{checks}");
    assert_eq!(scene.way(), Some(Way::Direct));
}
