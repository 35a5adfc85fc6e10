//! What there is to say of a subject.

use std::fmt;

use serde::Serialize;

/// How bad something is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth to know, or could not be found out.
    Note,
    /// It works, but slowly, or not always.
    Warning,
    /// The node does not start, or carries nothing.
    Error,
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about: a word or two.
    pub subject: String,
    /// How it is.
    pub found: String,
    /// Why that matters, unless it is as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The command or setting that mends it, if there is something to mend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// Something as it should be.
    pub fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject: subject.into(), found: found.into(), why: None, fix: None }
    }

    /// Something worth to know.
    pub fn note(subject: impl Into<String>, found: impl Into<String>, why: impl Into<String>) -> Self {
        Self { level: Level::Note, why: Some(why.into()), ..Self::ok(subject, found) }
    }

    /// Something that costs speed or reliability.
    pub fn warning(
        subject: impl Into<String>,
        found: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, ..Self::note(subject, found, why).with_fix(fix) }
    }

    /// Something that keeps the node from working.
    pub fn error(
        subject: impl Into<String>,
        found: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Error, ..Self::note(subject, found, why).with_fix(fix) }
    }

    /// The same, with what can be done.
    #[must_use]
    pub fn with_fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    /// The same, as bad as that.
    #[must_use]
    pub fn at(self, level: Level) -> Self {
        Self { level, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        writeln!(f, "{level:<8} {}: {}", self.subject, self.found)?;
        let more = [("why", &self.why), ("fix", &self.fix)];
        more.into_iter().filter_map(|(word, text)| Some((word, text.as_ref()?))).try_for_each(
            |(word, text)| {
                let indented = text.replace('\n', "\n              ");
                writeln!(f, "         {word}: {indented}")
            },
        )
    }
}
