//! When several runs of one case pass together.
//!
//! Knows how many runs there were and how many passed. What a run is, and why it passed, is not
//! known here.

use std::fmt;

use crate::statistics::{CONFIDENCE, wilson};

/// Most runs of one case.
const MOST_RUNS: usize = 1_000;
/// What a person may write.
const FORMS: &str = "all, at_least 4/5, pass_k 3 >= 0.5, lower95 >= 0.8";

/// How often a case is run, and when its runs pass together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Repeat {
    /// At least 2.
    pub runs: usize,
    /// When they pass together.
    pub reduce: Reduce,
}

/// When several runs pass together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reduce {
    /// Every one passes.
    All,
    /// At least so many pass.
    AtLeast(usize),
    /// The chance that `k` of the runs, drawn without putting back, all pass is at least `share`:
    /// C(passed, k) / C(runs, k), the pass^k of Yao et al., "tau-bench" (2024), section 3.
    PassK {
        /// Runs that are drawn, at least 1.
        k: usize,
        /// Above 0, at most 1.
        share: f64,
    },
    /// The lower end of the 95 % interval of Wilson around the share that passes is at least this,
    /// which is above 0 and below 1.
    Lower95(f64),
}

impl Repeat {
    /// Checks a number of runs and what was written about them.
    ///
    /// # Errors
    /// What is wrong, and what would be right; also where no number of passes could be enough.
    pub fn new(runs: usize, reduce: Option<&str>) -> Result<Self, String> {
        if !(2..=MOST_RUNS).contains(&runs) {
            return Err(format!("repeat is {runs}, but must be 1 to {MOST_RUNS}"));
        }
        let reduce = Reduce::parse(reduce.unwrap_or("all"), runs)?;
        let repeat = Self { runs, reduce };
        match (reduce, repeat.judge(runs)) {
            (Reduce::Lower95(share), (false, _)) => {
                let advice = match enough(share) {
                    Some(runs) => format!("repeat at least {runs} times"),
                    None => format!("not even {MOST_RUNS} runs are enough for that"),
                };
                Err(format!(
                    "if all {runs} runs pass, the lower end of the interval is {:.3}, and never {share}; {advice}",
                    lower95(runs, runs),
                ))
            }
            _ => Ok(repeat),
        }
    }

    /// Whether the runs are a sample from which something is concluded about others.
    #[must_use]
    pub fn is_estimate(&self) -> bool {
        matches!(self.reduce, Reduce::PassK { .. } | Reduce::Lower95(_))
    }

    /// Whether so many passes are enough, and the fact behind it.
    #[must_use]
    pub fn judge(&self, passed: usize) -> (bool, String) {
        let runs = self.runs;
        let fact = format!("{passed} of {runs} runs passed");
        match self.reduce {
            Reduce::All => (passed == runs, fact),
            Reduce::AtLeast(least) => (passed >= least, format!("{fact}, at least {least} must")),
            Reduce::PassK { k, share } => {
                let chance = all_of(k, passed, runs);
                (
                    chance >= share,
                    format!(
                        "{fact}: {k} of them all pass with a chance of {chance:.3}, at least {share} wanted"
                    ),
                )
            }
            Reduce::Lower95(share) => {
                let low = lower95(passed, runs);
                (
                    low >= share,
                    format!(
                        "{fact}: at least {low:.3} of all would, with 95 % confidence; {share} wanted"
                    ),
                )
            }
        }
    }
}

impl Reduce {
    /// Reads what a person writes about `runs` runs.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn parse(text: &str, runs: usize) -> Result<Self, String> {
        let spaced = text.replace(">=", " >= ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let unknown = || format!("reduce '{text}' is not known; write one of {FORMS}");
        let share = |text: &str, most: f64| {
            let share = text.parse::<f64>().ok();
            share
                .filter(|share| *share > 0.0 && *share <= most)
                .ok_or_else(|| {
                    format!("reduce '{text}': a share is above 0 and at most 1, such as 0.8")
                })
        };
        let within = |text: &str| {
            let count = text.parse::<usize>().ok();
            count
                .filter(|count| (1..=runs).contains(count))
                .ok_or_else(|| format!("reduce '{text}': the test has {runs} runs"))
        };
        match words.as_slice() {
            ["all"] => Ok(Self::All),
            ["at_least", part] => {
                let (least, of) = part.split_once('/').unwrap_or((part, ""));
                if !of.is_empty() && of.parse() != Ok(runs) {
                    return Err(format!("reduce '{text}': repeat is {runs}, and not {of}"));
                }
                Ok(Self::AtLeast(within(least)?))
            }
            ["pass_k", k, ">=", wanted] => Ok(Self::PassK {
                k: within(k)?,
                share: share(wanted, 1.0)?,
            }),
            ["lower95", ">=", wanted] => Ok(Self::Lower95(share(wanted, 0.999)?)),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Repeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reduce {
            Reduce::All => f.write_str("all"),
            Reduce::AtLeast(least) => write!(f, "at_least {least}/{}", self.runs),
            Reduce::PassK { k, share } => write!(f, "pass_k {k} >= {share}"),
            Reduce::Lower95(share) => write!(f, "lower95 >= {share}"),
        }
    }
}

/// The chance that `k` of `runs` runs, drawn without putting back, are all among the `passed`.
fn all_of(k: usize, passed: usize, runs: usize) -> f64 {
    (0..k)
        .map(|drawn| passed.saturating_sub(drawn) as f64 / (runs - drawn) as f64)
        .product()
}

fn lower95(passed: usize, runs: usize) -> f64 {
    wilson(passed as f64, runs as f64, CONFIDENCE).low
}

/// The fewest runs whose lower end reaches `share` if all pass, if so many may be run.
fn enough(share: f64) -> Option<usize> {
    (1..=MOST_RUNS).find(|runs| lower95(*runs, *runs) >= share)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The edge of each rule: so many passes are enough, and one less is not. The lower ends are
    /// those of `statsmodels.stats.proportion.proportion_confint(…, method="wilson")`: 0.8389 for
    /// 20 of 20, 0.7639 for 19.
    #[rstest]
    #[case(5, None, 5)]
    #[case(5, Some("at_least 4/5"), 4)]
    #[case(5, Some("at_least 3"), 3)]
    // 3 of the 6 that pass among 10: 6*5*4 / (10*9*8) = 1/6; of 5, 1/12.
    #[case(10, Some("pass_k 3 >= 0.16"), 6)]
    #[case(20, Some("lower95>=0.8"), 20)]
    #[case(20, Some("lower95 >= 0.76"), 19)]
    fn the_edge_of_enough(
        #[case] runs: usize,
        #[case] reduce: Option<&str>,
        #[case] enough: usize,
    ) {
        let repeat = Repeat::new(runs, reduce).expect("valid");
        assert!(repeat.judge(enough).0, "{:?}", repeat.judge(enough));
        assert!(
            !repeat.judge(enough - 1).0,
            "{:?}",
            repeat.judge(enough - 1)
        );
    }

    #[rstest]
    #[case(1_001, "all", "repeat is 1001, but must be 1 to 1000")]
    #[case(
        5,
        "some",
        "reduce 'some' is not known; write one of all, at_least 4/5"
    )]
    #[case(5, "at_least 4/6", "repeat is 5, and not 6")]
    #[case(5, "at_least 6", "the test has 5 runs")]
    #[case(5, "pass_k 9 >= 0.5", "the test has 5 runs")]
    #[case(5, "lower95 >= 80", "a share is above 0 and at most 1")]
    #[case(5, "lower95 >= nan", "a share is above 0 and at most 1")]
    #[case(
        10,
        "lower95 >= 0.8",
        "if all 10 runs pass, the lower end of the interval is 0.722, and never 0.8; repeat at least 16 times"
    )]
    #[case(10, "lower95 >= 0.999", "not even 1000 runs are enough for that")]
    fn mistakes_are_named(#[case] runs: usize, #[case] reduce: &str, #[case] message: &str) {
        let error = Repeat::new(runs, Some(reduce)).expect_err("refused");
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["all", "at_least 4/5", "pass_k 3 >= 0.5", "lower95 >= 0.5"] {
            let repeat = Repeat::new(5, Some(text)).expect("valid");
            assert_eq!(repeat.to_string(), text);
        }
    }
}
