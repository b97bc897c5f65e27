//! What ran, where, and with which command.

use std::time::SystemTime;

use super::sampling;
use crate::record::{FORMAT_VERSION, ModelProvenance, PlanProvenance, Provenance};

/// The provenance of a run that starts now.
pub(super) fn collect(
    threads: usize,
    jobs: usize,
    overrides: Vec<String>,
    environment: Vec<String>,
    models: Vec<ModelProvenance>,
) -> Provenance {
    Provenance {
        format: FORMAT_VERSION,
        tool: concat!("loopwatch ", env!("CARGO_PKG_VERSION")).to_owned(),
        command: std::env::args().collect(),
        started_at: now(),
        platform: platform(),
        processor: processor().unwrap_or_else(|| "unknown".to_owned()),
        threads,
        jobs,
        overrides,
        environment,
        models,
        plan: None,
    }
}

/// The same for a plan, in this environment.
pub(super) fn of_plan(
    plan: PlanProvenance,
    threads: usize,
    jobs: usize,
    overrides: Vec<String>,
    models: &[ModelProvenance],
) -> Provenance {
    let environment = sampling::environment_as_text();
    Provenance {
        plan: Some(plan),
        ..collect(threads, jobs, overrides, environment, models.to_vec())
    }
}

/// The time in UTC, as records have it.
pub(super) fn now() -> String {
    jiff::Timestamp::try_from(SystemTime::now())
        .map(|now| now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

/// Operating system and architecture.
pub(super) fn platform() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The processor's name, as Linux tells it.
pub(super) fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
