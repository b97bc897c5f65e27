//! A failure that is known and excused until a day. After it the excuse is gone by itself, so that
//! nobody has to remember it.
//!
//! Days are compared with the start of a run, not with a clock: a record says the same whenever it
//! is read.

use serde::{Deserialize, Serialize};

/// Why a test may fail, and how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// The last day, in UTC, such as `2026-12-31`.
    pub until: String,
    /// Where the cause is known, such as the number of an issue.
    pub why: String,
}

impl Quarantine {
    /// Checks what was written.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn new(until: &str, why: &str) -> Result<Self, String> {
        let day: jiff::civil::Date = until
            .parse()
            .map_err(|_| format!("'{until}' is no day; write it as 2026-12-31"))?;
        if why.trim().is_empty() {
            return Err("'why' is empty; name the issue, or what is known".to_owned());
        }
        Ok(Self {
            // The one spelling whose order is that of the days.
            until: day.to_string(),
            why: why.trim().to_owned(),
        })
    }

    /// Whether it holds for a run that began at this RFC 3339 time in UTC.
    #[must_use]
    pub fn holds_at(&self, started_at: &str) -> bool {
        started_at
            .get(..self.until.len())
            .is_some_and(|day| day <= self.until.as_str())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2026-12-30T10:00:00Z", true)]
    #[case("2026-12-31T23:59:59Z", true)]
    #[case("2027-01-01T00:00:00Z", false)]
    #[case("", false)]
    fn the_last_day_counts_and_the_next_does_not(#[case] started_at: &str, #[case] holds: bool) {
        let quarantine = Quarantine::new("2026-12-31", "issue 7").expect("valid");
        assert_eq!(quarantine.holds_at(started_at), holds);
    }

    #[rstest]
    #[case("soon", "issue 7", "'soon' is no day; write it as 2026-12-31")]
    #[case(
        "2026-02-30",
        "issue 7",
        "'2026-02-30' is no day; write it as 2026-12-31"
    )]
    #[case("2026-12-31", " ", "'why' is empty; name the issue, or what is known")]
    fn mistakes_are_named(#[case] until: &str, #[case] why: &str, #[case] message: &str) {
        assert_eq!(Quarantine::new(until, why), Err(message.to_owned()));
    }
}
