//! One test as written, to the cases it becomes: what is said, how, and what must hold.

use serde_saphyr::{Location, Spanned};

use super::asserted::{self, Placed, names_of};
use super::layers::Layer;
use super::mock::MockTools;
use super::redacted;
use super::template;
use super::tools::{self, WrittenTool};
use super::variables::{self, Bound, Scope, Written};
use super::wire::{ControlWire, LimitsWire, TestWire};
use super::{Control, Script, Test};
use crate::assertion::{Assertion, Quarantine, Repeat};
use crate::generation::{Message, Role, SamplingSettings, TemplateVariables};
use crate::yaml::{Source, YamlError, remedy};

/// What the tests of a file have in common.
#[derive(Clone, Copy)]
pub(super) struct Tests<'a> {
    pub(super) layers: &'a [Layer],
    /// The file of the tests.
    pub(super) source: Source<'a>,
    pub(super) tools: &'a [WrittenTool<'a>],
    pub(super) scope: &'a Scope<'a>,
    pub(super) template: &'a TemplateVariables,
}

/// The cases of a test: one, or one for each combination of the lists that it names.
pub(super) fn lower_test(
    all: &Tests<'_>,
    test: &Spanned<TestWire>,
) -> Result<Vec<Test>, YamlError> {
    let source = &all.source;
    let (at, wire) = (&test.referenced, &test.value);
    let id = check_id(source, &wire.id)?;
    let sampling = sampling(all, wire)?;
    let written = asserted::placed(all, test)?;
    let redact = redacted::redactions(all, wire, &written)?;
    let repeat = repeat(all, wire, &sampling, &written)?;
    let quarantine = quarantine(source, wire)?;
    let mut scope = all.scope.clone();
    let own = Written {
        source: *source,
        vars: &wire.vars,
        matrix: &wire.matrix,
    };
    scope.lay(&own, true)?;
    let mut tests = Vec::new();
    let mut named = names(wire, &written);
    tools::names(all.tools, &mut named);
    for bound in scope.cases(source, at, &named)? {
        let tools = tools::lower(all.tools, &bound)?;
        let (assertions, specs) = asserted::lower(all, &tools, &written, (&bound, &redact))?;
        tests.push(Test {
            id: format!("{id}{}", bound.suffix),
            line: at.line() as usize,
            tags: wire.tags.clone(),
            script: script(source, at, wire, &bound)?,
            tools: MockTools { tools },
            sampling: sampling.clone(),
            limits: limits(all, wire)?,
            template: all.template.overlaid(&wire.template),
            control: control(all, wire, &sampling, &assertions)?,
            repeat,
            quarantine: quarantine.clone(),
            assertions,
            specs,
        });
    }
    Ok(tests)
}

fn quarantine(source: &Source<'_>, test: &TestWire) -> Result<Option<Quarantine>, YamlError> {
    let Some(written) = &test.quarantine else {
        return Ok(None);
    };
    let checked = Quarantine::new(&written.value.until, &written.value.why);
    let refused = |problem| source.error(&written.referenced, format!("quarantine: {problem}"));
    checked.map(Some).map_err(refused)
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

/// The names in every text of a test.
fn names(test: &TestWire, assertions: &[Placed<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let texts = [&test.user, &test.system, &test.prompt];
    let texts = texts.into_iter().flatten();
    let turns = test.turns.iter().flatten().map(|turn| &turn.user);
    let messages = test
        .messages
        .iter()
        .flatten()
        .map(|message| &message.content);
    for text in texts.chain(turns).chain(messages) {
        template::names(text, &mut found);
    }
    for placed in assertions {
        names_of(&placed.wire.value.0, &mut found);
    }
    found
}

fn script(
    source: &Source<'_>,
    at: &Location,
    test: &TestWire,
    bound: &Bound<'_>,
) -> Result<Script, YamlError> {
    let fill = |text: &str| {
        let filled = bound.text(text);
        filled.map_err(|error| variables::at(source, at, &error))
    };
    let system = test.system.as_deref().map(fill).transpose()?;
    let turns = |turns: Vec<String>| Script::Turns {
        system: system.clone(),
        turns,
    };
    let script = match (&test.user, &test.turns, &test.messages, &test.prompt) {
        (Some(user), None, None, None) => turns(vec![fill(user)?]),
        (None, Some(list), None, None) if !list.is_empty() => {
            let said = list.iter().map(|turn| fill(&turn.user));
            turns(said.collect::<Result<_, _>>()?)
        }
        (None, None, Some(list), None) if list.last().is_some_and(|m| m.role == Role::User) => {
            let messages = list
                .iter()
                .map(|m| Ok(Message::text(m.role, &fill(&m.content)?)));
            Script::Messages(messages.collect::<Result<_, YamlError>>()?)
        }
        (None, None, None, Some(prompt)) if !prompt.is_empty() => Script::Prompt(fill(prompt)?),
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

/// Lays the settings of files and test over each other, and checks each where it stands.
fn sampling(all: &Tests<'_>, test: &TestWire) -> Result<SamplingSettings, YamlError> {
    let files = all
        .layers
        .iter()
        .map(|one| (one.source(), one.file.sampling.as_ref()));
    let mut settings = SamplingSettings::default();
    for (source, layer) in files.chain([(all.source, test.sampling.as_ref())]) {
        let Some(layer) = layer else { continue };
        settings = settings.overlaid(&layer.value);
        settings
            .resolve()
            .map_err(|error| source.error(&layer.referenced, format!("sampling: {error}")))?;
    }
    Ok(settings)
}

fn limits(all: &Tests<'_>, test: &TestWire) -> Result<LimitsWire, YamlError> {
    let files = all
        .layers
        .iter()
        .map(|one| (one.source(), one.file.limits.as_ref()));
    let mut limits = LimitsWire::default();
    for (source, layer) in files.chain([(all.source, test.limits.as_ref())]) {
        let Some(layer) = layer else { continue };
        limits = limits.overlaid(&layer.value);
        limits
            .resolve()
            .map_err(|problem| source.error(&layer.referenced, problem))?;
    }
    Ok(limits)
}

/// How often the test is run. The last file that says a thing about it is right.
fn repeat(
    all: &Tests<'_>,
    test: &TestWire,
    sampling: &SamplingSettings,
    assertions: &[Placed<'_>],
) -> Result<Option<Repeat>, YamlError> {
    let files = all
        .layers
        .iter()
        .map(|one| (one.source(), &one.file.default_test));
    let (mut runs, mut reduce) = (None, None);
    for (source, default) in files {
        runs = default.repeat.as_ref().map(|runs| (source, runs)).or(runs);
        reduce = default.reduce.as_ref().map(|one| (source, one)).or(reduce);
    }
    runs = test.repeat.as_ref().map(|runs| (all.source, runs)).or(runs);
    reduce = test.reduce.as_ref().map(|one| (all.source, one)).or(reduce);
    let (source, at, runs) = match (runs, reduce) {
        (Some((source, runs)), _) if runs.value != 1 => (source, &runs.referenced, runs.value),
        (_, Some((source, reduce))) => {
            let message = "'reduce' says when several runs pass together, and there is one";
            let help = "write how many with 'repeat'";
            return Err(source.error(&reduce.referenced, message).with_help(help));
        }
        _ => return Ok(None),
    };
    let (refused_in, place) =
        reduce.map_or((source, at), |(source, one)| (source, &one.referenced));
    let reduce = reduce.map(|(_, reduce)| reduce.value.as_str());
    let repeat = Repeat::new(runs, reduce).map_err(|problem| refused_in.error(place, problem))?;
    if repeat.is_estimate()
        && sampling
            .resolve()
            .is_ok_and(|params| params.temperature == 0.0)
    {
        let message = "at temperature 0 all runs are one answer, and no sample";
        let help = "set a temperature, or write reduce: all";
        return Err(refused_in.error(place, message).with_help(help));
    }
    let snapshot = assertions
        .iter()
        .find(|one| one.wire.value.0.kind == "snapshot");
    if let Some(Placed { source, wire, .. }) = snapshot {
        let message = "a snapshot holds one answer, and this test is run several times";
        return Err(source.error(&wire.referenced, message));
    }
    Ok(Some(repeat))
}

/// The control of the test, or else of the last file that has one.
fn control(
    all: &Tests<'_>,
    test: &TestWire,
    sampling: &SamplingSettings,
    assertions: &[Assertion],
) -> Result<Option<Control>, YamlError> {
    let own = test.control.as_ref().map(|control| (all.source, control));
    let shared = || {
        let mut layers = all.layers.iter().rev();
        layers.find_map(|one| Some((one.source(), one.file.control.as_ref()?)))
    };
    match own.or_else(shared) {
        Some((source, control)) => lower_control(&source, control, sampling, assertions).map(Some),
        None => Ok(None),
    }
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
