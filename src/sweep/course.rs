//! How far a sweep has come: which settings are decided, and what is still to be run.
//!
//! It is a function of the outcomes alone, so a sweep that is interrupted and goes on takes the
//! same course. It runs nothing, and does not say which setting to take.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::analysis::Asked;
use super::comparison::{ALPHA, QualityChange};
use super::design::Design;
use super::group::{Group, Planned, conditions, correlation, planned};
use super::outcome::Outcome;
use super::schedule::Schedule;
use super::treatment::{Rate, Reading};
use crate::statistics::CONFIDENCE;

/// What is known of a setting's loop rate at its last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is below the target under every condition.
    Below,
    /// It is not, under at least one.
    Above,
    /// It may be either.
    Open,
}

/// How long an adaptive sweep went on with a setting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Its last look, counted from 1.
    pub look: usize,
    /// Prompts that it was asked.
    pub prompts: usize,
    /// Runs with an outcome, under all conditions.
    pub runs: usize,
    /// Runs that were planned and not needed; more than none if it ended early.
    pub spared: usize,
    /// What its loop rate was found to be.
    pub answer: Answer,
}

/// A sweep as far as it has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// `None` if all settings have all prompts.
    schedule: Option<Schedule>,
    /// For each setting of an adaptive sweep where it stands.
    stands: Vec<Stand>,
    next: Vec<usize>,
    at_most: usize,
}

/// Where a setting stands.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stand {
    /// Its last look, counted from 0.
    look: usize,
    /// How alike runs of one prompt were taken to be at it.
    correlation: f64,
    answer: Answer,
}

impl Course {
    /// Takes the looks one after the other, as far as there are outcomes.
    #[must_use]
    pub fn of(
        design: &Design,
        outcomes: &[Option<Outcome>],
        errored: &HashSet<usize>,
        asked: &Asked,
    ) -> Self {
        let known =
            |run: usize| outcomes.get(run).is_some_and(Option::is_some) || errored.contains(&run);
        let Some(schedule) = &design.schedule else {
            return Self::without_looks(
                (0..design.runs.len()).filter(|run| !known(*run)).collect(),
            );
        };
        let planned = planned(design, &conditions(design));
        let mut ended: Vec<Option<Stand>> = vec![None; planned.len()];
        let last = schedule.ends().len().saturating_sub(1);
        for look in 0..=last {
            let asks = |at: usize, prompt: usize| {
                schedule.has(ended[at].map_or(look, |stand| stand.look), prompt)
            };
            let groups: Vec<Group<'_>> = (planned.iter().enumerate())
                .map(|(at, one)| one.group(outcomes, errored, |prompt| asks(at, prompt)))
                .collect();
            let view = View {
                correlation: correlation(&groups),
                groups: &groups,
                schedule,
                look,
                asked,
                off: design.off,
            };
            let mut next = runs(&planned, &ended, schedule, look);
            next.retain(|run| !known(*run));
            if !next.is_empty() {
                let mut all = runs(&planned, &ended, schedule, last);
                all.retain(|run| !known(*run));
                let open = view.stand(Answer::Open);
                let stands = ended.into_iter().map(|found| found.unwrap_or(open));
                return Self {
                    schedule: Some(schedule.clone()),
                    stands: stands.collect(),
                    next,
                    at_most: all.len(),
                };
            }
            let active: Vec<bool> = ended.iter().map(Option::is_none).collect();
            let ends = view.ends(&active);
            for (at, found) in ended.iter_mut().enumerate() {
                if active[at] && (ends[at] || look == last) {
                    *found = Some(view.stand(view.answer(at)));
                }
            }
        }
        Self {
            schedule: Some(schedule.clone()),
            stands: ended.into_iter().flatten().collect(),
            next: Vec::new(),
            at_most: 0,
        }
    }

    /// All that is left is run, and nothing is decided before.
    fn without_looks(left: Vec<usize>) -> Self {
        Self {
            schedule: None,
            stands: Vec::new(),
            at_most: left.len(),
            next: left,
        }
    }

    /// The numbers of the runs that are left up to the next look, or of all that are left if there
    /// are no looks; none if everything is decided.
    #[must_use]
    pub fn next(&self) -> &[usize] {
        &self.next
    }

    /// How many runs are left if no further setting is decided early.
    #[must_use]
    pub fn at_most(&self) -> usize {
        self.at_most
    }

    /// What an adaptive sweep has of a setting: the schedule, and where it stands.
    fn stand(&self, at: usize) -> Option<(&Schedule, Stand)> {
        Some((self.schedule.as_ref()?, *self.stands.get(at)?))
    }

    /// Whether a setting was to be asked a prompt.
    pub(super) fn asked(&self, at: usize, prompt: usize) -> bool {
        self.stand(at)
            .is_none_or(|(schedule, stand)| schedule.has(stand.look, prompt))
    }

    /// How the counts of a setting are read: in an adaptive sweep as they were at its last look.
    pub(super) fn reading(&self, at: usize, correlation: f64) -> Reading<'_> {
        match self.stand(at) {
            None => Reading {
                correlation,
                look: None,
            },
            Some((schedule, stand)) => Reading {
                correlation: stand.correlation,
                look: Some((schedule.looks(), stand.look)),
            },
        }
    }

    /// The level at which a setting is shown to keep answers good.
    pub(super) fn quality_level(&self, at: usize) -> f64 {
        self.stand(at).map_or(ALPHA, |(schedule, stand)| {
            schedule.looks().late(stand.look, ALPHA)
        })
    }

    /// The chance of what a test found at whichever look it was made, from its chance at one look.
    pub(super) fn over_looks(&self, p: f64) -> f64 {
        let looks = self.schedule.as_ref();
        (p * looks.map_or(1, |schedule| schedule.looks().count()) as f64).min(1.0)
    }

    /// The confidence of the interval of a setting that has all its runs.
    pub(super) fn last_confidence(&self) -> f64 {
        self.schedule.as_ref().map_or(CONFIDENCE, |schedule| {
            let looks = schedule.looks();
            1.0 - 2.0 * looks.late(looks.count() - 1, (1.0 - CONFIDENCE) / 2.0)
        })
    }

    /// How many of the runs that settings were to have are so; each run counts once.
    pub(super) fn needed(&self, planned: &[Planned], is_so: impl Fn(usize) -> bool) -> usize {
        let runs = planned.iter().enumerate().flat_map(|(at, one)| {
            let trials = one.trials.iter();
            let asked = trials.filter(move |(block, _)| self.asked(at, block.prompt));
            asked.map(|(_, run)| *run)
        });
        let runs: HashSet<usize> = runs.collect();
        runs.into_iter().filter(|run| is_so(*run)).count()
    }

    /// How long an adaptive sweep went on with a setting.
    pub(super) fn decision(
        &self,
        at: usize,
        planned: &Planned,
        group: &Group<'_>,
    ) -> Option<Decision> {
        let (schedule, stand) = self.stand(at)?;
        let asked = planned.trials.iter();
        let asked = asked.filter(|(block, _)| schedule.has(stand.look, block.prompt));
        Some(Decision {
            look: stand.look + 1,
            prompts: schedule.ends().get(stand.look).copied().unwrap_or(0),
            runs: group.runs.len(),
            spared: planned.trials.len() - asked.count(),
            answer: stand.answer,
        })
    }
}

/// The runs that settings which go on need until a look, each once.
fn runs(
    planned: &[Planned],
    ended: &[Option<Stand>],
    schedule: &Schedule,
    look: usize,
) -> Vec<usize> {
    let going_on = planned.iter().zip(ended).filter(|(_, end)| end.is_none());
    let trials = going_on.flat_map(|(one, _)| &one.trials);
    let mut runs: Vec<usize> = trials
        .filter(|(block, _)| schedule.has(look, block.prompt))
        .map(|(_, run)| *run)
        .collect();
    runs.sort_unstable();
    runs.dedup();
    runs
}

/// All settings at one look.
struct View<'a> {
    groups: &'a [Group<'a>],
    schedule: &'a Schedule,
    look: usize,
    correlation: f64,
    asked: &'a Asked,
    off: f64,
}

impl View<'_> {
    fn stand(&self, answer: Answer) -> Stand {
        Stand {
            look: self.look,
            correlation: self.correlation,
            answer,
        }
    }

    /// Which of the settings that go on end at this look.
    fn ends(&self, active: &[bool]) -> Vec<bool> {
        let off = self.groups.first().and_then(|group| group.treatment);
        // Where nothing loops there is nothing to cure.
        if off.is_some_and(|first| first.level == self.off) && self.answer(0) == Answer::Below {
            return vec![true; active.len()];
        }
        let mut ends: Vec<bool> = (0..active.len())
            .map(|at| active[at] && self.is_settled(at))
            .collect();
        // The weakest setting is what the others are compared with, so it goes on with them.
        if off.is_some() && ends.len() > 1 {
            ends[0] = (1..ends.len()).all(|at| ends[at] || !active[at]);
        }
        ends
    }

    /// Whether more runs of a setting could change what it is good for. One that cures goes on
    /// until it is shown to keep answers good, too.
    fn is_settled(&self, at: usize) -> bool {
        match self.answer(at) {
            Answer::Above => true,
            Answer::Open => false,
            Answer::Below => {
                let level = self.schedule.looks().late(self.look, ALPHA);
                let (first, one) = (&self.groups[0], &self.groups[at]);
                // Without a penalty there is nothing to compare with.
                if at == 0 || first.treatment.is_none() {
                    return true;
                }
                QualityChange::of(&first.runs, &one.runs, self.asked.margin, level)
                    .is_none_or(|found| found.non_inferior)
            }
        }
    }

    fn answer(&self, at: usize) -> Answer {
        let reading = Reading {
            correlation: self.correlation,
            look: Some((self.schedule.looks(), self.look)),
        };
        let group = &self.groups[at];
        let rates: Vec<Rate> = group
            .conditions
            .iter()
            .map(|condition| {
                let runs = group.runs.iter();
                let of = runs.filter(|(block, _)| block.condition == *condition);
                Rate::of(of, reading, |outcome| Some(outcome.looped.is_some()))
            })
            .filter(|rate| rate.share.of > 0)
            .collect();
        let target = self.asked.target_rate;
        if rates.iter().any(|rate| rate.interval.low >= target) {
            Answer::Above
        } else if !rates.is_empty() && rates.iter().all(|rate| rate.interval.high < target) {
            Answer::Below
        } else {
            Answer::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::prompts;
    use super::super::{Analysis, Arrangement, Axis, Definition, Looped, Space, Verdict, analyse};
    use super::*;
    use crate::plan::Case;

    /// What a run with this penalty of this prompt does: whether it loops, and whether it is good.
    type World = fn(f64, usize) -> (bool, bool);

    const PENALTIES: &str = "penalty=1.0,1.05,1.2";

    struct Sweep {
        design: Design,
        asked: Asked,
        world: World,
    }

    impl Sweep {
        fn new(many: usize, adaptive: bool, world: World) -> Self {
            let mut definition = Definition::over(Vec::new());
            let axes = vec![Axis::parse(PENALTIES).expect("an axis")];
            definition.space = Space::Axes(axes, Arrangement::Grid);
            definition.adaptive = adaptive;
            Self {
                design: Design::new(&definition, &prompts(many)).expect("a design"),
                asked: Asked {
                    description: String::new(),
                    target_rate: 0.1,
                    margin: 0.1,
                    drawn: None,
                },
                world,
            }
        }

        fn outcome(&self, run: &Case) -> Outcome {
            let id = run.id.trim_start_matches("s/p");
            let number = id.split('#').next().and_then(|number| number.parse().ok());
            let penalty = run.sampling.repetition_penalty;
            let (loops, good) = (self.world)(penalty, number.expect("a number"));
            Outcome {
                tokens: if loops { 400 } else { 80 },
                ended: !loops,
                stopped: false,
                looped: loops.then_some(Looped {
                    onset: 50,
                    period: 9,
                    wasted: 341,
                }),
                displaced: None,
                good: Some(good),
            }
        }

        fn course(&self, outcomes: &[Option<Outcome>]) -> Course {
            Course::of(&self.design, outcomes, &HashSet::new(), &self.asked)
        }

        /// Runs what is left, at most `batch` of it before it is asked again.
        fn run(&self, outcomes: &mut [Option<Outcome>], batch: usize) -> Analysis {
            loop {
                let course = self.course(outcomes);
                if course.next().is_empty() {
                    break;
                }
                assert!(course.next().len() <= course.at_most());
                for run in course.next().iter().take(batch) {
                    outcomes[*run] = Some(self.outcome(&self.design.runs[*run]));
                }
            }
            analyse(&self.design, outcomes, &HashSet::new(), &[], &self.asked)
        }

        fn whole(&self) -> Analysis {
            self.run(&mut vec![None; self.design.runs.len()], usize::MAX)
        }
    }

    fn decisions(found: &Analysis) -> Vec<(usize, usize, usize, Answer)> {
        let settings = found.settings.iter();
        let decisions = settings.filter_map(|outcome| outcome.decision);
        decisions
            .map(|d| (d.look, d.runs, d.spared, d.answer))
            .collect()
    }

    /// Without a penalty all prompts loop, with 1.05 two of three, with 1.2 none.
    fn cured(penalty: f64, prompt: usize) -> (bool, bool) {
        let loops = penalty == 1.0 || (penalty == 1.05 && !prompt.is_multiple_of(3));
        (loops, true)
    }

    #[test]
    fn a_hopeless_setting_ends_first_and_the_same_one_is_taken() {
        let adaptive = Sweep::new(96, true, cured).whole();
        let whole = Sweep::new(96, false, cured).whole();
        let expected = [
            // It is decided at the first look, and goes on for the others' sake.
            (3, 72, 24, Answer::Above),
            (1, 24, 72, Answer::Above),
            (3, 72, 24, Answer::Below),
        ];
        assert_eq!(decisions(&adaptive), expected);
        assert_eq!((adaptive.runs, adaptive.missing), (72 + 24 + 72, 0));
        let saved = adaptive.adaptive.as_ref().expect("adaptive");
        assert_eq!(
            (&saved.looks[..], saved.spared),
            (&[24, 48, 72, 96][..], 120)
        );
        assert!(
            matches!(adaptive.recommendation.verdict, Verdict::Take { setting } if setting.level == 1.2)
        );
        assert_eq!(adaptive.recommendation, whole.recommendation);
        assert_eq!((whole.runs, whole.adaptive), (3 * 96, None));
        // Pairs are the prompts that both were asked; the trend has those of all.
        let pairs: Vec<usize> = (adaptive.settings[1..].iter())
            .map(|outcome| outcome.comparison.expect("compared").pairs)
            .collect();
        assert_eq!(pairs, [24, 72]);
        assert_eq!(adaptive.trends[0].blocks, 24);
        assert_eq!(adaptive.settings[1].cells.len(), 24);
    }

    #[test]
    fn however_it_is_interrupted_it_takes_the_same_course() {
        let sweep = Sweep::new(40, true, cured);
        let whole = sweep.whole();
        for batch in [1, 7, 50] {
            let mut outcomes = vec![None; sweep.design.runs.len()];
            assert_eq!(sweep.run(&mut outcomes, batch), whole, "{batch} at a time");
            // Lost answers are asked again, and no others.
            let lost: Vec<usize> = (0..outcomes.len())
                .filter(|run| run % 5 == 0 && outcomes[*run].is_some())
                .collect();
            for run in &lost {
                outcomes[*run] = None;
            }
            assert_eq!(sweep.run(&mut outcomes, batch), whole);
        }
    }

    #[test]
    fn what_has_no_loops_needs_no_cure_and_ends_everything() {
        let found = Sweep::new(96, true, |_, _| (false, true)).whole();
        assert_eq!(found.recommendation.verdict, Verdict::NotNeeded);
        assert_eq!(decisions(&found), [(3, 72, 24, Answer::Below); 3]);
    }

    #[test]
    fn a_cure_that_may_cost_answers_goes_on() {
        // One answer in twelve is lost: about as many as are borne.
        let found = Sweep::new(96, true, |penalty, prompt| {
            let lost = penalty == 1.2 && prompt.is_multiple_of(12);
            (cured(penalty, prompt).0, !lost)
        });
        let found = found.whole();
        assert_eq!(decisions(&found)[2], (4, 96, 0, Answer::Below));
        assert!(!found.settings[2].quality.expect("judged").non_inferior);
    }

    #[test]
    fn p_is_paid_for_at_every_look() {
        let p = |adaptive| {
            let found = Sweep::new(8, adaptive, |penalty, _| (penalty == 1.0, true)).whole();
            let comparison = found.settings[2].comparison.expect("compared");
            (comparison.pairs, comparison.p, found.trends[0].p)
        };
        let (adaptive, whole) = (p(true), p(false));
        // Eight prompts are too few to decide anything but that it loops without a penalty.
        assert_eq!((adaptive.0, whole.0), (8, 8));
        assert!((adaptive.1 - 4.0 * whole.1).abs() < 1e-12);
        assert!((adaptive.2 - 4.0 * whole.2).abs() < 1e-12);
    }
}
