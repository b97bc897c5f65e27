//! Reads a threshold: a statistic, a relation and a bound.

use super::{Metric, Relation, Statistic, Threshold};
use crate::yaml::{duration, remedy};

/// A threshold that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ThresholdError {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

impl Threshold {
    /// Reads the threshold of a metric.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn parse(metric: &str, expression: &str) -> Result<Self, ThresholdError> {
        let names = Metric::ALL.map(Metric::as_str);
        let error = |message: String, help: String| Err(ThresholdError { message, help });
        let Some(metric) = Metric::ALL.into_iter().find(|one| one.as_str() == metric) else {
            let help = remedy(metric, &names);
            return error(format!("there is no threshold on '{metric}'"), help);
        };
        let split = Relation::ALL.into_iter().find_map(|relation| {
            let (left, right) = expression.split_once(relation.as_str())?;
            Some((left.trim(), relation, right.trim()))
        });
        let Some((left, relation, right)) = split else {
            let message = format!("'{expression}' compares nothing");
            return error(message, format!("write it as {}", example(metric)));
        };
        let statistic = statistic(metric, left)?;
        let Some(bound) = bound(metric, right) else {
            let kind = match metric {
                metric if metric.is_share() => "a share from 0 to 1",
                metric if metric.is_time() => "a time",
                _ => "a number",
            };
            let message = format!("'{right}' is not {kind}");
            return error(message, format!("write it as {}", example(metric)));
        };
        Ok(Self {
            metric,
            statistic,
            relation,
            bound,
        })
    }
}

fn example(metric: Metric) -> &'static str {
    match metric {
        Metric::Pass => "rate >= 0.95",
        Metric::Loops => "rate < 0.01",
        Metric::Ttft | Metric::EndToEnd => "p95 < 500ms",
        Metric::Tokens => "max <= 400",
    }
}

fn statistic(metric: Metric, text: &str) -> Result<Statistic, ThresholdError> {
    const SHARES: [(&str, Statistic); 3] = [
        ("rate", Statistic::Rate),
        ("lower95", Statistic::Lower95),
        ("upper95", Statistic::Upper95),
    ];
    const MEASURES: [(&str, Statistic); 3] = [
        ("mean", Statistic::Mean),
        ("min", Statistic::Min),
        ("max", Statistic::Max),
    ];
    let (known, more) = match metric.is_share() {
        true => (SHARES, ""),
        false => (MEASURES, "p50 to p99.9"),
    };
    if let Some((_, found)) = known.into_iter().find(|(name, _)| *name == text) {
        return Ok(found);
    }
    let percent = text
        .strip_prefix('p')
        .and_then(|rest| rest.parse::<f64>().ok());
    let in_range = |percent: &f64| !metric.is_share() && (50.0..=99.9).contains(percent);
    if let Some(percent) = percent.filter(in_range) {
        return Ok(Statistic::Percentile(percent / 100.0));
    }
    let mut names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    names.extend(Some(more).filter(|more| !more.is_empty()));
    Err(ThresholdError {
        message: format!("'{text}' is no statistic of '{}'", metric.as_str()),
        help: remedy(text, &names),
    })
}

fn bound(metric: Metric, text: &str) -> Option<f64> {
    if metric.is_time() {
        return duration(text).map(|time| time.as_secs_f64() * 1e6);
    }
    let number = text.parse::<f64>().ok().filter(|number| *number >= 0.0)?;
    let most = if metric.is_share() { 1.0 } else { 1e12 };
    (number <= most).then_some(number)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "tfft",
        "p95 < 1s",
        "there is no threshold on 'tfft'",
        "did you mean 'ttft'?"
    )]
    #[case("ttft", "p95 1s", "'p95 1s' compares nothing", "p95 < 500ms")]
    #[case("ttft", "p95 < 500", "'500' is not a time", "p95 < 500ms")]
    #[case("ttft", "p95 == 1s", "'p95 == 1s' compares nothing", "p95 < 500ms")]
    #[case(
        "ttft",
        "rate < 1s",
        "'rate' is no statistic of 'ttft'",
        "p50 to p99.9"
    )]
    #[case(
        "ttft",
        "p100 < 1s",
        "'p100' is no statistic of 'ttft'",
        "p50 to p99.9"
    )]
    #[case("ttft", "maxx < 1s", "'maxx' is no statistic", "did you mean 'max'?")]
    #[case("loops", "p95 < 0.1", "'p95' is no statistic of 'loops'", "")]
    #[case("loops", "rate < 5%", "'5%' is not a share from 0 to 1", "rate < 0.01")]
    #[case(
        "pass",
        "rate >= 95",
        "'95' is not a share from 0 to 1",
        "rate >= 0.95"
    )]
    #[case("pass", "rate >= nan", "'nan' is not a share", "")]
    #[case("tokens", "max <= -1", "'-1' is not a number", "max <= 400")]
    fn mistakes_are_named(
        #[case] metric: &str,
        #[case] expression: &str,
        #[case] message: &str,
        #[case] help: &str,
    ) {
        let error = Threshold::parse(metric, expression).expect_err("refused");
        assert!(error.message.contains(message), "{error:?}");
        assert!(error.help.contains(help), "{error:?}");
    }
}
