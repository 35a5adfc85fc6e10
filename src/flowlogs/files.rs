//! The files of a log: gzip, with names as AWS's, begun anew every few minutes.
//!
//! A file grows under a hidden name, by whole gzip members (RFC 1952 §2.2), so that what is in it can be read whatever
//! happens; it gets its name when it is complete.

use std::{
    ffi::OsStr,
    fs::{self, File},
    hash::{BuildHasher, BuildHasherDefault},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use flate2::{Compression, write::GzEncoder};
use rustc_hash::FxHasher;

use super::{Log, Settings};
use crate::time;

/// Bytes of lines that are compressed together.
const MEMBER: usize = 256 << 10;
/// How long nothing is tried after a failure.
const RETRY: Duration = Duration::from_secs(10);
/// What is in every file's name.
const KIND: &str = "_vpcflowlogs_";
/// The end of a file's name while it grows.
const GROWING: &str = ".partial";
/// The end of its name when it is complete.
const COMPLETE: &str = ".log.gz";

/// What has become of a log's lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Lines of flows.
    pub(super) records: u64,
    /// Bytes, compressed.
    pub(super) bytes: u64,
    /// Lines that could not be written.
    pub(super) lost: u64,
    /// The name of the last complete file.
    pub(super) last: Option<String>,
    /// Why nothing can be written, if nothing can.
    pub(super) problem: Option<String>,
}

/// The files of one log.
pub(super) struct LogFiles {
    folder: PathBuf,
    /// What names begin with.
    stem: String,
    /// Who writes: the host and the log's number.
    writer: String,
    header: String,
    rotate: Duration,
    most_bytes: u64,
    /// Lines to be compressed, and how many of them are of flows.
    buffer: String,
    lines: u64,
    records: u64,
    growing: Option<Growing>,
    retry: Duration,
    written: Written,
}

struct Growing {
    path: PathBuf,
    file: File,
    bytes: u64,
    since: Duration,
}

impl LogFiles {
    /// The files of a log; `number` differs between a node's logs, of the same id too. Nothing is made before the first line.
    pub(super) fn new(settings: &Settings, log: &Log, number: u32) -> Self {
        let part = |text: &Option<std::sync::Arc<str>>| part(text.as_deref().unwrap_or("unknown"));
        let id = self::part(&log.id);
        let mut header = String::new();
        log.format.header(&mut header);
        Self {
            folder: settings.folder.join(&log.folder),
            stem: format!("{}{KIND}{}_{id}", part(&log.account), part(&log.region)),
            writer: format!("{}.{number}", self::part(&settings.host)),
            header,
            rotate: settings.rotate,
            most_bytes: settings.file_bytes,
            buffer: String::new(),
            lines: 0,
            records: 0,
            growing: None,
            retry: Duration::ZERO,
            written: Written::default(),
        }
    }

    pub(super) fn written(&self) -> &Written {
        &self.written
    }

    /// Adds a line, of a flow or not, to those that are to be written.
    pub(super) fn line(&mut self, of_flow: bool, render: impl FnOnce(&mut String)) {
        render(&mut self.buffer);
        self.lines += 1;
        self.records += u64::from(of_flow);
    }

    /// Whether there are lines enough to compress them.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= MEMBER
    }

    /// Writes the lines. Those that cannot be written are lost. `unix` is the time since 1970-01-01 UTC.
    pub(super) fn flush(&mut self, now: Duration, unix: Duration) {
        if self.buffer.is_empty() {
            return;
        }
        let outcome = if self.written.problem.is_some() && now < self.retry {
            None
        } else {
            Some(self.write(now, unix))
        };
        match outcome {
            Some(Ok(())) => {
                self.written.records += self.records;
                self.solve();
            }
            Some(Err(error)) => {
                self.written.lost += self.lines;
                self.fail(now, &error);
            }
            None => self.written.lost += self.lines,
        }
        self.buffer.clear();
        (self.lines, self.records) = (0, 0);
        if self.growing.as_ref().is_some_and(|growing| growing.bytes >= self.most_bytes) {
            self.complete(now, unix);
        }
    }

    /// Completes the growing file if its time has come. Returns whether it did.
    pub(super) fn rotate(&mut self, now: Duration, unix: Duration) -> bool {
        let due = |growing: &Growing| now.saturating_sub(growing.since) >= self.rotate;
        self.growing.as_ref().is_some_and(due) && self.complete(now, unix)
    }

    /// Writes the lines, and gives the growing file its name. Returns whether there was one.
    pub(super) fn complete(&mut self, now: Duration, unix: Duration) -> bool {
        self.flush(now, unix);
        let Some(growing) = self.growing.take() else { return false };
        match publish(&growing.path, &self.folder, &self.stem, unix) {
            Ok(name) => self.written.last = Some(name),
            Err(error) => self.fail(now, &error),
        }
        true
    }

    /// Appends the lines to the growing file, as one gzip member, whole or not at all.
    fn write(&mut self, now: Duration, unix: Duration) -> io::Result<()> {
        let mut member = GzEncoder::new(Vec::new(), Compression::fast());
        let growing = match &mut self.growing {
            Some(growing) => growing,
            None => {
                member.write_all(self.header.as_bytes())?;
                let name = format!(".{}.{}-{}{GROWING}", self.stem, self.writer, unix.as_nanos());
                self.growing.insert(Growing::new(&self.folder, &name, now)?)
            }
        };
        member.write_all(self.buffer.as_bytes())?;
        let member = member.finish()?;
        if let Err(error) = growing.file.write_all(&member) {
            // What there is of the member would hide those behind it.
            growing.file.set_len(growing.bytes)?;
            return Err(error);
        }
        growing.bytes += member.len() as u64;
        self.written.bytes += member.len() as u64;
        Ok(())
    }

    /// Says once that nothing can be written.
    fn fail(&mut self, now: Duration, error: &io::Error) {
        self.retry = now + RETRY;
        let problem = format!("{}: {error}", self.folder.display());
        if self.written.problem.is_none() {
            tracing::warn!(
                "flow log {problem}; lines are lost until it can be written again: free space, or change flow_logs.folder"
            );
        }
        self.written.problem = Some(problem);
    }

    fn solve(&mut self) {
        if self.written.problem.take().is_some() {
            tracing::info!("flow log {}: written again", self.folder.display());
        }
    }
}

impl Growing {
    fn new(folder: &Path, name: &str, now: Duration) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(name);
        let file = File::options().append(true).create_new(true).open(&path)?;
        Ok(Self { path, file, bytes: 0, since: now })
    }
}

/// A part of a file's name, whatever the text.
fn part(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    text.chars().map(safe).collect()
}

/// Gives a complete file its name, as AWS forms it: account, region, log, time of completion, and a hash that makes it unique.
fn publish(path: &Path, folder: &Path, stem: &str, unix: Duration) -> io::Result<String> {
    let mut seed = (path.as_os_str().to_owned(), unix);
    loop {
        let hash = BuildHasherDefault::<FxHasher>::default().hash_one(&seed) >> 32;
        let name = format!("{stem}_{}_{hash:08x}{COMPLETE}", time::minute(unix));
        let target = folder.join(&name);
        if !target.try_exists()? {
            fs::rename(path, target)?;
            return Ok(name);
        }
        seed.1 += Duration::from_nanos(1);
    }
}

/// Completes the files that an earlier run of this host has left.
pub(super) fn recover(settings: &Settings, unix: Duration) -> io::Result<()> {
    let own = format!(".{}.", part(&settings.host));
    for path in files(&settings.folder)? {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let Some(name) = name.strip_prefix('.').and_then(|name| name.strip_suffix(GROWING)) else { continue };
        let Some((stem, _)) = name.split_once(&own) else { continue };
        if let Some(folder) = path.parent() {
            publish(&path, folder, stem, unix)?;
        }
    }
    Ok(())
}

/// Removes complete files, the oldest first, until those of all logs have no more bytes than they may.
pub(super) fn prune(settings: &Settings) -> io::Result<()> {
    let mut complete: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
    for path in files(&settings.folder)? {
        let name = path.file_name().and_then(OsStr::to_str);
        if name.is_some_and(|name| name.contains(KIND) && name.ends_with(COMPLETE)) {
            let metadata = path.metadata()?;
            complete.push((metadata.modified()?, path, metadata.len()));
        }
    }
    complete.sort_unstable();
    let mut bytes: u64 = complete.iter().map(|(.., bytes)| bytes).sum();
    for (_, path, size) in complete {
        if bytes <= settings.keep_bytes {
            break;
        }
        fs::remove_file(path)?;
        bytes -= size;
    }
    Ok(())
}

/// The files in a folder, and in the folders in it; none where there is no such folder.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            // A link is neither: it may lead anywhere.
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
