//! The targets of a run: engines loaded, servers reached or started.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::exit::Explained;
use super::models;
use crate::assertion::{Way, ways};
use crate::backend::{BackendKind, Precision};
use crate::endpoint::{Endpoint, HttpEndpoint, HttpOptions};
use crate::engine::{Engine, EngineOptions};
use crate::plan::{Answerer, Case};
use crate::record::ModelProvenance;
use crate::runner::Targets;
use crate::scenario::ModelName;
use crate::target::{EchoTarget, EngineTarget, HttpTarget, Network, Secret, Spawned};

/// Everything that answers, for as long as it is held.
#[derive(Default)]
pub(super) struct Answering {
    pub(super) targets: Targets,
    /// The engines among them, for what a target does not do.
    pub(super) engines: BTreeMap<Answerer, Engine>,
    pub(super) models: Vec<ModelProvenance>,
    /// The servers that were started; they end when this is dropped.
    spawned: Vec<Spawned>,
    network: Option<Network>,
}

impl Answering {
    /// Loads every model, and reaches or starts every server, that a case names, once. Cases that
    /// a server answers get the name of its model. Logs of started servers go to `folder`.
    pub(super) fn prepare(
        cases: &mut [Case],
        options: &EngineOptions,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let options = &EngineOptions {
            most_wait: most_wait(cases),
            ..options.clone()
        };
        let mut answering = Self::default();
        let mut served: Vec<(Answerer, String)> = Vec::new();
        for case in cases {
            let answerer = case.answerer();
            if !answering.targets.contains_key(&answerer) {
                match &answerer {
                    Answerer::Engine(_) => answering.load(case, options)?,
                    Answerer::Server(endpoint) => {
                        let model = answering.reach(endpoint, folder)?;
                        served.push((answerer.clone(), model));
                    }
                }
            }
            if let Some((_, model)) = served.iter().find(|(other, _)| *other == answerer) {
                case.model = ModelName {
                    written: model.clone(),
                    resolved: model.clone(),
                };
            }
        }
        Ok(answering)
    }

    fn load(&mut self, case: &Case, options: &EngineOptions) -> anyhow::Result<()> {
        let name = models::find(&case.model.resolved)?;
        let engine = Engine::load(&name, options).map_err(Explained::target)?;
        let description = engine.model().description();
        self.models.push(ModelProvenance {
            name: case.model.written.clone(),
            description: match (options.backend, options.precision) {
                (BackendKind::Cpu, Precision::Exact) => description.to_owned(),
                (BackendKind::Cpu, Precision::Fast) => format!("{description}, fast precision"),
                (other, _) => format!("{description}, on {}", other.name()),
            },
            weights_sha256: crate::model::ModelFiles::find(name)
                .and_then(|files| files.weights_sha256())
                .map_err(Explained::target)?,
        });
        self.engines.insert(case.answerer(), engine.clone());
        let target = EngineTarget::new(engine);
        self.targets.insert(case.answerer(), Arc::new(target));
        Ok(())
    }

    /// Returns what stands where others have the name of a model.
    fn echo(&mut self) -> String {
        self.models.push(ModelProvenance {
            name: "echo".to_owned(),
            description: "says what was said last".to_owned(),
            weights_sha256: String::new(),
        });
        let answerer = Answerer::Server(Endpoint::Echo);
        self.targets.insert(answerer, Arc::new(EchoTarget));
        "echo".to_owned()
    }

    /// Returns the name of the server's model.
    fn reach(&mut self, endpoint: &Endpoint, folder: &Path) -> anyhow::Result<String> {
        if *endpoint == Endpoint::Echo {
            return Ok(self.echo());
        }
        let network = match &self.network {
            Some(network) => network.clone(),
            None => self.network.insert(Network::start()?).clone(),
        };
        let stopped = || Explained::target("the network's thread has stopped");
        let http = match endpoint {
            Endpoint::Http(http) => http.clone(),
            Endpoint::Spawn(spawn) => {
                let log = folder.join(format!("server-{}.log", self.spawned.len() + 1));
                let starting = Spawned::start(spawn, &log);
                let started = network.wait_for(starting).ok_or_else(stopped)?;
                let spawned = started.map_err(Explained::target)?;
                let http = spawned.endpoint.clone();
                self.spawned.push(spawned);
                http
            }
            Endpoint::Engine | Endpoint::Echo => {
                return Err(anyhow::anyhow!("'{endpoint}' is no server"));
            }
        };
        let key = key(&http)?;
        let reaching = HttpTarget::connect(http.clone(), key, network.clone());
        let reached = network.wait_for(reaching).ok_or_else(stopped)?;
        let target = reached.map_err(Explained::target)?;
        let served = target.served();
        let tells = match served.tokens {
            true => "tells its tokens",
            false => "tells text without token ids",
        };
        self.models.push(ModelProvenance {
            name: served.model.clone(),
            description: format!("{http}, {tells}"),
            weights_sha256: String::new(),
        });
        let answerer = Answerer::Server(endpoint.clone());
        self.targets.insert(answerer, Arc::new(target));
        Ok(served.model)
    }
}

/// The key for a server, from the variable that its target names.
fn key(endpoint: &HttpEndpoint) -> anyhow::Result<Option<Secret>> {
    let HttpOptions { api_key_env, .. } = &endpoint.options;
    let Some(variable) = api_key_env else {
        return Ok(None);
    };
    let missing = || format!("{endpoint}: the environment variable {variable} is not set");
    let key = std::env::var(variable)
        .ok()
        .filter(|key| !key.is_empty())
        .ok_or_else(|| Explained::usage(missing()))?;
    if endpoint.base.is_in_the_clear() {
        return Err(Explained::usage(format!(
            "{endpoint}: the key in {variable} would travel in the clear; use https://"
        )));
    }
    Ok(Some(Secret::new(key)))
}

/// Cases that look at when tokens come get them as they come: they count what others get before an
/// answer ends, or wait for a pause.
fn most_wait(cases: &[Case]) -> Duration {
    let looks = |case: &Case| {
        let mut ways = ways(&case.assertions, case.asked()).into_iter();
        case.limits.stall_limit.is_some() || ways.any(|way| matches!(way, Way::Beside(_)))
    };
    match cases.iter().any(looks) {
        true => EngineOptions::STREAMED,
        false => EngineOptions::WHOLE,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::generation::SamplingSettings;
    use crate::plan::{Overrides, expand};
    use crate::scenario::Scenario;

    #[rstest]
    #[case::neither("assert: [not-loop, deterministic]", EngineOptions::WHOLE)]
    #[case::company("assert: [batch-invariant: 2]", EngineOptions::STREAMED)]
    #[case::a_pause(
        "assert: [not-loop], limits: {stall_limit: 20ms}",
        EngineOptions::STREAMED
    )]
    fn who_looks_at_when_tokens_come_gets_them_as_they_come(
        #[case] what: &str,
        #[case] expected: Duration,
    ) {
        let text = format!(
            "version: 1\ndescription: d\nwhy: w\ntests:\n\
             - {{id: plain, user: u, assert: [not-loop]}}\n- {{id: a, user: u, {what}}}\n"
        );
        let scenario = Scenario::parse(Path::new("s.yaml"), &text).expect("valid");
        let (overrides, sampling) = (Overrides::default(), SamplingSettings::default());
        let cases = expand(&[scenario], &overrides, &sampling).expect("a plan");
        assert_eq!(most_wait(&cases), expected);
    }
}
