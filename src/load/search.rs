//! The highest rate at which nothing is lost, by halving (RFC 2544, section 26.1).

/// The highest rate up to `most` that passes, within `precision` of `most`; 0 if none did.
pub(super) fn highest(most: f64, precision: f64, mut passes: impl FnMut(f64) -> bool) -> f64 {
    if passes(most) {
        return most;
    }
    let (mut low, mut high) = (0.0, most);
    while high - low > most * precision {
        let middle = f64::midpoint(low, high);
        if passes(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_passes_at_the_most_is_tried_once() {
        let mut tried = 0;
        let found = highest(10.0, 0.01, |_| {
            tried += 1;
            true
        });
        assert_eq!((found, tried), (10.0, 1));
    }

    proptest! {
        #[test]
        fn it_finds_the_limit_from_below(limit in 0.0..=1e7) {
            let mut tried = 0;
            let found = highest(1e7, 0.01, |rate| {
                tried += 1;
                rate <= limit
            });
            prop_assert!(found <= limit && limit - found <= 1e5, "{found} of {limit}");
            prop_assert!(tried <= 8);
        }
    }
}
