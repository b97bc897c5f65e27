//! Which periods are searched for together, and how seldom that may be done without being late.
//!
//! A repetition of period *p* only matters once it is as long as the rule for *p* asks, and from
//! its second copy on, any moment before that is early enough to notice it, because its first token
//! can be found backwards. So blocks are remembered at every *stride*-th position only, and looked
//! up in one *cell* of *stride* positions out of several: one of these positions lies a whole
//! period after a remembered one, whatever the period (the baby steps and giant steps of Shanks).

use super::thresholds::Thresholds;

/// The largest stride, in tokens. A detector keeps one bit of every level for each.
pub(super) const MAX_STRIDE: usize = 64;

/// However long a rule asks for, a repetition is noticed by then or by its third copy, so that it
/// can still be followed back to its first token.
const NOTICED_BY: usize = 1_024;

/// How the periods from `first` to `last` are searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) first: usize,
    /// The longest period, which is also the length of the blocks.
    pub(super) last: usize,
    /// Positions from one remembered block to the next, a power of two.
    pub(super) stride: usize,
    /// Blocks are looked up at all positions of one cell in so many.
    pub(super) cells: usize,
}

/// The plans for all periods of the thresholds, shortest periods first. Each takes as many periods
/// together as makes the work per token least.
pub(super) fn plans(thresholds: &Thresholds) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut first = 1;
    while first <= thresholds.max_period() {
        let plan = cheapest(first, thresholds);
        first = plan.last + 1;
        plans.push(plan);
    }
    plans
}

/// The length at which a repetition must have been noticed at the latest, and how far back one
/// that is noticed may have begun, in tokens.
pub(super) fn deadline(thresholds: &Thresholds, period: usize) -> usize {
    let needed = thresholds.suspected_span(period).unwrap_or(usize::MAX);
    needed.min(NOTICED_BY.max(3 * period))
}

fn cheapest(first: usize, thresholds: &Thresholds) -> Plan {
    let longest = (4 * first).max(64).min(thresholds.max_period());
    // Lengths worth trying lie an eighth apart. The first three eighths are not tried, so that
    // there are never more levels than bits in a word.
    let shortest = (first + first * 3 / 8).min(longest);
    let mut slack = usize::MAX;
    let mut best: Option<(f64, Plan)> = None;
    for last in first..=longest {
        slack = slack.min(deadline(thresholds, last) - last);
        let tried = last == longest || last.is_multiple_of((first / 8).max(1));
        // The positions at which a whole block and the same block a period before it lie in the
        // repetition, until it has to be noticed.
        let Some(chances) = (slack + 1).checked_sub(last).filter(|chances| *chances > 0) else {
            break;
        };
        if last < shortest || !tried {
            continue;
        }
        let (cost, stride, cells) = steps(chances);
        let gain = ((last + 1) as f64 / first as f64).ln() / cost;
        if best.is_none_or(|(most, _)| gain > most) {
            let plan = Plan {
                first,
                last,
                stride,
                cells,
            };
            best = Some((gain, plan));
        }
    }
    // Three copies of the shortest period always leave a chance for it alone.
    best.map_or(
        Plan {
            first,
            last: first,
            stride: 1,
            cells: 1,
        },
        |(_, plan)| plan,
    )
}

/// The cheapest stride and cells such that any `chances` positions in a row have a whole cell in
/// which blocks are looked up, with the blocks remembered and looked up per token.
fn steps(chances: usize) -> (f64, usize, usize) {
    let mut best = (2.0, 1, 1);
    let mut stride = 1;
    while stride <= MAX_STRIDE && chances + 1 >= 2 * stride {
        let cells = (chances + 1 - stride) / stride;
        let cost = 1.0 / stride as f64 + 1.0 / cells as f64;
        if cost < best.0 {
            best = (cost, stride, cells);
        }
        stride *= 2;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::{Band, MAX_PERIOD_LIMIT, Rule};
    use super::*;
    use rstest::rstest;

    fn strictest() -> Thresholds {
        let rule = Rule { copies: 3, span: 1 };
        let band = Band {
            first_period: 1,
            suspected: rule,
            confirmed: rule,
        };
        Thresholds::known(MAX_PERIOD_LIMIT, vec![band])
    }

    #[rstest]
    #[case(strictest())]
    #[case(Thresholds::known(MAX_PERIOD_LIMIT, Thresholds::default().bands().to_vec()))]
    #[case(Thresholds::default())]
    #[case(Thresholds::known(1, Thresholds::default().bands().to_vec()))]
    fn every_period_is_planned_for_in_time(#[case] thresholds: Thresholds) {
        let plans = plans(&thresholds);
        assert!(plans.len() <= 64, "{}", plans.len());
        let mut next = 1;
        for plan in plans {
            assert_eq!(plan.first, next);
            next = plan.last + 1;
            for period in plan.first..=plan.last {
                let chances = deadline(&thresholds, period) + 1 - period - plan.last;
                let needed = plan.stride * plan.cells + plan.stride - 1;
                assert!(chances >= needed, "{plan:?} {period}");
            }
        }
        assert_eq!(next, thresholds.max_period() + 1);
    }

    #[test]
    fn the_default_rules_cost_few_steps_a_token() {
        let steps: f64 = plans(&Thresholds::default())
            .iter()
            .map(|plan| 1.0 / plan.stride as f64 + 1.0 / plan.cells as f64)
            .sum();
        assert!(steps < 2.5, "{steps}");
    }
}
