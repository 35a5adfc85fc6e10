//! What the management thread of a running node does, whoever runs its workers: the daemon, or a program that the node
//! is a part of ([`super::embedded`]).

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    chores::{self, Chores},
    manager::Manager,
    worker::{Plan, WorkerCounters},
};
use crate::{
    api::{Applied, Reply, show::Snapshot},
    model::{self, Model, Warning},
    packet::Buffer,
};

/// How often it looks for what workers heard and what is due.
pub(super) const TICK: Duration = Duration::from_millis(5);
/// How long an update waits for the workers before it says which one is late.
const ADOPTION: Duration = Duration::from_secs(1);
/// How often it is said that a worker is late.
const LAG_WARNING: Duration = Duration::from_secs(10);

/// What the management thread has of the node.
pub(super) struct Management<B> {
    pub(super) manager: Manager,
    pub(super) plan: Arc<Plan<B>>,
    /// What each worker counts.
    pub(super) counters: Vec<Arc<WorkerCounters>>,
    /// What it counts itself, of packets that it is to answer.
    pub(super) own_counters: Arc<WorkerCounters>,
    /// Whether flow logs are written.
    writes_logs: bool,
    warned: Option<Instant>,
    /// What the state in force has that is legal and surely wrong, as logged.
    doubts: Vec<Warning>,
}

impl<B: Buffer> Management<B> {
    /// That of a node with so many workers. Logs what is legal and surely wrong in the state.
    pub(super) fn new(manager: Manager, plan: Plan<B>, workers: usize, writes_logs: bool) -> Self {
        let doubts = model::warnings(manager.model());
        log(&doubts);
        let ports = plan.owners.len();
        let management = Self {
            manager,
            plan: Arc::new(plan),
            counters: (0..workers).map(|_| Arc::new(WorkerCounters::new(ports))).collect(),
            own_counters: Arc::new(WorkerCounters::new(ports)),
            writes_logs,
            warned: None,
            doubts,
        };
        management.warn();
        management
    }

    /// Says what is legal and surely wrong between host file and state.
    fn warn(&self) {
        if !self.writes_logs && self.manager.tables().logged().any(|logged| logged.is_some()) {
            tracing::warn!(
                "the state has flow logs, but the host file has no [flow_logs]: none are written here"
            );
        }
        for warning in self.manager.warnings() {
            tracing::warn!("{warning}");
        }
    }

    /// Does what is due: answers, frames of the node's own, of which `frame` makes buffers, and frees old tables.
    pub(super) fn tick(&mut self, now: Duration, frame: impl FnMut(&[u8]) -> Option<B>) {
        let mut chores = Chores {
            plan: &self.plan,
            manager: &mut self.manager,
            counters: &self.own_counters.ports,
            frame,
        };
        chores.attend(now);
        chores.tick(now);
        self.collect();
    }

    fn collect(&mut self) {
        let late = self.manager.collect().filter(|(_, workers)| !workers.is_empty());
        let Some((generation, workers)) = late else {
            self.warned = None;
            return;
        };
        let since = *self.warned.get_or_insert_with(Instant::now);
        if since.elapsed() > LAG_WARNING {
            tracing::warn!(
                generation,
                ?workers,
                "workers have not left older tables for {LAG_WARNING:?}; their memory is kept"
            );
            self.warned = None;
        }
    }

    /// Puts a validated model in force, lets `in_force` tell others of it, and waits a second at most until all workers use it.
    pub(super) fn apply(
        &mut self,
        model: Model,
        now: Duration,
        in_force: impl FnOnce(&mut Manager),
    ) -> Reply {
        // What instances have been told so far, may be wrong from now on.
        chores::hear(&self.plan, &mut self.manager, now);
        let diff = match self.manager.apply(model) {
            Ok(diff) => diff,
            Err(problems) => return Reply::Failed(problems.join("\n")),
        };
        self.warn();
        in_force(&mut self.manager);
        let (generation, published) = (self.manager.generation(), Instant::now());
        while !self.manager.is_adopted(generation) && published.elapsed() < ADOPTION {
            thread::sleep(Duration::from_micros(50));
        }
        let adopted = self.manager.is_adopted(generation);
        let laggards = self.manager.laggards(generation);
        let (added, removed, changed) = (diff.added.len(), diff.removed.len(), diff.changed.len());
        tracing::info!(generation, added, removed, changed, ?laggards, "state applied");
        if !diff.is_empty() {
            let before = std::mem::replace(&mut self.doubts, model::warnings(self.manager.model()));
            let new = |warning: &&Warning| before.binary_search(warning).is_err();
            log(self.doubts.iter().filter(new));
        }
        Reply::Applied(Applied {
            generation,
            adopted_after_us: adopted.then(|| published.elapsed().as_micros() as u64),
            laggards,
            difference: serde_json::to_value(&diff).unwrap_or_default(),
            text: diff.to_string(),
        })
    }

    /// How the node is, but for what only the one who runs its workers knows: devices, CPUs, the clock, sessions and flow logs.
    pub(super) fn snapshot(&self) -> Snapshot {
        let site = self.manager.site();
        let model = Arc::clone(self.manager.model());
        let way = |host: &model::Host| {
            let link = (host.id != site.host).then(|| site.link_to(host.underlay)).flatten();
            (Arc::clone(&host.id), link.map(|link| (link.uplink, link.next_hop)))
        };
        Snapshot {
            host: Arc::clone(&site.host),
            learned: self.manager.learned_routes().clone(),
            generation: self.manager.generation(),
            table_bytes: self.manager.tables().bytes(),
            port_names: site.ports.iter().map(|port| Arc::clone(&port.name)).collect(),
            occupants: self.manager.occupants(),
            enis: self.manager.enis(),
            devices: Vec::new(),
            cpus: Vec::new(),
            laggards: self.manager.laggards(self.manager.generation()),
            counters: self.counters.iter().chain([&self.own_counters]).cloned().collect(),
            neighbours: self.manager.neighbours(),
            identities: self.manager.identities(),
            joined: self.manager.joined(),
            exits: Arc::clone(&self.manager.tables().exits),
            sessions: Vec::new(),
            flow_logs: Vec::new(),
            ways: model.hosts.values().map(way).collect(),
            cycles_per_second: 0,
            model,
        }
    }
}

/// Logs what is legal and surely wrong in a state: so much that the log stays readable.
fn log<'w>(warnings: impl IntoIterator<Item = &'w Warning>) {
    const MOST: usize = 20;
    let mut warnings = warnings.into_iter();
    for warning in warnings.by_ref().take(MOST) {
        tracing::warn!("{warning}");
    }
    let more = warnings.count();
    if more > 0 {
        tracing::warn!("{more} more warnings of the state; `warren check` prints all");
    }
}
