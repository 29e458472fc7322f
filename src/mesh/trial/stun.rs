//! Whether anything comes back over UDP: a question to a STUN server (RFC 8489).

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use nonstop_ice::{
    stun::{Transaction, binding_request, mapped_address},
    transaction_of,
};
use nonstop_wire::IceServer;
use tokio::{
    net::{UdpSocket, lookup_host},
    time::timeout,
};

use crate::{clock, mesh::paths::stun_address};

/// The waits between the tries; what gets lost on a good network is made up for soon.
const WAITS: [u64; 6] = [100, 200, 400, 800, 1_600, 1_600];

/// Returns the places at which questions over UDP are answered: those of STUN, and relays, which
/// answer them too.
pub(super) fn places(servers: &[IceServer]) -> Vec<(String, u16)> {
    let urls = servers.iter().flat_map(|server| &server.urls);
    let mut places: Vec<_> = urls.filter_map(|url| stun_address(url)).collect();
    places.sort();
    places.dedup();
    places
}

/// Asks all of them; returns the round trip of the first answer, or nothing where none comes
/// within the tries.
pub(super) async fn ask(places: &[(String, u16)]) -> Option<Duration> {
    let mut addresses = Vec::new();
    for (host, port) in places {
        match lookup_host((host.as_str(), *port)).await {
            Ok(found) => addresses.extend(found),
            Err(error) => tracing::debug!(%error, "a STUN server's name was not found"),
        }
    }
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
    let v4 = ask_from(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), v4);
    let v6 = ask_from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), v6);
    tokio::pin!(v4, v6);
    tokio::select! {
        Some(trip) = &mut v4 => Some(trip),
        Some(trip) = &mut v6 => Some(trip),
        else => None,
    }
}

async fn ask_from(here: SocketAddr, servers: Vec<SocketAddr>) -> Option<Duration> {
    if servers.is_empty() {
        return None;
    }
    let asked = try_from_socket(here, &servers).await;
    asked.unwrap_or_else(|error| {
        tracing::debug!(%error, "no question can be asked over UDP");
        None
    })
}

async fn try_from_socket(here: SocketAddr, servers: &[SocketAddr]) -> io::Result<Option<Duration>> {
    let socket = UdpSocket::bind(here).await?;
    // Each try has a number of its own, so that it is known which one is answered.
    let mut asked: HashMap<Transaction, Instant> = HashMap::new();
    let mut failure = None;
    for wait in WAITS {
        let mut sent = false;
        for server in servers {
            let mut transaction = Transaction::default();
            getrandom::fill(&mut transaction).map_err(io::Error::other)?;
            match socket.send_to(&binding_request(transaction), server).await {
                Ok(_) => {
                    sent = true;
                    asked.insert(transaction, clock::now());
                }
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure.take_if(|_| !sent) {
            return Err(error);
        }
        let answer = first_answer(&socket, &asked);
        if let Ok(trip) = timeout(Duration::from_millis(wait), answer).await {
            return Ok(Some(trip));
        }
    }
    Ok(None)
}

async fn first_answer(socket: &UdpSocket, asked: &HashMap<Transaction, Instant>) -> Duration {
    let mut buffer = [0; 1_500];
    loop {
        // An error here is of an earlier packet ("port unreachable"); an answer may still come.
        let Ok((length, _)) = socket.recv_from(&mut buffer).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let packet = &buffer[..length];
        let at = transaction_of(packet).and_then(|transaction| asked.get(&transaction));
        if let Some(at) = at
            && mapped_address(packet).is_some()
        {
            return clock::now().saturating_duration_since(*at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stun_servers_and_relays_over_udp_are_asked_once_each() {
        let server = IceServer {
            urls: [
                "stun:a",
                "turn:a",
                "turn:c?transport=tcp",
                "turns:d",
                "stun:b:5",
            ]
            .map(Into::into)
            .into(),
            username: "1:x".to_owned(),
            credential: "hidden".to_owned(),
        };
        let expected = [("a", 3478), ("b", 5)];
        let expected = expected.map(|(host, port)| (host.to_owned(), port));
        assert_eq!(places(&[server]), expected);
    }

    #[tokio::test]
    async fn an_answer_is_timed_and_silence_is_none() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = server.local_addr().unwrap().port();
        let answering = async {
            let mut buffer = [0; 100];
            // The first question gets lost.
            server.recv_from(&mut buffer).await.unwrap();
            let (_, from) = server.recv_from(&mut buffer).await.unwrap();
            let mut answer = buffer[..20].to_vec();
            // A success response with an XOR-MAPPED-ADDRESS of 192.0.2.1:32853 (RFC 5769, 2.2).
            answer[0] = 1;
            answer[3] = 12;
            answer.extend([0x00, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
            server.send_to(&answer, from).await.unwrap();
            std::future::pending::<()>().await;
        };
        let places = [("127.0.0.1".to_owned(), port)];
        let trip = tokio::select! {
            trip = ask(&places) => trip,
            () = answering => None,
        };
        assert!(
            trip.is_some_and(|trip| trip < Duration::from_millis(100)),
            "{trip:?}"
        );
        let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let places = [("127.0.0.1".to_owned(), closed.local_addr().unwrap().port())];
        let silent = timeout(Duration::from_millis(500), ask(&places)).await;
        assert!(silent.is_err(), "nothing came, and it was tried for longer");
    }
}
