//! What a worker's tables of connections and of NAT bindings have done, where the management thread reads it.

use crate::{
    flow::{connections::PortStats, nat::NatStats},
    pipeline::Counter,
    tables::PortIndex,
};

/// Counters of the names of a struct's numbers, written by the worker, read by the management thread.
macro_rules! published {
    ($(#[$doc:meta])* $published:ident of $stats:ident: $($number:ident),+) => {
        $(#[$doc])*
        #[derive(Default)]
        pub struct $published {
            $($number: Counter,)+
        }

        impl $published {
            /// Publishes. For the worker only.
            #[inline]
            pub fn publish(&self, stats: &$stats) {
                $(self.$number.set(stats.$number);)+
            }

            /// What was published last; each number by itself.
            pub fn read(&self) -> $stats {
                $stats { $($number: self.$number.get(),)+ }
            }
        }
    };
}

published! {
    /// [`NatStats`].
    NatCounters of NatStats: capacity, bindings, created, expired, refused_ports, refused_full, refused_no_state, unsolicited
}

published! {
    /// [`PortStats`].
    PortCounters of PortStats: unanswered, established, spare, available, created, expired, evicted, closed, refused
}

/// [`PortStats`] by port.
pub struct ConnectionCounters(Box<[PortCounters]>);

impl ConnectionCounters {
    /// Zeros for that many ports.
    pub fn new(ports: usize) -> Self {
        Self((0..ports).map(|_| PortCounters::default()).collect())
    }

    /// Publishes what there is of a port. For the worker only.
    #[inline]
    pub fn publish(&self, port: PortIndex, stats: &PortStats) {
        if let Some(of) = self.0.get(usize::from(port.0)) {
            of.publish(stats);
        }
    }

    /// What was published last.
    pub fn read(&self, port: PortIndex) -> PortStats {
        self.0.get(usize::from(port.0)).map(PortCounters::read).unwrap_or_default()
    }
}
