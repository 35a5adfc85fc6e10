//! The documents name what the code has, all of it and nothing else: drop reasons, columns, keys, commands, options.

use std::{collections::BTreeSet, path::Path, process::Command, sync::Arc};

use warren::{
    api::{Table, show},
    model::Model,
    node::config::HostConfig,
    pipeline::Reason,
    tables::{Acl, Exits, Policy},
};

const CONFIGURATION: &str = include_str!("../docs/configuration.md");
const COUNTERS: &str = include_str!("../docs/counters.md");

/// The text of a page from a heading to the next of the same or a higher level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let level = heading.bytes().take_while(|&byte| byte == b'#').count();
    let start = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"))
        + heading.len();
    let rest = &page[start + 2..];
    let ends = (1..=level).filter_map(|level| rest.find(&format!("\n{} ", "#".repeat(level))));
    &rest[..ends.min().unwrap_or(rest.len())]
}

/// What stands in backquotes.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// What stands in backquotes in the first column of a section's tables.
fn rows(text: &str) -> BTreeSet<&str> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    cells.flat_map(quoted).collect()
}

#[test]
fn every_drop_reason_is_explained_and_no_other() {
    let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(rows(section(COUNTERS, "### Reasons")), names);
}

#[test]
fn every_counter_is_explained_and_no_other() {
    let snapshot = show::Snapshot {
        learned: warren::compile::Learned::default(),
        host: Arc::from("host"),
        model: Arc::new(Model::default()),
        generation: 1,
        table_bytes: 0,
        port_names: Vec::new(),
        occupants: Vec::new(),
        enis: Vec::new(),
        devices: Vec::new(),
        cpus: Vec::new(),
        laggards: Vec::new(),
        counters: Vec::new(),
        neighbours: Vec::new(),
        identities: Vec::new(),
        joined: Vec::new(),
        exits: Arc::new(Exits::none()),
        sessions: Vec::new(),
        flow_logs: Vec::new(),
        ways: Vec::new(),
        cycles_per_second: 1,
    };
    let same = |heading: &str, text: &str, table: &Table| {
        let columns: BTreeSet<_> = table.columns.iter().map(String::as_str).collect();
        assert_eq!(rows(text), columns, "{heading}");
    };
    for (heading, table) in [
        ("## `warren show stats`", show::stats(&[], &[])),
        ("## `warren show routes`", show::routes(&snapshot)),
        ("## `warren show security`", show::rules(&Policy::default(), &Acl::default())),
        ("## `warren show ports`", show::ports(&snapshot)),
        ("## `warren show services`", show::services(&snapshot)),
        ("## `warren show gateways`", show::gateways(&snapshot)),
        ("## `warren show multicast`", show::multicast(&Model::default(), &[])),
        ("## `warren show bgp`", show::bgp(&snapshot)),
        ("## `warren show connections`", show::connections(&snapshot)),
        (
            "## `warren show flows`",
            show::flows(&snapshot, None, &show::FlowFilter::default(), |_| Ok(())).unwrap(),
        ),
        ("## `warren show allowances`", show::allowances(&snapshot)),
        ("## `warren show nat`", show::nat(&snapshot)),
        ("## `warren show flow-logs`", show::flow_logs(&snapshot)),
        ("## `warren show workers`", show::workers(&snapshot)),
        ("## `warren show hosts`", show::hosts(&snapshot)),
    ] {
        same(heading, section(COUNTERS, heading), &table);
    }
    let drops = section(COUNTERS, "## `warren show drops`");
    let before_reasons = drops.split("### Reasons").next().unwrap();
    same("drops", before_reasons, &show::drops(&[], &[], &[]));
}

/// The fields of a struct in the source of the host file's reader.
fn fields(name: &str) -> Vec<&'static str> {
    const SOURCES: [&str; 4] = [
        include_str!("../src/node/config.rs"),
        include_str!("../src/node/config/edge.rs"),
        include_str!("../src/node/config/flow_logs.rs"),
        include_str!("../src/node/config/vhost.rs"),
    ];
    let start = format!("struct {name} {{\n");
    let body = SOURCES.iter().find_map(|source| Some(source.split_once(&start)?.1));
    let body = body.unwrap_or_else(|| panic!("no struct {name}"));
    let lines = body.split_once("\n}").unwrap().0.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with(['#', '/']));
    lines.filter_map(|line| Some(line.trim_start_matches("pub ").split_once(':')?.0)).collect()
}

#[test]
fn every_key_of_the_host_file_is_explained_and_no_other() {
    let below = [
        ("workers", "Workers"),
        ("eal", "Eal"),
        ("control", "Control"),
        ("gateway", "RawGateway"),
        ("propagation", "Propagation"),
        ("flow_logs", "FlowLogsConfig"),
    ];
    let mut keys = BTreeSet::new();
    for field in fields("RawHost") {
        match below.iter().find(|(key, _)| *key == field) {
            Some((key, name)) => keys.extend(fields(name).iter().map(|field| format!("{key}.{field}"))),
            None => drop(keys.insert(field.to_owned())),
        }
    }
    keys.extend(fields("RawBgp").iter().map(|field| format!("bgp.{field}")));
    keys.extend(fields("RawPort").iter().map(|field| format!("port.{field}")));
    keys.extend(fields("Vhost").iter().map(|field| format!("port.vhost.{field}")));
    keys.extend(fields("StaticNeighbor").iter().map(|field| format!("port.neighbors.{field}")));
    let text = section(CONFIGURATION, "## Host file");
    let documented = rows(text.split("### Devices").next().unwrap());
    assert_eq!(documented, keys.iter().map(String::as_str).collect());
}

#[test]
fn every_key_of_the_state_is_mentioned() {
    let sources = [
        include_str!("../src/model/raw/shapes.rs"),
        include_str!("../src/model/raw/gateways.rs"),
        include_str!("../src/model/raw/transit.rs"),
    ];
    let maps =
        |source: &'static str| source.split_once("\nmaps! {").unwrap().1.split_once("\n}\n").unwrap().0;
    let text = section(CONFIGURATION, "## State");
    let words: BTreeSet<_> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let keys: Vec<_> =
        sources.into_iter().flat_map(|source| maps(source).split('"').skip(1).step_by(2)).collect();
    assert!(keys.len() > 300, "{keys:?}");
    let missing: Vec<_> = keys.iter().filter(|key| !words.contains(*key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn warren(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_warren")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_and_option_is_explained_and_no_other() {
    let help = warren(&["--help"]);
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"check"), "{commands:?}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let text = section(CONFIGURATION, &format!("### `warren {command}`"));
        let help = warren(&[command, "--help"]);
        let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let words = lines.flat_map(str::split_whitespace);
        let options: BTreeSet<_> = words.filter(|word| word.starts_with("--") && *word != "--help").collect();
        let documented = rows(text).into_iter().filter_map(|row| row.split_whitespace().next()).collect();
        assert_eq!(options, documented, "warren {command}");
        // Lines such as `- hosts: The hosts of…`.
        for line in help.lines().filter_map(|line| line.trim_start().strip_prefix("- ")) {
            let value = line.split(':').next().unwrap();
            assert!(text.contains(&format!("`{value}`")), "warren {command}: {value}");
        }
    }
}

#[test]
fn the_example_host_files_are_right() {
    for file in ["configs/bare-metal-vhost.toml", "configs/bare-metal-tap.toml", "examples/host-a.toml"] {
        let config = HostConfig::read(Path::new(file)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.warnings(), Vec::<String>::new(), "{file}");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/bare-metal.md",
        "docs/configuration.md",
        "docs/counters.md",
        "docs/performance.md",
        "docs/conformance.md",
        "tests/conformance/README.md",
    ] {
        let text = std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{page}: {error}"));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { page.into() } else { Path::new(page).parent().unwrap().join(file) };
            assert!(target.exists(), "{page}: {link}");
            if !anchor.is_empty() {
                let target = std::fs::read_to_string(&target).unwrap();
                let mut headings = target.lines().filter_map(|line| line.strip_prefix('#'));
                assert!(headings.any(|heading| slug(heading) == anchor), "{page}: {link}");
            }
        }
    }
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}
