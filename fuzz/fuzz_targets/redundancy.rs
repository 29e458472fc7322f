//! Redundant audio data of any content: no panic, and what it holds can be wrapped again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

#[path = "../../src/mesh/link/redundancy.rs"]
mod redundancy;

fuzz_target!(|data: &[u8]| {
    let Ok(mut blocks) = redundancy::unwrap(&Bytes::copy_from_slice(data)) else {
        return;
    };
    let Some(own) = blocks.pop() else {
        panic!("there is always the packet's own");
    };
    let earlier: Vec<_> = blocks
        .into_iter()
        .map(|block| (block.offset, block.payload))
        .collect();
    let wrapped = redundancy::wrap(own.payload_type, &own.payload, &earlier);
    assert!(wrapped.len() <= data.len());
    let again = redundancy::unwrap(&wrapped).expect("we wrapped it");
    assert_eq!(again.last(), Some(&own));
    assert!(again.len() <= earlier.len() + 1);
});
