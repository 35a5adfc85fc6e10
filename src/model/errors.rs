//! What is wrong with a state, all at once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One mistake in a state document: where, in what, what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateError {
    /// The file, as it was named.
    pub file: String,
    /// The path in the file, such as `NetworkInterfaces[3].PrivateIpAddress`; a line and column for a syntax error;
    /// empty for the file as a whole.
    pub path: String,
    /// The id of the resource, such as `eni-a1`; empty where there is none.
    pub resource: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub fix: String,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        if !self.resource.is_empty() {
            write!(f, " ({})", self.resource)?;
        }
        write!(f, ": {}", self.problem)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}

impl std::error::Error for StateError {}

/// All the mistakes in a state, in the order of the documents; never empty where a function returns it.
///
/// Displays one mistake per line and, last, their count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Errors(pub Vec<StateError>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.0 {
            writeln!(f, "{error}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 error"),
            count => write!(f, "{count} errors"),
        }
    }
}

impl std::error::Error for Errors {}
