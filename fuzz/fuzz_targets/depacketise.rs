//! Payloads in any order and of any content: no panic, no growth, and what comes out is whole.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/mesh/link/depacketise.rs"]
mod depacketise;

fuzz_target!(|data: &[u8]| {
    let mut depacketiser = depacketise::Depacketiser::default();
    let mut rest = data;
    // Each payload behind its length; a length of zero ends the unit.
    while let Some((&length, after)) = rest.split_first() {
        let (payload, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        if length == 0 {
            if let Ok(unit) = depacketiser.finish() {
                assert!(unit.data.starts_with(&[0, 0, 0, 1]));
                assert!(unit.data.len() <= 5 * data.len());
            }
        } else {
            depacketise::begins_keyframe(payload);
            if depacketiser.push(payload).is_err() {
                depacketiser.reset();
            }
        }
    }
});
