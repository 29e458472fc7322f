//! The controller and the pacer in simulated calls, quickly: a few seeds, bounds that hold.
#[allow(dead_code, reason = "the benchmark uses more of it")]
mod sim;

use std::time::Duration;

use sim::cases::{CASES, Run};

#[test]
fn a_seed_repeats_a_run() {
    let case = CASES.iter().find(|case| case.name == "const1").unwrap();
    let values = |seed| {
        let run = Run {
            seed,
            feedback_gap: Duration::from_millis(25),
            trace: false,
        };
        let figures = (case.run)(run);
        figures
            .iter()
            .map(|figure| figure.value)
            .collect::<Vec<_>>()
    };
    assert_eq!(values(1), values(1));
    assert_ne!(values(1), values(2));
}
