//! The conformance suite: what a VPC does to packets, as data, run against Warren. `README.md` explains the files,
//! `docs/conformance.md` shows the result.
//!
//! `cargo test --test conformance pure` runs it on the pipeline alone; `daemon` through `warren run`, which takes root and
//! DPDK; `page` compares the generated page, and writes it with `WARREN_BLESS=1`. `WARREN_SCENARIO=TEXT` runs only
//! scenarios whose name has it.

// Nothing outside uses a test's items; `pub` here means public to the other files.
#![allow(unreachable_pub)]

#[cfg(feature = "dpdk")]
mod daemon;
mod frame;
mod journey;
mod pure;
#[cfg(feature = "dpdk")]
mod raw;
mod state;
mod suite;
mod underlay;

use journey::{Fabric, Node};
use suite::{Family, Scenario, Suite};
use underlay::WIRES;

/// Runs scenarios in all their ways; says what is not as expected.
fn run<N: Node>(fabric: &mut Fabric<'_, N>, which: impl Fn(&Scenario, Family) -> bool) -> Vec<String> {
    let only = std::env::var("WARREN_SCENARIO").unwrap_or_default();
    let (suite, wire) = (fabric.suite, fabric.wire.name);
    let mut faults = Vec::new();
    for scenario in suite.scenarios.iter().filter(|it| it.name.contains(&only) && it.runs_over(wire)) {
        for run in scenario.runs(&suite.hosts).into_iter().filter(|run| which(scenario, run.family)) {
            if let Err(fault) = fabric.run(scenario, run) {
                faults.push(format!("{}: {} ({wire}, {run:?}):\n  {fault}", scenario.file, scenario.name));
            }
        }
    }
    faults
}

/// Every scenario on the pipeline alone.
#[test]
fn pure() {
    let suite = Suite::read();
    let of = |wire| run(&mut pure::fabric(&suite, wire), |_, _| true);
    let faults: Vec<_> = WIRES.into_iter().flat_map(of).collect();
    assert!(faults.is_empty(), "{} runs fail\n{}", faults.len(), faults.join("\n"));
}

/// Every scenario that can be, through `warren run` on each host.
#[cfg(feature = "dpdk")]
#[test]
fn daemon() {
    let suite = Suite::read();
    let can_be = |scenario: &Scenario, family| scenario.pure_only.reason(family).is_none();
    let of = |wire| run(&mut daemon::fabric(&suite, wire), can_be);
    let faults: Vec<_> = WIRES.into_iter().flat_map(of).collect();
    assert!(faults.is_empty(), "{} runs fail\n{}", faults.len(), faults.join("\n"));
}
