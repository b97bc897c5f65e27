//! Pays for asking several questions at once.

/// P-values adjusted so that the chance of even one false alarm among them stays below the level
/// that the adjusted ones are held against: Holm, "A simple sequentially rejective multiple test
/// procedure", Scandinavian Journal of Statistics 6 (1979), 65-70. In the order given.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut greatest = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        let factor = (p_values.len() - rank) as f64;
        greatest = greatest.max((p_values[index] * factor).min(1.0));
        adjusted[index] = greatest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `statsmodels.stats.multitest.multipletests(…, method="holm")`.
    #[test]
    fn the_values_are_those_of_statsmodels() {
        let found = holm(&[0.01, 0.04, 0.03, 0.005, 0.8]);
        for (found, expected) in found.into_iter().zip([0.04, 0.09, 0.09, 0.025, 0.8]) {
            assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        }
        assert!(holm(&[]).is_empty());
    }
}
