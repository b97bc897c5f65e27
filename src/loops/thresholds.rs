//! How much repetition is suspicious and how much is proof, graded by the length of the block.
//!
//! One pair of numbers cannot serve every period: ordinary source files are full of short repeats
//! (rulers, zero matrices, indentation) and nearly free of long ones. So each band of periods has
//! its own minimum of copies *and* of tokens, and both must be met.

use std::error::Error;
use std::fmt;

use super::context::Context;

/// The longest period watched when nobody says otherwise, in tokens.
pub const DEFAULT_MAX_PERIOD: usize = 4096;

/// The longest period that can be asked for, in tokens; it bounds the memory of a detector
/// (5.5 MiB at this setting, see [`LoopDetector::memory_bytes`](super::LoopDetector::memory_bytes)).
pub const MAX_PERIOD_LIMIT: usize = 65_536;

/// The length at which a repetition in a table or in data is a loop even though such things repeat
/// by nature, in tokens.
pub const PATIENT_SPAN: usize = 2_048;

/// The same for rows of constants in programs, tables and data: generated programs have such tables
/// of many thousand tokens.
pub const BARE_SPAN: usize = 8_192;

/// The shortest period that is more than one short line, in tokens.
const LINES: usize = 25;

/// The shortest period that is a paragraph or a function rather than some lines, in tokens.
const LONG: usize = 97;

/// Below three copies the detector could not promise to fire without delay, and a square is no
/// evidence: the `ll` in `all` is one.
const MIN_COPIES: u32 = 3;

/// A minimum of repetition; met when both parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whole copies of the block, the first included.
    pub copies: u32,
    /// Tokens from the first of the first copy to the newest repeated one.
    pub span: u32,
}

impl Rule {
    /// The shortest repetition of a block of `period` tokens that meets the rule, in tokens.
    fn shortest_span(self, period: usize) -> usize {
        let copies = (self.copies as usize).saturating_mul(period);
        copies.max(self.span as usize)
    }
}

/// The rules for all periods from `first_period` up to where the next band begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// The shortest period of the band, in tokens.
    pub first_period: usize,
    /// When a repetition is worth a warning.
    pub suspected: Rule,
    /// When a repetition is a loop.
    pub confirmed: Rule,
}

/// The two tiers of rules a detector applies, and the longest period it looks for.
///
/// The defaults come from a pilot on 3,224 unmodified repository files (15.4 million
/// pseudo-tokens). Both tiers found 300 of 300 synthetic exact loops. The suspected tier fired on
/// 6 of 2,366 prose and code files and 28 of 858 data files; the confirmed tier on none of the
/// prose and code files and on 14 data files, at least 6 of which repeat on purpose. The numbers
/// were chosen after seeing those files, and the files were written by people and tools, not by
/// models: read them as a starting point and not as an error rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    max_period: usize,
    bands: Vec<Band>,
}

impl Thresholds {
    /// Thresholds of one's own.
    ///
    /// `bands` start at period 1 and ascend; the last one reaches to `max_period` tokens.
    ///
    /// # Errors
    /// When a period would have no rule, a rule asks for fewer than three copies, a loop could be
    /// confirmed before it is suspected, or `max_period` is 0 or above [`MAX_PERIOD_LIMIT`].
    pub fn new(max_period: usize, bands: Vec<Band>) -> Result<Self, ThresholdsError> {
        check_max_period(max_period)?;
        if bands.first().is_none_or(|band| band.first_period != 1) {
            return Err(ThresholdsError::FirstBand);
        }
        if let Some(pair) = bands
            .windows(2)
            .find(|pair| pair[0].first_period >= pair[1].first_period)
        {
            return Err(ThresholdsError::Order {
                first_period: pair[1].first_period,
            });
        }
        for band in &bands {
            check_band(band)?;
        }
        Ok(Self { max_period, bands })
    }

    /// Thresholds that are known to be valid, which a test makes sure of.
    pub(super) fn known(max_period: usize, bands: Vec<Band>) -> Self {
        Self { max_period, bands }
    }

    /// The same rules with another longest period, in tokens.
    ///
    /// # Errors
    /// When `max_period` is 0 or above [`MAX_PERIOD_LIMIT`].
    pub fn with_max_period(self, max_period: usize) -> Result<Self, ThresholdsError> {
        check_max_period(max_period)?;
        Ok(Self { max_period, ..self })
    }

    /// The longest period looked for, in tokens.
    #[must_use]
    pub fn max_period(&self) -> usize {
        self.max_period
    }

    /// The rules, shortest periods first.
    #[must_use]
    pub fn bands(&self) -> &[Band] {
        &self.bands
    }

    /// The length in tokens at which a repetition of `period` becomes suspected; `None` for a
    /// period that is not watched.
    #[must_use]
    pub fn suspected_span(&self, period: usize) -> Option<usize> {
        self.band(period)
            .map(|band| band.suspected.shortest_span(period))
    }

    /// The length in tokens at which a repetition of `period` becomes confirmed; `None` for a
    /// period that is not watched.
    #[must_use]
    pub fn confirmed_span(&self, period: usize) -> Option<usize> {
        self.band(period)
            .map(|band| band.confirmed.shortest_span(period))
    }

    /// The lengths in tokens at which a repetition of `period` becomes suspected and confirmed where
    /// it is part of `context`; `None` for a period that is not watched.
    ///
    /// Tables and data repeat by nature. There a repetition is suspected when elsewhere it would be
    /// confirmed, and confirmed at four times that length or at [`PATIENT_SPAN`] tokens, whichever
    /// comes first. Programs repeat statements and blocks more often than prose repeats sentences:
    /// they too are suspected when prose would be confirmed, and to be certain takes twice as much
    /// for the period of a short line, two and a half times for that of a few lines, and one and a
    /// quarter for longer ones. A few tokens over and over are as rare in programs as in prose, but for
    /// one token, which may be a ruler or padding.
    #[must_use]
    pub fn spans_in(&self, period: usize, context: Option<Context>) -> Option<(usize, usize)> {
        let (suspected, confirmed) = (self.suspected_span(period)?, self.confirmed_span(period)?);
        Some(match context {
            None | Some(Context::Prose) => (suspected, confirmed),
            Some(Context::Code) => {
                let more = match period {
                    ..2 => confirmed,
                    2..13 => 0,
                    13..LINES => confirmed,
                    LINES..LONG => confirmed * 3 / 2,
                    _ => confirmed / 4,
                };
                (confirmed, confirmed + more)
            }
            Some(Context::Table | Context::Data) => (confirmed, patient(confirmed)),
        })
    }

    /// The same for a block with a comma. In a program one of up to a short line is an element of a
    /// list, and is judged as data is.
    #[must_use]
    pub fn spans_of_elements(&self, period: usize, context: Context) -> Option<(usize, usize)> {
        let (suspected, confirmed) = self.spans_in(period, Some(context))?;
        Some(match context {
            Context::Code if period < LINES => (suspected, patient(self.confirmed_span(period)?)),
            _ => (suspected, confirmed),
        })
    }

    /// The same for a block without a word or a digit: quotes, brackets, commas. In a program it
    /// takes at least twice as much to be certain as to suspect.
    #[must_use]
    pub fn spans_of_signs(&self, period: usize, context: Context) -> Option<(usize, usize)> {
        let (suspected, confirmed) = self.spans_in(period, Some(context))?;
        Some(match context {
            Context::Code => (suspected, confirmed.max(suspected * 2)),
            Context::Prose | Context::Table | Context::Data => (suspected, confirmed),
        })
    }

    /// The same for a block that says nothing but numbers, or the same few tokens over and over: a
    /// row of a table of constants. In prose it is judged as data is, and elsewhere it is suspected
    /// when data would be confirmed, and confirmed at [`BARE_SPAN`] tokens.
    #[must_use]
    pub fn spans_of_bare(&self, period: usize, context: Context) -> Option<(usize, usize)> {
        let confirmed = self.confirmed_span(period)?;
        Some(match context {
            Context::Prose => (confirmed, patient(confirmed)),
            _ => (patient(confirmed), confirmed.max(BARE_SPAN)),
        })
    }

    fn band(&self, period: usize) -> Option<&Band> {
        if period > self.max_period {
            return None;
        }
        self.bands
            .iter()
            .rev()
            .find(|band| band.first_period <= period)
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        let band = |first_period, suspected: (u32, u32), confirmed: (u32, u32)| Band {
            first_period,
            suspected: Rule {
                copies: suspected.0,
                span: suspected.1,
            },
            confirmed: Rule {
                copies: confirmed.0,
                span: confirmed.1,
            },
        };
        Self {
            max_period: DEFAULT_MAX_PERIOD,
            bands: vec![
                band(1, (64, 64), (128, 128)),
                band(2, (24, 72), (64, 160)),
                band(4, (12, 96), (24, 192)),
                band(9, (6, 120), (10, 224)),
                band(LINES, (4, 160), (5, 240)),
                band(LONG, (3, 300), (4, 400)),
            ],
        }
    }
}

fn patient(confirmed: usize) -> usize {
    confirmed.max((confirmed * 4).min(PATIENT_SPAN))
}

fn check_max_period(max_period: usize) -> Result<(), ThresholdsError> {
    if (1..=MAX_PERIOD_LIMIT).contains(&max_period) {
        Ok(())
    } else {
        Err(ThresholdsError::MaxPeriod { max_period })
    }
}

fn check_band(band: &Band) -> Result<(), ThresholdsError> {
    let first_period = band.first_period;
    let copies = band.suspected.copies.min(band.confirmed.copies);
    if copies < MIN_COPIES {
        return Err(ThresholdsError::Copies {
            first_period,
            copies,
        });
    }
    if band.confirmed.copies < band.suspected.copies || band.confirmed.span < band.suspected.span {
        return Err(ThresholdsError::Tiers { first_period });
    }
    Ok(())
}

/// Why a set of thresholds was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThresholdsError {
    /// The longest period is 0 or beyond the limit.
    MaxPeriod {
        /// What was asked for, in tokens.
        max_period: usize,
    },
    /// The first band does not start at period 1, so some periods would have no rule.
    FirstBand,
    /// A band does not start above the band before it.
    Order {
        /// Where the misplaced band starts, in tokens.
        first_period: usize,
    },
    /// A rule is content with fewer than three copies.
    Copies {
        /// Where the band starts, in tokens.
        first_period: usize,
        /// The copies its laxer rule asks for.
        copies: u32,
    },
    /// The confirmed rule asks for less than the suspected one.
    Tiers {
        /// Where the band starts, in tokens.
        first_period: usize,
    },
}

impl fmt::Display for ThresholdsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxPeriod { max_period } => {
                write!(
                    f,
                    "the longest period must be 1 to {MAX_PERIOD_LIMIT} tokens, not {max_period}"
                )
            }
            Self::FirstBand => write!(f, "the first band of thresholds must start at period 1"),
            Self::Order { first_period } => {
                write!(
                    f,
                    "the band that starts at period {first_period} must start above the one before it"
                )
            }
            Self::Copies {
                first_period,
                copies,
            } => write!(
                f,
                "the band that starts at period {first_period} must ask for at least {MIN_COPIES} copies, not {copies}"
            ),
            Self::Tiers { first_period } => write!(
                f,
                "in the band that starts at period {first_period}, confirmed must ask for at least as much as suspected"
            ),
        }
    }
}

impl Error for ThresholdsError {}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn rule(copies: u32, span: u32) -> Rule {
        Rule { copies, span }
    }

    fn band(first_period: usize, suspected: Rule, confirmed: Rule) -> Band {
        Band {
            first_period,
            suspected,
            confirmed,
        }
    }

    #[test]
    fn the_defaults_pass_their_own_validation() {
        let defaults = Thresholds::default();
        let rebuilt = Thresholds::new(defaults.max_period(), defaults.bands().to_vec());
        assert_eq!(rebuilt, Ok(defaults));
    }

    #[rstest]
    #[case(1, 64, 128)]
    #[case(2, 72, 160)]
    #[case(3, 72, 192)]
    #[case(4, 96, 192)]
    #[case(8, 96, 192)]
    #[case(9, 120, 224)]
    #[case(24, 144, 240)]
    #[case(25, 160, 240)]
    #[case(96, 384, 480)]
    #[case(97, 300, 400)]
    #[case(101, 303, 404)]
    #[case(4096, 12_288, 16_384)]
    fn both_copies_and_span_count(
        #[case] period: usize,
        #[case] suspected: usize,
        #[case] confirmed: usize,
    ) {
        let defaults = Thresholds::default();
        assert_eq!(defaults.suspected_span(period), Some(suspected));
        assert_eq!(defaults.confirmed_span(period), Some(confirmed));
    }

    #[test]
    fn an_unwatched_period_has_no_rule() {
        let small = Thresholds::default().with_max_period(10);
        assert_eq!(
            small.as_ref().map(|small| small.suspected_span(11)),
            Ok(None)
        );
        assert_eq!(
            small.as_ref().map(|small| small.suspected_span(10)),
            Ok(Some(120))
        );
        assert_eq!(
            small.as_ref().map(|small| small.confirmed_span(0)),
            Ok(None)
        );
    }

    #[rstest]
    #[case::no_period(0, vec![band(1, rule(3, 9), rule(4, 9))], ThresholdsError::MaxPeriod { max_period: 0 })]
    #[case::too_long(65_537, vec![band(1, rule(3, 9), rule(4, 9))], ThresholdsError::MaxPeriod { max_period: 65_537 })]
    #[case::no_bands(9, vec![], ThresholdsError::FirstBand)]
    #[case::gap_at_one(9, vec![band(2, rule(3, 9), rule(4, 9))], ThresholdsError::FirstBand)]
    #[case::unordered(
        9,
        vec![band(1, rule(3, 9), rule(4, 9)), band(1, rule(3, 9), rule(4, 9))],
        ThresholdsError::Order { first_period: 1 }
    )]
    #[case::square(9, vec![band(1, rule(2, 9), rule(4, 9))], ThresholdsError::Copies { first_period: 1, copies: 2 })]
    #[case::inverted(9, vec![band(1, rule(5, 9), rule(4, 9))], ThresholdsError::Tiers { first_period: 1 })]
    fn bad_thresholds_are_refused_with_the_place(
        #[case] max_period: usize,
        #[case] bands: Vec<Band>,
        #[case] expected: ThresholdsError,
    ) {
        assert!(!expected.to_string().is_empty());
        assert_eq!(Thresholds::new(max_period, bands), Err(expected));
    }
}
