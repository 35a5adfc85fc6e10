//! Security groups: from the model to policies, one for each set of groups that an ENI of this node has; and which groups
//! every ENI is a member of.

use std::{borrow::Cow, sync::Arc};

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use super::Numbers;
use crate::{
    model::{self, Diff, Id, Kind, Model},
    tables::{GroupIndex, GroupRules, GroupSetIndex, GroupSets, Policy, RulePeer, RulePeers},
};

/// A set of groups in an order of its own.
fn sorted(groups: &[Id]) -> Cow<'_, [Id]> {
    let mut groups = Cow::Borrowed(groups);
    if !groups.is_sorted() {
        groups.to_mut().sort_unstable();
    }
    groups
}

/// The numbers of the sets of groups that ENIs have: stable while an ENI has the set, used again after.
#[derive(Default)]
pub(super) struct GroupSetNumbers {
    known: HashMap<Arc<[Id]>, Members>,
    free: Vec<u32>,
    /// Whether a set came or went since somebody asked.
    changed: bool,
}

struct Members {
    number: u32,
    /// How many ENIs have the set.
    enis: usize,
}

impl GroupSetNumbers {
    /// Notes that one more ENI has these groups.
    pub(super) fn take(&mut self, groups: &[Id]) {
        if groups.is_empty() {
            return;
        }
        let groups = sorted(groups);
        if let Some(known) = self.known.get_mut(&*groups) {
            known.enis += 1;
            return;
        }
        // Number 0 is that of no groups.
        let next = (self.len() + 1) as u32;
        let number = self.free.pop().unwrap_or(next);
        self.known.insert(groups.into(), Members { number, enis: 1 });
        self.changed = true;
    }

    /// Notes that one ENI less has these groups.
    pub(super) fn release(&mut self, groups: &[Id]) {
        let groups = sorted(groups);
        let Some(known) = self.known.get_mut(&*groups) else { return };
        known.enis -= 1;
        if known.enis == 0 {
            self.free.push(known.number);
            self.known.remove(&*groups);
            self.changed = true;
        }
    }

    /// The number of a set that an ENI has. None is left only beyond 2²⁴ sets: such an ENI is a member of no group.
    pub(super) fn get(&self, groups: &[Id]) -> GroupSetIndex {
        let known = self.known.get(&*sorted(groups));
        known.and_then(|members| GroupSetIndex::new(members.number)).unwrap_or(GroupSetIndex::EMPTY)
    }

    /// How many numbers were ever in use at once.
    fn len(&self) -> usize {
        self.known.len() + self.free.len()
    }

    /// Whether a set came or went since the last time.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The sets by their numbers.
    pub(super) fn to_table(&self, numbers: &Numbers) -> GroupSets {
        let mut sets = vec![Arc::default(); self.len() + 1];
        for (groups, members) in &self.known {
            if let Some(set) = sets.get_mut(members.number as usize) {
                *set = groups.iter().filter_map(|id| numbers.get(id)).map(GroupIndex).collect();
            }
        }
        GroupSets::new(sets)
    }
}

/// The policies of this node's ENIs, with what they are made of.
#[derive(Default)]
pub(super) struct Policies {
    groups: HashMap<Id, Arc<GroupRules>>,
    by_set: HashMap<Arc<[Id]>, Arc<Policy>>,
}

impl Policies {
    /// Those of these ENIs after a change of the model; before the first, `diff` is of no account. A policy is made anew only
    /// where a group changed, or a prefix list that a rule names, or whether a group exists that a rule names.
    pub(super) fn update<'a>(
        &mut self,
        model: &Model,
        numbers: &Numbers,
        diff: &Diff,
        local: impl Iterator<Item = &'a model::Eni>,
    ) {
        let outdated = self.outdated(diff);
        let sets: HashSet<Cow<'_, [Id]>> = local.map(|eni| sorted(&eni.groups)).collect();
        let used: HashSet<&Id> = sets.iter().flat_map(|groups| groups.iter()).collect();
        self.groups.retain(|id, _| used.contains(id));
        for id in used {
            let stated = model.security_groups.get(id);
            let before = self.groups.get(id);
            if let Some(stated) = stated
                && (before.is_none() || diff.security_groups.contains(id))
            {
                let rules = GroupRules::new(stated, before.map(|rules| &**rules));
                self.groups.insert(Id::clone(id), Arc::new(rules));
            }
        }
        self.by_set.retain(|groups, _| {
            sets.contains(&**groups) && !groups.iter().any(|group| outdated.contains(group))
        });
        let peers = ModelPeers { model, numbers };
        for groups in sets {
            if !self.by_set.contains_key(&*groups) {
                let rules = groups.iter().filter_map(|id| self.groups.get(id)).cloned();
                let policy = Arc::new(Policy::new(rules, &peers));
                self.by_set.insert(groups.into(), policy);
            }
        }
    }

    /// The groups that policies must be made anew of.
    fn outdated(&self, diff: &Diff) -> HashSet<Id> {
        let (lists, came_or_went): (HashSet<&Id>, HashSet<&Id>) = (
            diff.of(Kind::PrefixList).collect(),
            [&diff.added, &diff.removed]
                .into_iter()
                .flatten()
                .filter(|change| change.kind == Kind::SecurityGroup)
                .map(|change| &change.id)
                .collect(),
        );
        let names_one = |rules: &GroupRules| {
            rules.peers().any(|peer| match peer {
                RulePeer::Block(_) | RulePeer::Stale(_) => false,
                RulePeer::PrefixList(list) => lists.contains(list),
                RulePeer::Group(group) => came_or_went.contains(group),
            })
        };
        let mut outdated: HashSet<Id> = diff.security_groups.iter().cloned().collect();
        if !lists.is_empty() || !came_or_went.is_empty() {
            outdated
                .extend(self.groups.values().filter(|rules| names_one(rules)).map(|rules| rules.id.clone()));
        }
        outdated
    }

    /// The policy of an ENI of this node.
    pub(super) fn get(&self, groups: &[Id]) -> Option<Arc<Policy>> {
        self.by_set.get(&*sorted(groups)).cloned()
    }
}

/// What rules name, as the model has it.
struct ModelPeers<'a> {
    model: &'a Model,
    numbers: &'a Numbers,
}

impl RulePeers for ModelPeers<'_> {
    fn blocks(&self, list: &str) -> &[IpNet] {
        self.model.prefix_lists.get(list).map_or(&[], |list| &list.entries)
    }

    fn group(&self, id: &str) -> Option<GroupIndex> {
        self.numbers.get(id).map(GroupIndex)
    }
}

#[cfg(test)]
mod tests;
