//! Splits a plan into parts of nearly equal size that do not depend on who runs them.

use sha2::{Digest, Sha256};

use super::{Case, PlanError};

/// One of several parts of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// Part `index`, from 1, of `count`.
    ///
    /// # Errors
    /// If there is no such part.
    pub fn new(index: usize, count: usize) -> Result<Self, PlanError> {
        if (1..=count).contains(&index) {
            Ok(Self { index, count })
        } else {
            Err(PlanError(format!(
                "there is no shard {index}/{count}; the first is 1/{count} and the last {count}/{count}"
            )))
        }
    }

    /// Reads `i/n`.
    ///
    /// # Errors
    /// If it is not two numbers, or there is no such part.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let numbers = text
            .split_once('/')
            .and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match numbers {
            Some((index, count)) => Self::new(index, count),
            None => Err(PlanError(format!(
                "'{text}' is no shard; write it as 2/4, the second of four parts"
            ))),
        }
    }

    /// Which part, from 1.
    #[must_use]
    pub fn index(self) -> usize {
        self.index
    }

    /// How many parts there are.
    #[must_use]
    pub fn count(self) -> usize {
        self.count
    }

    /// Keeps the cases of this part, in their order. The cases are dealt out like cards, in the
    /// order of the hashes of their ids: so parts differ by one case at most, every case is in
    /// exactly one of them, and neighbours in a file, which are often alike, are spread.
    pub fn select(self, cases: &mut Vec<Case>) {
        let mut dealt: Vec<(Vec<u8>, usize)> = cases
            .iter()
            .enumerate()
            .map(|(at, case)| (Sha256::digest(&case.id).to_vec(), at))
            .collect();
        dealt.sort();
        let mut mine: Vec<usize> = dealt
            .iter()
            .skip(self.index - 1)
            .step_by(self.count)
            .map(|(_, at)| *at)
            .collect();
        mine.sort_unstable();
        let mut at = 0;
        cases.retain(|_| {
            at += 1;
            mine.binary_search(&(at - 1)).is_ok()
        });
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rstest::rstest;

    use super::*;
    use crate::generation::SamplingSettings;
    use crate::plan::{Overrides, expand};
    use crate::scenario::Scenario;

    fn cases(count: usize) -> Vec<Case> {
        if count == 0 {
            return Vec::new();
        }
        let mut text = "version: 1\ndescription: d\nwhy: w\ntests:\n".to_owned();
        for number in 0..count {
            text += &format!("- {{id: t{number}, user: u, assert: [not-loop]}}\n");
        }
        let scenario = Scenario::parse(Path::new("s.yaml"), &text).expect("valid");
        expand(
            &[scenario],
            &Overrides::default(),
            &SamplingSettings::default(),
        )
        .expect("a plan")
    }

    #[rstest]
    #[case(0, 3)]
    #[case(2, 3)]
    #[case(200, 1)]
    #[case(200, 4)]
    #[case(200, 7)]
    fn every_case_is_in_exactly_one_part_and_parts_are_even(
        #[case] all: usize,
        #[case] count: usize,
    ) {
        let whole = cases(all);
        let mut seen = Vec::new();
        for index in 1..=count {
            let mut part = whole.clone();
            Shard::new(index, count).expect("valid").select(&mut part);
            assert!((all / count..=all.div_ceil(count)).contains(&part.len()));
            assert!(part.is_sorted_by_key(|case| case.index));
            seen.extend(part.into_iter().map(|case| case.index));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..all).collect::<Vec<_>>());
    }

    #[rstest]
    #[case("2/4", Ok((2, 4)))]
    #[case("0/4", Err("there is no shard 0/4"))]
    #[case("5/4", Err("there is no shard 5/4"))]
    #[case("1/0", Err("there is no shard 1/0"))]
    #[case("2", Err("'2' is no shard"))]
    #[case("a/b", Err("'a/b' is no shard"))]
    fn shards_are_read(#[case] text: &str, #[case] expected: Result<(usize, usize), &str>) {
        match (Shard::parse(text), expected) {
            (Ok(shard), Ok((index, count))) => {
                assert_eq!((shard.index(), shard.count()), (index, count));
            }
            (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{error}"),
            (shard, _) => panic!("{shard:?}"),
        }
    }
}
