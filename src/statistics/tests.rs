//! Every figure against other systems: `tests/goldens/make_statistics_goldens.py` made them.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Goldens {
    proportions: Vec<Proportion>,
    pairs: Vec<Pair>,
    holm: Vec<Adjusted>,
    survival: Vec<Watched>,
    trends: Vec<Counted>,
    exact_trends: Vec<Blocks>,
    differences: Vec<Difference>,
}

#[derive(Deserialize)]
struct Proportion {
    method: String,
    hits: usize,
    of: usize,
    confidence: f64,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct Pair {
    falls: usize,
    rises: usize,
    one_sided: f64,
    two_sided: f64,
}

#[derive(Deserialize)]
struct Adjusted {
    raw: Vec<f64>,
    holm: Vec<f64>,
}

#[derive(Deserialize)]
struct Watched {
    times: Vec<usize>,
    events: Vec<bool>,
    curve: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    time: usize,
    share: f64,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct Counted {
    hits: Vec<usize>,
    of: Vec<usize>,
    z: f64,
}

#[derive(Deserialize)]
struct Blocks {
    blocks: Vec<Vec<usize>>,
    falls: f64,
    rises: f64,
}

#[derive(Deserialize)]
struct Difference {
    pairs: f64,
    only_new: f64,
    only_old: f64,
    confidence: f64,
    low: f64,
    high: f64,
}

fn goldens() -> Goldens {
    let text = include_str!("../../tests/goldens/statistics.json");
    serde_json::from_str(text).expect("goldens")
}

#[track_caller]
fn near(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() < tolerance,
        "{found}, not {expected}"
    );
}

#[test]
fn intervals_of_shares_are_those_of_statsmodels() {
    for golden in goldens().proportions {
        let (hits, of) = (golden.hits, golden.of);
        let found = match golden.method.as_str() {
            "wilson" => wilson(hits as f64, of as f64, golden.confidence),
            _ => clopper_pearson(Share { hits, of }, golden.confidence),
        };
        near(found.low, golden.low, 1e-7);
        near(found.high, golden.high, 1e-7);
    }
}

#[test]
fn paired_tests_are_those_of_scipy_and_statsmodels() {
    for golden in goldens().pairs {
        let found = paired::mcnemar(golden.falls, golden.rises);
        near(found.one_sided, golden.one_sided, 1e-10);
        near(found.two_sided, golden.two_sided, 1e-10);
    }
    for golden in goldens().holm {
        for (found, expected) in holm(&golden.raw).into_iter().zip(golden.holm) {
            near(found, expected, 1e-12);
        }
    }
}

#[test]
fn survival_curves_are_those_of_lifelines() {
    for golden in goldens().survival {
        let watched = golden.times.iter().zip(&golden.events);
        let observations: Vec<Observation> = watched
            .map(|(time, event)| Observation {
                time: *time,
                event: *event,
            })
            .collect();
        let curve = kaplan_meier(&observations, 0.95);
        assert!(curve.len() >= golden.curve.len() && !golden.curve.is_empty());
        for (found, expected) in curve.iter().zip(golden.curve) {
            assert_eq!(found.time, expected.time);
            near(found.share, expected.share, 1e-9);
            near(found.interval.low, expected.low, 1e-7);
            near(found.interval.high, expected.high, 1e-7);
        }
    }
}

#[test]
fn trends_are_those_of_statsmodels_and_of_counting_every_permutation() {
    for golden in goldens().trends {
        let levels = golden.hits.iter().zip(&golden.of);
        let levels = levels.map(|(hits, of)| Share {
            hits: *hits,
            of: *of,
        });
        let found = trend(&[levels.collect()]).expect("varies");
        near(found.z, golden.z, 1e-9);
    }
    for golden in goldens().exact_trends {
        let block = |hits: &Vec<usize>| -> Vec<Share> {
            let shares = hits.iter().map(|hits| Share { hits: *hits, of: 1 });
            shares.collect()
        };
        let strata: Vec<Vec<Share>> = golden.blocks.iter().map(block).collect();
        let found = trend(&strata).expect("varies");
        assert!(found.exact);
        near(found.falls, golden.falls, 1e-12);
        near(found.rises, golden.rises, 1e-12);
    }
}

#[test]
fn differences_are_those_of_a_likelihood_maximised_by_scipy() {
    for golden in goldens().differences {
        let counts = PairedCounts {
            pairs: golden.pairs,
            only_new: golden.only_new,
            only_old: golden.only_old,
        };
        let found = counts.interval(golden.confidence);
        near(found.low, golden.low, 1e-5);
        near(found.high, golden.high, 1e-5);
    }
}
