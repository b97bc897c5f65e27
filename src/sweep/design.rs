//! From axes and prompts to cases: every point of the design, and each run only once.
//!
//! Points that mean the same are one: the window of a penalty that is off has no effect, and
//! greedy decoding knows no seed. It does not run cases.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::definition::{Definition, DefinitionError};
use super::point::{Point, Scale, points};
use super::schedule::Schedule;
use crate::generation::{DEFAULT_CONTEXT_SIZE, SamplingParams, SamplingSettings};
use crate::plan::{self, Case};

/// More runs than this are a mistake in the axes.
const MOST_RUNS: usize = 200_000;

/// One answer that a point needs: the run that gives it, and what makes it comparable with the
/// answers of other points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The number of the run.
    pub run: usize,
    /// The number of the prompt.
    pub prompt: usize,
    /// The seed, or `None` where none has an effect.
    pub seed: Option<u64>,
}

/// What is run, and which point needs which run.
#[derive(Debug, Clone)]
pub struct Design {
    /// The field that is the scale, if a penalty is swept, and the one of its window, if that is
    /// swept too.
    pub scale: Option<(&'static str, Option<&'static str>)>,
    /// The value that switches the penalty off.
    pub off: f64,
    /// How many points without a penalty were added, because nobody asked for them.
    pub added_off: usize,
    /// The ids of the tests that are the prompts.
    pub prompts: Vec<String>,
    /// The points, and the trials of each.
    pub points: Vec<(Point, Vec<Trial>)>,
    /// The runs, those of one prompt behind each other, so that they share its beginning.
    pub runs: Vec<Case>,
    /// When an adaptive sweep looks at its settings; `None` if it is not adaptive.
    pub schedule: Option<Schedule>,
}

impl Design {
    /// Combines the points with `prompts`, which are cases without the points' settings.
    ///
    /// # Errors
    /// If the points cannot be made, a value is out of its range, or there are too many runs.
    pub fn new(definition: &Definition, prompts: &[Case]) -> Result<Self, DefinitionError> {
        definition.check()?;
        let scale = Scale::of(&definition.space.fields());
        let (points, added_off) = points(&definition.space, scale)?;
        let mut design = Self {
            scale: scale.map(|scale| (scale.field, scale.window)),
            off: scale.map_or(0.0, |scale| scale.off),
            added_off,
            prompts: prompts.iter().map(|case| case.id.clone()).collect(),
            points: points
                .into_iter()
                .map(|point| (point, Vec::new()))
                .collect(),
            runs: Vec::new(),
            schedule: definition.adaptive.then(|| Schedule::new(prompts)),
        };
        for (prompt, case) in prompts.iter().enumerate() {
            design.add(definition, prompt, case)?;
        }
        // Records name runs by their place.
        for (index, run) in design.runs.iter_mut().enumerate() {
            run.index = index;
        }
        Ok(design)
    }

    /// One number for all that decides what is asked and how it is judged, hexadecimal; `how` is
    /// what is decided about all runs together.
    #[must_use]
    pub fn fingerprint(&self, how: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(plan::fingerprint(&self.runs));
        hash.update(how);
        let digest = hash.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds all runs of one prompt.
    fn add(
        &mut self,
        definition: &Definition,
        prompt: usize,
        case: &Case,
    ) -> Result<(), DefinitionError> {
        let below = case.sampling.as_settings().overlaid(&definition.sampling);
        let mut known: HashMap<String, usize> = HashMap::new();
        for (point, trials) in &mut self.points {
            let layer = below.overlaid(&point.setting.layer()?);
            for seed in &definition.seeds {
                let seeded = SamplingSettings {
                    seed: Some(*seed),
                    ..SamplingSettings::default()
                };
                let params = layer.overlaid(&seeded).resolve().map_err(|error| {
                    let of = match point.condition.is_empty() {
                        true => String::new(),
                        false => format!(" with {}", point.condition),
                    };
                    let origin = definition.space.origin(&point.setting, error.field);
                    DefinitionError::Asked(format!("{origin}{error}{of}"))
                })?;
                let params = meant(params, definition.seeds[0]);
                let seed = params.seed.filter(|_| params.temperature > 0.0);
                // The parameters have no order and no hash, but a text that tells them apart.
                let key = format!("{params:?}");
                let run = match known.get(&key) {
                    Some(run) => *run,
                    None => {
                        known.insert(key, self.runs.len());
                        self.runs.push(run(case, params, self.runs.len()));
                        self.runs.len() - 1
                    }
                };
                // Further seeds of a greedy answer are the same answer, not another one.
                if trials
                    .iter()
                    .all(|trial| (trial.run, trial.prompt) != (run, prompt))
                {
                    trials.push(Trial { run, prompt, seed });
                }
            }
        }
        if self.runs.len() > MOST_RUNS {
            let problem =
                format!("the sweep has more than {MOST_RUNS} runs; leave some points out");
            return Err(DefinitionError::Asked(problem));
        }
        Ok(())
    }
}

fn run(case: &Case, sampling: SamplingParams, number: usize) -> Case {
    Case {
        id: format!("{}#{number}", case.id),
        sampling,
        control: None,
        // A sweep has seeds of its own.
        repeat: None,
        ..case.clone()
    }
}

/// Parameters without what has no effect, so that runs that are the same look the same.
fn meant(mut params: SamplingParams, first_seed: u64) -> SamplingParams {
    let profile = params.semantics.profile();
    let off = params.repetition_penalty == 1.0
        || (profile.zero_is_off && params.repetition_penalty == 0.0);
    if off {
        params.repetition_context_size = DEFAULT_CONTEXT_SIZE;
    }
    if params.presence_penalty == 0.0 {
        params.presence_context_size = DEFAULT_CONTEXT_SIZE;
    }
    if params.frequency_penalty == 0.0 {
        params.frequency_context_size = DEFAULT_CONTEXT_SIZE;
    }
    if params.temperature == 0.0 {
        // Under mlx-lm a request with a seed takes another path, so there stays one.
        params.seed = Some(first_seed);
    }
    params
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plan::Overrides;
    use crate::scenario::Scenario;
    use crate::sweep::{Arrangement, Axis, Draws, Setting, Space, Treatment};

    const SCENARIO: &str = "\
version: 1
description: Two prompts
why: A design needs some
sampling: {max_tokens: 64, repetition_context_size: 30}
tests:
  - {id: one, user: hello, assert: [{type: not-loop}]}
  - {id: two, user: goodbye, assert: [{type: not-loop}]}
";

    fn prompts() -> Vec<Case> {
        let scenario = Scenario::parse(Path::new("s.yaml"), SCENARIO).expect("a scenario");
        plan::expand(
            &[scenario],
            &Overrides::default(),
            &SamplingSettings::default(),
        )
        .expect("cases")
    }

    fn over(space: Space, seeds: &[u64]) -> Result<Design, String> {
        let definition = Definition {
            space,
            seeds: seeds.to_vec(),
            ..Definition::over(Vec::new())
        };
        Design::new(&definition, &prompts()).map_err(|error| error.to_string())
    }

    fn design(axes: &[&str], seeds: &[u64], arrangement: Arrangement) -> Result<Design, String> {
        let axes = axes.iter().map(|axis| Axis::parse(axis).expect("an axis"));
        over(Space::Axes(axes.collect(), arrangement), seeds)
    }

    fn listed(points: &[&str]) -> Result<Design, String> {
        let points = points
            .iter()
            .map(|point| Setting::parse(point).expect("a point"));
        over(Space::listed(points.collect()).expect("differ"), &[1])
    }

    fn treatments(design: &Design) -> Vec<Option<Treatment>> {
        let points = design.points.iter();
        points.map(|(point, _)| point.treatment).collect()
    }

    fn at(level: f64, window: Option<usize>) -> Option<Treatment> {
        Some(Treatment { level, window })
    }

    #[test]
    fn without_a_penalty_windows_and_without_chance_seeds_make_no_difference() {
        let axes = ["penalty=1.0,1.1,1.2", "window=10,20", "temperature=0,0.7"];
        let design = design(&axes, &[1, 2, 3], Arrangement::Grid).expect("a design");
        // Penalty off is one point, the other two have two windows each; times two temperatures.
        assert_eq!(design.points.len(), (1 + 2 * 2) * 2);
        // Greedily one answer for each prompt, sampled three.
        assert_eq!(design.runs.len(), 2 * 5 * (1 + 3));
        for (point, trials) in &design.points {
            let greedy = point.condition == "temperature 0";
            assert_eq!(trials.len(), if greedy { 2 } else { 6 }, "{point:?}");
            assert!(trials.iter().all(|trial| trial.seed.is_none() == greedy));
        }
        let ids: std::collections::HashSet<&str> =
            design.runs.iter().map(|case| case.id.as_str()).collect();
        assert_eq!(ids.len(), design.runs.len());
        // Those of one prompt are neighbours.
        assert!(
            design
                .runs
                .is_sorted_by_key(|case| case.id.contains("/two"))
        );
        let max: Vec<usize> = design
            .runs
            .iter()
            .map(|case| case.sampling.max_tokens)
            .collect();
        assert!(max.iter().all(|tokens| *tokens == 64), "{max:?}");
    }

    #[test]
    fn no_penalty_is_always_among_the_points() {
        let design = design(&["presence=0.5,1"], &[1], Arrangement::Grid).expect("a design");
        assert_eq!(design.scale, Some(("presence_penalty", None)));
        assert_eq!(design.added_off, 1);
        assert_eq!(treatments(&design)[0], at(0.0, None));
        // The window stays that of the scenario where it was not swept.
        assert_eq!(design.runs[0].sampling.repetition_context_size, 30);
    }

    #[test]
    fn zipped_axes_walk_together() {
        let axes = ["penalty=1.0,1.1,1.2", "window=10,20,30"];
        let zipped = design(&axes, &[1], Arrangement::Zip).expect("a design");
        assert_eq!(
            treatments(&zipped),
            [at(1.0, None), at(1.1, Some(20)), at(1.2, Some(30))]
        );
        let uneven = design(&["penalty=1.0,1.1", "window=10"], &[1], Arrangement::Zip);
        let error = uneven.expect_err("refused");
        assert!(
            error.contains("repetition_penalty has 2, repetition_context_size has 1"),
            "{error}"
        );
    }

    #[test]
    fn listed_points_are_tried_each_with_no_penalty_beside_it() {
        let points = [
            "penalty=1.1,window=20",
            "penalty=1.2,window=64,temperature=0.7",
        ];
        let design = listed(&points).expect("a design");
        let off = at(1.0, None);
        assert_eq!(
            treatments(&design),
            [off, off, at(1.1, Some(20)), at(1.2, Some(64))]
        );
        let conditions = ["temperature as in the scenario", "temperature 0.7"];
        let named = design.points.iter().map(|(point, _)| &point.condition);
        assert!(named.eq(conditions.iter().chain(&conditions)));
        assert_eq!(design.added_off, 2);
        // Four points with two prompts each.
        assert_eq!(design.runs.len(), 8);
        let last = &design.runs[3].sampling;
        assert_eq!((last.repetition_penalty, last.temperature), (1.2, 0.7));
    }

    #[test]
    fn a_point_says_what_others_say_of_the_penalty() {
        let error = listed(&["penalty=1.1,window=20", "temperature=0.7"]).expect_err("refused");
        assert!(
            error.contains("temperature 0.7 does not say repetition_penalty"),
            "{error}"
        );
        let error = listed(&["penalty=1.1,window=20", "penalty=1.2"]).expect_err("refused");
        assert!(
            error.contains("does not say repetition_context_size"),
            "{error}"
        );
        // Without a penalty there is no window to name.
        let off = listed(&["penalty=1.1,window=20", "penalty=1"]).expect("a design");
        assert_eq!((off.points.len(), off.added_off), (2, 0));
    }

    #[test]
    fn points_are_drawn_once_each_and_the_seed_says_which() {
        let axes = ["penalty=1.0,1.1,1.2,1.3", "window=10,20,40,80"];
        let drawn = |points, seed| {
            let draws = Draws { points, seed };
            design(&axes, &[1], Arrangement::Random(draws))
        };
        let some = drawn(6, 1).expect("a design");
        assert_eq!(some.points.len(), 6 + some.added_off);
        assert_eq!(treatments(&some), treatments(&drawn(6, 1).expect("again")));
        assert_ne!(treatments(&some), treatments(&drawn(6, 2).expect("others")));
        // The penalty that is off is one point, the other three have four windows each.
        let all = drawn(13, 5).expect("all there are");
        assert_eq!((all.points.len(), all.added_off), (13, 0));
        let mut distinct = treatments(&all);
        distinct.dedup();
        assert_eq!(distinct.len(), 13);
        let error = drawn(14, 5).expect_err("refused");
        assert!(error.contains("only 13 that differ"), "{error}");
    }

    #[test]
    fn values_out_of_range_name_the_axis() {
        let error = design(&["penalty=1.0,11"], &[1], Arrangement::Grid).expect_err("refused");
        assert_eq!(
            error,
            "the axis repetition_penalty is 11, but must be above 0 and at most 10 (1 switches it off)"
        );
    }
}
