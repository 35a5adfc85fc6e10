//! Waiting times by their size, from which percentiles are read.

use crate::pipeline::Counter;

/// Buckets of each power of two: values are known within 1/16.
const FINE: u32 = 16;
const BUCKETS: usize = 64 * FINE as usize;

/// How many values there were of each size. One thread records, any reads.
pub(crate) struct Histogram(Box<[Counter]>);

impl Histogram {
    pub(crate) fn new() -> Self {
        Self((0..BUCKETS).map(|_| Counter::default()).collect())
    }

    /// Records a value.
    #[inline]
    pub(crate) fn record(&self, value: u64) {
        if let Some(bucket) = self.0.get(bucket(value)) {
            bucket.add(1);
        }
    }

    /// What it has recorded since the last time, which it forgets. While nobody records.
    pub(crate) fn take(&self) -> Snapshot {
        let counts = self.0.iter().map(Counter::get).collect();
        self.0.iter().for_each(|bucket| bucket.set(0));
        Snapshot(counts)
    }
}

/// What a histogram had.
pub(crate) struct Snapshot(Vec<u64>);

impl Snapshot {
    /// How many values.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The value that a share of all is not above, at most 1/16 too large; 0 if there are none.
    pub(crate) fn percentile(&self, share: f64) -> u64 {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return upper_end(bucket);
            }
        }
        0
    }
}

/// Values below [`FINE`] have a bucket each; of the larger, each power of two has [`FINE`].
fn bucket(value: u64) -> usize {
    let above = (value.max(1).ilog2()).saturating_sub(FINE.ilog2());
    (above * FINE) as usize + (value >> above) as usize
}

/// The largest value of a bucket.
fn upper_end(bucket: usize) -> u64 {
    let (fine, bucket) = (u64::from(FINE), bucket as u64);
    let above = (bucket / fine).saturating_sub(1);
    ((bucket - above * fine + 1) << above) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_lies_between_its_ends() {
        for value in (0..5000).chain([1 << 20, (1 << 20) + 1, 12_345_678, 1 << 40]) {
            let found = bucket(value);
            assert!(value <= upper_end(found), "{value}");
            assert!(found == 0 || value > upper_end(found - 1), "{value}");
            assert!(upper_end(found) as f64 <= value as f64 * 1.0625, "{value}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let histogram = Histogram::new();
        (1..=1000).for_each(|value| histogram.record(value));
        let taken = histogram.take();
        assert_eq!(taken.count(), 1000);
        for (share, value) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let found = taken.percentile(share) as f64;
            assert!((value..=value * 1.0625).contains(&found), "{share}: {found}");
        }
        assert_eq!((histogram.take().count(), histogram.take().percentile(0.5)), (0, 0));
    }
}
