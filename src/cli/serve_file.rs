//! The configuration file of `loopwatch serve`, as written. Every unknown key is an error.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::generation::SamplingSettings;
use crate::server::{Limits, OnLoop, TimeOuts};
use crate::yaml::{self, Source, YamlError};

/// Most bytes of such a file.
const MAX_BYTES: u64 = 1 << 20;
/// No time-out is longer than a day.
const MOST_SECONDS: f64 = 86_400.0;

/// The file. What it does not say is left to the defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServeFile {
    /// Version of this format: 1.
    version: Option<Spanned<u32>>,
    pub(super) model: Option<String>,
    pub(super) host: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) api_key: Option<String>,
    pub(super) on_loop: Option<OnLoop>,
    sampling: Option<Spanned<SamplingSettings>>,
    #[serde(default)]
    limits: LimitsWire,
    #[serde(default)]
    time_outs: TimeOutsWire,
    pub(super) trace: Option<TraceWire>,
}

/// Where requests are written down.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceWire {
    pub(super) file: PathBuf,
    #[serde(default)]
    pub(super) text: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsWire {
    body_bytes: Option<usize>,
    context_tokens: Option<usize>,
    answers: Option<usize>,
    connections: Option<usize>,
    answer_cache_bytes: Option<usize>,
    repetition_pattern_tokens: Option<usize>,
}

/// All in seconds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeOutsWire {
    headers: Option<Spanned<f64>>,
    body: Option<Spanned<f64>>,
    answer: Option<Spanned<f64>>,
    write: Option<Spanned<f64>>,
    keep_alive: Option<Spanned<f64>>,
    grace: Option<Spanned<f64>>,
}

impl ServeFile {
    /// Reads and checks a file.
    pub(super) fn load(path: &Path) -> Result<Self, YamlError> {
        let help = "give a configuration of loopwatch serve; docs/serving.md describes it";
        let text = yaml::read_text(path, MAX_BYTES, help)?;
        let source = Source { path, text: &text };
        let file: Self = yaml::read(source)?;
        if let Some(version) = file.version.as_ref().filter(|version| version.value != 1) {
            let problem = format!("version {} is not known", version.value);
            return Err(source
                .error(&version.referenced, problem)
                .with_help("write version: 1"));
        }
        if let Some(sampling) = &file.sampling {
            let checked = sampling.value.resolve();
            checked.map_err(|error| source.error(&sampling.referenced, error.to_string()))?;
        }
        for seconds in file.time_outs.all() {
            if !(0.0..=MOST_SECONDS).contains(&seconds.value) {
                let problem = format!(
                    "{} seconds; write a number between 0 and {MOST_SECONDS}",
                    seconds.value
                );
                return Err(source.error(&seconds.referenced, problem));
            }
        }
        Ok(file)
    }

    /// Sampling where a request says nothing.
    pub(super) fn sampling(&self) -> SamplingSettings {
        let sampling = self.sampling.as_ref();
        sampling
            .map(|sampling| sampling.value.clone())
            .unwrap_or_default()
    }

    /// Lays the file over limits.
    pub(super) fn limit(&self, limits: &mut Limits) {
        let wire = &self.limits;
        for (place, value) in [
            (&mut limits.body_bytes, wire.body_bytes),
            (&mut limits.context_tokens, wire.context_tokens),
            (&mut limits.answers, wire.answers),
            (&mut limits.connections, wire.connections),
            (&mut limits.answer_cache_bytes, wire.answer_cache_bytes),
            (
                &mut limits.repetition_pattern_tokens,
                wire.repetition_pattern_tokens,
            ),
        ] {
            super::serve::set(place, value);
        }
    }

    /// Lays the file over time-outs.
    pub(super) fn time(&self, time_outs: &mut TimeOuts) {
        let wire = &self.time_outs;
        for (place, seconds) in [
            (&mut time_outs.headers, &wire.headers),
            (&mut time_outs.body, &wire.body),
            (&mut time_outs.answer, &wire.answer),
            (&mut time_outs.write, &wire.write),
            (&mut time_outs.keep_alive, &wire.keep_alive),
            (&mut time_outs.grace, &wire.grace),
        ] {
            let seconds = seconds.as_ref();
            // The range was checked when the file was read.
            super::serve::set(place, seconds.map(|s| Duration::from_secs_f64(s.value)));
        }
    }
}

impl TimeOutsWire {
    fn all(&self) -> impl Iterator<Item = &Spanned<f64>> {
        [
            &self.headers,
            &self.body,
            &self.answer,
            &self.write,
            &self.keep_alive,
            &self.grace,
        ]
        .into_iter()
        .flatten()
    }
}
