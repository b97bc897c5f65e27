//! The script as written, and its lowering.

use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{FaultScript, Faults, Irregular, Status};
use crate::yaml::{Source, YamlError, duration, remedy};

/// Most pieces of an answer.
const MOST_PIECES: usize = 1 << 20;

/// A script of faults, version 1.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptWire {
    version: Spanned<u32>,
    #[serde(default = "model")]
    model: String,
    #[serde(default)]
    tokens: bool,
    /// What is thought before the answer.
    reasoning: Option<Spanned<AnswerWire>>,
    answer: Spanned<AnswerWire>,
    #[serde(default = "stop")]
    finish: String,
    ttft: Option<Spanned<String>>,
    itl: Option<Spanned<String>>,
    #[serde(default)]
    faults: FaultsWire,
}

fn model() -> String {
    "faulty".to_owned()
}

fn stop() -> String {
    "stop".to_owned()
}

/// What is said: these pieces, then the loop as often as it says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerWire {
    #[serde(default)]
    pieces: Vec<String>,
    #[serde(rename = "loop", default)]
    ring: Vec<String>,
    #[serde(default)]
    times: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FaultsWire {
    status: Option<StatusWire>,
    slow_headers: Option<Spanned<String>>,
    dribble: Option<Spanned<String>>,
    content_type: Option<String>,
    stall: Option<StallWire>,
    disconnect_at: Option<usize>,
    line: Option<LineWire>,
    output_tokens: Option<usize>,
    merge: Option<Spanned<usize>>,
    split: Option<Spanned<usize>>,
    oversize: Option<usize>,
    no_end: bool,
    irregular: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusWire {
    code: Spanned<u16>,
    times: Option<usize>,
    retry_after: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StallWire {
    after: usize,
    #[serde(rename = "for")]
    time: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineWire {
    after: usize,
    text: String,
}

pub(super) fn lower(source: Source<'_>, wire: ScriptWire) -> Result<FaultScript, YamlError> {
    if wire.version.value != 1 {
        let message = format!("version {} is not known", wire.version.value);
        return Err(source.error(&wire.version.referenced, message));
    }
    let mut pieces = match wire.reasoning {
        None => Vec::new(),
        Some(reasoning) => said(source, "reasoning", reasoning)?,
    };
    let thoughts = pieces.len();
    pieces.extend(said(source, "answer", wire.answer)?);
    Ok(FaultScript {
        model: wire.model,
        tokens: wire.tokens,
        pieces,
        thoughts,
        finish: wire.finish,
        ttft: time(&source, wire.ttft.as_ref())?.unwrap_or_default(),
        itl: time(&source, wire.itl.as_ref())?.unwrap_or_default(),
        faults: faults(&source, wire.faults)?,
    })
}

/// The pieces of the answer, or of what is thought before it.
fn said(
    source: Source<'_>,
    what: &str,
    written: Spanned<AnswerWire>,
) -> Result<Vec<String>, YamlError> {
    let AnswerWire {
        mut pieces,
        ring,
        times,
    } = written.value;
    let whole = ring.len().checked_mul(times);
    if whole.is_none_or(|more| more.saturating_add(pieces.len()) > MOST_PIECES) {
        let message = format!("the {what} has more than {MOST_PIECES} pieces");
        return Err(source.error(&written.referenced, message));
    }
    for _ in 0..times {
        pieces.extend(ring.iter().cloned());
    }
    if pieces.is_empty() {
        let message = format!("the {what} is empty; give 'pieces', or a 'loop' and its 'times'");
        return Err(source.error(&written.referenced, message));
    }
    Ok(pieces)
}

fn irregular(
    source: &Source<'_>,
    written: Vec<Spanned<String>>,
) -> Result<Vec<Irregular>, YamlError> {
    let one = |written: &Spanned<String>| {
        let mut known = Irregular::ALL.into_iter();
        let found = known.find(|(name, _)| *name == written.value);
        found.map(|(_, irregular)| irregular).ok_or_else(|| {
            let message = format!("'{}' is no irregularity of a stream", written.value);
            let names = Irregular::ALL.map(|(name, _)| name);
            source
                .error(&written.referenced, message)
                .with_help(remedy(&written.value, &names))
        })
    };
    written.iter().map(one).collect()
}

fn faults(source: &Source<'_>, wire: FaultsWire) -> Result<Faults, YamlError> {
    let status = match wire.status {
        None => None,
        Some(status) if (100..1000).contains(&status.code.value) => Some(Status {
            code: status.code.value,
            times: status.times.unwrap_or(usize::MAX),
            retry_after: status.retry_after,
        }),
        Some(status) => {
            let message = format!("{} is no HTTP status", status.code.value);
            return Err(source.error(&status.code.referenced, message));
        }
    };
    let stall = match wire.stall {
        None => None,
        Some(stall) => time(source, Some(&stall.time))?.map(|time| (stall.after, time)),
    };
    Ok(Faults {
        status,
        slow_headers: time(source, wire.slow_headers.as_ref())?,
        dribble: time(source, wire.dribble.as_ref())?,
        content_type: wire.content_type,
        stall,
        disconnect_at: wire.disconnect_at,
        line: wire.line.map(|line| (line.after, line.text)),
        output_tokens: wire.output_tokens,
        merge: at_least_one(source, wire.merge)?,
        split: at_least_one(source, wire.split)?,
        oversize: wire.oversize,
        no_end: wire.no_end,
        irregular: irregular(source, wire.irregular)?,
    })
}

fn time(
    source: &Source<'_>,
    written: Option<&Spanned<String>>,
) -> Result<Option<Duration>, YamlError> {
    let Some(written) = written else {
        return Ok(None);
    };
    duration(&written.value).map(Some).ok_or_else(|| {
        let message = format!("'{}' is no duration", written.value);
        source
            .error(&written.referenced, message)
            .with_help("write it as 500ms, 30s or 2m")
    })
}

fn at_least_one(
    source: &Source<'_>,
    written: Option<Spanned<usize>>,
) -> Result<Option<usize>, YamlError> {
    match written {
        Some(count) if count.value == 0 => {
            Err(source.error(&count.referenced, "must be at least 1"))
        }
        other => Ok(other.map(|count| count.value)),
    }
}
