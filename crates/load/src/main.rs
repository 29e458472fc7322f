//! Joins many synthetic participants to a meeting and counts what arrives.

fn main() {}
