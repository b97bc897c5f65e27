//! Times as people write them.

use std::time::Duration;

/// A positive time of at most a day, such as `500ms`, `30s` or `2m`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
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
