//! Arguments, logging, runtime, window: wires the house, decides nothing.

use std::{
    io,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use nonstop::{
    call::{self, Command, Session, SessionConfig, meeting_beside, new_meeting_link},
    check, clock,
    config::{
        Arguments, CheckArguments, Chosen, Loaded, ServeArguments, SettingsError, SettingsFile,
    },
    demo, devices, headless, stop, ui,
};
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;
use tracing_subscriber::EnvFilter;

/// What is logged unless `RUST_LOG` says otherwise: our own words, and of the libraries only
/// what went wrong.
const USUAL_LOG: &str = "error,nonstop=info,nonstop_server=info,rtc=off,webrtc=off";
/// How long threads of the runtime may take to end.
const LONGEST_END: Duration = Duration::from_secs(1);
/// What a wrong use of the command line exits with (as clap does).
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    clock::start();
    let arguments = Arguments::parse();
    start_logging();
    install_tls();
    let outcome = match arguments.chosen {
        None => window(arguments.link),
        Some(Chosen::New { server }) => return new(server),
        Some(Chosen::Call(arguments)) => with_runtime(|runtime| {
            runtime.block_on(headless::call(*arguments))?;
            Ok(())
        }),
        Some(Chosen::Check(arguments)) => return check_connection(arguments),
        Some(Chosen::Devices { json }) => list_devices(json),
        Some(Chosen::Demo(arguments)) => with_runtime(|runtime| {
            runtime.block_on(demo::run(arguments))?;
            Ok(())
        }),
        Some(Chosen::Serve(arguments)) => {
            with_runtime(|runtime| runtime.block_on(serve_meetings(arguments)))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nonstop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL_LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .init();
}

/// Names the one library that does the cryptography of TLS and DTLS in this process.
fn install_tls() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing was installed before");
}

/// Gives `work` a runtime and ends that within bounds, whatever its threads are still at.
fn with_runtime<T>(work: impl FnOnce(&Runtime) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let runtime = Builder::new_multi_thread()
        .thread_name("runtime")
        .enable_all()
        .build()
        .context("the system gave no threads")?;
    let outcome = work(&runtime);
    runtime.shutdown_timeout(LONGEST_END);
    outcome
}

fn window(link: Option<String>) -> anyhow::Result<()> {
    if !has_display() {
        bail!(
            "there is no display to open a window on. `nonstop call` joins a meeting without one, `nonstop demo` shows a call."
        );
    }
    let file = SettingsFile::usual();
    let loaded = file
        .as_ref()
        .map_or_else(Loaded::default, SettingsFile::load);
    // A file that is there and cannot be read is left as it is.
    let readable = !matches!(loaded.trouble, Some(SettingsError::Unreadable(_)));
    with_runtime(|runtime| {
        let session = runtime.block_on(async {
            Session::start(SessionConfig {
                memory: file.filter(|_| readable),
                settings_trouble: loaded.trouble,
                offered_link: link,
                ..SessionConfig::new(loaded.settings)
            })
        });
        session.commands().send(Command::ListDevices);
        let (view, commands) = (session.view(), session.commands());
        let session = Arc::new(Mutex::new(Some(session)));
        let _signals = AbortOnDropHandle::new(runtime.spawn(end_on_signal(Arc::clone(&session))));
        let outcome = ui::run(view, commands);
        runtime.block_on(finish(&session));
        outcome.map_err(|error| anyhow!("{error}"))
    })
}

/// Leaves with a goodbye where the system or a terminal ends the window.
async fn end_on_signal(session: Arc<Mutex<Option<Session>>>) {
    stop::requested(false).await;
    finish(&session).await;
    std::process::exit(0);
}

/// Ends the session, unless that has been done.
async fn finish(session: &Mutex<Option<Session>>) {
    let taken = session
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(session) = taken {
        session.finish().await;
    }
}

/// Tells whether a window could be opened at all. Systems other than Linux always have a display.
fn has_display() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux")
        || ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"]
            .into_iter()
            .any(set)
}

/// Returns the meeting server of the settings, if they name one.
fn remembered_server() -> Option<String> {
    let loaded = SettingsFile::usual()?.load();
    if let Some(trouble) = loaded.trouble {
        eprintln!("{trouble}");
    }
    loaded.settings.server
}

fn new(server: Option<String>) -> ExitCode {
    let Some(server) = server.or_else(remembered_server) else {
        eprintln!(
            "nonstop: a meeting link needs a meeting server. Name one with --server URL, or in the settings of the window. \
             Without any, \"New meeting\" in the window hosts the meeting on this computer while it is open."
        );
        return ExitCode::from(WRONG_USE);
    };
    match new_meeting_link(&server) {
        Ok(link) => {
            println!("{}", link.reveal());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("nonstop: {error}.");
            ExitCode::from(WRONG_USE)
        }
    }
}

fn check_connection(arguments: CheckArguments) -> ExitCode {
    let link = match (&arguments.link, arguments.server.or_else(remembered_server)) {
        (Some(link), _) => meeting_beside(link),
        (None, Some(server)) => new_meeting_link(&server),
        (None, None) => {
            eprintln!(
                "nonstop: there is no meeting server to test. Name one with --server URL or by a meeting link, or in the settings of the window."
            );
            return ExitCode::from(WRONG_USE);
        }
    };
    let link = match link {
        Ok(link) => link,
        Err(error) => {
            eprintln!("nonstop: {error}.");
            return ExitCode::from(WRONG_USE);
        }
    };
    let outcome = with_runtime(|runtime| {
        let mut out = io::stdout();
        let checked = check::check(link, arguments.proxy, &mut out, arguments.json);
        let report = runtime.block_on(checked);
        let report = report.context("what was found could not be printed")?;
        Ok(report.works != Some(false))
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("nonstop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list_devices(json: bool) -> anyhow::Result<()> {
    devices::write(&call::list_devices(), &mut io::stdout().lock(), json)
        .context("the list could not be printed")
}

async fn serve_meetings(arguments: ServeArguments) -> anyhow::Result<()> {
    let config = nonstop_server::Config {
        listen: vec![arguments.listen],
        ..nonstop_server::Config::default()
    };
    let server = nonstop_server::Server::start(config)
        .await
        .with_context(|| format!("no meetings can be held on {}", arguments.listen))?;
    for address in server.addresses() {
        println!("listening on {address}");
    }
    stop::requested(arguments.end_with_stdin).await;
    Ok(())
}
