//! Two sides in one process, over real sockets on this computer.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nonstop_ice::Candidate;
use tokio::time::{sleep, timeout};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// One side, and what its paths told.
struct Side {
    _paths: Paths,
    wire: Wire,
    told: Arc<Mutex<Vec<PathEvent>>>,
}

impl Side {
    fn start(policy: Policy, controlling: bool) -> Self {
        let paths = Paths::start(PathsConfig {
            policy,
            ..PathsConfig::default()
        });
        let told: Arc<Mutex<Vec<PathEvent>>> = Arc::default();
        let heard = Arc::clone(&told);
        let wire = paths.wire(move |event| {
            heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(event);
        });
        wire.set_controlling(controlling);
        wire.open();
        Self {
            _paths: paths,
            wire,
            told,
        }
    }

    fn told(&self) -> Vec<PathEvent> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }

    fn selections(&self) -> usize {
        let selected = |event: &PathEvent| matches!(event, PathEvent::Selected(Some(_)));
        self.told().iter().filter(|event| selected(event)).count()
    }

    fn learn(&self, other: &Side) {
        self.wire.set_remote(other.wire.credentials(), true);
        for candidate in other.wire.candidates() {
            self.wire.add_remote(candidate);
        }
    }

    async fn receive(&self) -> Vec<u8> {
        let (packet, _) =
            std::future::poll_fn(|context| self.wire.poll_receive(context, || None)).await;
        packet
    }
}

async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it happens");
}

async fn connected() -> (Side, Side) {
    let one = Side::start(Policy::default(), true);
    let two = Side::start(Policy::default(), false);
    one.learn(&two);
    two.learn(&one);
    until(|| one.selections() > 0 && two.selections() > 0).await;
    (one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_find_their_way_both_ways() {
    let (one, two) = connected().await;
    for (from, to) in [(&one, &two), (&two, &one)] {
        from.wire.send(&[0x80, 111, 1, 2, 3], Class::Audio);
        let packet = timeout(PATIENCE, to.receive()).await;
        assert_eq!(packet.as_deref(), Ok([0x80, 111, 1, 2, 3].as_slice()));
    }
    let path = one.wire.path().expect("it is connected");
    assert_eq!(Path::from(path.way), Path::Direct);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beginning_anew_loses_no_packet() {
    let (one, two) = connected().await;
    one.wire.restart();
    for number in 0..50_u8 {
        if number == 10 {
            two.wire.restart();
            two.learn(&one);
        }
        if number == 20 {
            one.learn(&two);
        }
        one.wire.send(&[0x80, 111, number], Class::Audio);
        let packet = timeout(PATIENCE, two.receive()).await;
        assert_eq!(packet.as_deref(), Ok([0x80, 111, number].as_slice()));
        sleep(Duration::from_millis(10)).await;
    }
    let fresh = two.wire.credentials();
    until(|| one.selections() > 1).await;
    assert_eq!(two.wire.credentials(), fresh);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hides_their_address_tells_none_and_finds_no_path_without_a_relay() {
    let hidden = Policy {
        hide_address: true,
        ..Policy::default()
    };
    let one = Side::start(hidden, true);
    let two = Side::start(Policy::default(), false);
    one.learn(&two);
    two.learn(&one);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(one.wire.candidates(), []);
    assert_eq!((one.told(), two.selections()), (Vec::new(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_knows_the_address_is_not_heard() {
    let (one, two) = connected().await;
    let host = |candidate: &Candidate| candidate.address.ip().is_loopback();
    let own = two.wire.candidates().into_iter().find(host);
    let address = own.expect("loopback is there").address;
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    stranger
        .send_to(&[0x80, 111, 9], address)
        .expect("loopback takes it");
    one.wire.send(&[0x80, 111, 1], Class::Audio);
    let packet = timeout(PATIENCE, two.receive()).await;
    assert_eq!(packet.as_deref(), Ok([0x80, 111, 1].as_slice()));
}
