//! From what was written to a [`Model`], resource kind by resource kind; every mistake is noted and the work goes on.
//!
//! A resource with a mistake still enters the model with what is right in it, so that what refers to it finds it and
//! one mistake is one error. Such a model is thrown away: [`model`] returns it only when there is no error at all.

mod addresses;
mod attachments;
mod dhcp_options;
mod direct_connect;
mod edges;
mod endpoints;
mod enis;
mod flow_logs;
mod hosts;
mod internet;
mod mirroring;
mod multicast;
mod nat_gateways;
mod network_acls;
mod overlap;
mod peerings;
mod prefix_lists;
mod route_tables;
mod routes;
mod security_groups;
mod subnets;
mod tracking;
mod traffic;
mod transit;
mod transit_tables;
mod value;
mod vpcs;
mod vpn;

use std::fmt::Display;

use hashbrown::HashSet;

pub(super) use self::value::region_of;

use self::value::Wrong;
use super::{
    ById, Errors, Id, Model, StateError,
    raw::{self, Check as _},
};

/// A document that has been read.
pub(super) struct Source<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its content.
    pub(super) state: raw::State<'a>,
}

/// The model that the sources state.
///
/// # Errors
///
/// Every mistake; `errors` holds those found in the shape of the documents.
pub(super) fn model(sources: &[Source<'_>], errors: Errors) -> Result<Model, Errors> {
    let mut state = Validation { errors, ..Validation::default() };
    dhcp_options::dhcp_options(sources, &mut state);
    let networks = vpcs::networks(sources, &mut state);
    vpcs::vpcs(sources, &networks, &mut state);
    subnets::subnets(sources, &mut state);
    peerings::peerings(sources, &mut state);
    transit::transit_gateways(sources, &mut state);
    transit::vpc_attachments(sources, &mut state);
    prefix_lists::prefix_lists(sources, &mut state);
    security_groups::security_groups(sources, &mut state);
    network_acls::network_acls(sources, &mut state);
    enis::enis(sources, &mut state);
    internet::gateways(sources, &mut state);
    internet::block_public_access(sources, &mut state);
    nat_gateways::nat_gateways(sources, &mut state);
    endpoints::endpoints(sources, &mut state);
    addresses::public_addresses(sources, &mut state);
    vpn::vpn_connections(sources, &mut state);
    direct_connect::direct_connect(sources, &mut state);
    transit::other_attachments(sources, &mut state);
    transit_tables::tables(sources, &mut state);
    multicast::domains(sources, &mut state);
    route_tables::route_tables(sources, &mut state);
    security_groups::default_groups(sources, &mut state);
    flow_logs::flow_logs(sources, &mut state);
    mirroring::mirroring(sources, &mut state);
    hosts::hosts(sources, &mut state);
    attachments::attachments(sources, &mut state);
    edges::edges(sources, &mut state);
    edges::circuits(sources, &mut state);
    if state.errors.0.is_empty() { Ok(state.model) } else { Err(state.errors) }
}

/// What has been found so far.
#[derive(Default)]
struct Validation {
    model: Model,
    errors: Errors,
    /// VPCs and subnets whose blocks are wrong or missing: what lies in them cannot be checked.
    doubtful: HashSet<Id>,
}

/// Puts errors that were found in a map's order, from the given one on, in an order of their own.
fn in_order(errors: &mut Errors, start: usize) {
    if let Some(found) = errors.0.get_mut(start..) {
        found.sort_unstable_by(|a, b| (&a.file, &a.path, &a.problem).cmp(&(&b.file, &b.path, &b.problem)));
    }
}

/// A resource as it is validated: where it stands, and its id.
#[derive(Clone, Copy)]
struct Item<'a> {
    file: &'a str,
    section: &'static str,
    index: usize,
    id: &'a str,
}

/// All resources of one kind, in the order of the documents. `section` is the path of `list` in a document.
fn each<'s, 'a: 's, T: 's>(
    sources: &'s [Source<'a>],
    section: &'static str,
    list: impl Fn(&'s raw::State<'a>) -> &'s raw::List<T> + 's,
    id: impl Fn(&'s T) -> &'s raw::Text<'a> + Copy + 's,
) -> impl Iterator<Item = (Item<'s>, &'s T)> {
    sources.iter().flat_map(move |source| {
        list(&source.state).items().iter().enumerate().map(move |(index, raw)| {
            (Item { file: source.name, section, index, id: id(raw).get().unwrap_or_default() }, raw)
        })
    })
}

impl Item<'_> {
    /// A mistake in the value at `key`, or in the resource as a whole if `key` is empty.
    fn error(&self, key: impl Display, wrong: Wrong) -> StateError {
        let Self { section, index, .. } = self;
        let key = key.to_string();
        let dot = if key.is_empty() { "" } else { "." };
        StateError {
            file: self.file.to_owned(),
            path: format!("{section}[{index}]{dot}{key}"),
            resource: self.id.to_owned(),
            problem: wrong.problem,
            fix: wrong.fix,
        }
    }

    /// The value of a key; `None`, and noted, if it is wrong; `None` if it is missing.
    fn optional<'t, T>(
        &self,
        text: &'t raw::Text<'_>,
        key: impl Display,
        parse: impl FnOnce(&'t str) -> Result<T, Wrong>,
        errors: &mut Errors,
    ) -> Option<T> {
        match parse(text.get()?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                errors.0.push(self.error(key, wrong));
                None
            }
        }
    }

    /// The value of a key; `None`, and noted, if it is missing or wrong. `example` says what could be there.
    fn required<'t, T>(
        &self,
        text: &'t raw::Text<'_>,
        key: impl Display,
        example: &str,
        parse: impl FnOnce(&'t str) -> Result<T, Wrong>,
        errors: &mut Errors,
    ) -> Option<T> {
        if text.is_missing() {
            errors.0.push(self.error(key, Wrong::new("is missing", format!("add it, such as {example}"))));
            return None;
        }
        self.optional(text, key, parse, errors)
    }

    /// Notes a mistake.
    fn wrong(
        &self,
        key: impl Display,
        problem: impl Into<String>,
        fix: impl Into<String>,
        errors: &mut Errors,
    ) {
        errors.0.push(self.error(key, Wrong::new(problem, fix)));
    }

    /// The resource's id, if it has one that no other of its kind in `known` has.
    fn new_id<T>(
        &self,
        text: &raw::Text<'_>,
        key: &str,
        example: &str,
        known: &ById<T>,
        errors: &mut Errors,
    ) -> Option<Id> {
        let id = self.required(text, key, example, value::id, errors)?;
        if known.contains_key(id) {
            let problem = format!("another of the {} has the id {id}", self.section);
            self.wrong(key, problem, "give each its own id, or state it once", errors);
            return None;
        }
        Some(Id::from(id))
    }

    /// The resource that a required key names, as the key in `known`: shared, not copied.
    fn reference<'k, T>(
        &self,
        text: &raw::Text<'_>,
        key: impl Display + Copy,
        example: &str,
        section: &str,
        known: &'k ById<T>,
        errors: &mut Errors,
    ) -> Option<(&'k Id, &'k T)> {
        let parse = |id| known.get_key_value(id).ok_or_else(|| value::unresolved(id, section));
        self.required(text, key, example, parse, errors)
    }
}
