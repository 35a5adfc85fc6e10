//! The conformance suite: what a VPC does to packets, as data, run against Warren. `README.md` explains the files,
//! `docs/conformance.md` shows the result.
//!
//! `cargo test --test conformance pure` runs it on the pipeline alone; `daemon` through `warren run`, which takes root and
//! DPDK; `plugin` and `graph`, as much, through C programs with `libwarren.so`; `page` compares the generated page, and writes it with
//! `WARREN_BLESS=1`. `WARREN_SCENARIO=TEXT` runs only scenarios whose name has it, or whose file begins with it.

// Nothing outside uses a test's items; `pub` here means public to the other files.
#![allow(unreachable_pub)]

#[cfg(feature = "dpdk")]
mod daemon;
mod dhcp;
mod fields;
mod frame;
mod journey;
mod page;
#[cfg(feature = "dpdk")]
mod plugin;
mod pure;
#[cfg(feature = "dpdk")]
mod raw;
mod state;
mod suite;
mod underlay;

use std::sync::OnceLock;
#[cfg(feature = "dpdk")]
use std::thread;

use journey::{Fabric, Node};
#[cfg(feature = "dpdk")]
use plugin::Plugin;
use suite::{Family, Scenario, Suite};
use underlay::WIRES;
#[cfg(feature = "dpdk")]
use underlay::Wire;

/// A scenario that failed in one of its ways, and how.
struct Fault {
    scenario: String,
    text: String,
}

/// Runs scenarios in all their ways; says what is not as expected.
fn run<N: Node>(fabric: &mut Fabric<'_, N>, which: impl Fn(&Scenario, Family) -> bool) -> Vec<Fault> {
    let (suite, wire) = (fabric.suite, fabric.wire.name);
    let mut faults = Vec::new();
    for scenario in suite.scenarios.iter().filter(|scenario| scenario.runs_over(wire)) {
        for run in scenario.runs(&suite.hosts).into_iter().filter(|run| which(scenario, run.family)) {
            if let Err(fault) = fabric.run(scenario, run) {
                let text = format!("{}: {} ({wire}, {run:?}):\n  {fault}", scenario.file, scenario.name);
                faults.push(Fault { scenario: scenario.name.clone(), text });
            }
        }
    }
    faults
}

#[track_caller]
fn none(faults: &[Fault]) {
    let texts: Vec<_> = faults.iter().map(|fault| &*fault.text).collect();
    assert!(texts.is_empty(), "{} runs fail\n{}", texts.len(), texts.join("\n"));
}

/// The scenarios that this run of the tests is about.
fn chosen(scenario: &Scenario) -> bool {
    let text = std::env::var("WARREN_SCENARIO").unwrap_or_default();
    scenario.name.contains(&*text) || scenario.file.starts_with(&*text)
}

/// What fails on the pipeline alone.
fn pure_faults() -> &'static [Fault] {
    static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();
    FAULTS.get_or_init(|| {
        let suite = Suite::read();
        let of = |wire| run(&mut pure::fabric(&suite, wire), |scenario, _| chosen(scenario));
        WIRES.into_iter().flat_map(of).collect()
    })
}

/// Every scenario on the pipeline alone.
#[test]
fn pure() {
    none(pure_faults());
}

/// Every scenario that can be, in some encapsulations, through a program on each host.
#[cfg(feature = "dpdk")]
fn through_programs(wires: &[Wire], plugin: Option<&Plugin>) {
    let suite = Suite::read();
    let can_be =
        |scenario: &Scenario, family| chosen(scenario) && scenario.pure_only.reason(family).is_none();
    // Mostly they wait, for the nodes and for silence: the encapsulations do so at once, with nodes of their own.
    let faults = thread::scope(|scope| {
        let suite = &suite;
        let of = |&wire: &Wire| scope.spawn(move || run(&mut daemon::fabric(suite, wire, plugin), can_be));
        let running: Vec<_> = wires.iter().map(of).collect();
        running.into_iter().flat_map(|it| it.join().expect("no panic")).collect::<Vec<_>>()
    });
    none(&faults);
}

/// Through `warren run`.
#[cfg(feature = "dpdk")]
#[test]
fn daemon() {
    through_programs(&WIRES, None);
}

/// Through a C program that libwarren.so makes a host: what it does to packets is the same code, so that one encapsulation will do.
#[cfg(feature = "dpdk")]
#[test]
fn plugin() {
    through_programs(&WIRES[..1], Some(&Plugin::build("vpc-host")));
}

/// Through one on DPDK's graph library, in the other one.
#[cfg(feature = "dpdk")]
#[test]
fn graph() {
    through_programs(&WIRES[1..], Some(&Plugin::build("vpc-graph")));
}

/// Each rule has a scenario, or a reason why not.
#[test]
fn every_rule_has_a_scenario_or_a_reason() {
    let suite = Suite::read();
    let bare = suite.rules.iter().filter(|rule| rule.without.is_none() && suite.of(rule).next().is_none());
    let bare: Vec<_> = bare.map(|rule| &*rule.id).collect();
    assert!(bare.is_empty(), "neither scenario nor `without`: {bare:?}");
    // As many as the contract has.
    let groups = [("P", 5), ("L2", 26), ("ADDR", 28), ("FWD", 20), ("MTU", 14)];
    let beyond =
        [("RT", 21), ("GW", 25), ("ING", 11), ("PT", 20), ("MC", 12), ("BGP", 10), ("SEC", 17), ("NACL", 8)];
    let told = [("QT", 10), ("FL", 12), ("MIR", 7)];
    for (group, count) in groups.into_iter().chain(beyond).chain(told) {
        for number in 1..=count {
            let id = format!("{group}-{number}");
            assert_eq!(suite.rules.iter().filter(|rule| rule.id == id).count(), 1, "{id}");
        }
    }
}

/// The page is what the suite says.
#[test]
fn page() {
    let page = page::write(&Suite::read(), pure_faults());
    if std::env::var_os("WARREN_BLESS").is_some() {
        assert!(std::env::var_os("WARREN_SCENARIO").is_none(), "the page is about all scenarios");
        std::fs::write(page::PATH, page).unwrap();
    } else {
        let committed = std::fs::read_to_string(page::PATH).unwrap_or_default();
        assert!(
            page == committed,
            "{} is old: WARREN_BLESS=1 cargo test --test conformance page",
            page::PATH
        );
    }
}

/// A runner that can't fail shows nothing: without its expectations, every step that has some fails.
#[test]
fn what_is_not_expected_fails() {
    let mut suite = Suite::read();
    let mut wanted = Vec::new();
    let tried = |it: &&mut Scenario| it.pure_only.is_no() && it.runs_over(WIRES[0].name);
    for scenario in suite.scenarios.iter_mut().filter(tried) {
        // Which of the steps is forgotten, is arbitrary; all are tried over the scenarios.
        let number = scenario.name.len() % scenario.steps.len();
        let step = &mut scenario.steps[number];
        let anything = step.refused.take().is_some();
        // Advertisements that nobody asked for may be seen at any time.
        if scenario.name == "unasked-router-advertisements" {
            continue;
        }
        if std::mem::take(&mut step.expect.0).len() + std::mem::take(&mut step.drop.0).len() > 0 || anything {
            wanted.push(scenario.name.clone());
        }
    }
    let faults = run(&mut pure::fabric(&suite, WIRES[0]), |scenario, _| wanted.contains(&scenario.name));
    let unnoticed = wanted.iter().filter(|name| faults.iter().all(|fault| fault.scenario != **name));
    let unnoticed: Vec<_> = unnoticed.collect();
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}
