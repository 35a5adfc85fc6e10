//! `docs/conformance.md`: each rule, the scenarios that prove it, and how they went.

use std::fmt::Write as _;

use super::{
    Fault,
    suite::{Rule, Scenario, Suite},
    underlay::WIRES,
};

/// The page.
pub const PATH: &str = "docs/conformance.md";

const GROUPS: [(&str, &str); 16] = [
    ("L2", "Link layer, ARP, neighbour discovery"),
    ("ADDR", "Addresses, DHCP, services of the link"),
    ("FWD", "Forwarding inside the VPC"),
    ("MTU", "MTU, fragments, ICMP"),
    ("RT", "Route tables"),
    ("GW", "Gateways"),
    ("ING", "Route tables of gateways"),
    ("PT", "Peerings and transit gateways"),
    ("MC", "Multicast"),
    ("BGP", "VPN, BGP, Direct Connect"),
    ("SEC", "Security groups and connection tracking"),
    ("NACL", "Network ACLs"),
    ("QT", "Quotas and allowances"),
    ("FL", "Flow logs"),
    ("MIR", "Traffic mirroring"),
    ("P", "The way of a packet"),
];

/// The page's text.
pub fn write(suite: &Suite, faults: &[Fault]) -> String {
    let runs = |scenario: &Scenario| {
        let wires = WIRES.iter().filter(|wire| scenario.runs_over(wire.name)).count();
        scenario.runs(&suite.hosts).len() * wires
    };
    let proven = suite.rules.iter().filter(|rule| suite.of(rule).next().is_some()).count();
    let mut page = format!(
        "# Conformance\n\n\
         What a VPC does to packets, rule by rule, and the scenarios that show it. The scenarios are data, which another \
         implementation can run as well: [`tests/conformance/`](../tests/conformance/README.md).\n\n\
         This page is written by `WARREN_BLESS=1 cargo test --test conformance`; a test fails while it is old. {} of {} \
         rules have scenarios; {} scenarios run in {} ways: IPv4 and IPv6, sender and receiver on one host and on two, \
         VXLAN over IPv4 and Geneve over IPv6. Each runs on the pipeline alone and through `warren run` on every host, but \
         for those that are [listed below](#not-through-a-daemon); the results are the pipeline's, and the tests ask the same of both.\n",
        proven,
        suite.rules.len(),
        suite.scenarios.len(),
        suite.scenarios.iter().map(runs).sum::<usize>(),
    );
    for (group, title) in GROUPS {
        let _ = write!(
            page,
            "\n## {title}\n\n| rule | what it says | scenarios | result |\n| --- | --- | --- | --- |\n"
        );
        let of_group = |rule: &&Rule| rule.id.rsplit_once('-').is_some_and(|(of, _)| of == group);
        for rule in suite.rules.iter().filter(of_group) {
            let scenarios: Vec<_> = suite.of(rule).collect();
            let links = scenarios.iter().map(|it| format!("[{}](#{})", it.name, it.file.replace('.', "")));
            let fails = |it: &&Scenario| faults.iter().any(|fault| fault.scenario == it.name);
            let result =
                match (scenarios.is_empty(), scenarios.iter().copied().any(|it| fails(&it)), &rule.without) {
                    (true, _, reason) => format!("left out: {}", reason.as_deref().unwrap_or("?")),
                    (false, true, _) => "**fails**".to_owned(),
                    (false, false, None) => "holds".to_owned(),
                    (false, false, Some(reason)) => format!("holds in part: {reason}"),
                };
            let links: Vec<_> = links.collect();
            let _ = writeln!(page, "| {} | {} | {} | {result} |", rule.id, rule.says, links.join(", "));
        }
    }
    page += "\n## Scenarios\n";
    let mut file = "";
    for scenario in &suite.scenarios {
        if file != scenario.file {
            file = &scenario.file;
            let _ = write!(
                page,
                "\n### {file}\n\n[The file](../tests/conformance/{file}).\n\n| scenario | what it shows | runs |\n| --- | --- | --- |\n"
            );
        }
        let _ = writeln!(page, "| {} | {} | {} |", scenario.name, scenario.says, runs(scenario));
    }
    page += "\n## Not through a daemon\n\n| scenario | why |\n| --- | --- |\n";
    for scenario in suite.scenarios.iter().filter(|scenario| !scenario.pure_only.is_no()) {
        let _ = writeln!(page, "| {} | {} |", scenario.name, scenario.pure_only.text());
    }
    page
}
