//! Times, as people and programs read them.

use std::time::Duration;

/// A time since 1970-01-01 UTC in the form of RFC 3339, with nanoseconds.
pub(crate) fn rfc3339(nanos: u64) -> String {
    let time = Duration::from_nanos(nanos);
    let (days, seconds) = (time.as_secs() / 86_400, time.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = time.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

/// The time of day (UTC) of [`rfc3339`].
pub(crate) fn of_day(nanos: u64) -> String {
    rfc3339(nanos).split(['T', 'Z']).nth(1).unwrap_or_default().to_owned()
}

/// A time since 1970-01-01 UTC to the minute, as in the names of AWS's log files: `20180620T1620Z`.
pub(crate) fn minute(time: Duration) -> String {
    let (days, minutes) = (time.as_secs() / 86_400, time.as_secs() % 86_400 / 60);
    let (year, month, day) = civil(days);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}Z", minutes / 60, minutes % 60)
}

/// The Gregorian date of a day counted from 1970-01-01: year, month and day from 1.
fn civil(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01, so that a leap day ends its year; 400 years have 146097 days.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // Months from March have 153 days in every five.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month < 3), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_709_210_096, "2024-02-29T12:34:56"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(rfc3339(seconds * 1_000_000_000 + 7), format!("{text}.000000007Z"));
        }
        assert_eq!(of_day(1_500_000_000), "00:00:01.500000000");
        assert_eq!(minute(Duration::from_secs(1_529_511_659)), "20180620T1620Z");
    }
}
