//! A meeting server of its own process, that is killed in the middle of a call and comes back
//! with an empty memory.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};

use crate::{
    FLOWING, all_see_all, alone, assert_undisturbed, link_to,
    participant::{Participant, events},
};

/// How long the server is away: longer than the longest wait between two attempts.
const OUTAGE: Duration = Duration::from_secs(8);
/// How soon everybody is back, once the server is.
const BACK_WITHIN_MS: u64 = 5_000;

/// A server that can be killed. Dropping it kills it.
struct ServerProcess(Child);

impl ServerProcess {
    async fn start(address: SocketAddr) -> Self {
        let server = Command::new(env!("CARGO_BIN_EXE_nonstop"))
            .args(["serve", "--listen", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self(server);
        for _ in 0..1_000 {
            if TcpStream::connect(address).await.is_ok() {
                return server;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("the server does not listen");
    }

    /// SIGKILL: nobody is told anything.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_costs_no_frame_and_takes_everybody_back_when_it_returns_empty() {
    let _alone = alone().await;
    let folder = TempDir::new().unwrap();
    let address = free_address();
    let mut server = ServerProcess::start(address).await;
    let link = link_to(&address.to_string(), false);
    let call = |name| Participant::start(folder.path(), name, &link, &["--max-bitrate", "300k"]);
    let mut people: Vec<_> = ["Ann", "Bob", "Eve", "Dan"].map(call).into();
    let ids = all_see_all(&mut people).await;

    server.kill();
    for person in &mut people {
        person.until_event("reconnecting", None).await;
    }
    let before: Vec<_> = people.iter().map(|person| figures(person, &ids)).collect();
    sleep(OUTAGE).await;
    for (person, before) in people.iter().zip(before) {
        for (before, after) in before.iter().zip(figures(person, &ids)) {
            assert!(
                after.frames > before.frames + FLOWING,
                "{before:?} {after:?}"
            );
            assert_eq!(after.freezes, before.freezes, "{}", person.name);
            assert_eq!(after.audio_lost, before.audio_lost, "{}", person.name);
        }
    }

    let mut server = ServerProcess::start(address).await;
    let returned: Vec<_> = people.iter().map(Participant::time_ms).collect();
    for (person, returned) in people.iter_mut().zip(returned) {
        let back = person.until_event("reconnected", None).await;
        assert_eq!(back["resumed"], false, "its memory is empty");
        let after = back["time_ms"].as_u64().unwrap().saturating_sub(returned);
        assert!(after <= BACK_WITHIN_MS, "{} after {after} ms", person.name);
    }
    let mut fifth = call("Joe");
    let joe = fifth.id().await;
    for (person, id) in people.iter_mut().zip(&ids) {
        person.until_seen(&joe, FLOWING).await;
        fifth.until_seen(id, FLOWING).await;
    }

    // Without a server, a goodbye goes beside the media.
    server.kill();
    for person in people.iter_mut().chain([&mut fifth]) {
        let away = |lines: &[Value]| {
            let times = |event| events(lines, event, None).len();
            (times("reconnecting") > times("reconnected")).then_some(())
        };
        person.until("the server's end", away).await;
    }
    fifth.leave().await;
    for person in &mut people {
        let left_at = person.time_ms();
        let left = person.until_event("participant_left", Some(&joe)).await;
        assert_eq!(left["lost"], false, "{}", person.name);
        let after = left["time_ms"].as_u64().unwrap().saturating_sub(left_at);
        assert!(after <= 1_000, "{} after {after} ms", person.name);
    }
    for (person, id) in people.iter().zip(&ids) {
        assert_eq!(events(&person.lines(), "joined", None).len(), 1);
        for other in ids.iter().filter(|other| *other != id) {
            assert_undisturbed(person, other);
        }
    }
}

/// What a link has carried so far.
#[derive(Debug)]
struct Carried {
    frames: u64,
    freezes: u64,
    audio_lost: u64,
}

/// Returns the newest figures of the links to everybody else.
fn figures(person: &Participant, ids: &[String]) -> Vec<Carried> {
    let lines = person.lines();
    let newest = |id: &String| {
        let mut links = lines.iter().rev().filter(|line| line["type"] == "link");
        links.find(|line| line["peer"] == **id)
    };
    let number = |line: &Value, name: &str| line[name].as_u64().unwrap_or(0);
    let carried = ids.iter().filter_map(newest).map(|line| Carried {
        frames: number(line, "frames_decoded"),
        freezes: number(line, "freeze_count"),
        audio_lost: number(line, "audio_lost"),
    });
    let carried: Vec<_> = carried.collect();
    assert_eq!(carried.len(), ids.len() - 1);
    carried
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
