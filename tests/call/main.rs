//! Whole calls on this computer: a real server, every participant a process of its own, real
//! peer connections over loopback.
//!
//! What was received is judged by what was recorded of it: the counter in the test card is read
//! back from the decoded pictures, the tone's frequency from the played sound.

mod detour;
mod outage;
mod participant;
mod recordings;

use std::{fs, net::SocketAddr, path::Path, sync::OnceLock, time::Duration};

use nonstop_server::{Config, Server, TlsFiles};
use nonstop_wire::{LinkSecret, MeetingLink};
use tempfile::TempDir;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::sleep,
};

use detour::Detour;
use participant::{Participant, events};
use recordings::{assert_moving, assert_tone};

/// Pictures that make sure that media flows, a second or two of them.
const FLOWING: u64 = 40;

/// A server with a room, and the only call on this computer at a time.
struct Venue {
    server: Option<Server>,
    address: SocketAddr,
    link: MeetingLink,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Venue {
    async fn open() -> Self {
        let alone = alone().await;
        let server = Server::start(Config::default()).await.unwrap();
        let address = server.addresses()[0];
        let link = link_to(&address.to_string(), false);
        Self {
            server: Some(server),
            address,
            link,
            folder: TempDir::new().unwrap(),
            _alone: alone,
        }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn call(&self, name: &str) -> Participant {
        Participant::start(self.folder(), name, &self.link, &[])
    }

    /// Starts several at once and waits until every one of them sees every other.
    async fn gather(&self, names: &[&str]) -> (Vec<Participant>, Vec<String>) {
        let mut people: Vec<_> = names.iter().map(|name| self.call(name)).collect();
        let ids = all_see_all(&mut people).await;
        (people, ids)
    }

    fn kill_server(&mut self) {
        drop(self.server.take());
    }

    async fn restart_server(&mut self) {
        let config = Config {
            listen: vec![self.address],
            ..Config::default()
        };
        // The port is free as soon as the old server's task has ended.
        for _ in 0..200 {
            if let Ok(server) = Server::start(config.clone()).await {
                self.server = Some(server);
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("the port stays taken");
    }
}

fn link_to(host: &str, protected: bool) -> MeetingLink {
    let secret = LinkSecret::random().unwrap();
    MeetingLink::new(host, protected, "call".parse().unwrap(), secret).unwrap()
}

/// Calls want the processors for themselves, also where tests of one file run side by side.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: OnceLock<Mutex<()>> = OnceLock::new();
    ALONE.get_or_init(Mutex::default).lock().await
}

async fn all_see_all(people: &mut [Participant]) -> Vec<String> {
    let mut ids = Vec::new();
    for person in people.iter_mut() {
        ids.push(person.id().await);
    }
    for (index, person) in people.iter_mut().enumerate() {
        for (other, id) in ids.iter().enumerate() {
            if other != index {
                person.until_event("first_audio", Some(id)).await;
                person.until_seen(id, FLOWING).await;
            }
        }
    }
    ids
}

/// Asserts what `person` received of somebody who sent the test card and the tone.
fn assert_received(person: &Participant, peer: &str) {
    assert_moving(&person.recording(peer, "y4m"));
    assert_tone(&person.recording(peer, "wav"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_see_and_hear_each_other_and_part() {
    let venue = Venue::open().await;
    let (mut people, ids) = venue.gather(&["Ann", "Bob"]).await;
    let [ann, bob] = &mut people[..] else {
        unreachable!("two were asked for");
    };
    let connected = ann.until_event("link_connected", Some(&ids[1])).await;
    assert_eq!(connected["path"], "direct");
    let described = ann
        .until_event("participant_described", Some(&ids[1]))
        .await;
    assert_eq!(described["name"], "Bob");

    bob.leave().await;
    let left_at = ann.time_ms();
    let left = ann.until_event("participant_left", Some(&ids[1])).await;
    assert_eq!(left["lost"], false);
    let noticed = left["time_ms"].as_u64().unwrap();
    assert!(
        noticed < left_at + 1_000,
        "left by {left_at}, noticed at {noticed}"
    );
    ann.leave().await;
    assert_eq!(events(&ann.lines(), "left", None).len(), 1);
    assert_received(ann, &ids[1]);
    assert_received(bob, &ids[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_people_come_and_go_in_any_order() {
    let venue = Venue::open().await;
    let (mut people, ids) = venue.gather(&["Ann", "Bob", "Eve"]).await;
    // One leaves and another comes, both at once.
    let mut newcomer = venue.call("Dan");
    people[0].leave().await;
    let dan = newcomer.id().await;
    for (person, other) in [(1, 2), (2, 1)] {
        let person = &mut people[person];
        let left = person.until_event("participant_left", Some(&ids[0])).await;
        assert_eq!(left["lost"], false);
        person.until_seen(&dan, FLOWING).await;
        newcomer.until_seen(&ids[other], FLOWING).await;
    }
    for person in &mut people[1..] {
        person.leave().await;
    }
    newcomer.leave().await;
    for (person, id) in [(1, &ids[2]), (2, &ids[1]), (1, &ids[0]), (2, &dan)] {
        assert_received(&people[person], id);
    }
    assert_received(&newcomer, &ids[1]);
    for person in people.iter().chain([&newcomer]) {
        let lost = events(&person.lines(), "participant_left", None);
        let lost: Vec<_> = lost.iter().filter(|left| left["lost"] == true).collect();
        assert!(lost.is_empty(), "{}: {lost:?}", person.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_people_meet_at_once_and_a_sixth_is_told_that_the_room_is_full() {
    let venue = Venue::open().await;
    let (mut people, ids) = venue.gather(&["Ann", "Bob", "Eve", "Dan", "Joe"]).await;
    let mut sixth = venue.call("Max");
    assert!(!sixth.ended().await.success());
    assert!(sixth.output().contains("full"), "{}", sixth.output());
    for person in &mut people {
        person.leave().await;
    }
    for (index, person) in people.iter().enumerate() {
        for (other, id) in ids.iter().enumerate() {
            if other != index {
                assert_received(person, id);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_carry_the_same_share_an_encoder() {
    let venue = Venue::open().await;
    // What this computer's own network carries, sooner or later.
    let more = ["--max-bitrate", "400k"];
    let call = |name| Participant::start(venue.folder(), name, &venue.link, &more);
    let mut people: Vec<_> = ["Ann", "Bob", "Eve"].map(call).into();
    let ids = all_see_all(&mut people).await;
    let encoder = |lines: &[serde_json::Value], peer: &str| {
        let mut links = lines.iter().rev();
        let newest = links.find(|line| line["type"] == "link" && line["peer"] == peer)?;
        newest["encoder_id"].as_u64()
    };
    let what = "one encoder for both";
    let both = |lines: &[serde_json::Value]| {
        let (bob, eve) = (encoder(lines, &ids[1])?, encoder(lines, &ids[2])?);
        (bob == eve).then_some(())
    };
    people[0].until(what, both).await;
    for person in &mut people {
        person.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_noticed_within_six_seconds() {
    let venue = Venue::open().await;
    let (mut people, ids) = venue.gather(&["Ann", "Bob", "Eve"]).await;
    let crashed = [people[0].time_ms(), people[1].time_ms()];
    people[2].kill();
    for (person, crashed) in people.iter_mut().zip(crashed) {
        let left = person.until_event("participant_left", Some(&ids[2])).await;
        assert_eq!(left["lost"], true);
        let after = left["time_ms"].as_u64().unwrap().saturating_sub(crashed);
        assert!(after <= 6_000, "{}: noticed after {after} ms", person.name);
    }
    // The others' own link did not notice anything.
    let seen = people[0].seen(&ids[1]);
    people[0].until_seen(&ids[1], seen + FLOWING).await;
    let interrupted = events(&people[0].lines(), "link_interrupted", Some(&ids[1]));
    assert!(interrupted.is_empty(), "{interrupted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_loses_no_call() {
    let mut venue = Venue::open().await;
    let (mut people, ids) = venue.gather(&["Ann", "Bob"]).await;
    venue.kill_server();
    for (person, other) in people.iter_mut().zip([&ids[1], &ids[0]]) {
        person.until_event("reconnecting", None).await;
        let seen = person.seen(other);
        person.until_seen(other, seen + FLOWING).await;
    }
    venue.restart_server().await;
    for person in &mut people {
        person.until_event("reconnected", None).await;
    }

    let mut newcomer = venue.call("Eve");
    let eve = newcomer.id().await;
    for (person, id) in people.iter_mut().zip(&ids) {
        person.until_seen(&eve, FLOWING).await;
        newcomer.until_seen(id, FLOWING).await;
    }
    for (person, other) in people.iter().zip([&ids[1], &ids[0]]) {
        assert_undisturbed(person, other);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_to_the_server_is_resumed_and_no_call_notices() {
    let mut venue = Venue::open().await;
    let detour = Detour::to(venue.address).await;
    venue.link = link_to(&detour.address().to_string(), false);
    let (mut people, ids) = venue.gather(&["Ann", "Bob"]).await;
    detour.cut();
    for person in &mut people {
        person.until_event("reconnecting", None).await;
        let back = person.until_event("reconnected", None).await;
        assert_eq!(back["resumed"], true, "{}", person.name);
    }
    for (person, other) in people.iter_mut().zip([&ids[1], &ids[0]]) {
        let seen = person.seen(other);
        person.until_seen(other, seen + FLOWING).await;
        assert_undisturbed(person, other);
    }
    // Whoever resumed can still be heard through the server.
    people[1].leave().await;
    let left = people[0]
        .until_event("participant_left", Some(&ids[1]))
        .await;
    assert_eq!(left["lost"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_certificate_is_used_if_it_is_trusted_and_only_then() {
    let mut venue = Venue::open().await;
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles {
        certificate: venue.folder().join("certificate.pem"),
        key: venue.folder().join("key.pem"),
    };
    fs::write(&files.certificate, certified.cert.pem()).unwrap();
    fs::write(&files.key, certified.signing_key.serialize_pem()).unwrap();
    let roots = files.certificate.clone();
    let config = Config {
        tls: Some(files),
        ..Config::default()
    };
    let server = Server::start(config).await.unwrap();
    venue.link = link_to(&format!("localhost:{}", server.addresses()[0].port()), true);

    let mut doubter = venue.call("Eve");
    let mut people = ["Ann", "Bob"].map(|name| {
        Participant::start_with(venue.folder(), name, &venue.link, &[], |command| {
            command.env("NONSTOP_EXTRA_ROOTS", &roots);
        })
    });
    all_see_all(&mut people).await;
    assert!(!doubter.ended().await.success());
    assert_eq!(events(&doubter.lines(), "joined", None).len(), 0);
}

/// Asserts that the link to somebody was never touched.
fn assert_undisturbed(person: &Participant, peer: &str) {
    let lines = person.lines();
    let joined = events(&lines, "participant_joined", Some(peer));
    assert_eq!(joined.len(), 1, "{}", person.name);
    for event in ["participant_left", "link_interrupted"] {
        let found = events(&lines, event, Some(peer));
        assert!(found.is_empty(), "{}: {found:?}", person.name);
    }
}
