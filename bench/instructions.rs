//! One of the main cases, over and over, to be counted by callgrind: `ci/instructions.sh` does, and compares with what is
//! committed. Unlike cycles, instructions are the same on a busy machine.

mod common;
#[path = "common/frame.rs"]
mod frame;
#[path = "common/turns.rs"]
mod turns;

use std::{process::ExitCode, time::Duration};

use common::Alone;
use warren::{
    flow::{Side, Timeouts, connections::Opening},
    node::{
        fleet::{FIRST, Fleet, UPLINK},
        traffic::{Connections, Stamp},
    },
    packet::tcp::{ACK, SYN},
    pipeline::{Burst, Context, process},
    tables::{Direction, PortIndex},
};

use self::{
    frame::Frame,
    turns::{BURST, Turns},
};

/// Turns that are counted.
const TURNS: usize = 400;
/// Turns before.
const WARM: usize = 2 * FLOWS / BURST;
/// Connections of the cases that have some; those that open some have one for each packet.
const FLOWS: usize = 1024;
/// What can be counted.
const CASES: [&str; 8] = ["encap", "decap", "local", "stateful", "stateful-in", "peering", "syn", "syn-ack"];

/// What callgrind counts, by its name.
#[inline(never)]
fn counted(ctx: &mut Context<'_, Alone<Burst<Frame>>>, port: PortIndex, burst: &mut Burst<Frame>) {
    process(ctx, port, burst);
}

/// A case: packets without rules, or of connections that are established under some.
fn turns(case: &str) -> Option<Turns> {
    let fleet = Fleet::new(1000);
    let ruled = || Fleet::new(1000).with_rules(1000, 100);
    let connections = Connections { count: FLOWS, serves: false, random: false };
    let turns = match case {
        "encap" => Turns::new(&fleet, FIRST, Stamp::encapsulate(&fleet, 64)),
        "decap" => Turns::new(&fleet, UPLINK, Stamp::decapsulate(&fleet, 64)),
        "local" => Turns::new(&fleet, FIRST, Stamp::local(&fleet, 64)),
        "stateful" | "peering" => {
            let fleet = if case == "peering" { Fleet::peered(1000, 1000, 100) } else { ruled() };
            let mut turns = Turns::new(&fleet, FIRST, Stamp::connected(&fleet, 64, connections));
            establish(&mut turns, &fleet, connections);
            turns
        }
        "stateful-in" => {
            let fleet = ruled();
            let connections = Connections { serves: true, ..connections };
            let mut turns = Turns::new(&fleet, UPLINK, Stamp::connected_in(&fleet, 64, connections));
            establish(&mut turns, &fleet, connections);
            turns
        }
        "syn" | "syn-ack" => {
            let (fleet, count) = (ruled(), (WARM + TURNS) * BURST);
            let connections = Connections { count, ..connections };
            let mut turns = Turns::new(&fleet, FIRST, Stamp::connected(&fleet, 64, connections));
            turns.flags = Some(SYN);
            if case == "syn-ack" {
                (0..WARM + TURNS).for_each(|_| turns.turn());
                let stamp = Stamp::connected_in(&fleet, 64, connections);
                turns.burst = Turns::frames(&stamp);
                (turns.from, turns.stamp, turns.flags) = (UPLINK, stamp, Some(SYN | ACK));
            }
            turns
        }
        _ => return None,
    };
    Some(turns)
}

/// Opens connections as both ends have agreed on them.
fn establish(turns: &mut Turns, fleet: &Fleet, connections: Connections) {
    let eni = turns.tables.local_eni(FIRST).map_or(0, |eni| eni.stay);
    let direction = if connections.serves { Direction::Ingress } else { Direction::Egress };
    let (now, timeouts) = (Duration::ZERO, Timeouts::DEFAULT);
    let table = &mut turns.connections;
    for ends in connections.ends(fleet) {
        let key = table.key(FIRST, &ends);
        let opening = Opening { direction, tracked: true, tcp_flags: SYN, eni, flow: 0, segment: None };
        let entry = table.open(&key, now, &timeouts, &opening).expect("room");
        table.track(entry, now, &timeouts, Side::Responder, SYN | ACK);
        table.track(entry, now, &timeouts, Side::Initiator, ACK);
    }
}

/// Runs a case: once to decide about every packet, and then to be counted.
fn run(case: &str) -> bool {
    let Some(mut turns) = turns(case) else { return false };
    (0..WARM).for_each(|_| turns.turn());
    (0..TURNS).for_each(|_| turns.turn_by(counted));
    println!("{case}: {} packets", TURNS * BURST);
    true
}

fn main() -> ExitCode {
    // Cargo adds `--bench`, and `--test` asks for each once.
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let cases: Vec<&str> =
        if asked.is_empty() { CASES.to_vec() } else { asked.iter().map(String::as_str).collect() };
    match cases.iter().find(|case| !run(case)) {
        None => ExitCode::SUCCESS,
        Some(case) => {
            eprintln!("{case} is none of {}", CASES.join(", "));
            ExitCode::FAILURE
        }
    }
}
