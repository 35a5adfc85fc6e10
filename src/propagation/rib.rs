//! What a gateway has learned, and for how long it outlives the session that it was learned in.
//!
//! When zebra goes, its routes stay for the **graceful-restart time** (RFC 4724 does the same between BGP speakers): FRR
//! may come back and say the same again, and no packet is lost. Zebra 8.4 does not say when its replay is over, and a
//! replay can be of connected routes only, for as long as bgpd's sessions take to come up. So what is not refreshed
//! goes when that time has passed *since zebra came back*, and never earlier; if zebra does not come back, when it has
//! passed since it went.
//!
//! Every connection is a **generation**, and a route has the one that it was last heard in. A generation's end is set
//! when its connection ends and moved once, when the next begins, so a zebra that comes and goes keeps nothing alive.
//!
//! No sockets and no clock here: the time is a parameter.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry as Place},
    hash::Hash,
    mem,
    time::{Duration, Instant},
};

use ipnet::IpNet;

use super::{
    Path, Update,
    paths::{PathId, Paths},
    routes::{Prefixed, Route, set, words},
    sorted::Sorted,
};

/// The most generations that have routes. Of more connections than that within the graceful-restart time something is
/// wrong, and the oldest routes go.
const GENERATIONS: usize = 256;

/// What became of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<P = Path> {
    /// The destination.
    pub prefix: IpNet,
    /// Its path before, as the last changes had it.
    pub old: Option<P>,
    /// Its path now, another one.
    pub new: Option<P>,
}

/// The routes that one zebra told of; or another host, whose paths are circuits.
pub struct Rib<P = Path> {
    graceful: Duration,
    v4: Sorted<Route<u32>>,
    v6: Sorted<Route<[u64; 2]>>,
    paths: Paths<P>,
    /// The last is the one of the connection, or was; never empty.
    generations: VecDeque<Generation>,
    connected: bool,
    /// The prefixes that changed since the changes were taken, with the path before.
    pending: HashMap<IpNet, Option<PathId>>,
}

struct Generation {
    number: u16,
    routes: usize,
    /// When its routes go; `None` while it is the connection's.
    end: Option<Instant>,
    /// Another connection began after it.
    succeeded: bool,
}

impl<P: Clone + Eq + Hash> Rib<P> {
    /// Nothing learned yet; routes will outlive their session by `graceful`.
    pub fn new(graceful: Duration) -> Self {
        let first = Generation { number: 0, routes: 0, end: None, succeeded: false };
        Self {
            graceful,
            v4: Sorted::default(),
            v6: Sorted::default(),
            paths: Paths::default(),
            generations: [first].into(),
            connected: false,
            pending: HashMap::new(),
        }
    }

    /// A session begins: what is known is stale until it is heard again.
    pub fn connected(&mut self, now: Instant) {
        self.disconnected(now);
        for generation in self.generations.iter_mut().filter(|generation| !generation.succeeded) {
            generation.succeeded = true;
            generation.end = now.checked_add(self.graceful);
        }
        let number = self.generations.back().map_or(0, |last| last.number.wrapping_add(1));
        self.generations.retain(|generation| generation.routes > 0);
        if self.generations.len() == GENERATIONS
            && let Some(oldest) = self.generations.pop_front()
        {
            self.remove(&[oldest.number]);
        }
        self.generations.push_back(Generation { number, routes: 0, end: None, succeeded: false });
        self.connected = true;
    }

    /// The session is over: its routes stay for the graceful-restart time.
    pub fn disconnected(&mut self, now: Instant) {
        if mem::take(&mut self.connected)
            && let Some(last) = self.generations.back_mut()
        {
            last.end = now.checked_add(self.graceful);
        }
    }

    /// What was heard in the session.
    pub fn apply(&mut self, updates: impl IntoIterator<Item = Update<P>>) {
        for Update { prefix, path } in updates {
            let path = path.map(|path| self.paths.take(path));
            let generation = self.generations.back().map_or(0, |last| last.number);
            let len = prefix.prefix_len();
            let before = match prefix {
                IpNet::V4(net) => set(&mut self.v4, net.network().to_bits(), len, path, generation),
                IpNet::V6(net) => set(&mut self.v6, words(net), len, path, generation),
            };
            if let Some(last) = self.generations.back_mut().filter(|_| path.is_some()) {
                last.routes += 1;
            }
            if let Some((_, generation)) = before {
                self.forget(generation);
            }
            let before = before.map(|(path, _)| path);
            if before == path {
                self.paths.give_back(before);
            } else {
                self.changed(prefix, before);
            }
        }
    }

    /// Removes what has not been heard for too long.
    pub fn sweep(&mut self, now: Instant) {
        let over =
            |generation: &&Generation| generation.routes > 0 && generation.end.is_some_and(|end| end <= now);
        let over: Vec<u16> =
            self.generations.iter().filter(over).map(|generation| generation.number).collect();
        if !over.is_empty() {
            self.remove(&over);
        }
    }

    /// When there is something to sweep.
    pub fn next_sweep(&self) -> Option<Instant> {
        self.generations
            .iter()
            .filter(|generation| generation.routes > 0)
            .filter_map(|generation| generation.end)
            .min()
    }

    /// How many prefixes have changed since the changes were taken.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What changed since the last time: for each prefix once, however often it did, and not if it is what it was.
    pub fn take_changes(&mut self) -> Vec<Change<P>> {
        let mut changes = Vec::with_capacity(self.pending.len());
        for (prefix, before) in mem::take(&mut self.pending) {
            let now = self.path(prefix);
            if before != now {
                let [old, new] = [before, now].map(|path| self.paths.get(path).cloned());
                changes.push(Change { prefix, old, new });
            }
            self.paths.give_back(before);
        }
        changes
    }

    /// How many routes there are, stale ones included.
    pub fn len(&self) -> usize {
        self.generations.iter().map(|generation| generation.routes).sum()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many routes have not been heard in the session, or since the last ended.
    pub fn stale(&self) -> usize {
        let fresh = self.generations.back().filter(|_| self.connected).map_or(0, |last| last.routes);
        self.len() - fresh
    }

    /// The path of a prefix.
    pub fn get(&self, prefix: IpNet) -> Option<&P> {
        self.paths.get(self.path(prefix))
    }

    /// All routes.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &P)> + '_ {
        let v4 = self.v4.iter().map(|route| (route.prefix(), route.path));
        let v6 = self.v6.iter().map(|route| (route.prefix(), route.path));
        v4.chain(v6).filter_map(|(prefix, path)| Some((prefix, self.paths.get(Some(path))?)))
    }

    fn path(&self, prefix: IpNet) -> Option<PathId> {
        match prefix {
            IpNet::V4(net) => {
                self.v4.get(&(net.network().to_bits(), net.prefix_len())).map(|route| route.path)
            }
            IpNet::V6(net) => self.v6.get(&(words(net), net.prefix_len())).map(|route| route.path),
        }
    }

    /// Removes the routes of some generations.
    fn remove(&mut self, generations: &[u16]) {
        let mut gone = Vec::new();
        fn keep<A: Copy>(generations: &[u16], gone: &mut Vec<(IpNet, PathId)>, route: &Route<A>) -> bool
        where
            Route<A>: Prefixed,
        {
            let keep = !generations.contains(&route.generation);
            if !keep {
                gone.push((route.prefix(), route.path));
            }
            keep
        }
        self.v4.retain(|route| keep(generations, &mut gone, route));
        self.v6.retain(|route| keep(generations, &mut gone, route));
        for generation in self.generations.iter_mut().filter(|known| generations.contains(&known.number)) {
            generation.routes = 0;
        }
        for (prefix, path) in gone {
            self.changed(prefix, Some(path));
        }
    }

    /// A route of a generation is no longer of it.
    fn forget(&mut self, generation: u16) {
        // Most often the last: the route was heard in this session already.
        let known = self.generations.iter_mut().rev().find(|known| known.number == generation);
        if let Some(known) = known {
            known.routes -= 1;
        }
    }

    /// Notes the path that a prefix had, unless one of before that is noted.
    fn changed(&mut self, prefix: IpNet, before: Option<PathId>) {
        match self.pending.entry(prefix) {
            Place::Vacant(place) => {
                place.insert(before);
            }
            Place::Occupied(_) => self.paths.give_back(before),
        }
    }
}

#[cfg(test)]
mod tests;
