//! The arbiter with links whose queues are made up.
#![expect(
    clippy::disallowed_methods,
    reason = "simulated time starts at whatever the clock says"
)]

use std::time::{Duration, Instant};

use nonstop_rate::{Arbiter, Bitrate, LinkId, LinkReport};

fn report(queue_millis: u64) -> LinkReport {
    LinkReport {
        estimate: Bitrate::from_kbps(500),
        acknowledged: Bitrate::from_kbps(300),
        queue_delay: Duration::from_millis(queue_millis),
        weight: 1.0,
        wanted: Bitrate::from_kbps(2_000),
    }
}

/// Lets two links report for a while; returns their last shares.
fn run(
    arbiter: &mut Arbiter,
    start: Instant,
    queues: impl Fn(u64, u64) -> u64,
) -> [Option<Bitrate>; 2] {
    let mut shares = [None; 2];
    for tick in 0..60u64 {
        let now = start + Duration::from_millis(100 * tick);
        for (link, share) in (0..).zip(&mut shares) {
            *share = arbiter.report(now, LinkId(link), report(queues(link, tick)));
        }
    }
    shares
}

#[test]
fn links_with_one_queue_share_what_comes_through_and_one_alone_is_free() {
    let start = Instant::now();
    let mut arbiter = Arbiter::new();
    let shares = run(&mut arbiter, start, |_, tick| tick % 12 * 10);
    // 600 kb/s come through; each gets a half of what is given of it.
    let share = shares[0].expect("the queue rises and falls for both");
    assert_eq!(shares[1], Some(share));
    assert!(share > Bitrate::from_kbps(230), "{share}");
    assert!(share < Bitrate::from_kbps(320), "{share}");

    arbiter.remove(LinkId(1));
    let now = start + Duration::from_millis(6_100);
    assert_eq!(arbiter.report(now, LinkId(0), report(50)), None);
}

#[test]
fn links_with_queues_of_their_own_are_never_held_back() {
    let start = Instant::now();
    let mut arbiter = Arbiter::new();
    let shares = run(&mut arbiter, start, |link, tick| {
        (tick + 5 * link) % (11 + 6 * link) * 10
    });
    assert_eq!(shares, [None; 2]);
    assert_eq!(arbiter.capacity(), None);
}

#[test]
fn links_that_begin_together_begin_with_a_part() {
    let start = Instant::now();
    let mut arbiter = Arbiter::new();
    for link in 0..4 {
        arbiter.expect(start, LinkId(link));
    }
    let first = arbiter.report(start, LinkId(0), report(0));
    assert_eq!(first, Some(Bitrate::from_kbps(250)));
    let later = start + Duration::from_secs(6);
    assert_eq!(arbiter.report(later, LinkId(0), report(0)), None);
}
