//! Moves of one ENI between hosts, under traffic.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    super::{
        fleet::{self, Fleet},
        traffic::Stamp,
    },
    Case, Figure, Machine, Options, Shared,
    generator::{Generator, Traffic},
    worker,
};
use crate::{
    compile::Compiler,
    ffi::pin_to_cpus,
    model::{self, Id},
};

/// Moves one ENI to and fro `runs` times and prints how long each change took, from the new model to its use by the
/// worker, and how many bytes of tables it copied.
pub(super) fn run(machine: &Machine, fleet: &Fleet, options: &Options, cpus: &[usize]) -> Result<(), String> {
    let (_source, rx, tx) = machine.null("move0", options.size)?;
    let (_sink, _, other_tx) = machine.null("move1", 64)?;
    let generator = Generator::new(rx, Traffic::of(Stamp::encapsulate(fleet, options.size)));
    let (receivers, outputs) = (vec![(fleet::FIRST, generator)], [Some(tx), None, Some(other_tx)]);
    let set_up = worker(fleet, receivers, outputs, (options.burst, 2 * fleet.count() as u32));
    let (mut worker, mut publisher) = (set_up.worker, set_up.tables);
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

    let mut compiler = Compiler::new(fleet.site());
    compiler.build(fleet.model(), &fleet.neighbours());
    let (before, after, eni) = two_models(fleet)?;
    let diff = model::Diff { enis: vec![eni], ..model::Diff::default() };
    let (mut compile, mut adopt, mut copied) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..options.runs.max(100) {
        let (old, new) = if turn % 2 == 0 { (&before, &after) } else { (&after, &before) };
        let start = Instant::now();
        let tables = compiler.update(publisher.current(), old, new, &diff, &fleet.neighbours());
        let compiled = start.elapsed();
        copied.push(tables.enis.bytes_not_shared_with(&publisher.current().enis) as f64);
        let published = Instant::now();
        let generation = publisher.publish(tables);
        while !publisher.is_adopted(generation) {
            if published.elapsed() > Duration::from_secs(5) {
                return Err("the worker has not taken the new tables within 5 s".into());
            }
            std::hint::spin_loop();
        }
        adopt.push((compiled + published.elapsed()).as_secs_f64() * 1e6);
        compile.push(compiled.as_secs_f64() * 1e6);
        publisher.collect();
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
                "workers": 1, "moves": options.runs.max(100), "compile_us": compile, "applied_us": adopt,
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
