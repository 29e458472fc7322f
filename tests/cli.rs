//! The command line as scripts use it: real processes, their words and their exit codes.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nonstop_wire::MeetingLink;
use serde_json::Value;

/// However loaded this computer is, nothing here takes longer.
const LONGEST: Duration = Duration::from_secs(90);

#[test]
fn devices_are_listed_as_json() {
    let output = nonstop(&["devices", "--json"]).output().unwrap();
    assert!(output.status.success());
    let devices: Value = serde_json::from_slice(&output.stdout).unwrap();
    for kind in ["cameras", "microphones", "speakers"] {
        let names = devices[kind].as_array().expect(kind);
        assert!(names.iter().all(Value::is_string));
    }
}

#[test]
fn a_new_link_is_on_the_server_that_is_named_or_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let new = |arguments: &[&str]| {
        let mut command = nonstop(&[&["new"], arguments].concat());
        command.env("NONSTOP_CONFIG_DIR", folder.path());
        command.output().unwrap()
    };
    let link = |output: &Output| -> MeetingLink {
        assert!(output.status.success(), "{}", stderr(output));
        String::from_utf8_lossy(&output.stdout).parse().unwrap()
    };
    let without = new(&[]);
    assert_eq!(without.status.code(), Some(2));
    assert!(stderr(&without).contains("--server URL"));

    let named = new(&["--server", "https://meet.example.org"]);
    assert_eq!(link(&named).host(), "meet.example.org");
    let wrong = new(&["--server", "http://meet.example.org"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("not protected"));

    let settings = "server = \"https://remembered.example.org\"\n";
    fs::write(folder.path().join("settings.toml"), settings).unwrap();
    assert_eq!(link(&new(&[])).host(), "remembered.example.org");
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_display_the_window_says_so_in_one_line() {
    let mut command = nonstop(&[]);
    for variable in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
        command.env_remove(variable);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
}

#[test]
fn wrong_use_is_explained_and_exits_with_2() {
    for arguments in [
        ["call", "standup"].as_slice(),
        &["call"],
        &["demo", "--people", "1"],
        &["demo", "--for", "soon"],
        &["devices", "--yaml"],
    ] {
        let output = nonstop(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("error:"), "{arguments:?}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let wall = folder.path().join("wall");
    fs::write(&wall, "").unwrap();
    let link = new_link("http://127.0.0.1:9");
    for (option, path) in [("--stats", "wall/figures"), ("--record", "wall/folder")] {
        let path = folder.path().join(path);
        let output = call(&link, &[option, path.to_str().unwrap()])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("cannot be written"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn a_server_that_is_not_there_is_said_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let stats = folder.path().join("figures");
    let link = new_link("http://127.0.0.1:9");
    let mut process = call(&link, &["--stats", stats.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(ended(&mut process).code(), Some(1));
    let mut words = String::new();
    process.stderr.unwrap().read_to_string(&mut words).unwrap();
    assert!(words.contains("cannot be reached"), "{words}");
    assert!(
        !words.contains(link.split('#').nth(1).unwrap()),
        "no secrets"
    );
    assert_eq!(events(&stats).last().unwrap()["reason"], "unreachable");
}

#[test]
fn a_call_ends_after_its_time_with_a_record_of_it() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let stats = folder.path().join("figures");
    let options = ["--stats", stats.to_str().unwrap(), "--for", "1s"];
    let mut process = call(&new_link(&server.url), &options).spawn().unwrap();
    assert!(ended(&mut process).success());
    let names: Vec<_> = events(&stats).iter().map(|e| e["event"].clone()).collect();
    assert_eq!(names.first().unwrap(), "joined");
    assert_eq!(names.last().unwrap(), "left");
}

#[cfg(unix)]
#[test]
fn a_call_that_is_terminated_leaves_with_a_goodbye() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let link = new_link(&server.url);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (one, two) = (path("one"), path("two"));
    let mut stays = call(&link, &["--stats", &one]).spawn().unwrap();
    await_event(&one, "joined");
    let mut goes = call(&link, &["--stats", &two]).spawn().unwrap();
    await_event(&one, "participant_joined");
    await_event(&two, "participant_joined");
    terminate(&goes);
    assert!(ended(&mut goes).success());
    await_event(&one, "participant_left");
    let events = events(Path::new(&one));
    let left = events.iter().find(|e| e["event"] == "participant_left");
    assert_eq!(left.unwrap()["lost"], false, "it said goodbye");
    terminate(&stays);
    assert!(ended(&mut stays).success());
}

#[test]
fn a_call_leaves_when_whoever_started_it_is_gone() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let stats = folder.path().join("figures");
    let options = ["--stats", stats.to_str().unwrap(), "--end-with-stdin"];
    let mut command = call(&new_link(&server.url), &options);
    let mut process = command.stdin(Stdio::piped()).spawn().unwrap();
    await_event(stats.to_str().unwrap(), "joined");
    process.stdin = None;
    assert!(ended(&mut process).success());
    assert_eq!(events(&stats).last().unwrap()["event"], "left");
}

#[test]
fn a_demo_holds_a_real_call_and_sums_it_up() {
    let mut process = nonstop(&["demo", "--people", "2", "--for", "4s", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = process.stdout.take().unwrap();
    let lines = BufReader::new(output).lines().map(|line| line.unwrap());
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    let (summary, links) = lines.split_last().expect("it prints");
    assert!(links.iter().all(|line| line["type"] == "link"));
    let decoded = |line: &Value| line["decoded_fps"].as_f64().is_some_and(|fps| fps > 0.0);
    assert!(links.iter().any(decoded), "pictures came through");
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["directions"].as_array().unwrap().len(), 2);
    // Whether it was good enough is this computer's matter; the exit code must say the same.
    let passed = summary["passed"].as_bool().unwrap();
    assert_eq!(ended(&mut process).code(), Some(i32::from(!passed)));
}

fn nonstop(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nonstop"));
    command.args(arguments);
    command
}

fn call(link: &str, options: &[&str]) -> Command {
    let mut command = nonstop(&["call", link, "--camera", "none", "--microphone", "none"]);
    command.args(["--speaker", "none"]).args(options);
    command
}

fn new_link(server: &str) -> String {
    let output = nonstop(&["new", "--server", server]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn events(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let values = whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    values
        .filter(|value: &Value| value["type"] == "event")
        .collect()
}

fn await_event(path: &str, name: &str) {
    let deadline = now() + LONGEST;
    while !events(Path::new(path)).iter().any(|e| e["event"] == name) {
        assert!(now() < deadline, "no {name} in {path}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn ended(process: &mut Child) -> ExitStatus {
    let deadline = now() + LONGEST;
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        if now() > deadline {
            process.kill().unwrap();
            panic!("it does not end");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
fn terminate(process: &Child) {
    let kill = Command::new("kill").arg(process.id().to_string()).status();
    assert!(kill.unwrap().success());
}

fn now() -> Instant {
    nonstop::clock::now()
}

/// A meeting server of its own process, ended with the test.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start() -> Self {
        let mut process = nonstop(&["serve", "--listen", "127.0.0.1:0", "--end-with-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        let url = format!("http://{address}");
        Self { process, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.stdin = None;
        let _ = self.process.wait();
    }
}
