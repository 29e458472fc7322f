//! The processes of a demo. Whatever happens to the demo, they end: each is killed when its
//! handle is dropped, and leaves by itself when its standard input, held by the demo, ends.

use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{DemoError, follow::Follower};
use crate::{call::new_meeting_link, clock};

/// How long the server may take to answer.
const LONGEST_START: Duration = Duration::from_secs(10);
/// How long participants may take to leave.
const LONGEST_GOODBYE: Duration = Duration::from_secs(5);
/// How long to wait before asking again whether the server answers.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What every participant sends: this size is what is measured.
pub(super) const SIZE: (u32, u32) = (640, 360);

/// All processes of a demo.
#[derive(Debug)]
pub(super) struct Processes {
    server: Child,
    pub(super) participants: Vec<Participant>,
    _folder: TempDir,
}

/// One participant.
#[derive(Debug)]
pub(super) struct Participant {
    name: String,
    process: Child,
    pub(super) figures: Follower,
}

impl Processes {
    /// Starts a server and as many participants.
    pub(super) async fn start(people: usize) -> Result<Self, DemoError> {
        let start = |what| move |error| DemoError::Start { what, error };
        let program = env::current_exe().map_err(start("the call"))?;
        let folder = tempfile::Builder::new()
            .prefix("nonstop-demo-")
            .tempdir()
            .map_err(start("the call"))?;
        let (server, address) = start_server(&program)
            .await
            .map_err(start("the meeting server"))?;
        let link = new_meeting_link(&format!("http://{address}"))?.reveal();
        let mut participants = Vec::new();
        for number in 0..people {
            let name = name(number);
            let file = folder.path().join(format!("{name}.jsonl"));
            let participant = Participant::start(&program, &link, name, file);
            participants.push(participant.map_err(start("a participant"))?);
        }
        Ok(Self {
            server,
            participants,
            _folder: folder,
        })
    }

    /// Fails if one of them has ended.
    pub(super) fn check(&mut self) -> Result<(), DemoError> {
        let gone = |process: &mut Child| !matches!(process.try_wait(), Ok(None));
        if gone(&mut self.server) {
            return Err(DemoError::Ended("the meeting server".to_owned()));
        }
        match self
            .participants
            .iter_mut()
            .find_map(|p| gone(&mut p.process).then_some(&p.name))
        {
            Some(name) => Err(DemoError::Ended(format!("participant {name}"))),
            None => Ok(()),
        }
    }

    /// Lets everybody leave, then ends the server.
    pub(super) async fn end(&mut self) {
        for participant in &mut self.participants {
            participant.process.stdin = None;
        }
        let left = async {
            for participant in &mut self.participants {
                let _ = participant.process.wait().await;
            }
        };
        let _ = timeout(LONGEST_GOODBYE, left).await;
        let _ = self.server.kill().await;
    }
}

/// Returns what a participant is called.
pub(super) fn name(number: usize) -> String {
    format!("p{}", number + 1)
}

impl Participant {
    fn start(program: &Path, link: &str, name: String, file: PathBuf) -> io::Result<Self> {
        fs::File::create(&file)?;
        let process = quiet(program)
            .args(["call", link, "--name", &name])
            .args(["--camera", "test-card", "--microphone", "tone"])
            .args(["--speaker", "none", "--end-with-stdin"])
            .args(["--max-size", &format!("{}x{}", SIZE.0, SIZE.1)])
            .arg("--stats")
            .arg(&file)
            .stdin(Stdio::piped())
            .spawn()?;
        Ok(Self {
            name,
            process,
            figures: Follower::new(file)?,
        })
    }
}

/// Makes a process that says only what went wrong, unless `RUST_LOG` asks for more: the figures
/// are what a demo is for.
fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    if env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "error");
    }
    command.stdout(Stdio::null()).kill_on_drop(true);
    command
}

/// Starts the server that is installed beside this program, or the one inside it.
async fn start_server(program: &Path) -> io::Result<(Child, SocketAddr)> {
    // The port is free now; that somebody takes it in the next moment shows as a server that
    // does not start.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let listen = address.to_string();
    let beside = program.with_file_name(format!("nonstop-server{}", env::consts::EXE_SUFFIX));
    let mut command = if beside.is_file() {
        let mut command = quiet(&beside);
        command.stdin(Stdio::null()).args(["--listen", &listen]);
        command
    } else {
        let mut command = quiet(program);
        command.stdin(Stdio::piped());
        command.args(["serve", "--end-with-stdin", "--listen", &listen]);
        command
    };
    let mut server = command.spawn()?;
    let deadline = clock::now() + LONGEST_START;
    while TcpStream::connect(address).await.is_err() {
        if let Some(status) = server.try_wait()? {
            return Err(io::Error::other(format!("it ended with {status}")));
        }
        if clock::now() > deadline {
            return Err(io::Error::other("it does not answer"));
        }
        sleep(ASK_AGAIN).await;
    }
    Ok((server, address))
}
