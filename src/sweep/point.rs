//! One point of a sweep: what is compared, under which condition, and with which settings.
//!
//! It knows which settings mean the same, and adds those without a penalty, which the others are
//! compared with. Prompts and runs are not its business.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::axis::shown;
use super::definition::DefinitionError;
use super::space::{Draws, Setting, Space};

/// Penalties, the value that switches each off, and the windows they look at, in the order in
/// which one of them becomes the scale of a sweep.
const PENALTIES: [(&str, f64, &str); 3] = [
    ("repetition_penalty", 1.0, "repetition_context_size"),
    ("presence_penalty", 0.0, "presence_context_size"),
    ("frequency_penalty", 0.0, "frequency_context_size"),
];

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
    /// The values of all other fields, such as `temperature 0.7`; empty if there are none.
    pub condition: String,
    pub(super) setting: Setting,
}

/// The penalty that is swept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) field: &'static str,
    /// The value that switches it off.
    pub(super) off: f64,
    /// The field of its window, if that is swept too.
    pub(super) window: Option<&'static str>,
}

impl Scale {
    pub(super) fn of(fields: &[&'static str]) -> Option<Self> {
        let swept = |wanted: &str| fields.iter().find(|field| **field == wanted).copied();
        PENALTIES.iter().find_map(|(field, off, window)| {
            Some(Self {
                field: swept(field)?,
                off: *off,
                window: swept(window),
            })
        })
    }
}

/// The distinct points of a space, those without a penalty that had to be added first, and how many
/// these are.
pub(super) fn points(
    space: &Space,
    scale: Option<Scale>,
) -> Result<(Vec<Point>, usize), DefinitionError> {
    let fields = space.fields();
    let draws = space.drawn();
    let wanted = draws.map_or(usize::MAX, |draws| draws.points);
    let mut known = HashSet::new();
    let mut points = Vec::new();
    for setting in space.settings()? {
        if points.len() == wanted {
            break;
        }
        let point = point(setting, scale, &fields)?;
        // Without a penalty, all windows are one point.
        if known.insert((format!("{:?}", point.treatment), point.condition.clone())) {
            points.push(point);
        }
    }
    if let Some(draws) = draws {
        enough(draws, points.len())?;
    }
    let added = match scale {
        Some(scale) => without_penalty(&points, scale),
        None => Vec::new(),
    };
    let many = added.len();
    Ok((added.into_iter().chain(points).collect(), many))
}

fn enough(draws: Draws, found: usize) -> Result<(), DefinitionError> {
    if found >= draws.points {
        return Ok(());
    }
    Err(DefinitionError::Asked(format!(
        "{} points are to be drawn, but the axes have only {found} that differ; draw fewer, or \
         leave 'random' out to try them all",
        draws.points
    )))
}

fn point(
    setting: Setting,
    scale: Option<Scale>,
    fields: &[&'static str],
) -> Result<Point, DefinitionError> {
    let level = match scale {
        Some(scale) => Some(level(&setting, scale)?),
        None => None,
    };
    let is_scale = |field: &str| {
        scale.is_some_and(|scale| scale.field == field || scale.window == Some(field))
    };
    let others = fields.iter().filter(|field| !is_scale(field));
    let condition = others.map(|field| match setting.get(field) {
        Some(value) => format!("{field} {}", shown(value)),
        None => format!("{field} as in the scenario"),
    });
    Ok(Point {
        treatment: level,
        condition: condition.collect::<Vec<_>>().join(", "),
        setting,
    })
}

/// The penalty of a setting and its window. A point that leaves out what others say would be
/// compared at a value that nobody sees.
fn level(setting: &Setting, scale: Scale) -> Result<Treatment, DefinitionError> {
    let missing = |field: &str, remedy: String| {
        let place = setting.place.as_ref();
        let place = place.map_or(String::new(), |place| format!("{place}: "));
        DefinitionError::Asked(format!(
            "{place}the point {setting} does not say {field}, as other points do; {remedy}"
        ))
    };
    let Some(level) = setting.get(scale.field).and_then(Value::as_f64) else {
        let remedy = format!("{} switches it off", scale.off);
        return Err(missing(scale.field, remedy));
    };
    let window = match scale.window.filter(|_| level != scale.off) {
        None => None,
        Some(field) => {
            let tokens = setting.get(field).and_then(Value::as_u64);
            let remedy = || "0 is the whole answer".to_owned();
            let tokens = tokens.ok_or_else(|| missing(field, remedy()))?;
            Some(usize::try_from(tokens).unwrap_or(usize::MAX))
        }
    };
    Ok(Treatment { level, window })
}

/// For each condition without it, the point at which the penalty is off: nothing can be compared
/// with "no penalty" where that is not tried.
fn without_penalty(points: &[Point], scale: Scale) -> Vec<Point> {
    let off = Treatment {
        level: scale.off,
        window: None,
    };
    let is_off = |point: &&Point| point.treatment == Some(off);
    let mut tried: HashSet<&str> = points
        .iter()
        .filter(is_off)
        .map(|point| point.condition.as_str())
        .collect();
    let mut added = Vec::new();
    for point in points {
        if tried.insert(&point.condition) {
            let mut setting = point.setting.clone();
            setting
                .values
                .retain(|(field, _)| Some(*field) != scale.window);
            for (field, value) in &mut setting.values {
                if *field == scale.field {
                    *value = Value::from(scale.off);
                }
            }
            added.push(Point {
                treatment: Some(off),
                condition: point.condition.clone(),
                setting,
            });
        }
    }
    added
}
