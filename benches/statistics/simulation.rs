//! Draws samples as small as those of a sweep from worlds whose truth is known, and counts how
//! often intervals cover it and tests are wrong.
//!
//! The benchmark runs it with many rounds and prints a table; a behaviour test runs it with few
//! and holds the figures against what is promised.

use loopwatch::statistics::{
    Clusters, Looks, Observation, PairedCounts, Share, clopper_pearson, holm, kaplan_meier, paired,
    survival, trend, wilson,
};

use crate::random::Random;

/// One figure of the table.
pub(crate) struct Measured {
    /// What was done, in one line.
    pub(crate) what: &'static str,
    /// What is promised, in words.
    pub(crate) promised: &'static str,
    /// Between what a test accepts the figure.
    pub(crate) accepted: (f64, f64),
    /// How often it was so.
    pub(crate) share: f64,
    /// The standard error of that.
    pub(crate) error: f64,
}

impl Random {
    fn hit(&mut self, rate: f64) -> bool {
        self.uniform() < rate
    }

    fn share(&mut self, rate: f64, of: usize) -> Share {
        let hits = (0..of).filter(|_| self.hit(rate)).count();
        Share { hits, of }
    }

    /// Two sorts of prompts: a third loops in three of five runs, the others never. One in five
    /// runs loops.
    fn prompt_rate(&mut self) -> f64 {
        if self.hit(1.0 / 3.0) { 0.6 } else { 0.0 }
    }

    /// An exponential time with mean 1.
    fn time(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }
}

const PROMPTS: usize = 24;
const RUNS: usize = 4;

/// One line of the table: what, what is promised, what is accepted, and what a round is asked.
type Line<Answer> = (
    &'static str,
    &'static str,
    (f64, f64),
    fn(&mut Random) -> Answer,
);

fn share_of(so: bool) -> f64 {
    f64::from(u8::from(so))
}

/// Every figure, over so many rounds each.
pub(crate) fn all(rounds: usize) -> Vec<Measured> {
    let figures: [Line<bool>; 25] = [
        (
            "Wilson, 20 runs, rate 5 %: covers",
            "95 %; exactly 92.5 % here",
            (0.905, 0.945),
            |r| covers(wilson_of(r.share(0.05, 20)), 0.05),
        ),
        (
            "Wilson, 100 runs, rate 5 %: covers",
            "95 %",
            (0.94, 0.98),
            |r| covers(wilson_of(r.share(0.05, 100)), 0.05),
        ),
        (
            "Clopper-Pearson, 20 runs, rate 5 %: covers",
            "at least 95 %",
            (0.95, 1.0),
            |r| {
                let interval = clopper_pearson(r.share(0.05, 20), 0.95);
                covers((interval.low, interval.high), 0.05)
            },
        ),
        (
            "Wilson over 24 unlike prompts × 4 runs as if independent: covers",
            "95 %, and does not",
            (0.0, 0.9),
            |r| covers(wilson_of(prompts(r).total()), 0.2),
        ),
        (
            "Wilson over their effective number: covers",
            "95 %",
            (0.93, 0.98),
            |r| {
                let interval = prompts(r).interval(0.0, 0.95);
                covers((interval.low, interval.high), 0.2)
            },
        ),
        (
            "Trend, 6 levels × 96 runs of unlike prompts, no trend: finds one",
            "at most 5 %",
            (0.02, 0.06),
            |r| finds(&blocks(r, [0.6; 6]), false),
        ),
        (
            "Trend, 6 levels × 30 independent runs, no trend: finds a fall",
            "at most 5 %",
            (0.02, 0.06),
            |r| finds(&[levels(r, [0.2; 6], 30)], true),
        ),
        (
            "Trend, 6 levels × 30 runs, 30 % falls to 2 %: finds the fall",
            "power",
            (0.95, 1.0),
            |r| finds(&[levels(r, FALLS, 30)], true),
        ),
        (
            "Best of 5 comparisons with Holm, the same runs: finds a fall",
            "power; less than the trend's",
            (0.4, 0.9),
            |r| {
                let counts = levels(r, FALLS, 30);
                let p: Vec<f64> = counts[1..]
                    .iter()
                    .map(|level| two_groups(counts[0], *level))
                    .collect();
                holm(&p).iter().any(|p| *p < 0.05)
            },
        ),
        (
            "Prompt as the unit, 24 unlike prompts × 4 runs, no difference: finds one",
            "at most 5 %",
            (0.0, 0.06),
            |r| paired::by_cluster(&nets(r)).two_sided < 0.05,
        ),
        (
            "McNemar on the same pairs as if independent: finds one",
            "5 %, and does not",
            (0.1, 1.0),
            |r| {
                let nets = nets(r);
                let sum = |sign: i64| -> usize {
                    nets.iter()
                        .map(|net| usize::try_from((net * sign).max(0)).unwrap_or(0))
                        .sum()
                };
                paired::mcnemar(sum(1), sum(-1)).two_sided < 0.05
            },
        ),
        (
            "Holm, 15 comparisons, no difference: finds any",
            "at most 5 %",
            (0.0, 0.06),
            |r| {
                let p: Vec<f64> = (0..15)
                    .map(|_| paired::by_cluster(&coins(r, 40)).two_sided)
                    .collect();
                holm(&p).iter().any(|p| *p < 0.05)
            },
        ),
        (
            "Survival, 50 watched, a third cut off: covers at the median",
            "95 %",
            (0.93, 0.975),
            |r| {
                let curve = kaplan_meier(&watched(r, 50), 0.95);
                let (_, interval) = survival::at(&curve, MEDIAN);
                covers((interval.low, interval.high), 0.5)
            },
        ),
        (
            "Survival, 50 watched: the share is above the truth",
            "half of the time",
            (0.45, 0.55),
            |r| {
                let (share, _) = survival::at(&kaplan_meier(&watched(r, 50), 0.95), MEDIAN);
                share > 0.5 || (share == 0.5 && r.hit(0.5))
            },
        ),
        (
            "Non-inferiority, margin 10 %, 96 pairs, truth 10 % worse: says not worse",
            "at most 5 %",
            (0.02, 0.065),
            |r| pairs(r, 96, 0.05, 0.15).non_inferior(0.1, 0.05),
        ),
        (
            "Non-inferiority, margin 10 %, 96 pairs, no difference: says not worse",
            "power",
            (0.6, 1.0),
            |r| pairs(r, 96, 0.05, 0.05).non_inferior(0.1, 0.05),
        ),
        (
            "Non-inferiority over 24 prompts × 4 alike pairs, truth 10 % worse: says not worse",
            "at most 5 %",
            (0.0, 0.08),
            |r| clustered_pairs(r).non_inferior(0.1, 0.05),
        ),
        (
            "Recommendation, 5 penalties × 3 windows, 120 runs, all truly at the target: takes one",
            "at most 3 × 2.5 %",
            (0.0, 0.085),
            |r| {
                // Nothing in common between settings: the worst case.
                (0..3).any(|_| wilson_of(r.share(0.1, 120)).1 < 0.1)
            },
        ),
        (
            "Adaptive, 4 looks at 120 runs, truly at the target of 10 %: says below",
            "at most 2.5 %",
            (0.002, 0.012),
            |r| adaptive(r, &mut single(0.1), 120, 0.1).0 == Found::Below,
        ),
        (
            "Adaptive, 4 looks at 120 runs, truly at the target of 10 %: says above",
            "at most 2.5 %",
            (0.002, 0.014),
            |r| adaptive(r, &mut single(0.1), 120, 0.1).0 == Found::Above,
        ),
        (
            "The same looks with the 95 % interval at each, truly at the target: says below",
            "2.5 %, and does not",
            (0.027, 1.0),
            |r| looked_at_plainly(r, 0.1, 120, 0.1),
        ),
        (
            "Adaptive, 24 unlike prompts × 4 runs, truly at the target of 20 %: says below",
            "at most 2.5 %",
            (0.0, 0.01),
            |r| adaptive(r, &mut unlike, PROMPTS, 0.2).0 == Found::Below,
        ),
        (
            "Adaptive, 24 unlike prompts × 4 runs, truly at the target of 20 %: says above",
            "at most 2.5 %",
            (0.0, 0.01),
            |r| adaptive(r, &mut unlike, PROMPTS, 0.2).0 == Found::Above,
        ),
        (
            "Adaptive recommendation, 5 penalties × 3 windows, 120 runs, all truly at the target: takes one",
            "at most 3 × 2.5 %",
            (0.01, 0.035),
            |r| (0..3).any(|_| adaptive(r, &mut single(0.1), 120, 0.1).0 == Found::Below),
        ),
        (
            "Adaptive, 120 runs, rate 3 %, target 10 %: says below",
            "power",
            (0.5, 1.0),
            |r| adaptive(r, &mut single(0.03), 120, 0.1).0 == Found::Below,
        ),
    ];
    let savings: [Line<f64>; 5] = [
        (
            "Not adaptive, 120 runs, rate 3 %, target 10 %: says below",
            "power",
            (0.5, 1.0),
            |r| share_of(wilson_of(r.share(0.03, 120)).1 < 0.1),
        ),
        (
            "Adaptive, 120 runs, rate 60 %, target 10 %: runs saved",
            "mean",
            (0.6, 0.75),
            |r| adaptive(r, &mut single(0.6), 120, 0.1).1,
        ),
        (
            "Adaptive, 120 runs, rate 25 %, target 10 %: runs saved",
            "mean",
            (0.2, 0.7),
            |r| adaptive(r, &mut single(0.25), 120, 0.1).1,
        ),
        (
            "Adaptive, 120 runs, rate 3 %, target 10 %: runs saved",
            "mean",
            (0.05, 0.7),
            |r| adaptive(r, &mut single(0.03), 120, 0.1).1,
        ),
        (
            "Adaptive, 120 runs, truly at the target of 10 %: runs saved",
            "mean",
            (0.0, 0.1),
            |r| adaptive(r, &mut single(0.1), 120, 0.1).1,
        ),
    ];
    let shares = |random: &mut Random, round: &dyn Fn(&mut Random) -> f64| -> (f64, f64) {
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..rounds {
            let share = round(random);
            sum += share;
            squares += share * share;
        }
        let (mean, many) = (sum / rounds as f64, rounds as f64);
        (
            mean,
            ((squares / many - mean * mean) / many).max(0.0).sqrt(),
        )
    };
    let mut all = Vec::new();
    let mut add = |what, promised, accepted, round: &dyn Fn(&mut Random) -> f64| {
        let (share, error) = shares(&mut Random(1 + all.len() as u64), round);
        all.push(Measured {
            what,
            promised,
            accepted,
            share,
            error,
        });
    };
    for (what, promised, accepted, round) in figures {
        add(what, promised, accepted, &|random| share_of(round(random)));
    }
    for (what, promised, accepted, round) in savings {
        add(what, promised, accepted, &round);
    }
    all
}

const FALLS: [f64; 6] = [0.3, 0.244, 0.188, 0.132, 0.076, 0.02];

fn wilson_of(share: Share) -> (f64, f64) {
    let interval = wilson(share.hits as f64, share.of as f64, 0.95);
    (interval.low, interval.high)
}

fn covers((low, high): (f64, f64), truth: f64) -> bool {
    low <= truth && truth <= high
}

/// Runs of unlike prompts.
fn prompts(random: &mut Random) -> Clusters {
    let one = |_| {
        let rate = random.prompt_rate();
        random.share(rate, RUNS)
    };
    Clusters::new((0..PROMPTS).map(one).collect::<Vec<_>>())
}

fn levels(random: &mut Random, rates: [f64; 6], runs: usize) -> Vec<Share> {
    rates.iter().map(|rate| random.share(*rate, runs)).collect()
}

/// One stratum for each run of each prompt, with one trial at each level; `rates` are those of
/// the prompts that loop at all.
fn blocks(random: &mut Random, rates: [f64; 6]) -> Vec<Vec<Share>> {
    let mut blocks = Vec::new();
    for _ in 0..PROMPTS {
        let loops = random.prompt_rate() > 0.0;
        for _ in 0..RUNS {
            let trial = |rate: &f64| Share {
                hits: usize::from(loops && random.hit(*rate)),
                of: 1,
            };
            blocks.push(rates.iter().map(trial).collect());
        }
    }
    blocks
}

fn finds(strata: &[Vec<Share>], falls: bool) -> bool {
    trend(strata).is_some_and(|found| match falls {
        true => found.falls < 0.05,
        false => 2.0 * found.falls.min(found.rises) < 0.05,
    })
}

/// The chance of so strong a fall between two groups: the trend test of two levels is Fisher's.
fn two_groups(before: Share, after: Share) -> f64 {
    trend(&[vec![before, after]]).map_or(1.0, |found| found.falls)
}

/// Falls minus rises of prompts that react to a setting in either direction, all runs alike.
fn nets(random: &mut Random) -> Vec<i64> {
    let net = |_| {
        let sign = if random.hit(0.5) { 1 } else { -1 };
        let reacting = (0..RUNS).filter(|_| random.hit(0.6)).count() as i64;
        if random.hit(0.5) { sign * reacting } else { 0 }
    };
    (0..PROMPTS).map(net).collect()
}

fn coins(random: &mut Random, pairs: usize) -> Vec<i64> {
    let coin = |_| match random.uniform() {
        u if u < 0.2 => 1,
        u if u < 0.4 => -1,
        _ => 0,
    };
    (0..pairs).map(coin).collect()
}

/// Times in thousandths; the median of an exponential one is `1000 · ln 2`.
const MEDIAN: usize = 693;

fn watched(random: &mut Random, many: usize) -> Vec<Observation> {
    let one = |_| {
        let (event, cut) = (random.time(), 2.0 * random.time());
        Observation {
            time: (event.min(cut) * 1e3).ceil() as usize,
            event: event <= cut,
        }
    };
    (0..many).map(one).collect()
}

fn pairs(random: &mut Random, many: usize, only_new: f64, only_old: f64) -> PairedCounts {
    let mut counts = PairedCounts::default();
    for _ in 0..many {
        let drawn = random.uniform();
        counts.pairs += 1.0;
        if drawn < only_new {
            counts.only_new += 1.0;
        } else if drawn < only_new + only_old {
            counts.only_old += 1.0;
        }
    }
    counts
}

/// A prompt that reacts does so in most of its runs: a sixth gets better, a third worse, each in
/// three of five runs; on the whole 10 % worse.
fn clustered_pairs(random: &mut Random) -> PairedCounts {
    let one = |_| {
        let sort = random.uniform();
        let reacting = (0..RUNS).filter(|_| random.hit(0.6)).count();
        match sort {
            s if s < 1.0 / 6.0 => (RUNS, reacting, 0),
            s if s < 0.5 => (RUNS, 0, reacting),
            _ => (RUNS, 0, 0),
        }
    };
    PairedCounts::of_clusters(&(0..PROMPTS).map(one).collect::<Vec<_>>())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Below,
    Above,
    Open,
}

/// After how many of so many prompts a sweep looks.
fn ends(prompts: usize) -> [usize; 4] {
    [1, 2, 3, 4].map(|look| (prompts * look).div_ceil(4))
}

/// A setting of an adaptive sweep, whose prompts are drawn one by one: what it is found to be, and
/// the share of its runs that were not needed.
fn adaptive(
    random: &mut Random,
    prompt: &mut dyn FnMut(&mut Random) -> Share,
    prompts: usize,
    target: f64,
) -> (Found, f64) {
    let ends = ends(prompts);
    let looks = Looks::after(&ends);
    let drawn: Vec<Share> = (0..prompts).map(|_| prompt(random)).collect();
    for (look, end) in ends.into_iter().enumerate() {
        let seen = Clusters::new(drawn[..end].iter().copied());
        let found = looks.interval(look, &seen, ALIKE, 0.95);
        let saved = 1.0 - end as f64 / prompts as f64;
        if found.low >= target {
            return (Found::Above, saved);
        }
        if found.high < target {
            return (Found::Below, saved);
        }
    }
    (Found::Open, 0.0)
}

/// How alike runs of an unlike prompt are: the variance of the two rates over that of a run.
const ALIKE: f64 = 0.5;

fn single(rate: f64) -> impl FnMut(&mut Random) -> Share {
    move |random| random.share(rate, 1)
}

fn unlike(random: &mut Random) -> Share {
    let rate = random.prompt_rate();
    random.share(rate, RUNS)
}

/// What a plain method would do: the same interval at each look.
fn looked_at_plainly(random: &mut Random, rate: f64, runs: usize, target: f64) -> bool {
    let drawn: Vec<bool> = (0..runs).map(|_| random.hit(rate)).collect();
    ends(runs).into_iter().any(|end| {
        let hits = drawn[..end].iter().filter(|hit| **hit).count();
        wilson_of(Share { hits, of: end }).1 < target
    })
}
