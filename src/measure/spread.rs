//! The middle and the ends of some figures.

/// Median, least and greatest of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// The spread of some figures, or `None` of none.
    #[must_use]
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get(sorted.len().saturating_sub(1) / 2)?;
        Some(Self {
            median: f64::midpoint(lower, upper),
            min: *sorted.first()?,
            max: *sorted.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[], None)]
    #[case(&[3.0], Some((3.0, 3.0, 3.0)))]
    #[case(&[4.0, 1.0], Some((2.5, 1.0, 4.0)))]
    #[case(&[9.0, 1.0, 2.0], Some((2.0, 1.0, 9.0)))]
    #[case(&[4.0, 3.0, 2.0, 100.0], Some((3.5, 2.0, 100.0)))]
    fn the_median_is_the_middle(
        #[case] figures: &[f64],
        #[case] expected: Option<(f64, f64, f64)>,
    ) {
        let spread = Spread::of(figures.iter().copied());
        let spread = spread.map(|spread| (spread.median, spread.min, spread.max));
        assert_eq!(spread, expected);
    }
}
