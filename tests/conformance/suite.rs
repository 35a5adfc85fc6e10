//! The suite as it is written: topologies, scenarios, rules. `README.md` explains every key.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// The folder with the suite.
pub const FOLDER: &str = "tests/conformance";

/// Everything.
pub struct Suite {
    pub scenarios: Vec<Scenario>,
    pub rules: Vec<Rule>,
    pub hosts: Hosts,
    /// The state without hosts and attachments.
    pub state: Value,
    /// By name: what scenarios may add to it.
    pub parts: BTreeMap<String, Value>,
}

/// A rule of the contract.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub id: String,
    /// What it says, in short.
    pub says: String,
    /// Why no scenario proves it, or not all of it.
    #[serde(default)]
    pub without: Option<String>,
}

/// `topologies/hosts.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hosts {
    pub hosts: BTreeMap<String, Host>,
    /// The largest IP packet of an ENI's port, in bytes, where it isn't `mtu`.
    pub mtus: BTreeMap<String, u16>,
    /// Of all others.
    pub mtu: u16,
    /// By name: who is at which host.
    pub placements: BTreeMap<String, Placement>,
}

/// Who is at which host.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The hosts that states call `edge-1`, `edge-2`…; the last is all further ones too.
    pub edges: Vec<String>,
    /// The ENIs at each host.
    pub enis: BTreeMap<String, Vec<String>>,
}

impl Placement {
    /// The host that a state calls `edge-N`, or that it names itself.
    pub fn host<'a>(&'a self, name: &'a str) -> &'a str {
        let number = name.strip_prefix("edge-").and_then(|number| number.parse::<usize>().ok());
        let edge = number.map(|number| self.edges.get(number - 1).or(self.edges.last()));
        edge.flatten().map_or(name, |edge| edge)
    }

    /// Whether a host is one of the edges.
    pub fn is_edge(&self, host: &str) -> bool {
        self.edges.iter().any(|edge| edge == host)
    }
}

/// A host of the underlay.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The number in its addresses.
    pub number: u8,
    /// The largest IP packet of an instance that its uplink has room for, in bytes.
    pub carries: u16,
}

/// One scenario.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// What it shows, in a sentence.
    pub says: String,
    pub rules: Vec<String>,
    /// With which IP versions it runs; both, if it says `ip`.
    #[serde(default)]
    families: Vec<Family>,
    /// What its state has besides, by the names of `topologies/parts.yaml`, in this order.
    #[serde(default)]
    pub with: Vec<String>,
    /// In which placements it runs; all, if it says none.
    #[serde(default)]
    pub placements: Vec<String>,
    /// With which encapsulations it runs; all, if it says none.
    #[serde(default)]
    pub encapsulations: Vec<String>,
    /// Why it is not run through a daemon.
    #[serde(default)]
    pub pure_only: PureOnly,
    pub steps: Vec<Step>,
    /// The file that it is in.
    #[serde(skip)]
    pub file: String,
}

/// Why a scenario is not run through a daemon: in general, or with an IP version.
#[derive(Default, Deserialize)]
#[serde(untagged)]
pub enum PureOnly {
    /// It is.
    #[default]
    No,
    All(String),
    Some(BTreeMap<Family, String>),
}

impl PureOnly {
    /// Whether it always is.
    pub fn is_no(&self) -> bool {
        matches!(self, Self::No)
    }

    /// All reasons, for people.
    pub fn text(&self) -> String {
        let families = [Family::Ipv4, Family::Ipv6];
        match families.map(|family| self.reason(family)) {
            [Some(both), Some(other)] if both == other => both.to_owned(),
            reasons => {
                let given = families.iter().zip(reasons);
                let given =
                    given.filter_map(|(family, reason)| Some(format!("{}: {}", family.name(), reason?)));
                given.collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// The reason with an IP version.
    pub fn reason(&self, family: Family) -> Option<&str> {
        match self {
            Self::No => None,
            Self::All(reason) => Some(reason),
            Self::Some(families) => families.get(&family).map(String::as_str),
        }
    }
}

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }
}

/// What happens, and what is seen then. In the order of the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Time that passes before, such as `10ms`.
    #[serde(default, deserialize_with = "duration")]
    pub after: std::time::Duration,
    /// A merge patch of the state, by the resources' ids.
    pub apply: Option<Value>,
    /// ENIs to attach to other hosts, or to none.
    #[serde(default, rename = "move")]
    pub moves: BTreeMap<String, Option<String>>,
    /// The id of the resource for which the state has to be refused.
    pub refused: Option<String>,
    /// What gateways learn by BGP: by gateway, or attachment of a transit gateway, and prefix, the circuits of the next hops
    /// that the routing daemon found equal; none withdraws it. `PREFIX+N` is that prefix and those behind it, N in all.
    #[serde(default)]
    pub learn: BTreeMap<String, BTreeMap<String, Many<String>>>,
    /// A frame to send.
    pub send: Option<Value>,
    /// How often.
    #[serde(default = "once")]
    pub times: usize,
    /// As how many flows, whose source ports follow each other, each sent twice.
    pub flows: Option<u16>,
    /// The frames that arrive.
    #[serde(default)]
    pub expect: Many<Value>,
    /// The drops.
    #[serde(default)]
    pub drop: Many<Drop>,
}

fn once() -> usize {
    1
}

/// A drop: its reason, and where it is counted.
#[derive(Clone)]
pub struct Drop {
    pub reason: String,
    /// An ENI or a host; the sender's where `None`.
    pub at: Option<String>,
    pub count: usize,
}

/// One thing or a list of them.
#[derive(Clone)]
pub struct Many<T>(pub Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let items = match value {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            other => vec![other],
        };
        let parse = |item| serde_json::from_value(item).map_err(serde::de::Error::custom);
        items.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl<'de> Deserialize<'de> for Drop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            reason: String,
            at: Option<String>,
            #[serde(default = "once")]
            count: usize,
        }
        match Value::deserialize(deserializer)? {
            Value::String(reason) => Ok(Self { reason, at: None, count: 1 }),
            other => {
                let Full { reason, at, count } =
                    serde_json::from_value(other).map_err(serde::de::Error::custom)?;
                Ok(Self { reason, at, count })
            }
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<std::time::Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(serde::de::Error::custom)?;
    match unit {
        "ms" => Ok(std::time::Duration::from_millis(number)),
        "s" => Ok(std::time::Duration::from_secs(number)),
        _ => Err(serde::de::Error::custom(format!("{text}: write 10ms or 10s"))),
    }
}

/// How a scenario is run once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    pub placement: &'a str,
    pub family: Family,
}

impl Scenario {
    /// The IP versions with which it runs.
    fn families(&self) -> Vec<Family> {
        if !self.families.is_empty() {
            return self.families.clone();
        }
        let sends = || self.steps.iter().filter_map(|step| step.send.as_ref());
        if sends().any(|frame| frame.get("ip").is_some()) {
            return vec![Family::Ipv4, Family::Ipv6];
        }
        let ipv6 = |frame: &Value| ["ipv6", "nd", "dhcp6"].iter().any(|key| frame.get(key).is_some());
        vec![if sends().next().is_some_and(ipv6) { Family::Ipv6 } else { Family::Ipv4 }]
    }

    /// All ways in which it runs, but for the encapsulation.
    pub fn runs<'a>(&'a self, hosts: &'a Hosts) -> Vec<Run<'a>> {
        let placements: Vec<&str> = if self.placements.is_empty() {
            hosts.placements.keys().map(String::as_str).collect()
        } else {
            self.placements.iter().map(String::as_str).collect()
        };
        let families = self.families();
        let of = |placement| families.iter().map(move |&family| Run { placement, family });
        placements.into_iter().flat_map(of).collect()
    }

    /// Whether it runs with an encapsulation.
    pub fn runs_over(&self, encapsulation: &str) -> bool {
        self.encapsulations.is_empty() || self.encapsulations.iter().any(|name| name == encapsulation)
    }
}

impl Suite {
    /// Reads it all.
    pub fn read() -> Self {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            scenarios: Vec<Scenario>,
        }
        let folder = Path::new(FOLDER);
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .chain(
                fs::read_dir(folder.join("waiting")).into_iter().flatten().map(|entry| entry.unwrap().path()),
            )
            .filter(|path| !path.ends_with("rules.yaml"))
            .collect();
        files.sort();
        let mut scenarios = Vec::new();
        for path in files {
            let file: File = read(&path);
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            scenarios.extend(file.scenarios.into_iter().map(|it| Scenario { file: name.clone(), ..it }));
        }
        let rules: Vec<Rule> = read(&folder.join("rules.yaml"));
        let suite = Self {
            scenarios,
            rules,
            hosts: read(&folder.join("topologies/hosts.yaml")),
            state: read(&folder.join("topologies/vpcs.yaml")),
            parts: read(&folder.join("topologies/parts.yaml")),
        };
        suite.check();
        suite
    }

    fn check(&self) {
        let mut names = BTreeSet::new();
        for Scenario { name, file, rules, placements, with, pure_only, steps, .. } in &self.scenarios {
            let learns = steps.iter().any(|step| !step.learn.is_empty());
            assert!(
                !learns || !pure_only.is_no(),
                "{file}: {name}: only the pure runner brings learned routes"
            );
            assert!(names.insert(name), "{file}: two scenarios named {name}");
            for rule in rules {
                assert!(self.rules.iter().any(|known| known.id == *rule), "{file}: {name}: no rule {rule}");
            }
            for placement in placements {
                assert!(self.hosts.placements.contains_key(placement), "{file}: {name}: no {placement}");
            }
            for part in with {
                assert!(self.parts.contains_key(part), "{file}: {name}: no part {part}");
            }
        }
    }

    /// The instance ports of a host: one for each ENI that is ever attached there.
    pub fn ports(&self, host: &str) -> Vec<String> {
        let placements = self.hosts.placements.values();
        let placed = placements.filter_map(|placement| placement.enis.get(host)).flatten().cloned();
        let steps = self.scenarios.iter().flat_map(|scenario| &scenario.steps);
        let moves = steps.flat_map(|step| &step.moves);
        let moved = moves.filter(|(_, to)| to.as_deref() == Some(host)).map(|(eni, _)| eni.clone());
        let ports: BTreeSet<String> = placed.chain(moved).collect();
        ports.into_iter().collect()
    }

    /// Whether a host has a gateway port: it is an edge in some placement.
    pub fn is_edge(&self, host: &str) -> bool {
        self.hosts.placements.values().any(|placement| placement.is_edge(host))
    }

    /// The scenarios that prove a rule.
    pub fn of<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a Scenario> {
        self.scenarios.iter().filter(|scenario| scenario.rules.contains(&rule.id))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str_with_options(&text, serde_saphyr::options! { strict_booleans: true })
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
