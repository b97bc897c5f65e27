//! From a file as written, and those it extends, to a scenario that cannot be wrong.

use std::collections::HashSet;
use std::path::Path;

use serde_saphyr::Spanned;

use super::layers::{self, Layer};
use super::lower_test::{Tests, lower_test};
use super::thresholds;
use super::tools;
use super::variables::{Scope, Written};
use super::wire::TestWire;
use super::{DEFAULT_MODEL, ModelName, Scenario, Test};
use crate::endpoint::TargetWire;
use crate::generation::TemplateVariables;
use crate::yaml::{Source, YamlError};

pub(super) fn lower(path: &Path, text: &str) -> Result<Scenario, YamlError> {
    let layers = layers::read(path, text)?;
    // There is always one: the scenario itself.
    let Some(scenario) = layers.last() else {
        return Err(Source { path, text }.error(&serde_saphyr::Location::UNKNOWN, "no file"));
    };
    let (source, file) = (scenario.source(), &scenario.file);
    let missing = |key: &str| {
        let message = format!("the key '{key}' is missing beside this one");
        source.error(&file.version.referenced, message)
    };
    let said = |key: &str, value: &Option<Spanned<String>>| match value {
        None => Err(missing(key)),
        Some(value) if value.value.trim().is_empty() => {
            Err(source.error(&value.referenced, format!("'{key}' is empty")))
        }
        Some(value) => Ok(value.value.trim().to_owned()),
    };
    let (description, why) = (
        said("description", &file.description)?,
        said("why", &file.why)?,
    );
    let written = file.tests.as_ref().ok_or_else(|| missing("tests"))?;
    if written.value.is_empty() {
        return Err(source.error(&written.referenced, "there is no test"));
    }
    let tests = lower_tests(&layers, &source, &written.value)?;
    let tags = tags(&layers);
    let thresholds = thresholds::lower(&layers, &tests, &tags)?;
    Ok(Scenario {
        path: path.display().to_string(),
        name: name(path),
        description,
        why,
        tags,
        model: model(path, &layers),
        target: target(&layers)?,
        tests,
        thresholds,
    })
}

/// The file's name without its ending.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.trim_end_matches(".scenario").to_owned()
}

fn lower_tests(
    layers: &[Layer],
    source: &Source<'_>,
    written: &[Spanned<TestWire>],
) -> Result<Vec<Test>, YamlError> {
    let mut scope = Scope::default();
    for layer in layers {
        let written = Written {
            source: layer.source(),
            vars: &layer.file.vars,
            matrix: &layer.file.matrix,
        };
        scope.lay(&written, false)?;
    }
    let template = layers
        .iter()
        .fold(TemplateVariables::default(), |sum, layer| {
            sum.overlaid(&layer.file.template)
        });
    let all = Tests {
        layers,
        source: *source,
        tools: &tools::written(layers),
        scope: &scope,
        template: &template,
    };
    let mut ids = HashSet::new();
    let mut tests = Vec::new();
    for test in written {
        let id = &test.value.id;
        if !ids.insert(id.value.as_str()) {
            let message = format!("the id '{}' is taken by an earlier test", id.value);
            return Err(source.error(&id.referenced, message));
        }
        tests.extend(lower_test(&all, test)?);
    }
    Ok(tests)
}

/// The tags of all files, each once.
fn tags(layers: &[Layer]) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in layers.iter().flat_map(|layer| &layer.file.tags) {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    tags
}

fn target(layers: &[Layer]) -> Result<TargetWire, YamlError> {
    let mut last = TargetWire::default();
    for layer in layers {
        if let Some(target) = &layer.file.target {
            let refused = |problem| layer.source().error(&target.referenced, problem);
            target.value.resolve().map_err(refused)?;
            last = target.value.clone();
        }
    }
    Ok(last)
}

/// A model's folder or script is relative to the file that names it, like every path in it.
fn model(path: &Path, layers: &[Layer]) -> ModelName {
    let named = layers.iter().rev().find_map(|layer| {
        let model = layer.file.model.as_deref()?;
        Some((layer.source().path, model))
    });
    let (path, written) = named.unwrap_or((path, DEFAULT_MODEL));
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
