//! Names of models on the command line; those of the hub are fetched here.

use indicatif::{ProgressBar, ProgressStyle};

use super::exit::Explained;
use crate::model::{HubName, HubSettings, ModelRef, fetch};

/// The model of a name: built in, a folder, or of the hub; then its files are fetched, with a
/// progress bar where someone watches.
pub(super) fn find(name: &str) -> anyhow::Result<ModelRef> {
    let Some(name) = HubName::parse(name) else {
        return Ok(ModelRef::parse(name));
    };
    let name = name.map_err(Explained::target)?;
    let settings = HubSettings::from_variables(|variable| std::env::var(variable).ok())
        .map_err(|problem| Explained::usage(format!("environment variable {problem}")))?;
    // Drawn on stderr, and only if that is a terminal.
    let bar = ProgressBar::new(0).with_message(name.to_string());
    let style = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}";
    bar.set_style(ProgressStyle::with_template(style)?);
    let snapshot = fetch(&name, &settings, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(progress.file.to_owned());
    });
    bar.finish_and_clear();
    Ok(ModelRef::Hub(snapshot.map_err(Explained::target)?))
}
