//! The connection test against real servers on this computer.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path as FilePath,
    process::Command,
    time::Duration,
};

use nonstop::{
    call::{TrialReport, new_meeting_link},
    check::check,
    config::ProxyChoice,
};
use nonstop_server::{Config, IceConfig, Server, TlsFiles, TurnConfig};
use nonstop_wire::IceServer;
use serde_json::Value;
use tempfile::TempDir;

/// A relay that may be used on this computer, where every address is one of its own.
fn turn() -> TurnConfig {
    TurnConfig {
        secret: Some("north".to_owned()),
        peers: vec!["127.0.0.1".parse().unwrap()],
        ..TurnConfig::default()
    }
}

fn with_relay() -> Config {
    Config {
        turn: Some(turn()),
        ..Config::default()
    }
}

/// A server that names these STUN and TURN servers, with credentials for the relay of [`turn`].
fn naming(urls: &[String]) -> Config {
    let servers = urls.iter().map(|url| IceServer {
        urls: vec![url.clone()],
        username: String::new(),
        credential: String::new(),
    });
    Config {
        ice: IceConfig {
            servers: servers.collect(),
            turn_secret: Some("north".to_owned()),
        },
        turn: None,
        ..Config::default()
    }
}

async fn test(address: SocketAddr) -> (TrialReport, String) {
    let link = new_meeting_link(&format!("http://{address}")).unwrap();
    let mut out = Vec::new();
    let report = check(link, ProxyChoice::Never, &mut out, false)
        .await
        .unwrap();
    (report, String::from_utf8(out).unwrap())
}

/// A socket that swallows everything.
fn silent() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_relay_passes_and_its_rate_is_measured() {
    let server = Server::start(with_relay()).await.unwrap();
    let (report, text) = test(server.addresses()[0]).await;
    assert_eq!(report.works, Some(true), "{text}");
    assert_eq!(report.udp, Some(true), "{text}");
    assert_eq!(report.relays[0].works, Some(true), "{text}");
    assert_eq!(report.relays[1].works, Some(true), "{text}");
    assert_eq!(report.relays[2].offered, Some(false), "{text}");
    // The train ends at 5 Mb/s, and loopback carries all of it.
    let rate = report.rate_bps.unwrap_or_else(|| panic!("{text}"));
    assert!((1_000_000..5_000_000).contains(&rate), "{text}");
    assert_eq!(report.rate_path.as_deref(), Some("turn-udp"));
    assert!(text.contains("Works. At least "), "{text}");
    assert!(text.contains("  Meeting server: reached in "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_is_dead_the_words_say_so_and_the_stream_is_measured() {
    let relay = Server::start(with_relay()).await.unwrap();
    let stream = relay.addresses()[0].port();
    let (_socket, dead) = silent();
    let server = Server::start(naming(&[
        format!("stun:127.0.0.1:{dead}"),
        format!("turn:127.0.0.1:{dead}?transport=udp"),
        format!("turn:127.0.0.1:{stream}?transport=tcp"),
    ]));
    let server = server.await.unwrap();
    let began = nonstop::clock::now();
    let (report, text) = test(server.addresses()[0]).await;
    assert!(began.elapsed() < Duration::from_secs(12), "{text}");
    assert_eq!(report.udp, Some(false), "{text}");
    assert_eq!(report.rate_path.as_deref(), Some("turn-tcp"), "{text}");
    assert!(
        report.rate_bps.is_some_and(|rate| rate > 1_000_000),
        "{text}"
    );
    assert_eq!(
        report.summary,
        "UDP is blocked here. Calls go through a relay over TCP; expect less quality."
    );
    assert!(
        text.contains("UDP: blocked here: nothing comes back"),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_without_a_relay_is_named_as_such() {
    let config = Config {
        turn: None,
        ..Config::default()
    };
    let server = Server::start(config).await.unwrap();
    let (report, text) = test(server.addresses()[0]).await;
    assert_eq!(report.relays[0].offered, Some(false), "{text}");
    assert_eq!(report.rate_bps, None);
    assert_eq!(report.works, None, "nobody knows");
    assert!(
        text.contains("It offers nothing to test the way of calls with"),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_not_reached() {
    let server = Server::start(Config::default()).await.unwrap();
    let address = server.addresses()[0];
    server.stop().await;
    let (report, text) = test(address).await;
    assert_eq!(report.works, Some(false));
    assert!(report.server_error.is_some());
    assert!(text.contains("was not reached"), "{text}");
}

#[tokio::test]
async fn a_credential_that_the_relay_does_not_accept_is_said() {
    let relay = Server::start(with_relay()).await.unwrap();
    let port = relay.addresses()[0].port();
    let mut config = naming(&[format!("turn:127.0.0.1:{port}?transport=udp")]);
    config.ice.turn_secret = Some("south".to_owned());
    let server = Server::start(config).await.unwrap();
    let (report, text) = test(server.addresses()[0]).await;
    assert_eq!(
        report.udp,
        Some(true),
        "UDP works, whatever the relay says: {text}"
    );
    let error = report.relays[0].error.as_deref();
    assert_eq!(error, Some("the relay did not accept the credentials"));
    assert!(
        report
            .summary
            .contains("the relay cannot be used from here"),
        "{text}"
    );
}

/// Makes a certificate for this computer; returns its files.
fn certificate(folder: &FilePath) -> TlsFiles {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let files = TlsFiles {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
    };
    fs::write(&files.certificate, made.cert.pem()).unwrap();
    fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

fn run_check(server: &str, roots: Option<&FilePath>) -> (bool, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nonstop"));
    command.args(["check", "--json", "--proxy", "none", "--server", server]);
    if let Some(roots) = roots {
        command.env("NONSTOP_EXTRA_ROOTS", roots);
    }
    let output = command.output().unwrap();
    let report = serde_json::from_slice(&output.stdout);
    (output.status.success(), report.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tests_a_protected_server_down_to_its_relay_over_tls() {
    let folder = TempDir::new().unwrap();
    let tls = certificate(folder.path());
    let roots = tls.certificate.clone();
    let config = Config {
        tls: Some(tls),
        ..with_relay()
    };
    let server = Server::start(config).await.unwrap();
    let url = format!("https://{}", server.addresses()[0]);
    let asked = url.clone();
    let (works, report) = tokio::task::spawn_blocking(move || run_check(&asked, Some(&roots)))
        .await
        .unwrap();
    assert!(works, "{report}");
    assert_eq!(report["relays"][2]["path"], "turn-tls");
    assert_eq!(report["relays"][2]["works"], true, "{report}");
    assert!(report["rate_bps"].as_u64().is_some(), "{report}");
    let (works, report) = tokio::task::spawn_blocking(move || run_check(&url, None))
        .await
        .unwrap();
    assert!(!works, "nobody vouches for the certificate: {report}");
    let error = report["server_error"].as_str().unwrap();
    assert!(error.contains("identity could not be proven"), "{error}");
}
