//! HTTP proxies on the way out: which one, for whom, and how to get through one.
//!
//! A proxy comes from the settings, or else from the environment, as other programs read it. What
//! the settings name is the only way out; what the environment names is one more way, and a
//! direct one that works is preferred where it has to be fast. Nothing on this computer is reached
//! through a proxy.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How much a proxy may say before its answer ends, in bytes.
const LONGEST_ANSWER: usize = 8 * 1024;

/// A proxy to go through.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// What the header `Proxy-Authorization` says, if anything.
    authorization: Option<String>,
    /// Whether somebody chose it, so that nothing may go past it.
    pub(crate) only: bool,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

/// Why there is no way through the proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The proxy itself could not be reached.
    #[error("the proxy could not be reached ({0})")]
    Unreachable(String),
    /// It wants a user name and password, or others (status 407).
    #[error("the proxy asks for a user name and password, or refuses those it was given")]
    Credentials,
    /// It does not connect to there (any other status, such as 403).
    #[error("the proxy refused (status {0})")]
    Refused(u16),
    /// It said nothing for too long, or ended the connection.
    #[error("the proxy does not answer")]
    Silent,
    /// It speaks something else.
    #[error("what answers at the proxy's address is no HTTP proxy")]
    NotAProxy,
}

/// What was entered as a proxy is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected http://[NAME:PASSWORD@]HOST[:PORT], none, or nothing")]
pub struct NoProxy;

/// Which proxy the person wants; written as they would.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ProxyChoice {
    /// Whatever the environment says.
    #[default]
    Environment,
    /// None at all.
    Never,
    /// This one, and no way past it.
    Always {
        /// What was entered, secrets included.
        url: String,
        /// What it means.
        proxy: Proxy,
    },
}

impl fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Never => f.write_str("Never"),
            Self::Always { proxy, .. } => f.debug_tuple("Always").field(proxy).finish(),
        }
    }
}

impl TryFrom<String> for ProxyChoice {
    type Error = NoProxy;

    fn try_from(text: String) -> Result<Self, NoProxy> {
        text.parse()
    }
}

impl From<ProxyChoice> for String {
    fn from(choice: ProxyChoice) -> Self {
        match choice {
            ProxyChoice::Environment => Self::new(),
            ProxyChoice::Never => "none".to_owned(),
            ProxyChoice::Always { url, .. } => url,
        }
    }
}

impl FromStr for ProxyChoice {
    type Err = NoProxy;

    /// Reads a setting: empty for the environment, `none`, or a proxy's URL.
    fn from_str(text: &str) -> Result<Self, NoProxy> {
        match text.trim() {
            "" => Ok(Self::Environment),
            word if word.eq_ignore_ascii_case("none") => Ok(Self::Never),
            url => Ok(Self::Always {
                proxy: parse(url, true)?,
                url: url.to_owned(),
            }),
        }
    }
}

impl ProxyChoice {
    /// Returns the proxies that this choice means, with what the environment says now.
    pub(crate) fn proxies(&self) -> Proxies {
        Proxies::with(self, |name| std::env::var(name).ok())
    }
}

/// The proxies of this process, and who is reached without.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Proxies {
    protected: Option<Proxy>,
    plain: Option<Proxy>,
    around: Vec<Exception>,
}

/// A part of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Everyone,
    /// This name and all below it.
    Name(String),
    /// These addresses: the first bits are the same.
    Addresses(IpAddr, u8),
}

impl Proxies {
    fn with(choice: &ProxyChoice, variable: impl Fn(&str) -> Option<String>) -> Self {
        match choice {
            ProxyChoice::Never => Self::default(),
            ProxyChoice::Always { proxy, .. } => Self {
                protected: Some(proxy.clone()),
                plain: Some(proxy.clone()),
                around: Vec::new(),
            },
            ProxyChoice::Environment => {
                let first = |names: &[&str]| {
                    let set = names.iter().filter_map(|name| variable(name));
                    let url = set
                        .map(|value| value.trim().to_owned())
                        .find(|v| !v.is_empty())?;
                    let proxy = parse(&url, false);
                    if proxy.is_err() {
                        tracing::warn!("the environment names a proxy of a kind we cannot use");
                    }
                    proxy.ok()
                };
                let any = ["ALL_PROXY", "all_proxy"];
                let around = ["NO_PROXY", "no_proxy"].into_iter().find_map(&variable);
                Self {
                    protected: first(&[["HTTPS_PROXY", "https_proxy"], any].concat()),
                    // Only in small letters: a web server's environment gives the other to
                    // whoever sends a header `Proxy`, and so programs do not read it.
                    plain: first(&[["http_proxy", "HTTP_PROXY"], any].concat()),
                    around: around.map(|list| exceptions(&list)).unwrap_or_default(),
                }
            }
        }
    }

    /// Returns the proxy through which to reach `host`, with or without TLS.
    pub(crate) fn toward(&self, host: &str, protected: bool) -> Option<Proxy> {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.');
        let address = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        let here = match address {
            Some(address) => address.is_loopback(),
            None => is_within(host, "localhost"),
        };
        let around = |exception: &Exception| match (exception, address) {
            (Exception::Everyone, _) => true,
            (Exception::Name(name), None) => is_within(host, name),
            (Exception::Addresses(network, bits), Some(address)) => {
                shares(*network, address, *bits)
            }
            _ => false,
        };
        if here || self.around.iter().any(around) {
            return None;
        }
        if protected {
            &self.protected
        } else {
            &self.plain
        }
        .clone()
    }
}

/// Takes a proxy's URL apart. Without a scheme, http is meant.
fn parse(url: &str, only: bool) -> Result<Proxy, NoProxy> {
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some(_) => return Err(NoProxy),
        None => url,
    };
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (secret, place) = match place.rsplit_once('@') {
        Some((secret, place)) => (Some(secret), place),
        None => (None, place),
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(literal) => {
            let (host, after) = literal.split_once(']').ok_or(NoProxy)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| NoProxy)?;
            match after {
                "" => (host, None),
                after => (host, Some(after.strip_prefix(':').ok_or(NoProxy)?)),
            }
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| NoProxy)?,
        None => 80,
    };
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == ':';
    if host.is_empty() || port == 0 || (host.contains(bad) && !place.starts_with('[')) {
        return Err(NoProxy);
    }
    Ok(Proxy {
        host: host.to_owned(),
        port,
        authorization: secret.map(|secret| format!("Basic {}", base64(&unescape(secret)))),
        only,
    })
}

/// Reads `NO_PROXY`: names, addresses and networks, with commas between them.
fn exceptions(list: &str) -> Vec<Exception> {
    let read = |entry: &str| {
        let entry = entry.trim();
        if entry == "*" {
            return Some(Exception::Everyone);
        }
        let (place, bits) = match entry.split_once('/') {
            Some((place, bits)) => (place, Some(bits.parse::<u8>().ok()?)),
            None => (entry, None),
        };
        if let Ok(address) = place.trim_matches(['[', ']']).parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            return Some(Exception::Addresses(address, bits.unwrap_or(most)));
        }
        // A port may follow a name; what holds for one port holds for all here.
        let name = place.split(':').next().unwrap_or_default();
        let name = name.trim_start_matches("*.").trim_start_matches('.');
        (!name.is_empty()).then(|| Exception::Name(name.to_ascii_lowercase()))
    };
    list.split([',', ' ']).filter_map(read).collect()
}

fn is_within(host: &str, name: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host.strip_suffix(name)
        .is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn shares(network: IpAddr, address: IpAddr, bits: u8) -> bool {
    let same = |a: u128, b: u128, width: u8| {
        let unlike = width.saturating_sub(bits);
        // Shifting out everything leaves nothing to differ.
        a.checked_shr(unlike.into()).unwrap_or(0) == b.checked_shr(unlike.into()).unwrap_or(0)
    };
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

/// Resolves `%41` and the like.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| first == b'%');
        let digits = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

/// Writes base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > group.len() {
                '='
            } else {
                letter.into()
            });
        }
    }
    text
}

/// Asks the proxy at the other end of `stream` to connect it to `host` (RFC 9110, section 9.3.6).
/// Afterwards the stream leads there.
///
/// # Errors
/// The proxy refuses, is silent for longer than whoever calls waits, or is none.
pub(crate) async fn connect_through<S>(
    stream: &mut S,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<(), ProxyError>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    let place = match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    };
    let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    request.push_str("\r\n");
    let written = stream.write_all(request.as_bytes()).await;
    written.map_err(|_| ProxyError::Silent)?;
    // Byte by byte: what follows the answer belongs to somebody else.
    let mut answer = Vec::with_capacity(256);
    while !answer.ends_with(b"\r\n\r\n") {
        let byte = stream
            .read_u8()
            .await
            .map_err(|_| match answer.is_empty() {
                true => ProxyError::Silent,
                false => ProxyError::NotAProxy,
            })?;
        answer.push(byte);
        let plausible = b"HTTP/1."
            .iter()
            .zip(&answer)
            .all(|(expected, byte)| expected == byte);
        if !plausible || answer.len() >= LONGEST_ANSWER {
            return Err(ProxyError::NotAProxy);
        }
        // A refusal needs no reading to its end.
        if answer.ends_with(b"\r\n") && !matches!(status(&answer), Some(200..=299)) {
            break;
        }
    }
    match status(&answer).ok_or(ProxyError::NotAProxy)? {
        200..=299 => Ok(()),
        407 => Err(ProxyError::Credentials),
        status => Err(ProxyError::Refused(status)),
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let digits = answer.get(9..12).filter(|_| answer.get(8) == Some(&b' '))?;
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (100..=599).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::io::{DuplexStream, duplex};

    use super::*;

    fn proxies(environment: &[(&str, &str)]) -> Proxies {
        let environment: HashMap<_, _> = environment.iter().copied().collect();
        Proxies::with(&ProxyChoice::Environment, |name| {
            environment.get(name).map(|value| (*value).to_owned())
        })
    }

    fn host_toward(proxies: &Proxies, host: &str, protected: bool) -> Option<String> {
        proxies.toward(host, protected).map(|proxy| proxy.host)
    }

    #[test]
    fn a_proxy_is_written_as_an_url_with_or_without_its_parts() {
        for (url, host, port, authorization) in [
            ("http://proxy.example:3128", "proxy.example", 3128, None),
            ("proxy.example", "proxy.example", 80, None),
            ("HTTP://[2001:db8::1]:8080/", "2001:db8::1", 8080, None),
            ("http://[::1]", "::1", 80, None),
            (
                "http://Aladdin:open%20sesame@192.0.2.1:1",
                "192.0.2.1",
                1,
                Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ),
        ] {
            let proxy = parse(url, true).unwrap();
            let found = (
                proxy.host.as_str(),
                proxy.port,
                proxy.authorization.as_deref(),
            );
            assert_eq!(found, (host, port, authorization), "{url}");
        }
        for url in [
            "socks5://a",
            "https://a",
            "http://",
            "http://a:b",
            "http://a:0",
            "http://[::1",
            "http://[a]:1",
            "http://a b",
            "http://a:1:2",
        ] {
            assert_eq!(parse(url, true), Err(NoProxy), "{url}");
        }
    }

    #[test]
    fn a_choice_is_saved_as_it_was_entered_and_its_secret_is_not_shown() {
        for text in ["", "none", "http://ann:pass@proxy.example:3128"] {
            let choice: ProxyChoice = text.parse().unwrap();
            assert!(!format!("{choice:?}").contains("pass"));
            assert_eq!(String::from(choice), text);
        }
    }

    #[test]
    fn the_environment_is_read_as_other_programs_do() {
        let all = proxies(&[("ALL_PROXY", "http://all:1"), ("https_proxy", "tls:2")]);
        assert_eq!(host_toward(&all, "a.example", true).as_deref(), Some("tls"));
        assert_eq!(
            host_toward(&all, "a.example", false).as_deref(),
            Some("all")
        );
        let plain = proxies(&[("HTTP_PROXY", "http://plain:1"), ("HTTPS_PROXY", " ")]);
        assert_eq!(host_toward(&plain, "a.example", true), None);
        assert_eq!(
            host_toward(&plain, "a.example", false).as_deref(),
            Some("plain")
        );
        let other = proxies(&[("HTTPS_PROXY", "socks5://a")]);
        assert_eq!(other, Proxies::default());
    }

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        let list = "Inside.example,.corp.example, *.lab.example:443,192.0.2.1,10.0.0.0/8,fd00::/8";
        let some = proxies(&[("ALL_PROXY", "p:1"), ("NO_PROXY", list)]);
        for host in [
            "inside.example",
            "a.INSIDE.example.",
            "corp.example",
            "a.corp.example",
            "b.lab.example",
            "192.0.2.1",
            "10.255.0.1",
            "[fd00::1]",
            "::ffff:10.1.2.3",
        ] {
            assert_eq!(host_toward(&some, host, true), None, "{host}");
        }
        for host in [
            "outinside.example",
            "example",
            "192.0.2.2",
            "11.0.0.1",
            "fe00::1",
        ] {
            assert!(host_toward(&some, host, true).is_some(), "{host}");
        }
        let everyone = proxies(&[("ALL_PROXY", "p:1"), ("no_proxy", "*")]);
        assert_eq!(host_toward(&everyone, "a.example", true), None);
    }

    #[test]
    fn nothing_on_this_computer_is_reached_through_a_proxy() {
        let always: ProxyChoice = "http://proxy.example".parse().unwrap();
        let proxies = always.proxies();
        for host in ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert_eq!(proxies.toward(host, true), None, "{host}");
        }
        assert!(proxies.toward("192.0.2.1", false).unwrap().only);
        assert_eq!(ProxyChoice::Never.proxies().toward("192.0.2.1", true), None);
    }

    async fn answered(answer: &'static [u8]) -> (Result<(), ProxyError>, DuplexStream, String) {
        let (mut ours, mut theirs) = duplex(4096);
        let proxy = parse("http://a:b@proxy.example", false).unwrap();
        let answering = async {
            let mut request = vec![0; 1024];
            let length = theirs.read(&mut request).await.unwrap();
            theirs.write_all(answer).await.unwrap();
            drop(theirs);
            String::from_utf8(request[..length].to_vec()).unwrap()
        };
        let asking = connect_through(&mut ours, &proxy, "2001:db8::1", 443);
        let (outcome, request) = tokio::join!(asking, answering);
        (outcome, ours, request)
    }

    #[tokio::test]
    async fn what_follows_a_good_answer_belongs_to_the_server() {
        let answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n\x16\x03";
        let (outcome, mut stream, request) = answered(answer).await;
        assert_eq!(outcome, Ok(()));
        assert!(request.starts_with("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: ["));
        assert!(request.ends_with("\r\nProxy-Authorization: Basic YTpi\r\n\r\n"));
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"\x16\x03");
    }

    #[tokio::test]
    async fn every_refusal_has_its_name() {
        for (answer, error) in [
            (
                b"HTTP/1.1 407 Who are you\r\n\r\n".as_slice(),
                ProxyError::Credentials,
            ),
            (b"HTTP/1.0 403 No\r\n\r\n", ProxyError::Refused(403)),
            (b"HTTP/1.1 502 Bad\r\n", ProxyError::Refused(502)),
            (b"SSH-2.0-OpenSSH_9.9\r\n", ProxyError::NotAProxy),
            (b"HTTP/1.1 abc\r\n\r\n", ProxyError::NotAProxy),
            (b"HTTP/1.1 200", ProxyError::NotAProxy),
            (b"", ProxyError::Silent),
        ] {
            assert_eq!(answered(answer).await.0, Err(error));
        }
        static ENDLESS: [u8; 16384] = {
            let mut answer = [b'x'; 16384];
            let start = *b"HTTP/1.1 200 Ok\r\n";
            let mut at = 0;
            while at < start.len() {
                answer[at] = start[at];
                at += 1;
            }
            answer
        };
        let (mut ours, mut theirs) = duplex(32768);
        theirs.write_all(&ENDLESS).await.unwrap();
        let proxy = parse("proxy.example", false).unwrap();
        let outcome = connect_through(&mut ours, &proxy, "a", 1).await;
        assert_eq!(outcome, Err(ProxyError::NotAProxy));
    }
}
