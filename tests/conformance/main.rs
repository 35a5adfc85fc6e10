//! The conformance suite: what a VPC does to packets, as data, run against Warren. `README.md` explains the files,
//! `docs/conformance.md` shows the result.
//!
//! `cargo test --test conformance pure` runs it on the pipeline alone; `daemon` through `warren run`, which takes root and
//! DPDK; `page` compares the generated page, and writes it with `WARREN_BLESS=1`. `WARREN_SCENARIO=TEXT` runs only
//! scenarios whose name has it.

// Nothing outside uses a test's items; `pub` here means public to the other files.
#![allow(unreachable_pub)]

mod frame;
mod journey;
mod pure;
mod state;
mod suite;
mod underlay;

use suite::Suite;
use underlay::WIRES;

#[test]
fn pure() {
    let suite = Suite::read();
    let only = std::env::var("WARREN_SCENARIO").unwrap_or_default();
    let (mut runs, mut faults) = (0, Vec::new());
    for wire in WIRES {
        let mut fabric = pure::fabric(&suite, wire);
        for scenario in suite.scenarios.iter().filter(|it| it.name.contains(&only) && it.runs_over(wire.name))
        {
            for run in scenario.runs(&suite.hosts) {
                runs += 1;
                if let Err(fault) = fabric.run(scenario, run) {
                    let (file, name) = (&scenario.file, &scenario.name);
                    faults.push(format!("{file}: {name} ({}, {run:?}):\n  {fault}", wire.name));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {runs} runs fail\n{}", faults.len(), faults.join("\n"));
}
