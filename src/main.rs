//! Arguments, logging, runtime, window: wires the house, decides nothing.

fn main() {}
