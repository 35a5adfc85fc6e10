//! What a state has that is legal, and surely wrong: `warren check` prints it, a node logs it.
//!
//! [`warnings`] looks at resources and static routes only: what is learned by BGP comes and goes. It passes over the ENIs a
//! few times at most.

mod blackholes;
mod middlebox;
mod peering;
mod public;
mod security;
mod transit;
mod view;

use std::fmt;

use serde::Serialize;

use super::{Id, Model};
use view::View;

/// Something that is legal, and surely wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Warning {
    /// The id of the resource.
    pub resource: Id,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub fix: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.resource, self.problem, self.fix)
    }
}

/// What is legal in a state, and surely wrong; sorted by resource.
pub fn warnings(model: &Model) -> Vec<Warning> {
    let view = View::new(model);
    let mut found = Found(Vec::new());
    public::check(&view, &mut found);
    blackholes::check(&view, &mut found);
    middlebox::check(&view, &mut found);
    peering::check(&view, &mut found);
    transit::check(&view, &mut found);
    security::check(&view, &mut found);
    let Found(mut found) = found;
    found.sort_unstable();
    found.dedup();
    found
}

/// The warnings so far.
struct Found(Vec<Warning>);

impl Found {
    fn add(&mut self, resource: &Id, problem: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Warning { resource: resource.clone(), problem: problem.into(), fix: fix.into() });
    }
}
