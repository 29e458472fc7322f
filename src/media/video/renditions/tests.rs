//! With real encoders on their threads, and a test card.

use std::{collections::BTreeSet, thread};

use super::*;
use crate::{
    clock,
    media::{
        VideoSource,
        video::{Capture, test_card},
    },
};

const CONTROL: EncodeControl = EncodeControl {
    target: Bitrate::from_kbps(500),
    lasting: Bitrate::ZERO,
    max_size: Size::new(1280, 720),
    keyframe_requests: 0,
    active: true,
    layer: false,
};
/// Long enough for the busiest computer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The smallest size, from which a slow computer cannot step down.
const SMALL: EncodeControl = EncodeControl {
    max_size: Size::new(320, 180),
    ..CONTROL
};

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = clock::now();
    while !done() {
        assert!(clock::now() - start < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A test card and its renditions.
struct Stage {
    _capture: Capture,
    renditions: Renditions,
}

impl Stage {
    fn new() -> Self {
        let capture = Capture::start(VideoSource::TestCard, test_card::SIZE, 30);
        let renditions = Renditions::new(capture.frames());
        Self {
            _capture: capture,
            renditions,
        }
    }

    fn join(&self, control: EncodeControl) -> Member {
        self.renditions.join(control).expect("there are threads")
    }
}

impl Member {
    fn next(&mut self) -> EncodedVideo {
        self.pictures.blocking_recv().expect("the threads run")
    }

    fn figures(&self) -> EncodeStats {
        self.stats.newest().unwrap_or_default()
    }
}

/// Takes pictures from everybody until each has so many.
fn take(members: &mut [&mut Member], many: usize) -> Vec<Vec<EncodedVideo>> {
    let mut taken: Vec<Vec<EncodedVideo>> = members.iter().map(|_| Vec::new()).collect();
    wait_until("pictures", || {
        for (member, taken) in members.iter_mut().zip(&mut taken) {
            taken.extend(member.pictures.try_recv());
        }
        taken.iter().all(|taken| taken.len() >= many)
    });
    taken
}

#[test]
fn pictures_come_out_encoded_at_the_size_of_their_rung() {
    let stage = Stage::new();
    let mut member = stage.join(CONTROL);
    let first = member.next();
    assert!(first.keyframe);
    assert_eq!(first.size, Size::new(640, 360));
    let second = member.next();
    assert!(!second.keyframe);
    assert!(second.captured > first.captured);
    assert_eq!(second.encoder, first.encoder);
    wait_until("figures", || member.figures().frames >= 2);
    let stats = member.figures();
    assert_eq!((stats.size, stats.rung_fps), (Some(first.size), 30));
    assert!(stats.bytes >= (first.data.len() + second.data.len()) as u64);
    assert!(stats.busy > Duration::ZERO);
}

#[test]
fn while_a_picture_waits_the_next_are_skipped_before_they_are_encoded() {
    let stage = Stage::new();
    let mut member = stage.join(CONTROL);
    wait_until("skips", || member.figures().skipped_queue >= 5);
    assert_eq!(member.figures().frames, 1);
    assert!(member.next().keyframe);
    // What follows refers to what was taken, for nothing was encoded in between.
    assert!(!member.next().keyframe);
}

#[test]
fn a_keyframe_request_is_answered_once_and_a_new_size_brings_its_own() {
    let stage = Stage::new();
    let mut member = stage.join(SMALL);
    assert!(member.next().keyframe);
    let asked = EncodeControl {
        keyframe_requests: 3,
        ..SMALL
    };
    member.control.set(asked);
    assert!((0..60).any(|_| member.next().keyframe));
    assert!((0..15).all(|_| !member.next().keyframe));
    let smaller = Size::new(160, 90);
    member.control.set(EncodeControl {
        max_size: smaller,
        ..asked
    });
    let changed = (0..60)
        .map(|_| member.next())
        .find(|unit| unit.size == smaller);
    assert!(changed.is_some_and(|unit| unit.keyframe));
}

#[test]
fn for_an_inactive_member_nothing_is_encoded_and_it_starts_again_with_a_keyframe() {
    let stage = Stage::new();
    let mut member = stage.join(CONTROL);
    member.next();
    member.control.set(EncodeControl {
        active: false,
        ..CONTROL
    });
    // What was under way may still come.
    thread::sleep(Duration::from_millis(300));
    while member.pictures.try_recv().is_ok() {}
    thread::sleep(Duration::from_millis(300));
    assert!(member.pictures.try_recv().is_err());
    member.control.set(CONTROL);
    assert!(member.next().keyframe);
}

#[test]
fn the_threads_end_with_the_last_owner() {
    let stage = Stage::new();
    let mut member = stage.join(CONTROL);
    member.next();
    let seats = Arc::downgrade(&stage.renditions.running.seats);
    drop(stage.renditions);
    assert!(seats.upgrade().is_some(), "a member is left");
    drop(member);
    wait_until("the end", || seats.upgrade().is_none());
}

#[test]
fn equal_members_get_the_same_pictures_of_one_encoder() {
    let stage = Stage::new();
    let mut one = stage.join(SMALL);
    let mut two = stage.join(SMALL);
    let mut taken = take(&mut [&mut one, &mut two], 20);
    let (one, two) = (taken.remove(0), taken.remove(0));
    assert!(one[0].keyframe && two[0].keyframe);
    // Whoever came first may have had some pictures alone, until the other's keyframe.
    let from = one.iter().position(|unit| unit.captured == two[0].captured);
    let shared = &one[from.expect("the same picture")..];
    for (one, two) in shared.iter().zip(&two) {
        assert_eq!((one.encoder, &one.data), (two.encoder, &two.data));
    }
    assert!(shared.len() >= 10, "only {} shared", shared.len());
}

#[test]
fn members_who_grow_apart_part_with_a_keyframe_for_the_one_who_leaves() {
    let stage = Stage::new();
    let (mut one, mut two) = (stage.join(SMALL), stage.join(SMALL));
    let mut three = stage.join(SMALL);
    take(&mut [&mut one, &mut two, &mut three], 10);
    three.control.set(EncodeControl {
        target: Bitrate::from_kbps(100),
        lasting: Bitrate::ZERO,
        ..SMALL
    });
    wait_until("an encoder of its own", || {
        while one.pictures.try_recv().is_ok() || two.pictures.try_recv().is_ok() {}
        three
            .pictures
            .try_recv()
            .is_ok_and(|unit| unit.keyframe && unit.data.len() < 10_000)
    });
    let taken = take(&mut [&mut one, &mut two, &mut three], 15);
    assert_eq!(taken[0][14].encoder, taken[1][14].encoder);
    assert_ne!(taken[0][14].encoder, taken[2][14].encoder);
    assert!(taken[0].iter().all(|unit| !unit.keyframe));
}

#[test]
fn who_does_not_keep_up_holds_nobody_back_and_goes_on_with_a_keyframe() {
    let stage = Stage::new();
    let mut good = stage.join(SMALL);
    let mut slow = stage.join(SMALL);
    take(&mut [&mut good, &mut slow], 10);
    let before = good.figures();
    let start = clock::now();
    // The slow one takes nothing at all for a while.
    for _ in 0..45 {
        good.next();
    }
    let after = good.figures();
    assert!(clock::now() - start < Duration::from_secs(4));
    assert!(after.skipped_queue - before.skipped_queue <= 3);
    // What it had in its queue belongs together; what follows begins with a keyframe.
    let mut encoder = None;
    wait_until("a keyframe of its own", || {
        while good.pictures.try_recv().is_ok() {}
        slow.pictures.try_recv().is_ok_and(|unit| {
            let fresh = encoder.is_some_and(|encoder| encoder != unit.encoder);
            encoder = Some(unit.encoder);
            assert!(!fresh || unit.keyframe);
            fresh
        })
    });
}

#[test]
fn requests_close_to_each_other_are_answered_together_and_none_is_lost() {
    let stage = Stage::new();
    let mut member = stage.join(SMALL);
    member.next();
    let before = member.figures().keyframes;
    let start = clock::now();
    let mut requests = 0;
    // It asks with every picture.
    while clock::now() - start < Duration::from_secs(2) {
        requests += 1;
        member.control.set(EncodeControl {
            keyframe_requests: requests,
            ..SMALL
        });
        while member.pictures.try_recv().is_ok() {}
        thread::sleep(Duration::from_millis(20));
    }
    let keyframes = member.figures().keyframes - before;
    assert!((3..=8).contains(&keyframes), "{keyframes} in 2 s");
    member.control.set(EncodeControl {
        keyframe_requests: requests + 1,
        ..SMALL
    });
    assert!((0..60).any(|_| member.next().keyframe));
}

#[test]
fn a_keyframe_that_one_asks_for_goes_to_both() {
    let stage = Stage::new();
    let (mut one, mut two) = (stage.join(SMALL), stage.join(SMALL));
    take(&mut [&mut one, &mut two], 15);
    two.control.set(EncodeControl {
        keyframe_requests: 1,
        ..SMALL
    });
    let mut found = None;
    wait_until("the keyframe", || {
        while two.pictures.try_recv().is_ok() {}
        while let Ok(unit) = one.pictures.try_recv() {
            found = found.or(unit.keyframe.then_some(unit.encoder));
        }
        found.is_some()
    });
    let taken = take(&mut [&mut one, &mut two], 5);
    assert!(
        taken
            .iter()
            .flatten()
            .all(|unit| Some(unit.encoder) == found)
    );
}

#[test]
fn who_asks_for_keyframes_again_and_again_goes_its_own_way() {
    let stage = Stage::new();
    let (mut good, mut needy) = (stage.join(SMALL), stage.join(SMALL));
    take(&mut [&mut good, &mut needy], 15);
    let mut requests = 0;
    wait_until("parting", || {
        requests += 1;
        needy.control.set(EncodeControl {
            keyframe_requests: requests,
            ..SMALL
        });
        let newest = |member: &mut Member| {
            let pictures = std::iter::from_fn(|| member.pictures.try_recv().ok());
            pictures.last().map(|unit| unit.encoder)
        };
        thread::sleep(Duration::from_millis(50));
        let both = (newest(&mut good), newest(&mut needy));
        matches!(both, (Some(one), Some(two)) if one != two)
    });
    let before = good.figures().keyframes;
    take(&mut [&mut good, &mut needy], 30);
    assert_eq!(good.figures().keyframes, before);
}

#[test]
fn the_layers_of_simulcast_keep_their_sizes_and_do_not_disturb_each_other() {
    let stage = Stage::new();
    let sizes = super::super::simulcast::sizes(test_card::SIZE, test_card::SIZE);
    // Far too little for the larger ones: they come less often, and no smaller.
    let control = |size: &Size| EncodeControl {
        target: Bitrate::from_kbps(180),
        max_size: *size,
        layer: true,
        ..CONTROL
    };
    let mut layers: Vec<Member> = sizes.iter().map(|size| stage.join(control(size))).collect();
    let mut link = stage.join(SMALL);
    let [small, middle, large] = &mut layers[..] else {
        panic!("three layers: {sizes:?}");
    };
    let taken = take(&mut [small, middle, large, &mut link], 15);
    for (pictures, size) in taken.iter().zip(&sizes) {
        let pictures = &pictures[..15];
        assert!(pictures.iter().all(|picture| picture.size == *size));
        assert!(pictures[0].keyframe);
        let keyframes = pictures.iter().filter(|picture| picture.keyframe).count();
        assert_eq!(keyframes, 1, "{size}");
        let upper = pictures
            .iter()
            .filter(|picture| picture.marking.discardable);
        assert!((5..=8).contains(&upper.count()), "{size}");
    }
    // The link wants the same size as the small layer, but no temporal layers.
    assert!(taken[3].iter().all(|picture| picture.marking.temporal == 0));
    let encoders: BTreeSet<u64> = taken.iter().map(|pictures| pictures[0].encoder).collect();
    assert_eq!(encoders.len(), 4);
    // A keyframe of one layer is a keyframe of that layer only.
    let before: Vec<u64> = layers
        .iter()
        .map(|layer| layer.figures().keyframes)
        .collect();
    layers[1].control.set(EncodeControl {
        keyframe_requests: 1,
        ..control(&sizes[1])
    });
    wait_until("the keyframe", || {
        for layer in &mut layers {
            while layer.pictures.try_recv().is_ok() {}
        }
        layers[1].figures().keyframes > before[1]
    });
    assert_eq!(layers[0].figures().keyframes, before[0]);
    assert_eq!(layers[2].figures().keyframes, before[2]);
}
