//! DPDK's declarations, generated from `wrapper.h` by bindgen.
// Generated code, whose names are C's and whose documentation is DPDK's.
#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    clippy::semicolon_if_nothing_returned
)]

include!(concat!(env!("OUT_DIR"), "/dpdk.rs"));
