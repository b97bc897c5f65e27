//! From the sweep file as written to the settings that it asks for.
//!
//! It reads axes, points and how they are arranged. The rest of the file is its caller's.

use serde_saphyr::Location;

use super::axis::Axis;
use super::space::{Arrangement, DRAW_SEED, Draws, Setting, Space};
use super::wire::{ArrangementWire, PointsWire, SweepWire};
use crate::yaml::{Source, YamlError};

/// The settings of a file.
pub(super) fn space(source: Source<'_>, wire: &SweepWire) -> Result<Space, YamlError> {
    let written = wire.arrangement.as_ref();
    let arrangement = written.map(|arrangement| arrangement.value);
    if arrangement != Some(ArrangementWire::Random) {
        let draws = wire.draws.as_ref().map(|draws| draws.referenced);
        let seed = wire.draw_seed.as_ref().map(|seed| seed.referenced);
        if let Some(place) = draws.or(seed) {
            let error = source.error(&place, "nothing is drawn");
            return Err(error.with_help("say 'arrangement: random' too"));
        }
    }
    let place = written.map_or(wire.version.referenced, |written| written.referenced);
    match (&wire.axes, &wire.points) {
        (None, None) => {
            let error = source.error(&wire.version.referenced, "there are no settings");
            Err(error.with_help("write 'axes' or 'points'"))
        }
        (Some(_), Some(points)) => {
            let error = source.error(&points.referenced, "there are axes and points");
            Err(error.with_help("leave one of them out"))
        }
        (None, Some(points)) => match arrangement {
            None | Some(ArrangementWire::List) => listed(source, points),
            Some(_) => {
                let error = source.error(&place, "points are not combined");
                Err(error.with_help("leave 'arrangement' out"))
            }
        },
        (Some(axes), None) => {
            let arrangement = combined(source, wire, arrangement, &place)?;
            let mut read = Vec::new();
            for (name, values) in &axes.value {
                let place = &values.referenced;
                let mut axis = Axis::written(name, values.value.clone())
                    .map_err(|error| source.error(place, error.0))?;
                axis.place = Some(shown(source, place));
                read.push(axis);
            }
            match read.is_empty() {
                true => Err(source.error(&axes.referenced, "there is no axis")),
                false => Ok(Space::Axes(read, arrangement)),
            }
        }
    }
}

/// How axes are combined.
fn combined(
    source: Source<'_>,
    wire: &SweepWire,
    arrangement: Option<ArrangementWire>,
    place: &Location,
) -> Result<Arrangement, YamlError> {
    match arrangement {
        None | Some(ArrangementWire::Grid) => Ok(Arrangement::Grid),
        Some(ArrangementWire::Zip) => Ok(Arrangement::Zip),
        Some(ArrangementWire::List) => {
            let error = source.error(place, "there are no points to list");
            Err(error.with_help("write them under 'points'"))
        }
        Some(ArrangementWire::Random) => match &wire.draws {
            None => {
                let problem = "'arrangement: random' needs 'draws', the number of points";
                Err(source.error(place, problem))
            }
            Some(draws) if draws.value == 0 => {
                let problem = "at least one point has to be drawn";
                Err(source.error(&draws.referenced, problem))
            }
            Some(draws) => Ok(Arrangement::Random(Draws {
                points: draws.value,
                seed: (wire.draw_seed.as_ref()).map_or(DRAW_SEED, |seed| seed.value),
            })),
        },
    }
}

fn listed(source: Source<'_>, points: &PointsWire) -> Result<Space, YamlError> {
    let mut read = Vec::new();
    for point in &points.value {
        let place = &point.referenced;
        let named = point.value.clone().into_iter().collect();
        let mut setting = Setting::new(named).map_err(|error| source.error(place, error.0))?;
        setting.place = Some(shown(source, place));
        read.push(setting);
    }
    if read.is_empty() {
        return Err(source.error(&points.referenced, "there is no point"));
    }
    Space::listed(read).map_err(|(at, problem)| source.error(&points.value[at].referenced, problem))
}

/// `file:line:column`, for what is found wrong when the file is no longer at hand.
fn shown(source: Source<'_>, place: &Location) -> String {
    format!(
        "{}:{}:{}",
        source.path.display(),
        place.line(),
        place.column()
    )
}
