//! How generations of a model are labelled, by rules that were written before any detector had
//! seen them and that use none.
//!
//! The rules see how a generation ended, and how well its tokens agree with those a fixed lag
//! before, which needs no threshold on copies and forgives a changed token now and then:
//!
//! - **looped**: it did not end by itself, and at one lag of at most a sixth of its length, 95 % of
//!   the tokens of its last 40 % equal the token one lag before;
//! - **recovered**: it ended by itself, but somewhere 95 % of at least 128 tokens, and of at least
//!   four lags, equal the token one lag before;
//! - **healthy**: it ended by itself and nowhere do 80 % of 96 tokens, and three lags, so agree;
//! - **unclear**: everything else. Listed, and counted neither as right nor as wrong.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Longest lag looked at, in tokens.
const LONGEST_LAG: usize = 512;

/// What a generation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It went in circles until it was cut off: the tokens of the circle, and its lag.
    Looped(Range<usize>, usize),
    /// It went in circles and then ended by itself.
    Recovered(Range<usize>, usize),
    /// It ended by itself without going in circles.
    Healthy,
    /// None of these for certain.
    Unclear,
}

impl Outcome {
    /// Labels a generation from its tokens and whether it ended by itself.
    #[must_use]
    pub fn of(tokens: &[u32], ended_itself: bool) -> Self {
        if !ended_itself {
            let tail = tokens.len() * 6 / 10;
            let lag = (1..=(tokens.len() / 6).min(LONGEST_LAG))
                .find(|&lag| agreement(tokens, tail..tokens.len(), lag) >= 0.95);
            return lag.map_or(Self::Unclear, |lag| {
                Self::Looped(reach_back(tokens, tail, lag)..tokens.len(), lag)
            });
        }
        if let Some((found, lag)) = somewhere(tokens, 128, 4, 0.95) {
            return Self::Recovered(found, lag);
        }
        if somewhere(tokens, 96, 3, 0.8).is_some() {
            return Self::Unclear;
        }
        Self::Healthy
    }
}

/// The share of tokens in `range` that equal the token `lag` before; those without one do not.
fn agreement(tokens: &[u32], range: Range<usize>, lag: usize) -> f64 {
    let length = range.len().max(1);
    let equal = range.filter(|&at| at >= lag && tokens[at] == tokens[at - lag]);
    equal.count() as f64 / length as f64
}

/// Where the circle that covers `from` began: the first copy starts one lag before the agreement.
fn reach_back(tokens: &[u32], from: usize, lag: usize) -> usize {
    let mut at = from;
    while at > lag && tokens[at - 1] == tokens[at - 1 - lag] {
        at -= 1;
    }
    at.saturating_sub(lag)
}

/// The first window of `shortest` tokens, or of `lags` lags, that agrees with the text one lag
/// before to the given share.
fn somewhere(
    tokens: &[u32],
    shortest: usize,
    lags: usize,
    share: f64,
) -> Option<(Range<usize>, usize)> {
    (1..=(tokens.len() / (lags + 1)).min(LONGEST_LAG)).find_map(|lag| {
        let window = shortest.max(lags * lag);
        let equal = |at: usize| usize::from(tokens[at] == tokens[at - lag]);
        let mut count = 0;
        (lag..tokens.len()).find_map(|at| {
            count += equal(at);
            if at >= lag + window {
                count -= equal(at - window);
            }
            let full = at + 1 >= lag + window;
            (full && count as f64 >= share * window as f64)
                .then(|| (at + 1 - window - lag..at + 1, lag))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varied(length: u32) -> Vec<u32> {
        (0..length)
            .map(|n| n.wrapping_mul(2_654_435_761) >> 8)
            .collect()
    }

    #[test]
    fn a_generation_that_ran_into_its_cap_in_circles_looped() {
        let circle: Vec<u32> = (0..20).collect();
        let tokens = [varied(100), circle.repeat(30)].concat();
        assert_eq!(Outcome::of(&tokens, false), Outcome::Looped(100..700, 20));
        let recovered = Outcome::of(&[tokens, varied(300)].concat(), true);
        assert!(
            matches!(recovered, Outcome::Recovered(_, 20)),
            "{recovered:?}"
        );
    }

    #[test]
    fn a_changed_token_now_and_then_does_not_hide_a_circle() {
        let mut tokens = [varied(50), (0..25).collect::<Vec<u32>>().repeat(30)].concat();
        for at in (60..tokens.len()).step_by(90) {
            tokens[at] = 1_000_000 + at as u32;
        }
        assert!(matches!(
            Outcome::of(&tokens, false),
            Outcome::Looped(_, 25)
        ));
    }

    #[test]
    fn what_is_neither_is_unclear() {
        assert_eq!(Outcome::of(&varied(500), true), Outcome::Healthy);
        assert_eq!(Outcome::of(&varied(500), false), Outcome::Unclear);
        let short = [varied(200), vec![7; 110], varied(200)].concat();
        assert_eq!(Outcome::of(&short, true), Outcome::Unclear);
    }
}
