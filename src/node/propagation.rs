//! Learned routes of a running node: the listeners for zebras, the feed to other hosts, the hosts that are followed.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crossbeam::channel::{Receiver, Sender, bounded};

use super::{config::HostConfig, learned::Heard, manager::Manager};
use crate::{
    model::Id,
    propagation::{
        Event, Intake, Settings, What,
        feed::{self, Feed, Follower},
    },
};

/// Messages that wait for the management thread; what does not fit, the senders gather.
const WAITING: usize = 12;
/// The most messages taken before they are put in force.
const AT_ONCE: usize = 64;

/// The listeners, the feed, the followers.
pub struct Propagation {
    intakes: Vec<(Id, SocketAddr, Intake)>,
    followers: Vec<Follower>,
    feed: Option<Feed>,
    zebras: Receiver<Event>,
    hosts: Receiver<feed::Event>,
    /// Since when connections are there.
    since: HashMap<Who, SystemTime>,
    // Kept, so that a node without listeners and followers waits for neither.
    _senders: (Sender<Event>, Sender<feed::Event>),
}

/// A connection.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Who {
    Zebra(Id),
    Host(SocketAddr),
}

/// A source of a gateway's routes, as shown to an operator.
#[derive(Clone, Debug)]
pub struct Session {
    /// The gateway; `None` of a host that has told of none.
    pub gateway: Option<Id>,
    /// `zebra` or `host`.
    pub source: &'static str,
    /// Where the zebra connects, or the host that is followed.
    pub address: SocketAddr,
    /// Since when there is a connection; `None`: there is none.
    pub since: Option<SystemTime>,
    /// The routes known.
    pub routes: usize,
    /// Those of them not heard since the connection, which go unless they are.
    pub stale: usize,
    /// Why the last connection ended.
    pub last_down: Option<String>,
}

impl Propagation {
    /// Starts what the host file asks for.
    ///
    /// # Errors
    ///
    /// A sentence with the key of the address that can't be listened at, and why.
    pub fn start(config: &HostConfig) -> Result<Self, String> {
        let (to_zebras, zebras) = bounded(WAITING);
        let (to_hosts, hosts) = bounded(WAITING);
        let mut intakes = Vec::new();
        for bgp in &config.bgp {
            let settings =
                Settings { address: bgp.fpm, namespace: bgp.namespace.clone(), graceful: bgp.restart_time };
            let intake = Intake::start(Arc::clone(&bgp.gateway), &settings, to_zebras.clone())
                .map_err(|error| format!("bgp: {}: fpm {}: {error}", bgp.gateway, bgp.fpm))?;
            intakes.push((Arc::clone(&bgp.gateway), intake.address(), intake));
        }
        let own = &config.propagation;
        let feed = own
            .listen
            .map(|address| {
                Feed::start(address).map_err(|error| format!("propagation.listen: {address}: {error}"))
            })
            .transpose()?;
        let restart_time = Duration::from_secs(own.restart_time.into());
        let follow = |host: &SocketAddr| {
            Follower::start(*host, restart_time, to_hosts.clone())
                .map_err(|error| format!("propagation.follow: {host}: {error}"))
        };
        let followers = own.follow.iter().map(follow).collect::<Result<_, _>>()?;
        let (since, _senders) = (HashMap::new(), (to_zebras, to_hosts));
        Ok(Self { intakes, followers, feed, zebras, hosts, since, _senders })
    }

    /// What becomes ready when [`Propagation::attend`] has something to do.
    pub fn receivers(&self) -> (Receiver<Event>, Receiver<feed::Event>) {
        (self.zebras.clone(), self.hosts.clone())
    }

    /// Where the other hosts follow, if they may.
    pub fn feed_address(&self) -> Option<SocketAddr> {
        self.feed.as_ref().map(Feed::address)
    }

    /// Puts in force what has been heard, and tells it to the followers.
    pub fn attend(&mut self, manager: &mut Manager) {
        let mut heard = Vec::new();
        for event in self.zebras.try_iter().take(AT_ONCE) {
            let who = Who::Zebra(Arc::clone(&event.gateway));
            match event.what {
                What::Up { .. } => drop(self.since.insert(who, SystemTime::now())),
                What::Down { .. } => drop(self.since.remove(&who)),
                What::Changes(changes) => heard.push(Heard::Zebra(event.gateway, changes)),
            }
        }
        for event in self.hosts.try_iter().take(AT_ONCE) {
            let who = Who::Host(event.host);
            match event.what {
                feed::What::Up => drop(self.since.insert(who, SystemTime::now())),
                feed::What::Down(_) => drop(self.since.remove(&who)),
                feed::What::Changes(gateway, changes) => {
                    heard.push(Heard::Host(event.host, gateway, changes));
                }
            }
        }
        if !heard.is_empty() {
            manager.learn(heard);
        }
        self.tell(manager);
    }

    /// Tells the followers what is new to them.
    pub fn tell(&self, manager: &mut Manager) {
        for (gateway, changes) in manager.take_tell() {
            if let Some(feed) = &self.feed {
                feed.tell(&gateway, changes);
            }
        }
    }

    /// How each source of routes is doing.
    pub fn sessions(&self) -> Vec<Session> {
        let since = |who: &Who| self.since.get(who).copied();
        let mut sessions = Vec::new();
        for (gateway, address, intake) in &self.intakes {
            let status = intake.status();
            sessions.push(Session {
                gateway: Some(Arc::clone(gateway)),
                source: "zebra",
                address: *address,
                since: status.peer.and_then(|_| since(&Who::Zebra(Arc::clone(gateway)))),
                routes: status.routes,
                stale: status.stale,
                last_down: status.last_down,
            });
        }
        for follower in &self.followers {
            let status = follower.status();
            let since = since(&Who::Host(follower.host())).filter(|_| status.connected);
            let session = |gateway, (routes, stale)| Session {
                gateway,
                source: "host",
                address: follower.host(),
                since,
                routes,
                stale,
                last_down: status.last_down.clone(),
            };
            if status.gateways.is_empty() {
                sessions.push(session(None, (0, 0)));
            }
            sessions
                .extend(status.gateways.iter().map(|(id, &counts)| session(Some(Arc::clone(id)), counts)));
        }
        sessions
    }
}
