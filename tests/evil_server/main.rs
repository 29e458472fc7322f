//! A meeting server that cheats: whatever it does is healed or named, and media never flows
//! with the wrong party.
//!
//! The server is written here. It speaks the protocol, but does not hold the meeting's secret
//! (except for one test, where it stands for a participant who does).

mod people;
mod server;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use nonstop::mesh::Suspicion;
use nonstop_seal::{MeetingKeys, SealedChannel};
use nonstop_wire::{ParticipantId, PeerMessage, ServerMessage};

use people::Person;
use server::{EvilServer, Passed};

/// Somebody who does not exist.
const NOBODY: ParticipantId = ParticipantId::from_bits(0x0bad_0bad_0bad_0bad);

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_changed_is_refused_and_nobody_is_connected() {
    // Without the key, this is all that can be done to a fingerprint inside.
    let server = EvilServer::start(|mut message| {
        let middle = message.sealed.len() / 2;
        let changed = if &message.sealed[middle..=middle] == "A" {
            "B"
        } else {
            "A"
        };
        message.sealed.replace_range(middle..=middle, changed);
        vec![message]
    })
    .await;
    let mut ann = Person::join("Ann", server.link()).await;
    let mut bob = Person::join("Bob", server.link()).await;
    ann.until_suspected(Suspicion::Forged(bob.id)).await;
    bob.until_suspected(Suspicion::Forged(ann.id)).await;
    ann.until_suspected(Suspicion::Stranger(bob.id)).await;
    assert_eq!((ann.met(), bob.met()), (vec![], vec![]));
    ann.assert_unconnected();
    bob.assert_unconnected();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_delivered_as_somebody_elses_is_refused() {
    let mut people: Vec<ParticipantId> = Vec::new();
    let server = EvilServer::start(move |message| {
        if !people.contains(&message.from) {
            people.push(message.from);
        }
        let another = people
            .iter()
            .find(|id| ![message.from, message.to].contains(id));
        let swapped = another.map(|&from| Passed {
            from,
            ..message.clone()
        });
        swapped.into_iter().chain([message]).collect()
    })
    .await;
    let mut ann = Person::join("Ann", server.link()).await;
    let mut bob = Person::join("Bob", server.link()).await;
    let mut eve = Person::join("Eve", server.link()).await;
    ann.until_suspected(Suspicion::Forged(bob.id)).await;
    ann.until_suspected(Suspicion::Forged(eve.id)).await;
    // The true messages came as well, and the false ones did no harm to them.
    let ids = [ann.id, bob.id, eve.id];
    for person in [&mut ann, &mut bob, &mut eve] {
        let me = person.id;
        for other in ids.into_iter().filter(|id| *id != me) {
            person.until_heard(other).await;
        }
        assert_eq!(person.met().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_delivered_again_counts_once() {
    let server = EvilServer::start(|message| vec![message.clone(), message]).await;
    let mut ann = Person::join("Ann", server.link()).await;
    let mut bob = Person::join("Bob", server.link()).await;
    ann.until_heard(bob.id).await;
    bob.until_heard(ann.id).await;
    assert_eq!(ann.suspicions(), [Suspicion::Replayed(bob.id)]);
    assert_eq!(bob.suspicions(), [Suspicion::Replayed(ann.id)]);
    assert_eq!((ann.met(), bob.met()), (vec![bob.id], vec![ann.id]));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_do_not_bring_back_somebody_who_left() {
    let server = EvilServer::start(|message| vec![message]).await;
    let mut ann = Person::join("Ann", server.link()).await;
    let bob = Person::join("Bob", server.link()).await;
    let gone = bob.id;
    ann.until_heard(gone).await;
    bob.leave().await;
    ann.until_left(gone).await;
    server.say(ann.id, ServerMessage::Joined { participant: gone });
    for message in server.passed() {
        if message.from == gone {
            server.deliver(message);
        }
    }
    ann.until_suspected(Suspicion::Replayed(gone)).await;
    assert_eq!(ann.met(), [gone], "met once, when he was really there");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_out_of_order_still_make_a_call() {
    let mut held: HashMap<(ParticipantId, ParticipantId), Vec<Passed>> = HashMap::new();
    let server = EvilServer::start(move |message| {
        let waiting = held.entry((message.from, message.to)).or_default();
        waiting.push(message);
        if waiting.len() < 3 {
            return Vec::new();
        }
        waiting.drain(..).rev().collect()
    })
    .await;
    let mut ann = Person::join("Ann", server.link()).await;
    let mut bob = Person::join("Bob", server.link()).await;
    ann.until_heard(bob.id).await;
    bob.until_heard(ann.id).await;
    assert_eq!(ann.met(), [bob.id]);
    let others = |suspicion: &Suspicion| !matches!(suspicion, Suspicion::Stranger(_));
    assert!(
        !ann.suspicions().iter().any(others),
        "{:?}",
        ann.suspicions()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_messages_still_make_a_call() {
    let mut count = 0;
    let server = EvilServer::start(move |message| {
        count += 1;
        if count % 3 == 1 {
            Vec::new()
        } else {
            vec![message]
        }
    })
    .await;
    let mut ann = Person::join("Ann", server.link()).await;
    let mut bob = Person::join("Bob", server.link()).await;
    ann.until_heard(bob.id).await;
    bob.until_heard(ann.id).await;
    assert_eq!(ann.met(), [bob.id]);
    assert_eq!(ann.suspicions(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invented_participant_is_a_stranger_and_is_never_met() {
    let server = EvilServer::start(|message| vec![message]).await;
    let mut ann = Person::join("Ann", server.link()).await;
    let mut bob = Person::join("Bob", server.link()).await;
    server.say(
        ann.id,
        ServerMessage::Joined {
            participant: NOBODY,
        },
    );
    ann.until_heard(bob.id).await;
    // The best it has: words of others, and words of its own.
    for message in server.passed() {
        if message.to == ann.id {
            server.deliver(Passed {
                from: NOBODY,
                ..message
            });
        }
    }
    let sealed = "AQAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned();
    server.deliver(Passed {
        from: NOBODY,
        to: ann.id,
        sealed,
    });
    ann.until_suspected(Suspicion::Forged(NOBODY)).await;
    ann.until_suspected(Suspicion::Stranger(NOBODY)).await;
    assert_eq!(ann.met(), [bob.id]);
    assert_eq!(bob.suspicions(), []);
    // Whoever held the secret would learn a name and who is there, but no address of anybody.
    let keys = MeetingKeys::derive(server.link().secret(), server.link().room());
    let mut told = 0;
    for sender in [ann.id, bob.id] {
        let mut nobody = SealedChannel::new(&keys, NOBODY, sender);
        let sent = server.passed().into_iter();
        for message in sent.filter(|sent| (sent.from, sent.to) == (sender, NOBODY)) {
            let opened = nobody.open(&message.sealed).unwrap();
            assert!(matches!(opened, PeerMessage::State(_)), "{opened:?}");
            told += 1;
        }
    }
    assert!((1..30).contains(&told), "{told} states");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_participant_is_found_out_by_those_who_can_see_both() {
    // The first and the third never hear of each other.
    let hides = |one, other| matches!((one, other), (0, 2) | (2, 0));
    let server = EvilServer::start_hiding(|message| vec![message], hides).await;
    let mut ann = Person::join("Ann", server.link()).await;
    let mut bob = Person::join("Bob", server.link()).await;
    let mut eve = Person::join("Eve", server.link()).await;
    bob.until_heard(ann.id).await;
    bob.until_heard(eve.id).await;
    ann.until_suspected(Suspicion::Hidden(eve.id)).await;
    eve.until_suspected(Suspicion::Hidden(ann.id)).await;
    assert_eq!(ann.met(), [bob.id]);
    assert_eq!(bob.suspicions(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_who_is_not_announced_is_met_all_the_same() {
    // The newcomer sees the other, but not the other way round.
    let server = EvilServer::start_hiding(|message| vec![message], |one, other| one < other).await;
    let mut ann = Person::join("Ann", server.link()).await;
    let mut bob = Person::join("Bob", server.link()).await;
    ann.until_heard(bob.id).await;
    bob.until_heard(ann.id).await;
    ann.until_suspected(Suspicion::Hidden(bob.id)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_departure_ends_nothing_and_is_found_out() {
    let server = EvilServer::start(|message| vec![message]).await;
    let mut ann = Person::join("Ann", server.link()).await;
    let mut bob = Person::join("Bob", server.link()).await;
    let mut eve = Person::join("Eve", server.link()).await;
    ann.until_heard(eve.id).await;
    bob.until_heard(eve.id).await;
    eve.until_heard(bob.id).await;
    let reason = nonstop_wire::DepartureReason::Left;
    let participant = eve.id;
    server.say(
        ann.id,
        ServerMessage::Left {
            participant,
            reason,
        },
    );
    ann.until_suspected(Suspicion::Hidden(eve.id)).await;
    ann.assert_kept(eve.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_fingerprint_is_a_wrong_party_even_from_somebody_who_has_the_key() {
    let keys = Arc::new(OnceLock::new());
    let mut insider = Insider {
        keys: Arc::clone(&keys),
        channels: HashMap::new(),
        sealed: 0,
    };
    let server = EvilServer::start(move |message| vec![insider.swap_fingerprint(message)]).await;
    let link = server.link();
    assert!(
        keys.set(MeetingKeys::derive(link.secret(), link.room()))
            .is_ok()
    );
    let mut ann = Person::join("Ann", link).await;
    let mut bob = Person::join("Bob", link).await;
    ann.until_suspected(Suspicion::WrongParty(bob.id)).await;
    bob.until_suspected(Suspicion::WrongParty(ann.id)).await;
    ann.assert_unconnected();
    bob.assert_unconnected();
}

/// A server that got hold of the meeting's secret: it can open and seal again what it passes on.
struct Insider {
    keys: Arc<OnceLock<MeetingKeys>>,
    /// For each direction: as the receiver, who opens, and as the sender, who seals.
    channels: HashMap<(ParticipantId, ParticipantId), (SealedChannel, SealedChannel)>,
    sealed: u64,
}

impl Insider {
    fn swap_fingerprint(&mut self, message: Passed) -> Passed {
        let Passed { from, to, sealed } = message;
        let keys = self.keys.get().expect("set before anybody joins");
        let (receiver, sender) = self.channels.entry((from, to)).or_insert_with(|| {
            let receiver = SealedChannel::new(keys, to, from);
            (receiver, SealedChannel::new(keys, from, to))
        });
        let mut opened = receiver.open(&sealed).unwrap();
        if let PeerMessage::Description { sdp, .. } = &mut opened {
            *sdp = with_another_fingerprint(sdp);
        }
        self.sealed += 1;
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&self.sealed.to_be_bytes());
        let sealed = sender.seal(&opened, nonce);
        Passed { from, to, sealed }
    }
}

fn with_another_fingerprint(sdp: &str) -> String {
    let fingerprint = ["AB"; 32].join(":");
    let lines = sdp
        .lines()
        .map(|line| match line.starts_with("a=fingerprint:") {
            true => format!("a=fingerprint:sha-256 {fingerprint}\r\n"),
            false => format!("{line}\r\n"),
        });
    lines.collect()
}
