//! Scenarios of calls whose media goes through the relay.

use super::*;
use crate::call::Protection;

fn call(story: &Story) -> CallView {
    match story.state.view().screen {
        Screen::Call(call) => call,
        Screen::Lobby(_) => panic!("the call goes on"),
    }
}

fn link(number: u64, event: LinkNews) -> MeshEvent {
    MeshEvent::Link {
        id: id(number),
        event,
    }
}

#[test]
fn relayed_media_is_said_to_be_protected_less_and_only_while_it_is() {
    let mut story = Story::in_a_call(0);
    story.comes(1, "Grace");
    story.comes(2, "Edsger");
    let connected = |path| LinkNews::Connected {
        path,
        after: SECOND,
    };
    story.mesh(link(1, connected(Path::TurnTls)));
    story.mesh(link(2, connected(Path::Direct)));
    assert_eq!(call(&story).protection, Protection::EndToEnd);
    story.mesh(link(2, LinkNews::PathChanged(Path::Relay)));
    let protection = |story: &Story| -> Vec<Protection> {
        let people = call(story).participants.into_iter();
        people.map(|person| person.protection).collect()
    };
    let relayed = [Protection::EndToEnd, Protection::ToTheServer];
    assert_eq!(protection(&story), relayed);
    assert_eq!(call(&story).protection, Protection::ToTheServer);
    assert_eq!(story.people()[1].path, "relay");
    story.mesh(link(2, LinkNews::PathChanged(Path::Direct)));
    assert_eq!(call(&story).protection, Protection::EndToEnd);
}

#[test]
fn a_relayed_call_is_said_so_before_anybody_s_media_moved_and_when_only_ours_did() {
    let mut story = Story::in_a_call(0);
    story.comes(1, "Grace");
    for (event, expected) in [
        (
            MeshEvent::Topology(Topology::Relay),
            Protection::ToTheServer,
        ),
        (MeshEvent::Topology(Topology::Mesh), Protection::EndToEnd),
        (MeshEvent::SentThroughRelay(true), Protection::ToTheServer),
        (MeshEvent::SentThroughRelay(false), Protection::EndToEnd),
    ] {
        story.mesh(event);
        assert_eq!(call(&story).protection, expected);
    }
}

#[test]
fn a_change_of_topology_is_told_once() {
    let mut story = Story::in_a_call(0);
    story.happened();
    for topology in [Topology::Mesh, Topology::Relay, Topology::Relay] {
        story.mesh(MeshEvent::Topology(topology));
    }
    let told = Happening::TopologyChanged(Topology::Relay);
    assert_eq!(story.happened(), [told]);
}

#[test]
fn who_spoke_through_the_relay_is_known_in_order() {
    let mut story = Story::in_a_call(0);
    for number in 1..=4 {
        story.comes(number, "Somebody");
    }
    let order = |story: &Story| -> Vec<u64> {
        let mut people = story.people();
        people.retain(|person| person.spoke_at.is_some());
        people.sort_by_key(|person| std::cmp::Reverse(person.spoke_at));
        people.into_iter().map(|person| person.id).collect()
    };
    let ids = |numbers: &[u64]| numbers.iter().map(|number| id(*number)).collect::<Vec<_>>();
    story.mesh(MeshEvent::Speakers(ids(&[3, 1])));
    assert_eq!(order(&story), [3, 1]);
    story.passes(SECOND);
    story.mesh(MeshEvent::Speakers(ids(&[1, 3])));
    assert_eq!(order(&story), [1, 3]);
    story.passes(SECOND);
    story.mesh(MeshEvent::Speakers(ids(&[4, 1, 77])));
    assert_eq!(order(&story), [4, 1, 3]);
}

#[test]
fn a_network_without_a_way_to_the_relay_is_told_until_there_is_one() {
    let mut story = Story::in_a_call(0);
    for _ in 0..2 {
        story.mesh(MeshEvent::RelayUnreachable(true));
    }
    assert_eq!(story.texts().len(), 1);
    assert!(story.texts()[0].starts_with("Your network has no way to the relay"));
    story.mesh(MeshEvent::RelayUnreachable(false));
    assert!(story.texts().is_empty());
}
