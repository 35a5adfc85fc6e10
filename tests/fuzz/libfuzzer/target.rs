#![no_main]
//! A target of `tests/fuzz` under libFuzzer: the one with the binary's name.

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::named(env!("CARGO_BIN_NAME"))(input));
