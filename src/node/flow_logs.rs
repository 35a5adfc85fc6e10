//! The thread that writes flow logs, and what it has to know of the state.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use serde_json::Value;

use super::clock::Clock;
use crate::{
    flowlogs::{FlowRing, Interface, Log, LogStatus, Settings, Writer},
    model::{Descriptive, Model},
    tables::{LocalEni, Role, Tables},
};

/// Records that a worker may have ahead of the writer.
const RING: usize = 1 << 14;
/// How long the writer rests when it has nothing to do: it keeps up with `RING / PAUSE`, some 800 000 records a second of each
/// worker, until the processor is its limit.
const PAUSE: Duration = Duration::from_millis(20);
/// How old the status may be.
const TELL: Duration = Duration::from_secs(1);
/// Records taken from a worker, and lines written, before the others have their turn.
const AT_ONCE: usize = 4096;

/// What the state says.
struct State {
    interfaces: Vec<(u32, Arc<Interface>)>,
    logs: Vec<Log>,
}

/// The flow logs of a running node.
pub struct FlowLogs {
    rings: Arc<[FlowRing]>,
    states: Option<Sender<State>>,
    thread: Option<JoinHandle<()>>,
    status: Arc<Mutex<Vec<LogStatus>>>,
}

impl FlowLogs {
    /// Starts the thread, on the CPUs of the calling one.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub fn start(settings: Settings, workers: usize, clock: Clock) -> io::Result<Self> {
        let rings: Arc<[FlowRing]> = (0..workers).map(|_| FlowRing::new(RING)).collect();
        let (states, received) = unbounded();
        let status = Arc::default();
        let (own_rings, own_status) = (Arc::clone(&rings), Arc::clone(&status));
        let thread = thread::Builder::new().name("flow-logs".into()).spawn(move || {
            let times = Times { clock };
            let writer = Writer::new(settings, times.started());
            let lost = own_rings.iter().map(|ring| ring.lost().collect()).collect();
            Thread {
                rings: own_rings,
                received,
                writer,
                lost,
                status: own_status,
                told: Duration::ZERO,
                times,
            }
            .run();
        })?;
        Ok(Self { rings, states: Some(states), thread: Some(thread), status })
    }

    /// What worker `i` pushes into is at `i`.
    pub fn rings(&self) -> &Arc<[FlowRing]> {
        &self.rings
    }

    /// Takes over the ENIs at the node's ports, and the state's logs.
    pub fn set_state(&self, tables: &Tables, model: &Model) {
        let enis = tables.ports.iter().filter_map(|port| match &port.role {
            Role::Instance(eni) => eni.as_deref(),
            _ => None,
        });
        let interface = |eni: &LocalEni| Some((eni.stay, Arc::new(interface(model, &eni.id)?)));
        self.tell(enis.filter_map(interface).collect(), Vec::new());
    }

    /// Tells the thread of ENIs, each with the number of its stay, and logs.
    fn tell(&self, interfaces: Vec<(u32, Arc<Interface>)>, logs: Vec<Log>) {
        if let Some(states) = &self.states {
            // The thread does not end before this sender is gone.
            let _ = states.send(State { interfaces, logs });
        }
    }

    /// How each log is doing.
    pub fn status(&self) -> Vec<LogStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FlowLogs {
    /// Writes what workers have pushed, and completes the files.
    fn drop(&mut self) {
        self.states = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the flow logs' thread ended by a panic; lines are lost");
        }
    }
}

struct Times {
    clock: Clock,
}

impl Times {
    fn now(&self) -> Duration {
        self.clock.now().time
    }

    /// When the node started, by the system's clock as it is now.
    fn started(&self) -> Duration {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        unix.saturating_sub(self.now())
    }
}

struct Thread {
    rings: Arc<[FlowRing]>,
    received: Receiver<State>,
    writer: Writer,
    /// What each ring had lost the last time, by slot.
    lost: Vec<Vec<u64>>,
    status: Arc<Mutex<Vec<LogStatus>>>,
    /// When the status was last published.
    told: Duration,
    times: Times,
}

impl Thread {
    fn run(mut self) {
        let mut ended = false;
        while !ended {
            let busy = self.round();
            let state = if busy {
                self.received.try_recv().map_err(|error| error == TryRecvError::Disconnected)
            } else {
                let error = |error| error == RecvTimeoutError::Disconnected;
                self.received.recv_timeout(PAUSE).map_err(error)
            };
            match state {
                Ok(state) => {
                    let (now, started) = (self.times.now(), self.times.started());
                    self.writer.set_state(now, started, state.interfaces, state.logs);
                }
                Err(disconnected) => ended = disconnected,
            }
        }
        // The workers have stopped before.
        while self.round() {}
        let (now, started) = (self.times.now(), self.times.started());
        publish(&self.status, self.writer.end(now, started));
    }

    /// Takes what workers have pushed, and writes what is due. Returns whether there may be more at once.
    fn round(&mut self) -> bool {
        let (now, started) = (self.times.now(), self.times.started());
        let mut busy = false;
        for (ring, before) in self.rings.iter().zip(&mut self.lost) {
            let mut taken = 0;
            while taken < AT_ONCE
                && !self.writer.is_full()
                && let Some(record) = ring.pop()
            {
                self.writer.add(now, started, &record);
                taken += 1;
            }
            busy |= taken == AT_ONCE;
            for (slot, (lost, before)) in ring.lost().zip(before).enumerate() {
                if lost != *before {
                    self.writer.lose(slot, lost.wrapping_sub(*before));
                    *before = lost;
                }
            }
        }
        self.writer.tick(now, started);
        busy |= self.writer.write(now, started, AT_ONCE);
        if now >= self.told + TELL {
            publish(&self.status, self.writer.status());
            self.told = now;
        }
        busy
    }
}

fn publish(status: &Mutex<Vec<LogStatus>>, news: Vec<LogStatus>) {
    *status.lock().unwrap_or_else(PoisonError::into_inner) = news;
}

/// An ENI of the state, as lines about it tell of it; `None` of one that is not in the state.
pub fn interface(model: &Model, id: &str) -> Option<Interface> {
    let eni = model.enis.get(id)?;
    let subnet = model.subnets.get(&eni.subnet);
    let attachment = described(&eni.descriptive, "Attachment");
    let own = |key| described(&eni.descriptive, key);
    let of_subnet = |key| subnet.and_then(|subnet| described(&subnet.descriptive, key));
    Some(Interface {
        id: Arc::clone(&eni.id),
        vpc: Arc::clone(&eni.vpc),
        subnet: Arc::clone(&eni.subnet),
        instance: attachment.and_then(|attachment| text(attachment.get("InstanceId"))),
        account: text(own("OwnerId")).or_else(|| text(of_subnet("OwnerId"))),
        region: subnet.and_then(|subnet| subnet.region()).map(Arc::from),
        zone_id: text(own("AvailabilityZoneId")).or_else(|| text(of_subnet("AvailabilityZoneId"))),
        primary4: eni.primary4,
        addresses6: eni.addresses6.clone(),
        prefixes6: eni.prefixes6.clone(),
    })
}

fn described<'m>(descriptive: &'m Descriptive, key: &str) -> Option<&'m Value> {
    descriptive.as_ref()?.get(key)
}

fn text(value: Option<&Value>) -> Option<Arc<str>> {
    value?.as_str().map(Arc::from)
}

#[cfg(test)]
mod tests;
