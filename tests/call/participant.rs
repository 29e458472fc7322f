//! One `nonstop call` as a process of its own: test card, tone, no speaker.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nonstop::clock;
use nonstop_wire::MeetingLink;
use serde_json::Value;
use tokio::time::sleep;

/// Long enough for any machine; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(90);
const GLANCE: Duration = Duration::from_millis(50);

/// A running participant. Dropping it kills it.
pub(crate) struct Participant {
    pub(crate) name: String,
    child: Child,
    /// When its process began, by our own clock: about when its time stamps are zero.
    started: Instant,
    stats: PathBuf,
    record: PathBuf,
    /// Everything it printed that is not a figure.
    output: PathBuf,
}

impl Participant {
    /// Starts somebody. Their files go to `folder`.
    pub(crate) fn start(folder: &Path, name: &str, link: &MeetingLink, more: &[&str]) -> Self {
        Self::start_with(folder, name, link, more, |_| {})
    }

    /// Starts somebody in an environment that is changed first.
    pub(crate) fn start_with(
        folder: &Path,
        name: &str,
        link: &MeetingLink,
        more: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let stats = folder.join(format!("{name}.jsonl"));
        let record = folder.join(name);
        let output = folder.join(format!("{name}.log"));
        let log = fs::File::create(&output).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_nonstop"));
        command
            .args(["call", &link.reveal(), "--name", name])
            .args(["--camera", "test-card", "--microphone", "tone"])
            .args(["--speaker", "none", "--max-size", "320x180"])
            .arg("--stats")
            .arg(&stats)
            .arg("--record")
            .arg(&record)
            .arg("--end-with-stdin")
            .args(more)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        change(&mut command);
        let started = clock::now();
        Self {
            name: name.to_owned(),
            child: command.spawn().unwrap(),
            started,
            stats,
            record,
            output,
        }
    }

    /// Returns everything it wrote about the call so far, one value a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.stats).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits until `find` finds something in what it wrote.
    pub(crate) async fn until<T>(&mut self, what: &str, find: impl Fn(&[Value]) -> Option<T>) -> T {
        let deadline = clock::now() + LONG;
        loop {
            if let Some(found) = find(&self.lines()) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            if clock::now() > deadline || ended.is_some() {
                // What was written last may be what was waited for.
                if let Some(found) = find(&self.lines()) {
                    return found;
                }
                let (name, lines) = (&self.name, self.lines());
                let output = fs::read_to_string(&self.output).unwrap_or_default();
                panic!("{name} ({ended:?}) lacks {what}: {lines:#?}\n{output}");
            }
            sleep(GLANCE).await;
        }
    }

    /// Waits for an event, of somebody where one is named, and returns its line.
    pub(crate) async fn until_event(&mut self, event: &str, peer: Option<&str>) -> Value {
        self.until(&format!("{event} {peer:?}"), |lines| {
            events(lines, event, peer).into_iter().next()
        })
        .await
    }

    /// Returns its id, once it is in the room.
    pub(crate) async fn id(&mut self) -> String {
        let joined = self.until_event("joined", None).await;
        joined["me"].as_str().unwrap().to_owned()
    }

    /// Waits until it has seen at least so many pictures of somebody.
    pub(crate) async fn until_seen(&mut self, peer: &str, pictures: u64) {
        self.until(&format!("{pictures} pictures of {peer}"), |lines| {
            (frames_decoded(lines, peer)? >= pictures).then_some(())
        })
        .await;
    }

    /// Returns how many pictures of somebody it has seen, by its latest figures.
    pub(crate) fn seen(&self, peer: &str) -> u64 {
        frames_decoded(&self.lines(), peer).unwrap_or(0)
    }

    /// Returns the time stamp that it would write now, within a few milliseconds.
    pub(crate) fn time_ms(&self) -> u64 {
        u64::try_from((clock::now() - self.started).as_millis()).unwrap()
    }

    /// Kills it without any chance to say goodbye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it leave, and waits until it has.
    pub(crate) async fn leave(&mut self) {
        drop(self.child.stdin.take());
        let status = self.ended().await;
        assert!(status.success(), "{}: {status}", self.name);
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let deadline = clock::now() + LONG;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(clock::now() < deadline, "{} does not end", self.name);
            sleep(GLANCE).await;
        }
    }

    /// Returns everything it said in words.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Returns the recording of somebody, with this ending.
    pub(crate) fn recording(&self, peer: &str, ending: &str) -> PathBuf {
        let suffix = format!("-{peer}.{ending}");
        let mut files = fs::read_dir(&self.record).unwrap();
        let file = files.find(|file| {
            let name = file.as_ref().unwrap().file_name();
            name.to_string_lossy().ends_with(&suffix)
        });
        file.unwrap_or_else(|| panic!("{} has no {suffix}", self.name))
            .unwrap()
            .path()
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the lines of an event, of somebody where one is named.
pub(crate) fn events(lines: &[Value], event: &str, peer: Option<&str>) -> Vec<Value> {
    let wanted =
        |line: &&Value| line["event"] == event && peer.is_none_or(|peer| line["peer"] == peer);
    lines.iter().filter(wanted).cloned().collect()
}

fn frames_decoded(lines: &[Value], peer: &str) -> Option<u64> {
    let mut figures = lines.iter().rev().filter(|line| line["type"] == "link");
    let line = figures.find(|line| line["peer"] == peer)?;
    line["frames_decoded"].as_u64()
}
