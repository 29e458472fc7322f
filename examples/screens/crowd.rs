//! Calls of any size: made-up people, some of whom have their camera or microphone off.

use std::time::Duration;

use nonstop::{
    call::{Attempt, History, Participant, Protection, Quality, Side, Stage},
    media::Size,
};

use crate::film::small_film;

const FIRST: [&str; 20] = [
    "Ada",
    "Björn",
    "Chloé",
    "Dmitri",
    "Emmy",
    "Fatima",
    "Grace",
    "Hedy",
    "Ingeborg",
    "José",
    "Katherine",
    "Łucja",
    "Maryam",
    "Niels",
    "Ottilie",
    "Priya",
    "Quentin",
    "Rosalind",
    "Søren",
    "Žofie",
];
const LAST: [&str; 17] = [
    "Lovelace",
    "Noether",
    "Hopper",
    "Lamarr",
    "Ångström",
    "Johnson",
    "Curie",
    "Mirzakhani",
    "Dijkstra",
    "Wolfeschlegelsteinhausen",
    "Li",
    "Nguyễn",
    "Meitner",
    "Turing",
    "O'Neill",
    "van der Waals",
    "Núñez",
];

/// Returns that many others; all have a camera on where there are few, every third in a crowd.
pub(crate) fn crowd(others: usize) -> Vec<Participant> {
    (0..others as u64).map(|id| somebody(id, others)).collect()
}

fn somebody(id: u64, others: usize) -> Participant {
    let camera = match others {
        0..60 => id % 8 != 5,
        _ => id.is_multiple_of(3),
    };
    let first = FIRST[id as usize % FIRST.len()];
    let last = LAST[(id as usize * 3 + id as usize / 20) % LAST.len()];
    Participant {
        id,
        name: format!("{first} {last}"),
        picture: camera.then(|| small_film(id + 1)),
        microphone: id % 3 != 1,
        camera,
        level: 0.0,
        speaking: false,
        spoke_at: None,
        stage: Stage::Connected,
        attempt: Attempt::default(),
        path: "direct".into(),
        protection: Protection::EndToEnd,
        quality: match id % 9 {
            4 => Quality::Fair,
            7 => Quality::Poor,
            _ => Quality::Good,
        },
        cause: None,
        side: Side::Unknown,
        video_paused: None,
        round_trip: Some(Duration::from_millis(18 + id % 60)),
        received: Some(Size::new(320, 180)),
        history: History::default(),
    }
}
