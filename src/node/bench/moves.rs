//! Moves of one ENI between hosts, under traffic.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    super::{
        fleet::{self, Fleet},
        traffic::Stamp,
    },
    Case, Figure, Machine, Options,
    generator::{Generator, Traffic},
    turns,
};
use crate::{
    compile::Compiler,
    ffi::pin_to_cpus,
    model::{self, Id},
    rcu::Publisher,
    tables::Tables,
};

/// Moves an ENI of other hosts to and fro.
pub(super) struct Mover<'a> {
    fleet: &'a Fleet,
    compiler: Compiler,
    publisher: Publisher<Tables>,
    /// The models before and after, the other way round after each move.
    models: (model::Model, model::Model),
    diff: model::Diff,
}

impl<'a> Mover<'a> {
    /// Of a fleet whose tables are published.
    pub(super) fn new(fleet: &'a Fleet, publisher: Publisher<Tables>) -> Result<Self, String> {
        let mut compiler = Compiler::new(fleet.site());
        compiler.build(fleet.model(), &fleet.neighbours());
        let (before, after, eni) = two_models(fleet)?;
        let diff = model::Diff { enis: vec![eni], ..model::Diff::default() };
        Ok(Self { fleet, compiler, publisher, models: (before, after), diff })
    }

    /// The tables after the next move.
    fn compile(&mut self) -> Tables {
        let (old, new) = &self.models;
        let neighbours = self.fleet.neighbours();
        let tables = self.compiler.update(self.publisher.current(), old, new, &self.diff, &neighbours);
        std::mem::swap(&mut self.models.0, &mut self.models.1);
        tables
    }

    /// Moves it, and frees what no worker uses any more.
    pub(super) fn publish(&mut self) {
        let tables = self.compile();
        self.publisher.publish(tables);
        self.publisher.collect();
    }

    /// Moves it, and waits for the worker: how long the tables took, how long all of it, and how many bytes were copied.
    fn publish_and_wait(&mut self) -> Result<(Duration, Duration, usize), String> {
        let start = Instant::now();
        let tables = self.compile();
        let compiled = start.elapsed();
        let copied = tables.enis.bytes_not_shared_with(&self.publisher.current().enis);
        let published = Instant::now();
        let generation = self.publisher.publish(tables);
        while !self.publisher.is_adopted(generation) {
            if published.elapsed() > Duration::from_secs(5) {
                return Err("the worker has not taken the new tables within 5 s".into());
            }
            std::hint::spin_loop();
        }
        let applied = compiled + published.elapsed();
        self.publisher.collect();
        Ok((compiled, applied, copied))
    }
}

/// Set by one thread, seen by another.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    packets: AtomicU64,
}

/// Moves one ENI to and fro `runs` times and prints how long each change took, from the new model to its use by the
/// worker, and how many bytes of tables it copied.
pub(super) fn run(machine: &Machine, fleet: &Fleet, options: &Options, cpus: &[usize]) -> Result<(), String> {
    let (_source, rx, tx) = machine.null("move0", options.size)?;
    let (_sink, _, other_tx) = machine.null("move1", 64)?;
    let generator = Generator::new(rx, Traffic::of(Stamp::encapsulate(fleet, options.size)));
    let (receivers, outputs) = (vec![(fleet::FIRST, generator)], [Some(tx), None, Some(other_tx)]);
    let set_up = turns::worker(fleet, receivers, outputs, (options.burst, 2 * fleet.count() as u32));
    let mut worker = set_up.worker;
    let shared = Arc::new(Shared::default());
    let (eal, seen, cpu) = (machine.eal.clone(), Arc::clone(&shared), options.cpu);
    let clock = machine.clock;
    let thread = thread::spawn(move || {
        // Unpinned or unregistered it is slower, which the figures show.
        let _ = pin_to_cpus(&[cpu]);
        let _lcore = eal.register_thread();
        while !seen.stop.load(Ordering::Relaxed) {
            seen.packets.fetch_add(worker.round(clock.now()) as u64, Ordering::Relaxed);
        }
    });
    let others: Vec<usize> = cpus.iter().copied().filter(|&other| other != cpu).collect();
    let _ = pin_to_cpus(&others);

    let mut mover = Mover::new(fleet, set_up.tables)?;
    let moves = options.runs.max(100);
    let (mut compile, mut adopt, mut copied) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..moves {
        let (compiled, applied, bytes) = mover.publish_and_wait()?;
        compile.push(compiled.as_secs_f64() * 1e6);
        adopt.push(applied.as_secs_f64() * 1e6);
        copied.push(bytes as f64);
        thread::sleep(Duration::from_millis(2));
    }
    shared.stop.store(true, Ordering::Relaxed);
    thread.join().map_err(|_| "the worker panicked")?;
    let slowest = adopt.iter().copied().fold(0.0, f64::max).round();
    let (compile, adopt, copied) = (Figure::of(compile), Figure::of(adopt), Figure::of(copied));
    if options.json {
        println!(
            "{}",
            json!({
                "case": Case::Move, "entries": options.entries, "size": options.size, "burst": options.burst,
                "workers": 1, "moves": moves, "compile_us": compile, "applied_us": adopt,
                "applied_us_max": slowest, "bytes_copied": copied,
                "packets_meanwhile": shared.packets.load(Ordering::Relaxed),
            })
        );
    } else {
        println!(
            "Move: {} entries: tables changed in {:.0} µs, in use by the worker after {:.0} µs (medians; slowest {slowest:.0} µs); {:.0} KiB copied",
            options.entries,
            compile.median,
            adopt.median,
            copied.median / 1024.0,
        );
    }
    Ok(())
}

/// The fleet's model, the same with one ENI on another host, and that ENI. Each holds but this ENI and what it refers to.
fn two_models(fleet: &Fleet) -> Result<(model::Model, model::Model, Id), String> {
    let eni: Id = format!("eni-{}", fleet.count() - 1).into();
    let full = fleet.model();
    let moved = full.enis.get(&eni).ok_or("a fleet without its last ENI")?;
    let mut before = model::Model { enis: model::ById::default(), ..full.clone() };
    for id in ["eni-0", "eni-1"] {
        if let Some((id, eni)) = full.enis.get_key_value(id) {
            before.enis.insert(Arc::clone(id), eni.clone());
        }
    }
    let mut after = before.clone();
    before.enis.insert(Arc::clone(&eni), moved.clone());
    let mut elsewhere = moved.clone();
    let host: Id = format!("host-{}", 1 + fleet.hosts() / 2).into();
    elsewhere.attachment = elsewhere.attachment.map(|at| model::Attachment { host, ..at });
    after.enis.insert(Arc::clone(&eni), elsewhere);
    Ok((before, after, eni))
}
