//! From the file as written to a scenario that cannot be wrong.

use std::collections::HashSet;
use std::path::Path;

use serde_saphyr::{Location, Spanned};

use super::mock::{MockTool, MockTools};
use super::tool_names::check_call;
use super::tools::lower_tools;
use super::wire::{ControlWire, LimitsWire, ScenarioWire, TestWire};
use super::{Control, DEFAULT_MODEL, ModelName, Scenario, Script, Test};
use crate::assertion::{Assertion, AssertionSpec, SpecError};
use crate::endpoint::TargetWire;
use crate::generation::{Message, Role, SamplingSettings};
use crate::yaml::{Source, YamlError, nearest, remedy};

/// The version that this program reads.
const VERSION: u32 = 1;

pub(super) fn lower(source: Source<'_>, file: ScenarioWire) -> Result<Scenario, YamlError> {
    let path = source.path;
    if file.version.value != VERSION {
        let message = format!("version {} is not known", file.version.value);
        let error = source.error(&file.version.referenced, message);
        return Err(error.with_help(format!("this program reads version {VERSION}")));
    }
    for (key, value) in [("description", &file.description), ("why", &file.why)] {
        if value.value.trim().is_empty() {
            return Err(source.error(&value.referenced, format!("'{key}' is empty")));
        }
    }
    let tools = lower_tools(&source, &file.tools, file.fixtures.as_deref())?;
    if file.tests.value.is_empty() {
        return Err(source.error(&file.tests.referenced, "there is no test"));
    }
    let mut ids = HashSet::new();
    let mut tests = Vec::new();
    for test in &file.tests.value {
        let id = &test.value.id;
        if !ids.insert(id.value.as_str()) {
            let message = format!("the id '{}' is taken by an earlier test", id.value);
            return Err(source.error(&id.referenced, message));
        }
        tests.push(lower_test(&source, &file, test, &tools)?);
    }
    let target = match file.target {
        None => TargetWire::default(),
        Some(target) => {
            target
                .value
                .resolve()
                .map_err(|problem| source.error(&target.referenced, problem))?;
            target.value
        }
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(Scenario {
        path: path.display().to_string(),
        name: stem.trim_end_matches(".scenario").to_owned(),
        description: file.description.value.trim().to_owned(),
        why: file.why.value.trim().to_owned(),
        tags: file.tags,
        model: resolve_model(path, file.model.as_deref()),
        target,
        tools: MockTools { tools },
        tests,
    })
}

/// A model's folder or script is relative to the scenario file, like every path in it.
fn resolve_model(path: &Path, model: Option<&str>) -> ModelName {
    let written = model.unwrap_or(DEFAULT_MODEL);
    let (kind, relative) = match written.strip_prefix("script:") {
        Some(script) => ("script:", script),
        None => ("", written),
    };
    let resolved = if kind.is_empty() && written.contains(':') {
        written.to_owned()
    } else {
        let base = path.parent().unwrap_or(Path::new(""));
        // Joining leaves an absolute path as it is.
        format!("{kind}{}", base.join(relative).display())
    };
    ModelName {
        written: written.to_owned(),
        resolved,
    }
}

fn lower_test(
    source: &Source<'_>,
    file: &ScenarioWire,
    test: &Spanned<TestWire>,
    tools: &[MockTool],
) -> Result<Test, YamlError> {
    let at = &test.referenced;
    let test = &test.value;
    let id = check_id(source, &test.id)?;
    let sampling = sampling(source, [file.sampling.as_ref(), test.sampling.as_ref()])?;
    let limits = limits(source, [file.limits.as_ref(), test.limits.as_ref()])?;
    let (assertions, specs) = lower_assertions(source, test, tools)?;
    let control = match test.control.as_ref().or(file.control.as_ref()) {
        Some(control) => Some(lower_control(source, control, &sampling, &assertions)?),
        None => None,
    };
    Ok(Test {
        id,
        line: at.line() as usize,
        script: script(source, at, test)?,
        sampling,
        limits,
        template: file.template.overlaid(&test.template),
        control,
        assertions,
        specs,
    })
}

fn check_id(source: &Source<'_>, id: &Spanned<String>) -> Result<String, YamlError> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !id.value.is_empty() && id.value.chars().all(legal) {
        return Ok(id.value.clone());
    }
    let message = format!("the id '{}' is not allowed", id.value);
    Err(source
        .error(&id.referenced, message)
        .with_help("use lower-case letters, digits and hyphens"))
}

fn script(source: &Source<'_>, at: &Location, test: &TestWire) -> Result<Script, YamlError> {
    let turns = |turns: Vec<String>| Script::Turns {
        system: test.system.clone(),
        turns,
    };
    let script = match (&test.user, &test.turns, &test.messages, &test.prompt) {
        (Some(user), None, None, None) => turns(vec![user.clone()]),
        (None, Some(list), None, None) if !list.is_empty() => {
            turns(list.iter().map(|turn| turn.user.clone()).collect())
        }
        (None, None, Some(list), None) if list.last().is_some_and(|m| m.role == Role::User) => {
            let messages = list.iter();
            Script::Messages(
                messages
                    .map(|m| Message::text(m.role, &m.content))
                    .collect(),
            )
        }
        (None, None, None, Some(prompt)) if !prompt.is_empty() => Script::Prompt(prompt.clone()),
        (None, Some(_), None, None) => return Err(source.error(at, "'turns' is empty")),
        (None, None, Some(_), None) => {
            return Err(source.error(at, "'messages' must end with a message of the user"));
        }
        (None, None, None, Some(_)) => return Err(source.error(at, "'prompt' is empty")),
        _ => {
            let message = "a test needs exactly one of 'user', 'turns', 'messages' and 'prompt'";
            return Err(source.error(at, message));
        }
    };
    if !test.template.is_empty() && matches!(script, Script::Prompt(_)) {
        let message = "'template' has no effect on a 'prompt', which is taken as it stands";
        return Err(source.error(at, message));
    }
    if test.system.is_some() && !matches!(script, Script::Turns { .. }) {
        let message = "'system' goes with 'user' or 'turns' only";
        return Err(source
            .error(at, message)
            .with_help("put a message with role system into 'messages'"));
    }
    Ok(script)
}

/// Lays the layers over each other, and checks each where it stands.
fn sampling(
    source: &Source<'_>,
    layers: [Option<&Spanned<SamplingSettings>>; 2],
) -> Result<SamplingSettings, YamlError> {
    let mut settings = SamplingSettings::default();
    for layer in layers.into_iter().flatten() {
        settings = settings.overlaid(&layer.value);
        settings
            .resolve()
            .map_err(|error| source.error(&layer.referenced, format!("sampling: {error}")))?;
    }
    Ok(settings)
}

fn limits(
    source: &Source<'_>,
    layers: [Option<&Spanned<LimitsWire>>; 2],
) -> Result<LimitsWire, YamlError> {
    let mut limits = LimitsWire::default();
    for layer in layers.into_iter().flatten() {
        limits = limits.overlaid(&layer.value);
        limits
            .resolve()
            .map_err(|problem| source.error(&layer.referenced, problem))?;
    }
    Ok(limits)
}

fn lower_assertions(
    source: &Source<'_>,
    test: &TestWire,
    tools: &[MockTool],
) -> Result<(Vec<Assertion>, Vec<AssertionSpec>), YamlError> {
    if test.assertions.value.is_empty() {
        let message = "there is no assertion, so this test could not fail";
        return Err(source.error(&test.assertions.referenced, message));
    }
    let mut assertions = Vec::new();
    let mut specs = Vec::new();
    for wire in &test.assertions.value {
        let at = &wire.referenced;
        let spec = AssertionSpec {
            line: at.line() as usize,
            column: at.column() as usize,
            ..wire.value.0.clone()
        };
        let lowered = spec.lower().map_err(|error| {
            let explained = source.error(at, error.to_string());
            match error {
                SpecError::UnknownKind { kind } => explained.with_help(kind_remedy(&kind)),
                SpecError::Parameter { .. } => explained,
            }
        })?;
        check_call(source, at, tools, &lowered)?;
        assertions.push(lowered);
        specs.push(spec);
    }
    Ok((assertions, specs))
}

fn kind_remedy(kind: &str) -> String {
    let negated: Vec<String> = AssertionSpec::NEGATABLE
        .iter()
        .map(|kind| format!("not-{kind}"))
        .collect();
    let known: Vec<&str> = AssertionSpec::KINDS
        .into_iter()
        .chain(negated.iter().map(String::as_str))
        .collect();
    // `{tpye: not-loop}` reads as the short form of an assertion named `tpye`.
    if nearest(kind, known.iter().copied()).is_none() && nearest(kind, ["type"]).is_some() {
        return remedy(kind, &["type"]);
    }
    remedy(kind, &known)
}

fn lower_control(
    source: &Source<'_>,
    control: &Spanned<ControlWire>,
    sampling: &SamplingSettings,
    assertions: &[Assertion],
) -> Result<Control, YamlError> {
    let wire = &control.value;
    sampling
        .overlaid(&wire.sampling.value)
        .resolve()
        .map_err(|error| source.error(&wire.sampling.referenced, format!("control: {error}")))?;
    if wire.must_fail.is_empty() {
        let message = "'must_fail' is empty, so the control could not do its work";
        return Err(source.error(&control.referenced, message));
    }
    let kinds: Vec<&str> = assertions.iter().map(|a| a.kind.as_str()).collect();
    for kind in &wire.must_fail {
        if !kinds.contains(&kind.value.as_str()) {
            let message = format!(
                "the control must fail '{}', but the test does not assert it",
                kind.value
            );
            return Err(source
                .error(&kind.referenced, message)
                .with_help(remedy(&kind.value, &kinds)));
        }
    }
    Ok(Control {
        sampling: wire.sampling.value.clone(),
        must_fail: wire
            .must_fail
            .iter()
            .map(|kind| kind.value.clone())
            .collect(),
    })
}
