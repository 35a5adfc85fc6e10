//! `warren load`: the packets of a capture, sent to a port at a rate, and what comes back at another one.
//!
//! What DPDK's pktgen does between network cards, between two processes of one machine (`net_memif`), or between ports of any device. Each packet carries in
//! its last 16 bytes when it was sent, so that the time that it took is known whatever has been put in front of it.

mod histogram;
mod search;

use std::{fs::File, path::PathBuf};

use arrayvec::ArrayVec;
use clap::Args;
use pcap_file::pcap::PcapReader;
use serde_json::{Value, json};

pub(crate) use self::histogram::{Histogram, Snapshot};
use crate::{
    dpdk::{Eal, EalConfig, Mbuf, Mempool, Port, PortConfig, RxQueue, TxQueue, reserve_hugepages},
    ffi::cycles,
    node::clock::measure_cycles,
    packet::Buffer,
};

/// What is sent, and how it is measured.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The DPDK device to send to.
    #[arg(long, value_name = "DEVICE")]
    pub send: String,
    /// The DPDK device at which it comes back [default: the one of --send].
    #[arg(long, value_name = "DEVICE")]
    pub receive: Option<String>,
    /// The packets, again and again: a capture (pcap), none shorter than 58 bytes. The last 16 bytes of each are overwritten.
    #[arg(long, value_name = "FILE")]
    pub capture: PathBuf,
    /// Packets a second [default: as many as go].
    #[arg(long, value_name = "PACKETS", conflicts_with = "search")]
    pub rate: Option<f64>,
    /// Look for the highest rate without loss, and measure the time in the node at 50 and 90 percent of it.
    #[arg(long)]
    pub search: bool,
    /// Of --search: what counts as no loss.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub loss: f64,
    /// How long a trial sends.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Trials at a rate: of --search, the best counts, as other programs disturb a machine; of the times, the least and the median are printed.
    #[arg(long, default_value_t = 3)]
    pub tries: usize,
    /// The CPU to run on.
    #[arg(long, default_value_t = 0)]
    pub cpu: usize,
    /// What the EAL gets besides, separated by spaces; for network cards, such as "--in-memory -a 0000:01:00.0".
    #[arg(long, default_value = "--in-memory --no-pci", allow_hyphen_values = true)]
    pub eal: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Packets sent or received at once.
const BURST: usize = 32;
/// How long packets may take that were sent last.
const LATE_SECONDS: f64 = 0.1;
/// How long the ways there and back may take to come up.
const UP_SECONDS: f64 = 15.0;
/// How exact the rate is that is looked for.
const PRECISION: f64 = 0.01;
/// Ethernet, IPv4, UDP, and what [`Mark`] takes.
const SHORTEST: usize = 14 + 20 + 8 + size_of::<Mark>();

type Mark = [u8; 16];
const MAGIC: [u8; 4] = *b"wrn!";

/// The end of a packet of a trial that is sent now.
fn mark(trial: u32, now: u64) -> Mark {
    let mut mark = [0; 16];
    mark[..8].copy_from_slice(&now.to_ne_bytes());
    mark[8..12].copy_from_slice(&trial.to_ne_bytes());
    mark[12..].copy_from_slice(&MAGIC);
    mark
}

/// When a packet was sent, if it is of the trial.
fn sent_at(frame: &[u8], trial: u32) -> Option<u64> {
    let (end, magic) = frame.last_chunk::<16>()?.split_at(12);
    let (time, of) = end.split_first_chunk::<8>()?;
    (magic == MAGIC && of == trial.to_ne_bytes()).then(|| u64::from_ne_bytes(*time))
}

/// Sends, and measures what comes back.
///
/// # Errors
///
/// A sentence: what could not be set up, or that nothing comes back.
pub fn run(options: &Options) -> Result<(), String> {
    let frames = read(options)?;
    let bits = frames.iter().map(Vec::len).sum::<usize>() as f64 * 8.0 / frames.len() as f64;
    let mut load = Load::new(options, frames)?;
    load.wait_until_up(options)?;
    let line = if options.search { load.search(options, bits) } else { load.one_rate(options, bits) };
    if options.json {
        println!("{line}");
    } else {
        print(&line);
    }
    Ok(())
}

/// The capture's frames.
fn read(options: &Options) -> Result<Vec<Vec<u8>>, String> {
    let fail = |error: &dyn std::fmt::Display| format!("--capture {}: {error}", options.capture.display());
    let file = File::open(&options.capture).map_err(|error| fail(&error))?;
    let mut reader = PcapReader::new(file).map_err(|_| fail(&"not a pcap file"))?;
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let frame = packet.map_err(|error| fail(&error))?.data.into_owned();
        if frame.len() < SHORTEST {
            return Err(fail(&format!("a packet of {} bytes; at least {SHORTEST} are needed", frame.len())));
        }
        frames.push(frame);
    }
    if frames.is_empty() { Err(fail(&"no packets")) } else { Ok(frames) }
}

/// A trial's outcome.
struct Trial {
    sent: u64,
    seconds: f64,
    waits: Snapshot,
}

impl Trial {
    fn received(&self) -> u64 {
        self.waits.count()
    }

    fn lost_percent(&self) -> f64 {
        self.sent.saturating_sub(self.received()) as f64 * 100.0 / self.sent.max(1) as f64
    }

    /// Packets a second that were sent.
    fn rate(&self) -> f64 {
        self.sent as f64 / self.seconds
    }
}

/// Sender and receiver.
struct Load {
    frames: Vec<Vec<u8>>,
    next: usize,
    trial: u32,
    pool: Mempool,
    tx: TxQueue,
    rx: RxQueue,
    cycles_per_second: f64,
    waits: Histogram,
    /// Closed after the queues.
    _ports: Vec<Port>,
}

impl Load {
    fn new(options: &Options, frames: Vec<Vec<u8>>) -> Result<Self, String> {
        let longest = frames.iter().map(Vec::len).max().unwrap_or(0);
        // Room for what a node puts in front.
        let room = (longest + 256).max(2176) as u16;
        let buffers = 16_383;
        let memory_mib = (u64::from(room) + 256) * buffers / (1 << 20) + 64;
        // Refused where the kernel or the caller's rights don't allow it: it goes on without.
        let _ = reserve_hugepages(memory_mib / 2 + 8);
        let eal = Eal::init(&EalConfig {
            args: options.eal.split_whitespace().map(str::to_owned).collect(),
            file_prefix: Some(format!("warren-load-{}", std::process::id())),
            main_cpus: vec![options.cpu],
            memory_mib: memory_mib as u32,
            ..EalConfig::default()
        })
        .map_err(|error| error.to_string())?;
        let pool =
            Mempool::new(&eal, "load", buffers as u32, room, 256, None).map_err(|error| error.to_string())?;
        let mut ports = Vec::new();
        for device in std::iter::once(&options.send).chain(options.receive.as_ref()) {
            let mut port = Port::probe(&eal, device).map_err(|error| error.to_string())?;
            port.configure(&PortConfig {
                rx_queues: 1,
                tx_queues: 1,
                rx_descriptors: 1024,
                tx_descriptors: 1024,
                mtu: (longest > 1514).then(|| (longest + 64) as u16),
                mac: None,
                promiscuous: true,
                rss: false,
                rx_checksums: false,
                pool: pool.clone(),
            })
            .map_err(|error| error.to_string())?;
            port.start().map_err(|error| error.to_string())?;
            ports.push(port);
        }
        let tx = ports.first_mut().and_then(|port| port.take_tx(0)).ok_or("--send has no queue")?;
        let rx = ports.last_mut().and_then(|port| port.take_rx(0)).ok_or("--receive has no queue")?;
        let cycles_per_second = measure_cycles() as f64;
        Ok(Self {
            frames,
            next: 0,
            trial: 0,
            pool,
            tx,
            rx,
            cycles_per_second,
            waits: Histogram::new(),
            _ports: ports,
        })
    }

    /// Sends few packets until one comes back.
    fn wait_until_up(&mut self, options: &Options) -> Result<(), String> {
        for _ in 0..(UP_SECONDS / (2.0 * LATE_SECONDS)) as usize {
            if self.trial(Some(1000.0), LATE_SECONDS).received() > 0 {
                return Ok(());
            }
        }
        let back = options.receive.as_ref().unwrap_or(&options.send);
        Err(format!(
            "nothing of what was sent to {} has come back at {back} within {UP_SECONDS} s: are both connected, and does the node know the packets' addresses?",
            options.send,
        ))
    }

    /// Sends at a rate, or as much as goes, for so many seconds.
    fn trial(&mut self, rate: Option<f64>, seconds: f64) -> Trial {
        self.trial += 1;
        let (start, per_cycle) = (cycles(), rate.map(|rate| rate / self.cycles_per_second));
        let until = (seconds * self.cycles_per_second) as u64;
        let mut sent = 0;
        loop {
            let passed = cycles() - start;
            if passed >= until {
                break;
            }
            let due = per_cycle.map_or(u64::MAX, |rate| (passed as f64 * rate) as u64);
            sent += self.send(due.saturating_sub(sent).min(BURST as u64) as usize);
            self.receive();
        }
        let ended = cycles();
        while ((cycles() - ended) as f64) < LATE_SECONDS * self.cycles_per_second {
            self.receive();
        }
        let seconds = (ended - start) as f64 / self.cycles_per_second;
        Trial { sent, seconds, waits: self.waits.take() }
    }

    /// Sends the next packets; what finds no room in the queue is lost. Returns how many there were.
    fn send(&mut self, count: usize) -> u64 {
        let mut burst = ArrayVec::<Mbuf, BURST>::new();
        for _ in 0..count {
            let frame = self.frames.get(self.next).map_or(&[][..], Vec::as_slice);
            self.next = if self.next + 1 < self.frames.len() { self.next + 1 } else { 0 };
            let Some(mut mbuf) = Mbuf::from_frame(&self.pool, frame) else { break };
            if let Some(end) = mbuf.data_mut().last_chunk_mut() {
                *end = mark(self.trial, cycles());
            }
            burst.push(mbuf);
        }
        let sent = burst.len() as u64;
        self.tx.burst(&mut burst);
        sent
    }

    fn receive(&mut self) {
        let mut burst = ArrayVec::<Mbuf, BURST>::new();
        self.rx.burst(&mut burst);
        let now = cycles();
        for sent in burst.iter().filter_map(|mbuf| sent_at(mbuf.data(), self.trial)) {
            self.waits.record(now.saturating_sub(sent));
        }
        Mbuf::free_all(&mut burst);
    }

    /// Trials at the wanted rate, one after the other.
    fn one_rate(&mut self, options: &Options, bits: f64) -> Value {
        let trials: Vec<Trial> =
            (0..options.tries.max(1)).map(|_| self.trial(options.rate, options.seconds)).collect();
        let least = |of: fn(&Trial) -> f64| trials.iter().map(of).fold(f64::INFINITY, f64::min);
        let received = trials.iter().map(|trial| trial.received() as f64 / trial.seconds).fold(0.0, f64::max);
        let mut line = json!({
            "what": "load", "traffic": traffic(options), "packets": self.frames.len(), "bytes": round(bits / 8.0),
            "mpps_sent": mpps(trials.iter().map(Trial::rate).fold(0.0, f64::max)), "mpps": mpps(received),
            "gbps": round(received * bits / 1e9), "lost_percent": round(least(Trial::lost_percent)), "seconds": options.seconds,
        });
        self.add_times(&mut line, &trials);
        line
    }

    /// The highest rate without loss, and the times below it.
    fn search(&mut self, options: &Options, bits: f64) -> Value {
        let flood = self.trial(None, options.seconds);
        let (source, most) = (flood.rate(), flood.received() as f64 / flood.seconds);
        let allowed = options.loss;
        let found = search::highest(most, PRECISION, |rate| {
            (0..options.tries.max(1)).any(|_| {
                let trial = self.trial(Some(rate), options.seconds);
                // A source that can't keep up has not tried that rate.
                trial.lost_percent() <= allowed && trial.rate() > rate * (1.0 - PRECISION)
            })
        });
        let mut latency = Vec::new();
        for percent in [50, 90] {
            let rate = found * f64::from(percent) / 100.0;
            let trials: Vec<Trial> =
                (0..options.tries.max(1)).map(|_| self.trial(Some(rate), options.seconds)).collect();
            let mut step = json!({ "percent": percent, "mpps": mpps(rate) });
            self.add_times(&mut step, &trials);
            latency.push(step);
        }
        json!({
            "what": "search", "traffic": traffic(options), "packets": self.frames.len(), "bytes": round(bits / 8.0), "mpps": mpps(found),
            "gbps": round(found * bits / 1e9), "mpps_source": mpps(source), "mpps_flood": mpps(most),
            "loss_allowed_percent": allowed, "seconds": options.seconds, "latency": latency,
        })
    }

    /// Adds the times that packets took: of the trial with the least, and of the median one.
    fn add_times(&self, line: &mut Value, trials: &[Trial]) {
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            let of = |trial: &Trial| trial.waits.percentile(share) as f64 * 1e6 / self.cycles_per_second;
            let mut times: Vec<f64> = trials.iter().map(of).collect();
            times.sort_by(f64::total_cmp);
            line[format!("{name}_us")] = json!(round(times.first().copied().unwrap_or(0.0)));
            line[format!("{name}_us_median")] =
                json!(round(times.get(times.len() / 2).copied().unwrap_or(0.0)));
        }
    }
}

/// What the traffic is called: its file's name.
fn traffic(options: &Options) -> String {
    options.capture.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn mpps(rate: f64) -> f64 {
    round(rate / 1e6)
}

/// A line for people.
fn print(line: &Value) {
    let times =
        |of: &Value| format!("{} µs median, {} p99, {} p99.9", of["p50_us"], of["p99_us"], of["p999_us"]);
    let traffic = line["traffic"].as_str().unwrap_or("");
    println!("{traffic}: {} Mpps, {} Gbit/s, {} bytes a packet", line["mpps"], line["gbps"], line["bytes"]);
    match line["latency"].as_array() {
        Some(steps) => {
            println!(
                "  without loss; the source made {} Mpps, of which {} came back",
                line["mpps_source"], line["mpps_flood"]
            );
            for step in steps {
                println!("  at {} %, {} Mpps: {}", step["percent"], step["mpps"], times(step));
            }
        }
        None => {
            println!(
                "  of {} Mpps sent, {} % lost: {}",
                line["mpps_sent"],
                line["lost_percent"],
                times(line)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_behind_whatever_is_put_in_front() {
        let mut frame = vec![0xaa; 50];
        frame.extend([0; 48]);
        frame.extend(mark(7, 123_456_789));
        assert_eq!(sent_at(&frame, 7), Some(123_456_789));
        assert_eq!(sent_at(&frame, 8), None, "of another trial");
        assert_eq!(sent_at(&frame[..90], 7), None);
        assert_eq!(sent_at(&[], 7), None);
    }
}
