//! Which settings are tried: axes whose values are combined, or points one by one.
//!
//! It puts settings together in their order. Which of them mean the same is not known here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::axis::{Axis, AxisError, field, layer, same, shown};
use super::definition::DefinitionError;
use crate::generation::{SamplingSettings, Semantics};
use crate::sampling::Rng;

/// More combinations than this are a mistake in the axes.
const MOST_COMBINATIONS: usize = 1_000_000;

/// What decides which points are drawn if nobody says.
pub(super) const DRAW_SEED: u64 = 1;

/// The settings of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub enum Space {
    /// Values of axes, combined.
    Axes(Vec<Axis>, Arrangement),
    /// Settings as they were listed.
    Points(Vec<Setting>),
}

/// How the values of several axes are combined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arrangement {
    /// Every value of each axis with every value of the others.
    #[default]
    Grid,
    /// The first values together, then the second ones, and so on.
    Zip,
    /// Some points of the grid.
    Random(Draws),
}

/// Points that are drawn from a grid, no point twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draws {
    /// How many.
    pub points: usize,
    /// What decides which.
    pub seed: u64,
}

/// A value for each of some sampling fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub(super) values: Vec<(&'static str, Value)>,
    /// Where it is written, if that is a file.
    pub(super) place: Option<String>,
}

impl Setting {
    /// A setting of names, short or long, with their values.
    ///
    /// # Errors
    /// If there is no such field, one stands there twice, or a value has the wrong type.
    pub fn new(named: Vec<(String, Value)>) -> Result<Self, AxisError> {
        let mut values: Vec<(&'static str, Value)> = Vec::new();
        for (name, value) in named {
            let field = field(&name, "field")?;
            layer(field, &value).map_err(|error| AxisError(format!("the point's {error}")))?;
            if values.iter().any(|(other, _)| *other == field) {
                return Err(AxisError(format!("the point says {field} twice")));
            }
            values.push((field, value));
        }
        match values.is_empty() {
            true => Err(AxisError(
                "the point says nothing; write it as penalty and window with their values"
                    .to_owned(),
            )),
            false => Ok(Self {
                values,
                place: None,
            }),
        }
    }

    /// A setting as the command line gives it: `name=value,name=value`.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if it is not of that form.
    pub fn parse(text: &str) -> Result<Self, AxisError> {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                AxisError(format!(
                    "write a point as name=value,name=value, such as penalty=1.1,window=20; \
                     '{pair}' has no ="
                ))
            })?;
            let name = name.trim();
            field(name, "field")?;
            let value = serde_saphyr::from_str(value)
                .map_err(|_| AxisError(format!("the point's {name}: '{value}' is not a value")))?;
            Ok((name.to_owned(), value))
        };
        Self::new(text.split(',').map(pair).collect::<Result<_, _>>()?)
    }

    /// The value of a field.
    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        let mut values = self.values.iter();
        values.find_map(|(name, value)| (*name == field).then_some(value))
    }

    /// As a layer of sampling settings.
    pub(super) fn layer(&self) -> Result<SamplingSettings, AxisError> {
        let start = SamplingSettings::default();
        self.values.iter().try_fold(start, |below, (field, value)| {
            Ok(below.overlaid(&layer(field, value)?))
        })
    }

    fn is(&self, other: &Self) -> bool {
        let equal = |(field, value): &(&'static str, Value)| {
            other.get(field).is_some_and(|other| same(other, value))
        };
        self.values.len() == other.values.len() && self.values.iter().all(equal)
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = |(field, value): &(&'static str, Value)| format!("{field} {}", shown(value));
        let told: Vec<String> = self.values.iter().map(told).collect();
        f.write_str(&told.join(", "))
    }
}

impl Space {
    /// Points as they were listed.
    ///
    /// # Errors
    /// The number of a point that stands there before, counted from 0, and what is wrong with it.
    pub fn listed(points: Vec<Setting>) -> Result<Self, (usize, String)> {
        let before = |at: usize| points[..at].iter().any(|other| other.is(&points[at]));
        match (0..points.len()).find(|at| before(*at)) {
            Some(at) => Err((at, format!("the point {} stands there twice", points[at]))),
            None => Ok(Self::Points(points)),
        }
    }

    /// Every field that any setting says something about, in the order of their names' first
    /// appearance.
    pub(super) fn fields(&self) -> Vec<&'static str> {
        let mut fields: Vec<&'static str> = Vec::new();
        let mut add = |field: &'static str| {
            if !fields.contains(&field) {
                fields.push(field);
            }
        };
        match self {
            Self::Axes(axes, _) => axes.iter().for_each(|axis| add(axis.field)),
            Self::Points(points) => {
                let values = points.iter().flat_map(|point| &point.values);
                values.for_each(|(field, _)| add(field));
            }
        }
        fields
    }

    /// What is drawn, if not everything is tried.
    #[must_use]
    pub fn drawn(&self) -> Option<Draws> {
        match self {
            Self::Axes(_, Arrangement::Random(draws)) => Some(*draws),
            Self::Axes(..) | Self::Points(_) => None,
        }
    }

    /// Where the value that a setting has for a field is written, and what it is called there.
    pub(super) fn origin(&self, setting: &Setting, field: &str) -> String {
        let (place, noun) = match self {
            Self::Axes(axes, _) => {
                let axis = axes.iter().find(|axis| axis.field == field);
                (axis.and_then(|axis| axis.place.as_ref()), "the axis ")
            }
            Self::Points(_) => (setting.place.as_ref(), "the point's "),
        };
        place.map_or_else(|| noun.to_owned(), |place| format!("{place}: {noun}"))
    }

    /// The settings, in the order in which they are taken.
    ///
    /// # Errors
    /// If axes that are zipped have different lengths, or there are too many combinations.
    pub(super) fn settings(
        &self,
    ) -> Result<Box<dyn Iterator<Item = Setting> + '_>, DefinitionError> {
        let (axes, arrangement) = match self {
            Self::Points(points) => return Ok(Box::new(points.iter().cloned())),
            Self::Axes(axes, arrangement) => (axes, arrangement),
        };
        if *arrangement == Arrangement::Zip {
            let length = common_length(axes)?;
            return Ok(Box::new((0..length).map(|at| combined(axes, |_| at))));
        }
        let all = combinations(axes)?;
        Ok(match arrangement {
            Arrangement::Random(draws) => {
                Box::new(shuffled(all, draws.seed).map(|number| combination(axes, number)))
            }
            Arrangement::Grid | Arrangement::Zip => {
                Box::new((0..all).map(|number| combination(axes, number)))
            }
        })
    }
}

fn combined(axes: &[Axis], at: impl Fn(usize) -> usize) -> Setting {
    let values = axes.iter().enumerate();
    Setting {
        values: values
            .map(|(index, axis)| (axis.field, axis.values[at(index)].clone()))
            .collect(),
        place: None,
    }
}

/// How many combinations a grid has.
fn combinations(axes: &[Axis]) -> Result<usize, DefinitionError> {
    let lengths = axes.iter().map(|axis| axis.values.len());
    let all = lengths.fold(1_usize, usize::saturating_mul);
    match all <= MOST_COMBINATIONS {
        true => Ok(all),
        false => Err(DefinitionError::Asked(format!(
            "the axes have more than {MOST_COMBINATIONS} combinations; leave some values out"
        ))),
    }
}

/// One of them, by its number: the last axis changes with every number, the first one last.
fn combination(axes: &[Axis], number: usize) -> Setting {
    let below = |index: usize| -> usize {
        let later = axes[index + 1..].iter().map(|axis| axis.values.len());
        later.product()
    };
    combined(axes, |index| {
        number / below(index) % axes[index].values.len()
    })
}

/// The length that all axes have.
fn common_length(axes: &[Axis]) -> Result<usize, DefinitionError> {
    let first = axes.first().map_or(0, |axis| axis.values.len());
    if axes.iter().all(|axis| axis.values.len() == first) {
        return Ok(first);
    }
    let told: Vec<String> = (axes.iter())
        .map(|axis| format!("{} has {}", axis.field, axis.values.len()))
        .collect();
    Err(DefinitionError::Asked(format!(
        "axes that are zipped need equally many values, but {}",
        told.join(", ")
    )))
}

/// The numbers below `all` in an order that the seed decides (Fisher and Yates), as far as they are
/// asked for.
fn shuffled(all: usize, seed: u64) -> impl Iterator<Item = usize> {
    let mut chance = Rng::seeded(seed, Semantics::default().profile());
    let mut order: Vec<usize> = (0..all).collect();
    (0..all).map(move |at| {
        let left = all - at;
        let offset = (f64::from(chance.uniform()) * left as f64) as usize;
        order.swap(at, at + offset.min(left - 1));
        order[at]
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "penality=1.1",
        "there is no field 'penality'; did you mean 'penalty'?"
    )]
    #[case("penalty=1.1,20", "'20' has no =")]
    #[case("penalty=1.1,repetition_penalty=1.2", "says repetition_penalty twice")]
    #[case(
        "window=wide",
        "the point's repetition_context_size: wide is not a value of it"
    )]
    #[case("", "'' has no =")]
    fn mistakes_in_points_are_explained(#[case] text: &str, #[case] message: &str) {
        let error = Setting::parse(text).expect_err("refused").to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn one_point_is_listed_once_however_its_names_are_written() {
        let points = [
            "penalty=1.1,window=20",
            "window=64",
            "window=20,repetition_penalty=1.10",
        ];
        let points = points.map(|text| Setting::parse(text).expect("a point"));
        let (at, problem) = Space::listed(points.to_vec()).expect_err("refused");
        assert_eq!(at, 2);
        assert!(problem.ends_with("stands there twice"), "{problem}");
        let two = Space::listed(points[..2].to_vec()).expect("differ");
        assert_eq!(
            two.fields(),
            ["repetition_penalty", "repetition_context_size"]
        );
    }

    #[test]
    fn every_combination_is_drawn_once_and_the_seed_decides_the_order() {
        let order = |seed| shuffled(300, seed).collect::<Vec<_>>();
        let mut sorted = order(1);
        assert_eq!(sorted, order(1));
        assert_ne!(sorted, order(2));
        assert!(!sorted.is_sorted());
        sorted.sort_unstable();
        assert_eq!(sorted, (0..300).collect::<Vec<_>>());
    }

    #[test]
    fn no_place_of_the_order_prefers_a_combination() {
        // The first draw of four, over 400 seeds: 100 each, give or take four deviations.
        let mut counts = [0_usize; 4];
        for seed in 0..400 {
            counts[shuffled(4, seed).next().expect("four")] += 1;
        }
        assert!(
            counts.iter().all(|count| (65..=135).contains(count)),
            "{counts:?}"
        );
    }
}
