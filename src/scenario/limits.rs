//! Limits as written, laid over each other and checked.

use std::time::Duration;

use super::Limits;
use super::wire::LimitsWire;

impl LimitsWire {
    /// Lays `over` on top of `self`: each field that `over` has wins.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        Self {
            max_turns: over.max_turns.or(self.max_turns),
            time_limit: over.time_limit.clone().or_else(|| self.time_limit.clone()),
        }
    }

    /// Fills in the defaults and checks.
    ///
    /// # Errors
    /// What is wrong, by name.
    pub fn resolve(&self) -> Result<Limits, String> {
        let defaults = Limits::default();
        let max_turns = self.max_turns.unwrap_or(defaults.max_turns);
        if max_turns == 0 {
            return Err("limits: max_turns is 0, but must be at least 1".to_owned());
        }
        let time_limit = match &self.time_limit {
            None => defaults.time_limit,
            Some(text) => duration(text).ok_or_else(|| {
                format!("limits: time_limit '{text}' is no duration; write it as 500ms, 30s or 2m")
            })?,
        };
        Ok(Limits {
            max_turns,
            time_limit,
        })
    }
}

/// A positive time of at most a day.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => match text.strip_suffix('m') {
            Some(number) => (number, 60.0),
            None => (text.strip_suffix('s')?, 1.0),
        },
    };
    let seconds = number.trim().parse::<f64>().ok()? * unit;
    (seconds > 0.0 && seconds <= 86_400.0).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("500ms", Some(0.5))]
    #[case("1.5s", Some(1.5))]
    #[case("2m", Some(120.0))]
    #[case("30", None)]
    #[case("-1s", None)]
    #[case("nans", None)]
    #[case("99999999m", None)]
    fn durations(#[case] text: &str, #[case] seconds: Option<f64>) {
        assert_eq!(duration(text), seconds.map(Duration::from_secs_f64));
    }
}
