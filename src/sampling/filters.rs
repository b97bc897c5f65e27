//! Filters on log-probabilities: what they remove becomes negative infinity.
//!
//! Formulas of mlx-lm 0.32.2, `sample_utils.py`, functions `apply_top_p`, `apply_min_p` and
//! `apply_top_k`.

/// Keeps the smallest set of likeliest tokens whose mass reaches `p` of the total. A token goes
/// if the mass strictly above it already reaches that; tokens tied with the last kept one stay.
pub fn top_p(logprobs: &mut [f32], p: f32) {
    let mut sorted = logprobs.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let probability = |logprob: &f32| libm::expf(*logprob);
    let total: f32 = sorted.iter().map(probability).sum();
    let mut above = 0.0f32;
    let mut threshold = f32::NEG_INFINITY;
    for logprob in &sorted {
        if above >= p * total {
            break;
        }
        threshold = *logprob;
        above += probability(logprob);
    }
    remove_below(logprobs, threshold);
}

/// Keeps tokens at least `p` times as likely as the likeliest.
pub fn min_p(logprobs: &mut [f32], p: f32) {
    let max = logprobs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    remove_below(logprobs, max + libm::logf(p));
}

/// Keeps the `k` likeliest tokens; of tied ones, those with the lowest ids.
pub fn top_k(logprobs: &mut [f32], k: usize) {
    if k >= logprobs.len() {
        return;
    }
    let mut ids: Vec<usize> = (0..logprobs.len()).collect();
    ids.select_nth_unstable_by(k, |a, b| {
        logprobs[*b].total_cmp(&logprobs[*a]).then(a.cmp(b))
    });
    for id in &ids[k..] {
        logprobs[*id] = f32::NEG_INFINITY;
    }
}

fn remove_below(logprobs: &mut [f32], threshold: f32) {
    for logprob in logprobs {
        if *logprob < threshold {
            *logprob = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn kept(probabilities: &[f32], filter: impl Fn(&mut [f32])) -> Vec<usize> {
        let mut logprobs: Vec<f32> = probabilities.iter().map(|p| p.ln()).collect();
        filter(&mut logprobs);
        (0..logprobs.len())
            .filter(|id| logprobs[*id].is_finite())
            .collect()
    }

    #[rstest]
    #[case(0.4, &[0])]
    #[case(0.6, &[0, 2])]
    #[case(0.9, &[0, 1, 2, 3])]
    #[case(1e-6, &[0])]
    fn top_p_keeps_the_smallest_sufficient_set(#[case] p: f32, #[case] expected: &[usize]) {
        assert_eq!(kept(&[0.5, 0.1, 0.3, 0.1], |l| top_p(l, p)), expected);
    }

    #[test]
    fn top_p_keeps_ties_of_the_last_token() {
        assert_eq!(kept(&[0.4, 0.2, 0.2, 0.2], |l| top_p(l, 0.5)), [0, 1, 2, 3]);
    }

    #[test]
    fn min_p_compares_with_the_likeliest() {
        assert_eq!(kept(&[0.5, 0.04, 0.4, 0.06], |l| min_p(l, 0.1)), [0, 2, 3]);
    }

    #[test]
    fn top_k_keeps_exactly_k() {
        assert_eq!(kept(&[0.2, 0.3, 0.3, 0.2], |l| top_k(l, 3)), [0, 1, 2]);
        assert_eq!(kept(&[0.5, 0.5], |l| top_k(l, 9)), [0, 1]);
    }
}
