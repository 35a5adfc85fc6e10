//! Fuzzing: whatever the bytes, nothing panics, and what each target says of its results holds.
//!
//! Here the targets see their seeds (`corpus/TARGET`), the crashes found so far (`crashes/TARGET`), and a fixed number of
//! inputs made of both, the same in every run. Under `libfuzzer/`, libFuzzer runs the same functions; CONTRIBUTING.md says how.

mod inputs;
mod targets;

macro_rules! tests {
    ($($name:ident: $inputs:expr;)*) => {$(
        #[test]
        fn $name() {
            inputs::run(stringify!($name), $inputs, targets::named(stringify!($name)));
        }
    )*};
}

// Targets, and how many inputs each sees: all together take seconds in a debug build.
tests! {
    headers: 20_000;
    arp: 20_000;
    nd: 20_000;
    icmp: 20_000;
    igmp: 20_000;
    fragment: 20_000;
    mss: 20_000;
    offload: 20_000;
    dhcp: 20_000;
    decap: 20_000;
    translation: 20_000;
    nat64: 20_000;
    gre: 20_000;
    gwlb: 20_000;
    node: 10_000;
    state: 5_000;
    host_file: 10_000;
    request: 20_000;
    fpm: 20_000;
}
