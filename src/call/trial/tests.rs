//! The words for what a test finds.

use super::*;

const MS: Duration = Duration::from_millis(1);

const ALL: Offers = Offers {
    udp: true,
    relay_udp: true,
    relay_tcp: true,
    relay_tls: true,
};

fn reached(offers: Offers) -> TrialNews {
    TrialNews::Reached {
        after: 45 * MS,
        offers,
    }
}

fn works(path: Path) -> TrialNews {
    TrialNews::Relay {
        path,
        outcome: Ok(30 * MS),
    }
}

fn fails(path: Path) -> TrialNews {
    TrialNews::Relay {
        path,
        outcome: Err("the relay did not answer".to_owned()),
    }
}

fn rate(path: Path, kbps: u64) -> TrialNews {
    TrialNews::Rate {
        path,
        rate: Some(Bitrate::from_kbps(kbps)),
    }
}

fn found(news: &[TrialNews]) -> Trial {
    let mut trial = Trial::new("meet.example.org");
    for news in news {
        trial.handle(news.clone());
    }
    trial
}

fn ended(news: &[TrialNews]) -> TrialView {
    let mut trial = found(news);
    trial.handle(TrialNews::Over);
    trial.view()
}

fn lines(view: &TrialView) -> Vec<String> {
    let line = |step: &TrialStep| format!("{}: {}", step.title, step.words);
    view.steps.iter().map(line).collect()
}

#[test]
fn where_everything_works_it_says_so_and_how_much_goes_through() {
    let view = ended(&[
        reached(ALL),
        TrialNews::Udp(Some(23 * MS)),
        works(Path::TurnUdp),
        works(Path::TurnTcp),
        works(Path::TurnTls),
        rate(Path::TurnUdp, 2_199),
    ]);
    assert_eq!(view.summary, "Works. At least 2.1 Mbit/s.");
    assert_eq!(view.mark, Mark::Good);
    assert!(!view.running);
    assert_eq!(
        lines(&view),
        [
            "Meeting server: reached in 45 ms",
            "UDP: works, 23 ms",
            "Relay over UDP: works, 30 ms",
            "Relay over TCP: works, 30 ms",
            "Relay over TLS: works, 30 ms",
            "Speed: at least 2.1 Mbit/s up and down, through a relay over UDP",
        ]
    );
    assert!(
        view.note
            .is_some_and(|note| note.contains("slower of the two directions"))
    );
}

#[test]
fn a_network_without_udp_is_named_and_what_is_used_in_its_place() {
    let view = ended(&[
        reached(ALL),
        works(Path::TurnTls),
        fails(Path::TurnTcp),
        TrialNews::Udp(None),
        fails(Path::TurnUdp),
        rate(Path::TurnTls, 900),
    ]);
    assert_eq!(
        view.summary,
        "UDP is blocked here. Calls go through a relay over TLS; expect less quality."
    );
    assert_eq!(view.mark, Mark::Fair);
    assert_eq!(view.steps[1].mark, Mark::Bad);
    assert_eq!(lines(&view)[1], "UDP: blocked here: nothing comes back");
    assert_eq!(lines(&view)[2], "Relay over UDP: the relay did not answer");
    assert_eq!(
        lines(&view)[5],
        "Speed: at least 900 kbit/s up and down, through a relay over TLS"
    );
}

#[test]
fn a_server_that_is_not_there_ends_the_list() {
    let view = ended(&[TrialNews::NotReached("its name was not found".into())]);
    assert_eq!(
        view.summary,
        "The meeting server meet.example.org was not reached: its name was not found. Check the address and your connection."
    );
    assert_eq!(view.mark, Mark::Bad);
    assert_eq!(
        lines(&view),
        ["Meeting server: not reached: its name was not found"]
    );
}

#[test]
fn where_nothing_works_it_says_what_would_help() {
    let without_tls = Offers {
        relay_tls: false,
        ..ALL
    };
    let nothing = |offers| {
        ended(&[
            reached(offers),
            TrialNews::Udp(None),
            fails(Path::TurnUdp),
            fails(Path::TurnTcp),
        ])
    };
    assert_eq!(
        nothing(without_tls).summary,
        "No way for calls from here. This network lets nothing but the web through, and the meeting server offers no relay over TLS."
    );
    let no_relay = Offers {
        udp: true,
        ..Offers::default()
    };
    let view = ended(&[reached(no_relay), TrialNews::Udp(None)]);
    assert_eq!(view.mark, Mark::Bad);
    assert_eq!(
        view.summary,
        "No way for calls from here. This network blocks UDP, and the meeting server offers no relay."
    );
    assert_eq!(
        lines(&view)[2],
        "Relay over UDP: not offered by the meeting server"
    );
    assert_eq!(lines(&view)[5], "Speed: not measured: no relay can be used");
}

#[test]
fn without_a_relay_direct_calls_work() {
    let no_relay = Offers {
        udp: true,
        ..Offers::default()
    };
    let view = ended(&[reached(no_relay), TrialNews::Udp(Some(9 * MS))]);
    assert_eq!(
        view.summary,
        "Direct calls work. Where there is no direct way there is none at all: the meeting server offers no relay."
    );
    assert_eq!(view.mark, Mark::Fair);
}

#[test]
fn a_server_without_anything_to_try_udp_with_blames_nobody() {
    let only_tcp = Offers {
        relay_tcp: true,
        ..Offers::default()
    };
    let view = ended(&[reached(only_tcp), works(Path::TurnTcp)]);
    assert_eq!(lines(&view)[1], "UDP: not offered by the meeting server");
    assert_eq!(
        view.summary,
        "Works through a relay over TCP. Direct ways were not tested."
    );
    let view = ended(&[reached(Offers::default())]);
    assert!(
        view.summary
            .starts_with("The meeting server was reached. It offers nothing")
    );
}

#[test]
fn a_narrow_way_is_said_to_be_narrow_and_never_wider_than_measured() {
    let narrow = |kbps| {
        ended(&[
            reached(ALL),
            TrialNews::Udp(Some(MS)),
            works(Path::TurnUdp),
            rate(Path::TurnUdp, kbps),
        ])
    };
    assert_eq!(
        narrow(299).summary,
        "Everything works, but slowly: at least 290 kbit/s. Expect small pictures."
    );
    assert_eq!(
        narrow(64).summary,
        "Everything works, but slowly: at least 60 kbit/s. Expect sound without pictures."
    );
    assert_eq!(narrow(299).mark, Mark::Fair);
    assert_eq!(narrow(999).summary, "Works. At least 990 kbit/s.");
    assert_eq!(narrow(1_000).summary, "Works. At least 1.0 Mbit/s.");
}

#[test]
fn results_show_one_by_one() {
    let waiting = |trial: &Trial| {
        let steps = trial.view().steps;
        steps
            .iter()
            .filter(|step| step.mark == Mark::Waiting)
            .count()
    };
    let mut trial = Trial::new("meet.example.org");
    let mut counts = vec![waiting(&trial)];
    for news in [
        reached(Offers {
            relay_tls: false,
            ..ALL
        }),
        TrialNews::Udp(Some(MS)),
        works(Path::TurnUdp),
        fails(Path::TurnTcp),
        rate(Path::TurnUdp, 800),
    ] {
        trial.handle(news);
        counts.push(waiting(&trial));
    }
    assert_eq!(counts, [6, 4, 3, 2, 1, 0]);
    assert!(trial.view().running);
    assert_eq!(trial.view().summary, "Testing the way to meet.example.org…");
}

#[test]
fn a_test_that_was_stopped_takes_nothing_more_and_claims_nothing() {
    let mut trial = found(&[reached(ALL)]);
    trial.stop();
    trial.handle(works(Path::TurnUdp));
    let view = trial.view();
    assert!(!view.running);
    assert!(
        view.steps[1..].iter().all(|step| step.words == "not tried"),
        "{view:?}"
    );
    assert_eq!(trial.works(), None);
    assert_eq!(
        view.summary,
        "The test was stopped; what was found until then stands here."
    );
    assert!(Trial::nowhere().view().steps.is_empty());
}

#[test]
fn programs_get_every_figure_and_null_for_what_is_not_known() {
    let trial = found(&[
        reached(ALL),
        TrialNews::Udp(None),
        fails(Path::TurnUdp),
        works(Path::TurnTcp),
        rate(Path::TurnTcp, 800),
        TrialNews::Over,
    ]);
    let report = serde_json::to_value(trial.report()).unwrap();
    assert_eq!(report["server"], "meet.example.org");
    assert_eq!(report["works"], true);
    assert_eq!(report["server_ms"], 45);
    assert_eq!(report["server_error"], serde_json::Value::Null);
    assert_eq!(report["udp"], false);
    assert_eq!(report["relays"][0]["error"], "the relay did not answer");
    assert_eq!(report["relays"][1]["path"], "turn-tcp");
    assert_eq!(report["relays"][1]["round_trip_ms"], 30);
    assert_eq!(report["relays"][2]["works"], serde_json::Value::Null);
    assert_eq!(report["relays"][2]["offered"], true);
    assert_eq!(report["rate_bps"], 800_000);
    assert_eq!(report["rate_path"], "turn-tcp");
}
