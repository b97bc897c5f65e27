//! From axes and prompts to cases: every point of the design, and each run only once.
//!
//! Points that mean the same are one: the window of a penalty that is off has no effect, and
//! greedy decoding knows no seed. It does not run cases.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::axis::shown;
use super::definition::{Arrangement, Definition, DefinitionError};
use crate::generation::{DEFAULT_CONTEXT_SIZE, SamplingParams, SamplingSettings};
use crate::plan::Case;

/// Penalties, the value that switches each off, and the windows they look at, in the order in
/// which one of them becomes the scale of a sweep.
const PENALTIES: [(&str, f64, &str); 3] = [
    ("repetition_penalty", 1.0, "repetition_context_size"),
    ("presence_penalty", 0.0, "presence_context_size"),
    ("frequency_penalty", 0.0, "frequency_context_size"),
];

/// More runs than this are a mistake in the axes.
const MOST_RUNS: usize = 200_000;

/// How strong a penalty is, and how far it looks: what a recommendation is about.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Treatment {
    /// The value of the penalty.
    pub level: f64,
    /// Its window in tokens, 0 for the whole answer; `None` if the penalty is off or no window
    /// was swept.
    pub window: Option<usize>,
}

/// One combination of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// What is compared; `None` if no penalty is swept.
    pub treatment: Option<Treatment>,
    /// The values of all other axes, such as `temperature 0.7`; empty if there are none.
    pub condition: String,
    settings: SamplingSettings,
}

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
    /// Whether the point without a penalty was added, because nobody asked for it.
    pub added_off: bool,
    /// The ids of the tests that are the prompts.
    pub prompts: Vec<String>,
    /// The points, and the trials of each.
    pub points: Vec<(Point, Vec<Trial>)>,
    /// The runs, those of one prompt behind each other, so that they share its beginning.
    pub runs: Vec<Case>,
}

impl Design {
    /// Combines the axes with `prompts`, which are cases without the axes' settings.
    ///
    /// # Errors
    /// If axes that are zipped have different lengths, a value is out of its range, or there are
    /// too many runs.
    pub fn new(definition: &Definition, prompts: &[Case]) -> Result<Self, DefinitionError> {
        definition.check()?;
        let mut definition = definition.clone();
        let scale = scale(&definition);
        let added_off = scale.is_some_and(|(field, off, _)| add_off(&mut definition, field, off));
        let points = points(&definition, scale)?;
        let mut design = Self {
            scale: scale.map(|(field, _, window)| (field, window)),
            off: scale.map_or(0.0, |(_, off, _)| off),
            added_off,
            prompts: prompts.iter().map(|case| case.id.clone()).collect(),
            points: points
                .into_iter()
                .map(|point| (point, Vec::new()))
                .collect(),
            runs: Vec::new(),
        };
        for (prompt, case) in prompts.iter().enumerate() {
            design.add(&definition, prompt, case)?;
        }
        // Records name runs by their place.
        for (index, run) in design.runs.iter_mut().enumerate() {
            run.index = index;
        }
        Ok(design)
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
            for seed in &definition.seeds {
                let seeded = SamplingSettings {
                    seed: Some(*seed),
                    ..SamplingSettings::default()
                };
                let settings = below.overlaid(&point.settings).overlaid(&seeded);
                let params = settings.resolve().map_err(|error| {
                    let of = match point.condition.is_empty() {
                        true => String::new(),
                        false => format!(" with {}", point.condition),
                    };
                    DefinitionError::Asked(format!("the axis {error}{of}"))
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
                format!("the sweep has more than {MOST_RUNS} runs; leave some values out");
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

/// The penalty that is swept, its off value, and its window if that is swept too.
fn scale(definition: &Definition) -> Option<(&'static str, f64, Option<&'static str>)> {
    let swept = |field: &str| definition.axes.iter().find(|axis| axis.field == field);
    PENALTIES.iter().find_map(|(field, off, window)| {
        let axis = swept(field)?;
        Some((axis.field, *off, swept(window).map(|window| window.field)))
    })
}

/// Nothing can be compared with "no penalty" if that is not tried.
fn add_off(definition: &mut Definition, field: &str, off: f64) -> bool {
    let axis = definition.axes.iter_mut().find(|axis| axis.field == field);
    match axis {
        Some(axis) if definition.arrangement == Arrangement::Grid => {
            let known = axis.values.iter().any(|value| value.as_f64() == Some(off));
            if !known {
                axis.values.insert(0, Value::from(off));
            }
            !known
        }
        _ => false,
    }
}

fn points(
    definition: &Definition,
    scale: Option<(&'static str, f64, Option<&'static str>)>,
) -> Result<Vec<Point>, DefinitionError> {
    let mut points = Vec::new();
    for choice in choices(definition)? {
        let mut settings = SamplingSettings::default();
        let (mut level, mut window, mut condition) = (None, None, Vec::new());
        for (axis, at) in definition.axes.iter().zip(choice) {
            settings = settings.overlaid(&axis.layers()?[at]);
            let value = &axis.values[at];
            match scale {
                Some((field, ..)) if field == axis.field => level = value.as_f64(),
                Some((.., Some(field))) if field == axis.field => {
                    window = value
                        .as_u64()
                        .and_then(|tokens| usize::try_from(tokens).ok());
                }
                _ => condition.push(format!("{} {}", axis.field, shown(value))),
            }
        }
        let off = scale.map_or(0.0, |(_, off, _)| off);
        points.push(Point {
            treatment: level.map(|level| Treatment {
                level,
                window: window.filter(|_| level != off),
            }),
            condition: condition.join(", "),
            settings,
        });
    }
    // Without a penalty, all windows are one point.
    let mut distinct: Vec<Point> = Vec::new();
    for point in points {
        let same = |other: &Point| {
            other.treatment == point.treatment && other.condition == point.condition
        };
        if !distinct.iter().any(same) {
            distinct.push(point);
        }
    }
    Ok(distinct)
}

/// For each point the index of its value on each axis.
fn choices(definition: &Definition) -> Result<Vec<Vec<usize>>, DefinitionError> {
    let lengths: Vec<usize> = definition
        .axes
        .iter()
        .map(|axis| axis.values.len())
        .collect();
    match definition.arrangement {
        Arrangement::Grid => {
            let start = vec![Vec::new()];
            Ok(lengths.iter().fold(start, |choices, length| {
                let longer = choices.into_iter().flat_map(|choice: Vec<usize>| {
                    (0..*length).map(move |at| [choice.as_slice(), &[at]].concat())
                });
                longer.collect()
            }))
        }
        Arrangement::Zip if lengths.windows(2).all(|pair| pair[0] == pair[1]) => {
            let points = 0..lengths.first().copied().unwrap_or(0);
            Ok(points.map(|at| vec![at; lengths.len()]).collect())
        }
        Arrangement::Zip => {
            let told: Vec<String> = (definition.axes.iter())
                .map(|axis| format!("{} has {}", axis.field, axis.values.len()))
                .collect();
            Err(DefinitionError::Asked(format!(
                "axes that are zipped need equally many values, but {}",
                told.join(", ")
            )))
        }
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
    use crate::plan::{self, Overrides};
    use crate::scenario::Scenario;
    use crate::sweep::Axis;

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

    fn design(axes: &[&str], seeds: &[u64], arrangement: Arrangement) -> Result<Design, String> {
        let mut definition = Definition::over(Vec::new());
        for axis in axes {
            definition.set_axis(Axis::parse(axis).expect("an axis"));
        }
        definition.seeds = seeds.to_vec();
        definition.arrangement = arrangement;
        Design::new(&definition, &prompts()).map_err(|error| error.to_string())
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
        assert!(design.added_off);
        assert_eq!(design.points[0].0.treatment.map(|t| t.level), Some(0.0));
        // The window stays that of the scenario where it was not swept.
        assert_eq!(design.runs[0].sampling.repetition_context_size, 30);
    }

    #[test]
    fn zipped_axes_walk_together() {
        let axes = ["penalty=1.0,1.1,1.2", "window=10,20,30"];
        let zipped = design(&axes, &[1], Arrangement::Zip).expect("a design");
        let treatments: Vec<_> = zipped
            .points
            .iter()
            .map(|(point, _)| point.treatment)
            .collect();
        let at = |level, window| Some(Treatment { level, window });
        assert_eq!(
            treatments,
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
    fn values_out_of_range_name_the_axis() {
        let error = design(&["penalty=1.0,11"], &[1], Arrangement::Grid).expect_err("refused");
        assert_eq!(
            error,
            "the axis repetition_penalty is 11, but must be above 0 and at most 10 (1 switches it off)"
        );
    }
}
