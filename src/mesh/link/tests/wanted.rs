//! What is shown decides what is sent, and what is not sent is explained.

use super::{network::Network, *};

impl Side {
    /// Waits for figures that fit.
    async fn figures(&mut self, what: &str, fit: impl Fn(&LinkStats) -> bool) {
        let stats = |event: &LinkEvent| match event {
            LinkEvent::Stats(stats) => fit(stats).then_some(()),
            _ => None,
        };
        self.wait_for(what, stats).await;
    }

    /// Waits for figures, before which there must be no interruption.
    async fn stats_of_a_living_link(&mut self) -> LinkStats {
        let news = |event: &LinkEvent| match event {
            LinkEvent::Stats(stats) => Some(Ok(stats.as_ref().clone())),
            LinkEvent::Interrupted | LinkEvent::Failed(_) => Some(Err(format!("{event:?}"))),
            _ => None,
        };
        (self.wait_for("figures", news).await).expect("the link lives")
    }
}

const WHOLE: Size = Size::new(640, 360);
const PART: Size = Size::new(320, 180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_larger_is_sent_than_is_looked_at() {
    let (mut one, mut two) = pair((true, false), (faithful(), faithful()));
    let sent = |size| move |stats: &LinkStats| stats.sent_size == Some(size);
    two.figures("the whole size", sent(WHOLE)).await;
    one.shown.set(Size::new(300, 170));
    two.figures("the smaller size", sent(PART)).await;
    let received = |stats: &LinkStats| stats.received_size == Some(PART);
    one.figures("the smaller size", received).await;
    one.shown.set(Size::new(0, 0));
    let silent = |stats: &LinkStats| stats.video_sent == Some(Bitrate::ZERO);
    two.figures("no pictures", silent).await;
    assert!(
        one.voice
            .stats()
            .newest()
            .is_some_and(|voice| voice.received > 0)
    );
    one.shown.set(WHOLE);
    two.figures("the whole size again", sent(WHOLE)).await;
    two.figures("pictures again", |stats| stats.sent_fps > Some(5.0))
        .await;
    // What this side is shown has nothing to do with what it shows.
    one.figures("its own size", sent(WHOLE)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_pause_on_a_link_for_sound_alone_and_both_sides_know() {
    let network = Network::start().await;
    let (mut one, mut two) = network.pair().await;
    one.counters(3).await;
    network.squeeze(60);
    let paused = |event: &LinkEvent| matches!(event, LinkEvent::VideoPaused).then_some(());
    one.wait_for("a pause", paused).await;
    let told = |event: &LinkEvent| match event {
        LinkEvent::PicturesPaused(reason) => Some(*reason),
        _ => None,
    };
    assert_eq!(
        two.wait_for("the reason", told).await,
        PauseReason::Bandwidth
    );
    let heard = |side: &Side| {
        side.voice
            .stats()
            .newest()
            .map_or(0, |voice| voice.received)
    };
    let before = heard(&two);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // 100 packets in 2 s, most of which come.
    assert!(
        heard(&two) > before + 50,
        "{} of sound",
        heard(&two) - before
    );
    network.squeeze(2_000);
    let resumed = |event: &LinkEvent| matches!(event, LinkEvent::VideoResumed).then_some(());
    one.wait_for("the end of the pause", resumed).await;
    let over = |event: &LinkEvent| matches!(event, LinkEvent::PicturesResumed).then_some(());
    two.wait_for("the news of it", over).await;
    two.counters(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_in_another_way_is_not_sent_and_the_link_lives() {
    let (mut one, mut two) = pair((true, false), (faithful(), faithful()));
    let flows = |stats: &LinkStats| {
        stats.audio_sent > Some(Bitrate::ZERO) && stats.video_sent > Some(Bitrate::ZERO)
    };
    two.figures("media", flows).await;
    one.figures("media", flows).await;
    one.carried.set(true);
    let silent = |stats: &LinkStats| {
        stats.audio_sent == Some(Bitrate::ZERO) && stats.video_sent == Some(Bitrate::ZERO)
    };
    two.figures("nothing", silent).await;
    // Longer than any silence that is put up with; figures come once a second.
    for second in 0..5 {
        let stats = two.stats_of_a_living_link().await;
        assert!(silent(&stats), "second {second}: {stats:?}");
        let stats = one.stats_of_a_living_link().await;
        assert!(flows(&stats), "its own way is open: {stats:?}");
        assert!(stats.round_trip_time.is_some());
    }
    let lost = |side: &Side| side.voice.stats().newest().unwrap_or_default();
    let before = lost(&one);
    one.carried.set(false);
    two.figures("media again", flows).await;
    one.counters(3).await;
    let after = lost(&one);
    assert!(after.received > before.received);
    // What a busy computer makes up between two packets is not counted here, what is missing is.
    assert_eq!(after.lost, before.lost);
}
