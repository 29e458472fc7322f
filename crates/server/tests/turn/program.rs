//! The real program as a process of its own; killed when dropped.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

/// The secret of all credentials here.
pub(crate) const SECRET: &str = "north";

pub(crate) struct Program {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Program {
    /// Starts it on this computer, with peers on this computer allowed.
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_strict(&[&["--turn-peer", "127.0.0.1"], more].concat())
    }

    /// Starts it with the usual rules about peers.
    pub(crate) fn start_strict(more: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_nonstop-server"))
            .args(["--listen", "127.0.0.1:0", "--turn-secret", SECRET])
            .args(["--max-arrivals-per-address", "100000"])
            .args(more)
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = process.stderr.take().expect("it was piped");
        let mut log = BufReader::new(log);
        let mut line = String::new();
        let address = loop {
            line.clear();
            let read = log.read_line(&mut line).expect("the log is text");
            assert!(read > 0, "the program did not start");
            if let Some((_, address)) = line.trim().rsplit_once("://") {
                break address.parse().expect("it tells its address");
            }
        };
        // Nothing must block because nobody reads the log.
        thread::spawn(move || std::io::copy(&mut log.by_ref(), &mut std::io::sink()));
        Self { process, address }
    }

    /// Returns a figure of `/proc/PID/status`, such as `VmRSS`, in kB.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory_kb(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("the program runs");
        let line = status.lines().find(|line| line.starts_with(name));
        let line = line.expect("Linux tells it");
        let kb = line.split_whitespace().nth(1).expect("there is a number");
        kb.parse().expect("it is a number")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A certificate for `localhost` in files, and what trusts it.
pub(crate) fn certificate(folder: &Path) -> (Vec<String>, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add(made.cert.der().clone()).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let arguments = [
        "--tls-certificate".to_owned(),
        path(&chain),
        "--tls-key".to_owned(),
        path(&key),
    ];
    (arguments.to_vec(), trusted)
}
