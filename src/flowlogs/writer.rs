//! From records to lines: which logs a record is for, and when what has been counted is written.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hashbrown::hash_map;

use super::{
    Content, Flow, FlowKey, FlowRecord, GRACE, Interface, Log, Sums,
    files::{self, LogFiles},
    ring::slot,
    windows::{Closed, Flows, Part, Windows},
};

/// Records of ENIs that the writer has not been told of yet.
const WAITING: usize = 1 << 14;

/// Where files go, and how large things may become.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host that writes.
    pub host: Arc<str>,
    /// The folder in which each log has one.
    pub folder: PathBuf,
    /// How long a file takes lines.
    pub rotate: Duration,
    /// How many bytes, compressed, a file has before another is begun.
    pub file_bytes: u64,
    /// How many bytes the complete files of all logs may have together.
    pub keep_bytes: u64,
    /// How many flows are held in memory, each some 100 bytes.
    pub flows: usize,
}

/// What has become of a log on this node, as shown to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// The log.
    pub log: Log,
    /// The ENIs of this node that it is of.
    pub enis: usize,
    /// Lines of flows written.
    pub records: u64,
    /// Bytes written, compressed.
    pub bytes: u64,
    /// Records that workers had no room for, some of them perhaps of ENIs of other logs.
    pub lost_records: u64,
    /// Lines that could not be written.
    pub lost_lines: u64,
    /// The name of the last complete file.
    pub last_file: Option<String>,
    /// Why nothing can be written, if nothing can.
    pub problem: Option<String>,
}

/// An ENI at a port of this node, or one that was there and of which lines may come.
struct Stay {
    interface: Arc<Interface>,
    since: Duration,
    until: Option<Duration>,
    /// The numbers of the logs that it is in.
    logs: Vec<u32>,
}

/// A log, and what of it is on its way.
struct Sink {
    log: Log,
    since: Duration,
    /// `None` of a log that is gone, from which nothing more is taken.
    windows: Option<Windows>,
    files: LogFiles,
    /// Batches not written yet.
    batches: usize,
    lost_records: u64,
}

/// Lines about one ENI in one interval of one log.
struct Batch {
    log: u32,
    interface: Arc<Interface>,
    /// First and last second, since 1970-01-01 UTC.
    span: (u64, u64),
    /// What there is to say besides the flows.
    note: Option<Content>,
    flows: hash_map::IntoIter<FlowKey, Sums>,
}

impl Batch {
    fn next(&mut self) -> Option<Content> {
        let flow = self.flows.next().map(|(key, sums)| Content::Flow(Flow { key, sums }));
        flow.or_else(|| self.note.take())
    }
}

/// The flow logs of a node, without threads and clocks: `now` is since the node's start, `started` when that was, since
/// 1970-01-01 UTC. The latter is asked for each time, as clocks are set.
///
/// What is pushed of ENIs at the node's ports is not lost but by name: what comes of a flow is in one line, or in several when so many flows come
/// that they have to be written before their interval ends.
pub struct Writer {
    settings: Settings,
    logs: BTreeMap<u32, Sink>,
    next: u32,
    stays: BTreeMap<u32, Stay>,
    /// With the time when they came.
    waiting: VecDeque<(Duration, FlowRecord)>,
    outbox: VecDeque<Batch>,
    /// Flows in the windows, and in the outbox.
    counting: usize,
    leaving: usize,
    prune_failed: bool,
}

impl Writer {
    /// A writer without logs. Completes what files an earlier run has left.
    pub fn new(settings: Settings, started: Duration) -> Self {
        if let Err(error) = files::recover(&settings, started) {
            warn_of_folder(&settings, "an earlier run's files not completed", &error);
        }
        Self {
            settings,
            logs: BTreeMap::new(),
            next: 0,
            stays: BTreeMap::new(),
            waiting: VecDeque::new(),
            outbox: VecDeque::new(),
            counting: 0,
            leaving: 0,
            prune_failed: false,
        }
    }

    /// Takes over the ENIs at the node's ports, by the number of their stay, and the logs. What an ENI that has left sent
    /// before is still logged.
    pub fn set_state(
        &mut self,
        now: Duration,
        started: Duration,
        interfaces: Vec<(u32, Arc<Interface>)>,
        logs: Vec<Log>,
    ) {
        self.end_logs(now, started, |log| !logs.contains(log));
        for log in logs {
            if self.logs.values().any(|sink| sink.windows.is_some() && sink.log == log) {
                continue;
            }
            let (number, files) = (self.next, LogFiles::new(&self.settings, &log, self.next));
            let windows = Some(Windows::new(log.interval, now));
            self.logs.insert(number, Sink { log, since: now, windows, files, batches: 0, lost_records: 0 });
            self.next += 1;
        }
        let mut before = std::mem::take(&mut self.stays);
        for (number, interface) in interfaces {
            let since = before.remove(&number).map_or(now, |stay| stay.since);
            self.stays.insert(number, Stay { interface, since, until: None, logs: Vec::new() });
        }
        for (number, stay) in before {
            self.stays.insert(number, Stay { until: stay.until.or(Some(now)), ..stay });
        }
        for stay in self.stays.values_mut() {
            let of_it = self
                .logs
                .iter()
                .filter(|(_, sink)| sink.windows.is_some() && sink.log.covers(&stay.interface));
            stay.logs = of_it.map(|(&number, _)| number).collect();
        }
        for (_, record) in std::mem::take(&mut self.waiting) {
            self.add(now, started, &record);
        }
    }

    /// Counts a record, in each log that it is for.
    pub fn add(&mut self, now: Duration, started: Duration, record: &FlowRecord) {
        if is_unlogged(record.source) || is_unlogged(record.destination) {
            return;
        }
        let Some(stay) = self.stays.get(&record.eni) else {
            // A worker knows of a new ENI a little earlier.
            if self.waiting.len() < WAITING {
                self.waiting.push_back((now, *record));
            }
            return;
        };
        for number in &stay.logs {
            let Some(sink) = self.logs.get_mut(number) else { continue };
            if let Some(windows) = &mut sink.windows
                && sink.log.traffic.takes(record.action)
            {
                self.counting += usize::from(windows.add(record, record.sums(started)));
            }
        }
        if self.counting >= self.settings.flows / 2 {
            self.spill(started);
        }
    }

    /// Whether no more records should be added before some lines are written.
    pub fn is_full(&self) -> bool {
        self.counting + self.leaving >= self.settings.flows
    }

    /// A worker had no room for `count` records of ENIs of a slot (see [`FlowRing::lost`](super::FlowRing::lost)).
    pub fn lose(&mut self, lost_slot: usize, count: u64) {
        let mut logs = std::collections::BTreeSet::new();
        for (&eni, stay) in self.stays.iter().filter(|(eni, _)| slot(**eni) == lost_slot) {
            for number in &stay.logs {
                if let Some(windows) = self.logs.get_mut(number).and_then(|sink| sink.windows.as_mut()) {
                    windows.lose(eni);
                    logs.insert(*number);
                }
            }
        }
        for number in logs {
            if let Some(sink) = self.logs.get_mut(&number) {
                sink.lost_records += count;
            }
        }
    }

    /// Ends the intervals that are over, and completes the files whose time has come.
    pub fn tick(&mut self, now: Duration, started: Duration) {
        let numbers: Vec<u32> = self.logs.keys().copied().collect();
        for number in numbers {
            while let Some(closed) = self.windows(number).and_then(|windows| windows.advance(now)) {
                self.close(number, closed, started, now);
            }
        }
        let oldest = self.logs.values().filter_map(|sink| sink.windows.as_ref().map(Windows::oldest)).min();
        let oldest = oldest.unwrap_or(now);
        self.stays.retain(|_, stay| stay.until.is_none_or(|until| until + 2 * GRACE >= oldest));
        while self.waiting.front().is_some_and(|(came, _)| *came + GRACE < now) {
            self.waiting.pop_front();
        }
        let mut complete = false;
        for sink in self.logs.values_mut() {
            complete |= sink.files.rotate(now, started + now);
        }
        self.logs.retain(|_, sink| {
            let keep = sink.windows.is_some() || sink.batches > 0;
            complete |= !keep && sink.files.complete(now, started + now);
            keep
        });
        if complete {
            self.prune();
        }
    }

    /// Writes at most that many lines of intervals that have ended. Returns whether there are more.
    pub fn write(&mut self, now: Duration, started: Duration, most: usize) -> bool {
        for _ in 0..most {
            let Some(batch) = self.outbox.front_mut() else { break };
            let Some(sink) = self.logs.get_mut(&batch.log) else {
                self.outbox.pop_front();
                continue;
            };
            match batch.next() {
                Some(content) => {
                    let of_flow = matches!(content, Content::Flow(_));
                    self.leaving -= usize::from(of_flow);
                    sink.files.line(of_flow, |out| {
                        sink.log.format.line(out, &batch.interface, batch.span, content);
                    });
                    if sink.files.is_full() {
                        sink.files.flush(now, started + now);
                    }
                }
                None => {
                    sink.batches -= 1;
                    self.outbox.pop_front();
                }
            }
        }
        if !self.outbox.is_empty() {
            return true;
        }
        for sink in self.logs.values_mut() {
            sink.files.flush(now, started + now);
        }
        false
    }

    /// Writes all that there is, though intervals are not over, and completes the files.
    pub fn end(mut self, now: Duration, started: Duration) -> Vec<LogStatus> {
        self.end_logs(now, started, |_| true);
        while self.write(now, started, usize::MAX) {}
        for sink in self.logs.values_mut() {
            sink.files.complete(now, started + now);
        }
        self.prune();
        self.status()
    }

    /// How each log is doing.
    pub fn status(&self) -> Vec<LogStatus> {
        let status = |(number, sink): (&u32, &Sink)| {
            let written = sink.files.written();
            LogStatus {
                log: sink.log.clone(),
                enis: self
                    .stays
                    .values()
                    .filter(|stay| stay.until.is_none() && stay.logs.contains(number))
                    .count(),
                records: written.records,
                bytes: written.bytes,
                lost_records: sink.lost_records,
                lost_lines: written.lost,
                last_file: written.last.clone(),
                problem: written.problem.clone(),
            }
        };
        self.logs.iter().map(status).collect()
    }

    fn windows(&mut self, number: u32) -> Option<&mut Windows> {
        self.logs.get_mut(&number)?.windows.as_mut()
    }

    /// Ends the logs that some condition holds for.
    fn end_logs(&mut self, now: Duration, started: Duration, ends: impl Fn(&Log) -> bool) {
        let ended: Vec<(u32, Windows)> = self
            .logs
            .iter_mut()
            .filter(|(_, sink)| ends(&sink.log))
            .filter_map(|(&number, sink)| Some((number, sink.windows.take()?)))
            .collect();
        for (number, windows) in ended {
            for closed in windows.end() {
                self.close(number, closed, started, now);
            }
        }
    }

    /// Has an interval written: for each ENI its flows, or that there were none, and that some were lost.
    fn close(&mut self, number: u32, mut closed: Closed, started: Duration, now: Duration) {
        let Some(sink) = self.logs.get_mut(&number) else { return };
        for (eni, stay) in self.stays.iter().filter(|(_, stay)| stay.logs.contains(&number)) {
            let from = closed.start.max(stay.since).max(sink.since);
            let to = closed.end.min(stay.until.unwrap_or(closed.end)).min(now);
            let part = match closed.parts.remove(eni) {
                Some(part) => part,
                None if from < to => Part::default(),
                None => continue,
            };
            let note = match part {
                Part { lost: true, .. } => Some(Content::SkipData),
                Part { seen: true, .. } => None,
                _ => Some(Content::NoData),
            };
            let span = ((started + from).as_secs(), (started + to.max(from)).as_secs());
            self.counting -= part.flows.len();
            self.leaving += part.flows.len();
            sink.batches += 1;
            let interface = Arc::clone(&stay.interface);
            self.outbox.push_back(Batch {
                log: number,
                interface,
                span,
                note,
                flows: part.flows.into_iter(),
            });
        }
        // Of stays that are forgotten, which a record can't be for.
        self.counting -= closed.parts.values().map(|part| part.flows.len()).sum::<usize>();
    }

    /// Has the flows counted so far written, and leaves the intervals open.
    fn spill(&mut self, started: Duration) {
        for (&number, sink) in &mut self.logs {
            let Some(windows) = &mut sink.windows else { continue };
            let flows: Vec<(u32, Flows)> = windows.take_flows();
            for (eni, flows) in flows {
                self.counting -= flows.len();
                let Some(stay) = self.stays.get(&eni) else { continue };
                self.leaving += flows.len();
                sink.batches += 1;
                self.outbox.push_back(Batch {
                    log: number,
                    interface: Arc::clone(&stay.interface),
                    span: (started.as_secs(), started.as_secs()),
                    note: None,
                    flows: flows.into_iter(),
                });
            }
        }
    }

    fn prune(&mut self) {
        let pruned = files::prune(&self.settings);
        if let Err(error) = &pruned
            && !self.prune_failed
        {
            warn_of_folder(&self.settings, "old files not removed", error);
        }
        self.prune_failed = pruned.is_err();
    }
}

fn warn_of_folder(settings: &Settings, what: &str, error: &io::Error) {
    tracing::warn!(
        "flow logs: {what}: {}: {error}; see that the node may read and write there",
        settings.folder.display()
    );
}

/// Addresses to and from which nothing is logged (FL-9): link-local services. Workers leave these and others out.
fn is_unlogged(address: IpAddr) -> bool {
    const SERVICES: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0);
    match address {
        IpAddr::V4(address) => address.is_link_local() || address == Ipv4Addr::BROADCAST,
        IpAddr::V6(address) => address.segments()[..2] == SERVICES.segments()[..2],
    }
}

#[cfg(test)]
mod tests;
