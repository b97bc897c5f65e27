//! Two settings that were tried on the same prompts with the same random numbers.
//!
//! What both did alike says nothing about their difference; what they did differently says all.
//! It knows counts of differences, not what differs.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

/// The chances of so many differences, where neither setting is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedTest {
    /// Of so many falls, or more.
    pub one_sided: f64,
    /// Of so great a difference in either direction.
    pub two_sided: f64,
}

/// The exact test of McNemar, "Note on the sampling error of the difference between correlated
/// proportions", Psychometrika 12 (1947), 153-157: where neither is better, a difference falls or
/// rises like a coin.
#[must_use]
pub fn mcnemar(falls: usize, rises: usize) -> PairedTest {
    let all = (falls + rises) as u64;
    let below = |count: usize| match Binomial::new(0.5, all) {
        Ok(coin) => coin.cdf(count as u64),
        Err(_) => 1.0,
    };
    PairedTest {
        one_sided: below(rises),
        two_sided: (2.0 * below(falls.min(rises))).min(1.0),
    }
}

/// The same where runs of one prompt hang together. `nets` has for each prompt its falls minus
/// its rises. Where neither setting is better, each prompt's net is as likely with the other
/// sign, whatever its runs have to do with each other, and the distribution of the sum over all
/// signs is computed exactly (Fisher's randomisation test with the prompt as the unit; "The
/// Design of Experiments", 1935, §21). With one run for each prompt it is McNemar's.
#[must_use]
pub fn by_cluster(nets: &[i64]) -> PairedTest {
    let sizes: Vec<usize> = nets
        .iter()
        .filter(|net| **net != 0)
        .map(|net| usize::try_from(net.unsigned_abs()).unwrap_or(usize::MAX))
        .collect();
    let most: usize = sizes.iter().sum();
    let seen: i64 = nets.iter().sum();
    // The chance of each sum of what falls; what rises is the rest.
    let mut chances = vec![0.0; most + 1];
    chances[0] = 1.0;
    for size in sizes {
        for sum in (0..=most).rev() {
            let with = sum.checked_sub(size).map_or(0.0, |before| chances[before]);
            chances[sum] = (chances[sum] + with) / 2.0;
        }
    }
    // falls - rises = seen and falls + rises = most.
    let falls = usize::try_from((most as i64 + seen) / 2).unwrap_or(0);
    let at_least = |falls: usize| chances.iter().skip(falls).sum::<f64>().min(1.0);
    PairedTest {
        one_sided: at_least(falls),
        two_sided: (2.0 * at_least(falls.max(most - falls.min(most)))).min(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// `statsmodels.stats.contingency_tables.mcnemar(…, exact=True)`.
    #[rstest]
    #[case(7, 1, 0.070_312_5)]
    #[case(10, 2, 0.038_574_218_75)]
    #[case(0, 0, 1.0)]
    #[case(3, 3, 1.0)]
    fn the_two_sided_chance_is_that_of_statsmodels(
        #[case] falls: usize,
        #[case] rises: usize,
        #[case] expected: f64,
    ) {
        let found = mcnemar(falls, rises);
        assert!((found.two_sided - expected).abs() < 1e-12, "{found:?}");
    }

    #[rstest]
    #[case(7, 1)]
    #[case(1, 7)]
    #[case(4, 4)]
    #[case(0, 0)]
    #[case(12, 0)]
    fn one_run_for_each_prompt_is_mcnemars(#[case] falls: usize, #[case] rises: usize) {
        let nets: Vec<i64> = std::iter::repeat_n(1, falls)
            .chain(std::iter::repeat_n(-1, rises))
            .chain([0, 0])
            .collect();
        let (clustered, paired) = (by_cluster(&nets), mcnemar(falls, rises));
        assert!((clustered.one_sided - paired.one_sided).abs() < 1e-12);
        assert!((clustered.two_sided - paired.two_sided).abs() < 1e-12);
    }

    #[test]
    fn three_runs_of_each_prompt_are_not_three_prompts() {
        // Three prompts that all fall, three runs each: one in eight, not one in 512.
        assert_eq!(by_cluster(&[3, 3, 3]).one_sided, 0.125);
        assert!((mcnemar(9, 0).one_sided - 1.0 / 512.0).abs() < 1e-12);
    }
}
