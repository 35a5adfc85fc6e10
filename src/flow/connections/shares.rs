//! Who may have how many of a table's entries, and which of them make way for others (SEC-10).
//!
//! Every port has a part of the table for itself, its *reserve*. The rest is *common*: who has more than its reserve takes it
//! from there, as long as there is some, and up to its quota. So no ENI can take from another what that one needs.
//!
//! A port's entries are in three rings, by what they are worth, and in each the oldest comes first. So the one that makes way is
//! at hand, and so are those of an ENI that has left the port: they are the first of each ring.

use super::{PortIndex, record::Class};
use crate::flow::rings::Rings;

/// An ENI at a port, and what it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The number of its stay at the port.
    pub stay: u32,
    /// The most connections that it may have; `None`: as many as there is room for.
    pub most: Option<u32>,
    /// How many it has room for, whatever the others have: at least an even part of half the table.
    pub reserved: u32,
}

/// The connections of a port, for `warren show`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Those that nobody has answered yet.
    pub unanswered: u64,
    /// Those that somebody has: established TCP, and what was answered of other protocols.
    pub established: u64,
    /// Those that are over, and decisions about flows that are not tracked: they make way for any other.
    pub spare: u64,
    /// How many more there may be now: EC2's `conntrack_allowance_available`.
    pub available: u64,
    /// Connections made.
    pub created: u64,
    /// Connections whose time was over.
    pub expired: u64,
    /// Connections that had to make way.
    pub evicted: u64,
    /// Connections that were removed otherwise: cut by a rule, opened anew, or of an ENI that has left.
    pub closed: u64,
    /// New connections refused for want of room: EC2's `conntrack_allowance_exceeded`.
    pub refused: u64,
}

/// How an entry ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its time is over.
    Expired,
    /// It had to make way.
    Evicted,
    /// It was no longer wanted.
    Closed,
}

/// What a port has.
#[derive(Clone, Copy)]
struct Share {
    stay: u32,
    most: u32,
    reserved: u32,
    /// Entries of ENIs that have left the port.
    former: u32,
    /// Entries, and how many of them are of each class.
    count: u32,
    classes: [u32; CLASSES],
    /// The lists that it is on, by [`List::bit`].
    lists: u8,
    stats: PortStats,
}

const CLASSES: usize = Class::ALL.len();

/// Donors that are looked at for one that can spare an entry.
const DONORS: usize = 4;

/// Lists of shares, each a ring with a head.
#[derive(Clone, Copy)]
enum List {
    /// Those that have more than their reserve, and entries of a class that makes way.
    Donors(Class),
    /// Those with entries of ENIs that have left.
    Leaving,
}

impl List {
    const ALL: [Self; 3] = [Self::Donors(Class::Spare), Self::Donors(Class::Unanswered), Self::Leaving];

    fn number(self) -> u32 {
        match self {
            Self::Donors(class) => class as u32,
            Self::Leaving => 2,
        }
    }

    fn bit(self) -> u8 {
        1 << self.number()
    }
}

/// The shares of ports. All ports that it does not know have one together, without reserve and quota.
pub(super) struct Shares {
    shares: Box<[Share]>,
    /// The entries, then what the rings of each share are known by.
    rings: Rings,
    /// For each list the shares, then its head.
    lists: Rings,
    capacity: u32,
    /// Entries that nobody has reserved.
    common: u32,
    /// Those of them that are used.
    taken: u32,
}

impl Share {
    const FREE: Self = Self {
        stay: super::NONE,
        most: u32::MAX,
        reserved: 0,
        former: 0,
        count: 0,
        classes: [0; CLASSES],
        lists: 0,
        stats: PortStats {
            unanswered: 0,
            established: 0,
            spare: 0,
            available: 0,
            created: 0,
            expired: 0,
            evicted: 0,
            closed: 0,
            refused: 0,
        },
    };

    fn of(&self, class: Class) -> u32 {
        self.classes.get(class as usize).copied().unwrap_or(0)
    }

    /// Entries of the common part.
    fn beyond(&self) -> u32 {
        self.count.saturating_sub(self.reserved)
    }
}

impl Shares {
    /// Even reserves for so many ports: half the table together.
    pub(super) fn new(capacity: u32, ports: usize) -> Self {
        let shares = ports + 1;
        let rings = Rings::new(capacity + (shares * CLASSES) as u32);
        let lists = Rings::new((List::ALL.len() * (shares + 1)) as u32);
        let shares = vec![Share::FREE; shares].into_boxed_slice();
        Self { shares, rings, lists, capacity, common: capacity, taken: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.rings.bytes() + self.lists.bytes() + size_of_val(&*self.shares)
    }

    /// How many ports have a share of their own.
    pub(super) fn ports(&self) -> usize {
        self.shares.len() - 1
    }

    /// Notes who is at the ports now: for each instance port the ENI, if there is one; for other ports `None`.
    ///
    /// Where more is reserved than there is, everybody gets the same part of it. Reserves that grow fill as the connections
    /// of others end.
    pub(super) fn settle(&mut self, ports: impl Iterator<Item = Option<Option<Tenant>>> + Clone) {
        let instances = ports.clone().flatten().count().max(1) as u32;
        let even = self.capacity / 2 / instances;
        let reserve = |port: Option<Option<Tenant>>| match port {
            None => 0,
            Some(None) => even,
            Some(Some(tenant)) => tenant.reserved.max(even).min(tenant.most.unwrap_or(u32::MAX)),
        };
        let all: u64 = ports.clone().map(|port| u64::from(reserve(port))).sum();
        let capacity = u64::from(self.capacity);
        let fitting = |reserved: u32| {
            if all > capacity { (u64::from(reserved) * capacity / all) as u32 } else { reserved }
        };
        (self.common, self.taken) = (self.capacity, 0);
        let known = self.ports();
        for (number, port) in (0..known as u32).zip(ports) {
            let Some(share) = self.shares.get_mut(number as usize) else { break };
            let tenant = port.flatten();
            share.reserved = fitting(reserve(port));
            share.most = tenant.and_then(|tenant| tenant.most).unwrap_or(u32::MAX);
            let stay = tenant.map_or(super::NONE, |tenant| tenant.stay);
            if share.stay != stay {
                share.stay = stay;
                share.former = share.count;
            }
            self.common -= share.reserved;
        }
        self.taken = self.shares.iter().map(Share::beyond).sum();
        for number in 0..self.shares.len() as u32 {
            self.list(number);
        }
    }

    /// Whether a port may have one more entry. That there is a free one follows, unless reserves have just grown.
    pub(super) fn has_room(&self, port: PortIndex) -> bool {
        self.available(self.share(port)) > 0
    }

    /// Whether a port has as many as it may, so that only its own entries can make way.
    pub(super) fn is_at_quota(&self, port: PortIndex) -> bool {
        let share = self.share(port);
        share.count >= share.most
    }

    /// Whether seven eighths of what a port may have are used: of its quota, or, beyond its reserve, of the common part.
    pub(super) fn is_pressed(&self, port: PortIndex) -> bool {
        let share = self.share(port);
        let pressed = |used: u32, of: u32| u64::from(used) * 8 >= u64::from(of) * 7;
        let count = share.count;
        pressed(count, share.most) || count >= share.reserved && pressed(self.taken, self.common)
    }

    fn available(&self, share: &Share) -> u32 {
        let count = share.count;
        let room = share.reserved.saturating_sub(count) + self.common.saturating_sub(self.taken);
        room.min(share.most.saturating_sub(count))
    }

    /// Takes a new entry in.
    pub(super) fn enter(&mut self, entry: u32, port: PortIndex, class: Class) {
        let number = self.number(port);
        self.update(number, |share| {
            share.count_up(class);
            share.stats.created += 1;
        });
        self.rings.enter(entry, self.head(number, class));
        self.list(number);
    }

    /// Lets an entry go, of an ENI's stay.
    pub(super) fn leave(&mut self, entry: u32, port: PortIndex, class: Class, stay: u32, end: End) {
        let number = self.number(port);
        self.rings.leave(entry);
        self.update(number, |share| {
            share.count_down(class);
            if share.stay != stay {
                share.former = share.former.saturating_sub(1);
            }
            match end {
                End::Expired => share.stats.expired += 1,
                End::Evicted => share.stats.evicted += 1,
                End::Closed => share.stats.closed += 1,
            }
        });
        self.list(number);
    }

    /// An entry is worth more or less than before.
    pub(super) fn change(&mut self, entry: u32, port: PortIndex, from: Class, to: Class) {
        let number = self.number(port);
        self.rings.leave(entry);
        self.update(number, |share| {
            share.count_down(from);
            share.count_up(to);
        });
        self.rings.enter(entry, self.head(number, to));
        self.list(number);
    }

    /// A new connection of a port was refused.
    pub(super) fn refuse(&mut self, port: PortIndex) {
        let number = self.number(port);
        self.update(number, |share| share.stats.refused += 1);
    }

    /// The oldest entry of a class that a port has.
    pub(super) fn oldest(&self, port: PortIndex, class: Class) -> Option<u32> {
        self.first(self.number(port), class)
    }

    /// The oldest entry of a class that somebody has who has more than its reserve, if it `may` make way. Who is asked is last
    /// the next time.
    pub(super) fn donated(&mut self, class: Class, may: impl Fn(u32) -> bool) -> Option<u32> {
        let list = List::Donors(class);
        let head = self.node(list, self.shares.len() as u32);
        for _ in 0..DONORS {
            let node = self.lists.next(head);
            if node == head {
                return None;
            }
            self.lists.leave(node);
            self.lists.enter(node, head);
            let number = node - self.node(list, 0);
            if let Some(entry) = self.first(number, class).filter(|&entry| may(entry)) {
                return Some(entry);
            }
        }
        None
    }

    /// An entry of an ENI that has left its port. `stay` tells the stay that an entry is of.
    pub(super) fn left(&mut self, stay: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        let list = List::Leaving;
        let head = self.node(list, self.shares.len() as u32);
        let node = self.lists.next(head);
        let number = node - self.node(list, 0);
        let now = self.shares.get(number as usize)?.stay;
        let first = |class| self.first(number, class).filter(|&entry| stay(entry) != Some(now));
        let found = Class::ALL.into_iter().find_map(first);
        if found.is_none() {
            self.update(number, |share| share.former = 0);
            self.list(number);
        }
        found
    }

    /// What a port has and had.
    pub(super) fn stats(&self, port: PortIndex) -> PortStats {
        let share = self.share(port);
        PortStats {
            unanswered: share.of(Class::Unanswered).into(),
            established: share.of(Class::Lasting).into(),
            spare: share.of(Class::Spare).into(),
            available: self.available(share).into(),
            ..share.stats
        }
    }

    /// What all ports have had together.
    pub(super) fn sum(&self, what: impl Fn(&PortStats) -> u64) -> u64 {
        self.shares.iter().map(|share| what(&share.stats)).sum()
    }

    fn number(&self, port: PortIndex) -> u32 {
        usize::from(port.0).min(self.ports()) as u32
    }

    fn share(&self, port: PortIndex) -> &Share {
        self.shares.get(self.number(port) as usize).unwrap_or(&Share::FREE)
    }

    /// Changes a share, and with it what is taken of the common part.
    fn update(&mut self, number: u32, change: impl FnOnce(&mut Share)) {
        let Some(share) = self.shares.get_mut(number as usize) else { return };
        let before = share.beyond();
        change(share);
        self.taken = self.taken + share.beyond() - before;
    }

    /// What the ring of a share's entries of a class is known by.
    fn head(&self, number: u32, class: Class) -> u32 {
        self.capacity + number * CLASSES as u32 + class as u32
    }

    fn first(&self, number: u32, class: Class) -> Option<u32> {
        Some(self.rings.next(self.head(number, class))).filter(|&entry| entry < self.capacity)
    }

    fn node(&self, list: List, number: u32) -> u32 {
        list.number() * (self.shares.len() as u32 + 1) + number
    }

    /// Puts a share on the lists that it belongs to, and takes it off the others.
    #[inline]
    fn list(&mut self, number: u32) {
        let Some(share) = self.shares.get_mut(number as usize) else { return };
        let belongs = share.belongs();
        let differs = share.lists ^ belongs;
        share.lists = belongs;
        if differs != 0 {
            self.relist(number, belongs, differs);
        }
    }

    /// Puts a share on those of the lists that `belongs` names, and takes it off the others, as far as that `differs`.
    fn relist(&mut self, number: u32, belongs: u8, differs: u8) {
        for list in List::ALL.into_iter().filter(|&list| differs & list.bit() != 0) {
            let node = self.node(list, number);
            if belongs & list.bit() != 0 {
                self.lists.enter(node, self.node(list, self.shares.len() as u32));
            } else {
                self.lists.leave(node);
            }
        }
    }
}

impl Share {
    /// The lists that it belongs to, by [`List::bit`].
    fn belongs(&self) -> u8 {
        let beyond = self.beyond() > 0;
        List::ALL.into_iter().fold(0, |lists, list| {
            let belongs = match list {
                List::Donors(class) => beyond && self.of(class) > 0,
                List::Leaving => self.former > 0,
            };
            if belongs { lists | list.bit() } else { lists }
        })
    }

    fn count_up(&mut self, class: Class) {
        self.count += 1;
        if let Some(count) = self.classes.get_mut(class as usize) {
            *count += 1;
        }
    }

    fn count_down(&mut self, class: Class) {
        self.count = self.count.saturating_sub(1);
        if let Some(count) = self.classes.get_mut(class as usize) {
            *count = count.saturating_sub(1);
        }
    }
}
