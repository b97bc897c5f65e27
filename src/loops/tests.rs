//! The promises of the detector: exact, without delay, indifferent to how a stream is cut.

use std::iter::{once, repeat_n};

use proptest::prelude::*;
use rstest::rstest;

use super::words::{fibonacci, square_free, thue_morse};
use super::*;

/// Every repetition of three copies fires, so that nothing hides behind generous thresholds.
fn strictest(max_period: usize) -> Thresholds {
    let rule = |copies| Rule { copies, span: 1 };
    let band = Band {
        first_period: 1,
        suspected: rule(3),
        confirmed: rule(4),
    };
    let Ok(thresholds) = Thresholds::new(max_period, vec![band]) else {
        panic!("{max_period} is out of range");
    };
    thresholds
}

fn watching(max_period: usize) -> Thresholds {
    let Ok(thresholds) = Thresholds::default().with_max_period(max_period) else {
        panic!("{max_period} is out of range");
    };
    thresholds
}

/// The lengths at which a repetition of `period` is suspected and confirmed by default.
fn spans(period: usize) -> (usize, usize) {
    let defaults = Thresholds::default();
    match (
        defaults.suspected_span(period),
        defaults.confirmed_span(period),
    ) {
        (Some(suspected), Some(confirmed)) => (suspected, confirmed),
        _ => panic!("period {period} is not watched"),
    }
}

fn loop_in(tokens: &[u32], thresholds: &Thresholds) -> LoopVerdict {
    let Some(found) = detect(tokens, thresholds) else {
        panic!("no loop in {} tokens", tokens.len());
    };
    found
}

fn changes(tokens: &[u32], thresholds: &Thresholds) -> Vec<Change> {
    let mut detector = LoopDetector::new(thresholds.clone());
    tokens
        .iter()
        .filter_map(|&token| detector.push(token))
        .collect()
}

/// `length` tokens none of which is used elsewhere in a test, and none of which repeats.
fn healthy(seed: u32, length: usize) -> impl Iterator<Item = u32> {
    let first = 1_000_000 * (seed + 1);
    first..first + length as u32
}

/// The first `span` tokens of `block block block …`.
fn looped(block: &[u32], span: usize) -> Vec<u32> {
    block.iter().copied().cycle().take(span).collect()
}

fn block(period: usize) -> Vec<u32> {
    (0..period as u32).collect()
}

/// Words over a small alphabet with repetitions, and repetitions of those, planted in them.
fn planted() -> impl Strategy<Value = Vec<u32>> {
    let piece = prop_oneof![
        (1..6_u32).prop_flat_map(|letters| prop::collection::vec(0..letters, 0..60)),
        (1..5_u32, 1..300_usize, 1..900_usize).prop_flat_map(|(letters, period, span)| {
            prop::collection::vec(0..letters, period).prop_map(move |block| looped(&block, span))
        }),
        (1..12_usize, 30..600_usize).prop_flat_map(|(period, span)| {
            prop::collection::vec(0..3_u32, period).prop_map(move |block| looped(&block, span))
        }),
    ];
    (prop::collection::vec(piece, 1..6), 1..5_usize).prop_map(|(pieces, times)| {
        pieces
            .concat()
            .repeat(times)
            .into_iter()
            .take(4_000)
            .collect()
    })
}

fn any_thresholds() -> impl Strategy<Value = Thresholds> {
    let sizes = prop_oneof![1..9_usize, 60..70_usize, 300..330_usize];
    (sizes, any::<bool>()).prop_map(|(max_period, strict)| {
        if strict {
            strictest(max_period)
        } else {
            watching(max_period)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// None late, none early, none missed, none invented, each with its primitive period.
    #[test]
    fn every_change_is_the_one_lag_counters_see(tokens in planted(), thresholds in any_thresholds()) {
        prop_assert_eq!(changes(&tokens, &thresholds), oracle::changes(&tokens, &thresholds));
    }

    #[test]
    fn a_verdict_at_any_point_is_the_verdict_on_what_came_before(
        tokens in planted(),
        cuts in prop::collection::vec(0..4_000_usize, 0..8),
    ) {
        let thresholds = strictest(320);
        let mut detector = LoopDetector::new(thresholds.clone());
        for (index, &token) in tokens.iter().enumerate() {
            if cuts.contains(&index) {
                prop_assert_eq!(detector.verdict(), detect(&tokens[..index], &thresholds));
            }
            detector.push(token);
        }
        prop_assert_eq!(detector.tokens(), tokens.len());
        prop_assert_eq!(detector.verdict(), detect(&tokens, &thresholds));
    }

    #[test]
    fn streaming_is_offline_at_every_prefix(tokens in planted(), strict in any::<bool>()) {
        let thresholds = if strict { strictest(24) } else { watching(24) };
        let tokens = &tokens[..tokens.len().min(400)];
        let mut detector = LoopDetector::new(thresholds.clone());
        for (index, &token) in tokens.iter().enumerate() {
            detector.push(token);
            prop_assert_eq!(detector.verdict(), detect(&tokens[..=index], &thresholds));
        }
    }

    #[test]
    fn the_evidence_in_a_verdict_is_true(tokens in planted(), thresholds in any_thresholds()) {
        let Some(found) = detect(&tokens, &thresholds) else { return Ok(()) };
        let (onset, period, end) = (found.onset, found.period, found.onset + found.span);
        prop_assert!((onset + period..end).all(|index| tokens[index] == tokens[index - period]));
        prop_assert!(onset == 0 || tokens[onset - 1] != tokens[onset + period - 1], "onset is the first possible");
        prop_assert_eq!(&found.fragment_tokens, &tokens[onset..onset + period]);
        prop_assert_eq!(found.delay(), 0);
        prop_assert_eq!(found.detected_at, found.earliest_possible);
        prop_assert!(found.suspected_at <= found.detected_at && found.detected_at < end);
        prop_assert_eq!(found.wasted_tokens, end - onset - period);
        match found.ended_at {
            None => prop_assert!(found.state.is_running() && end == tokens.len()),
            Some(at) => prop_assert!(!found.state.is_running() && at == end && at < tokens.len()),
        }
    }

    #[test]
    fn any_planted_period_is_found_on_time(period in 1..1_200_usize, prefix in 0..3_000_usize, extra in 0..50_usize) {
        let thresholds = Thresholds::default();
        let (suspected_span, span) = spans(period);
        let tokens: Vec<_> = healthy(0, prefix).chain(looped(&block(period), span + extra)).collect();
        let found = loop_in(&tokens, &thresholds);
        prop_assert_eq!((found.state, found.period, found.onset), (LoopState::Confirmed, period, prefix));
        prop_assert_eq!(found.detected_at, prefix + span - 1);
        prop_assert_eq!(found.suspected_at, prefix + suspected_span - 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The same for periods as long as they get, noticed late and traced back.
    #[test]
    fn long_repetitions_are_the_ones_lag_counters_see(
        pieces in prop::collection::vec((1..4_097_usize, 2.0..4.5_f64, 1..4_u32, any::<u32>()), 1..4),
        strict in any::<bool>(),
    ) {
        let thresholds = if strict { strictest(4_096) } else { Thresholds::default() };
        let piece = |(period, copies, letters, seed): (usize, f64, u32, u32)| {
            let block: Vec<u32> = (0..period as u32)
                .map(|at| (at.wrapping_add(seed).wrapping_mul(0x9E37_79B9) >> 13) % letters)
                .collect();
            looped(&block, (period as f64 * copies) as usize)
        };
        let tokens: Vec<u32> = pieces.into_iter().flat_map(piece).take(20_000).collect();
        prop_assert_eq!(changes(&tokens, &thresholds), oracle::changes(&tokens, &thresholds));
    }
}

#[test]
fn repetitions_of_repetitions_are_the_ones_lag_counters_see() {
    let mut word: Vec<u32> = (0..9).collect();
    for fresh in 100..106 {
        word = word.repeat(3);
        word.push(fresh);
    }
    for thresholds in [strictest(4_096), Thresholds::default()] {
        assert_eq!(
            changes(&word, &thresholds),
            oracle::changes(&word, &thresholds)
        );
    }
}

#[test]
fn words_without_cubes_never_fire() {
    for word in [square_free(20_000), thue_morse(20_000)] {
        for thresholds in [Thresholds::default(), strictest(DEFAULT_MAX_PERIOD)] {
            assert_eq!(changes(&word, &thresholds), []);
            assert_eq!(detect(&word, &thresholds), None);
        }
    }
}

#[test]
fn fibonacci_words_are_suspected_of_fibonacci_periods_only() {
    // Their repetitions come close to 3.618 copies and never to 4, and all have such periods.
    let fibonacci_numbers = [
        1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584,
    ];
    let word = fibonacci(30_000);
    for thresholds in [Thresholds::default(), strictest(DEFAULT_MAX_PERIOD)] {
        let found = changes(&word, &thresholds);
        assert!(!found.is_empty());
        for change in found {
            assert!(matches!(
                change.state,
                LoopState::Suspected | LoopState::Ended
            ));
            assert!(fibonacci_numbers.contains(&change.period), "{change:?}");
        }
    }
}

#[rstest]
fn one_token_less_than_a_threshold_is_silent(
    #[values(1, 2, 3, 4, 8, 9, 24, 25, 96, 97, 128, 129, 300, 2_048, 4_095, 4_096)] period: usize,
    #[values(0, 1, 777)] prefix: usize,
) {
    let thresholds = Thresholds::default();
    let (suspected_span, confirmed_span) = spans(period);
    let tokens = |span| {
        healthy(0, prefix)
            .chain(looped(&block(period), span))
            .collect::<Vec<_>>()
    };

    assert_eq!(detect(&tokens(suspected_span - 1), &thresholds), None);

    let suspected = loop_in(&tokens(suspected_span), &thresholds);
    assert_eq!(suspected.state, LoopState::Suspected);
    assert_eq!(
        (suspected.period, suspected.onset, suspected.span),
        (period, prefix, suspected_span)
    );
    assert_eq!(suspected.detected_at, prefix + suspected_span - 1);
    assert_eq!(suspected.earliest_possible, suspected.detected_at);

    let almost = loop_in(&tokens(confirmed_span - 1), &thresholds);
    assert_eq!(almost.state, LoopState::Suspected);

    let confirmed = loop_in(&tokens(confirmed_span), &thresholds);
    assert_eq!(confirmed.state, LoopState::Confirmed);
    assert_eq!(confirmed.suspected_at, suspected.detected_at);
    assert_eq!(confirmed.detected_at, prefix + confirmed_span - 1);
    assert_eq!(confirmed.earliest_possible, confirmed.detected_at);
}

#[rstest]
#[case(4_096, 4_097)]
#[case(100, 101)]
#[case(100, 128)]
#[case(1, 2)]
fn a_period_beyond_the_longest_never_fires(#[case] max_period: usize, #[case] period: usize) {
    assert_eq!(
        detect(&looped(&block(period), period * 6), &strictest(max_period)),
        None
    );
    assert!(
        detect(
            &looped(&block(max_period), max_period * 6),
            &strictest(max_period)
        )
        .is_some()
    );
}

#[rstest]
#[case::pairs_as_fours(&[7, 8, 7, 8], 2)]
#[case::one_as_four(&[7, 7, 7, 7], 1)]
#[case::triple_as_twelve(&[1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3], 3)]
#[case::honest_four(&[7, 8, 7, 9], 4)]
#[case::run_inside(&[5, 5, 5, 5, 6], 5)]
fn the_period_is_primitive(#[case] written: &[u32], #[case] primitive: usize) {
    let found = loop_in(&looped(written, 400), &Thresholds::default());
    assert_eq!(
        (found.period, found.state),
        (primitive, LoopState::Confirmed)
    );
    assert_eq!(found.fragment_tokens, written[..primitive]);
    assert_eq!(found.wasted_tokens, 400 - primitive);
}

#[test]
fn a_run_that_breaks_once_is_one_run() {
    for length in [63, 64, 127, 128, 5_000] {
        let tokens: Vec<_> = repeat_n(4, length).chain(once(5)).collect();
        let state =
            detect(&tokens, &Thresholds::default()).map(|found| (found.state, found.period));
        let expected = match length {
            ..64 => None,
            64..128 => Some((LoopState::Ended, 1)),
            _ => Some((LoopState::Recovered, 1)),
        };
        assert_eq!(state, expected, "{length} times");
    }
}

#[test]
fn a_loop_recovers() {
    let tokens: Vec<_> = healthy(0, 100)
        .chain(looped(&block(10), 305))
        .chain(healthy(1, 50))
        .collect();
    let found = loop_in(&tokens, &Thresholds::default());
    let expected = LoopVerdict {
        kind: LoopKind::Exact,
        state: LoopState::Recovered,
        period: 10,
        span: 305,
        onset: 100,
        suspected_at: 219,
        detected_at: 323,
        earliest_possible: 323,
        ended_at: Some(405),
        wasted_tokens: 295,
        fragment_tokens: block(10),
        onset_byte: None,
        context: None,
        requested: Requested::Unknown,
    };
    assert_eq!(found, expected);
    assert_eq!(found.copies(), 30.5);
    let told: Vec<_> = changes(&tokens, &Thresholds::default())
        .iter()
        .map(|change| (change.state, change.at))
        .collect();
    assert_eq!(
        told,
        [
            (LoopState::Suspected, 219),
            (LoopState::Confirmed, 323),
            (LoopState::Recovered, 405)
        ]
    );
}

#[test]
fn the_first_confirmed_loop_is_the_verdict() {
    let tokens: Vec<_> = looped(&block(30), 200)
        .into_iter()
        .chain(healthy(0, 40))
        .chain(looped(&block(5), 300))
        .chain(healthy(1, 40))
        .chain(looped(&block(50), 700))
        .collect();
    let state_after = |length: usize| {
        let found = loop_in(&tokens[..length], &Thresholds::default());
        (found.period, found.state, found.onset)
    };
    assert_eq!(state_after(180), (30, LoopState::Suspected, 0));
    assert_eq!(state_after(230), (30, LoopState::Ended, 0));
    assert_eq!(state_after(240 + 100), (5, LoopState::Suspected, 240));
    assert_eq!(state_after(240 + 200), (5, LoopState::Confirmed, 240));
    assert_eq!(state_after(580), (5, LoopState::Recovered, 240));
    assert_eq!(state_after(580 + 249), (5, LoopState::Recovered, 240));
    assert_eq!(state_after(580 + 250), (5, LoopState::Relapsed, 240));
    assert_eq!(state_after(tokens.len()), (5, LoopState::Relapsed, 240));
}

#[test]
fn a_loop_of_loops_does_not_count_as_recovered() {
    let copy: Vec<_> = repeat_n(9, 150).chain(block(9)).collect();
    let found = loop_in(&looped(&copy, 1_000), &Thresholds::default());
    assert_eq!(
        (found.period, found.state, found.ended_at),
        (1, LoopState::Relapsed, Some(150))
    );
}

#[test]
fn a_loop_confirmed_by_the_token_that_breaks_another_is_a_relapse() {
    // Each copy ends one token short of a confirmed flood; the fifth copy completes it instead.
    let copy: Vec<_> = healthy(0, 873).chain(repeat_n(9, 127)).collect();
    let tokens: Vec<_> = looped(&copy, 4_000)
        .into_iter()
        .chain([9, 9])
        .chain(healthy(1, 9))
        .collect();
    let found = loop_in(&tokens, &Thresholds::default());
    assert_eq!(
        (found.period, found.detected_at, found.ended_at),
        (1_000, 3_999, Some(4_000))
    );
    assert_eq!(found.state, LoopState::Relapsed);
}

#[test]
fn long_fragments_are_cut() {
    let found = loop_in(&looped(&block(3_000), 13_000), &Thresholds::default());
    assert_eq!(found.fragment_tokens, block(FRAGMENT_TOKENS));
}

#[test]
fn state_is_bounded_and_does_not_grow() {
    let mut detector = LoopDetector::new(Thresholds::default());
    let before = detector.memory_bytes();
    assert!(before < 400 * 1024, "{before} bytes");
    for token in thue_morse(30_000)
        .into_iter()
        .chain(looped(&block(77), 30_000))
    {
        detector.push(token);
    }
    assert_eq!(detector.memory_bytes(), before);
    let largest = watching(MAX_PERIOD_LIMIT);
    assert!(LoopDetector::new(largest).memory_bytes() < 6 * 1024 * 1024);
}

#[test]
fn any_token_id_is_welcome() {
    let found = loop_in(&looped(&[u32::MAX, 0], 200), &Thresholds::default());
    assert_eq!(found.fragment_tokens, [u32::MAX, 0]);
    assert_eq!(detect(&[], &Thresholds::default()), None);
}
