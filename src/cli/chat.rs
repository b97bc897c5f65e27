//! Conversations and template variables from the command line.

use std::path::Path;

use serde_json::{Map, Value};

use super::exit::Explained;
use crate::generation::TemplateVariables;
use crate::protocol::{Chat, read_chat};

/// Most bytes of a file of messages.
const MAX_BYTES: u64 = 64 << 20;

/// Reads a file of messages in OpenAI's form.
pub(super) fn read_file(path: &Path) -> anyhow::Result<Chat> {
    let name = path.display();
    let cannot = |error: std::io::Error| Explained::usage(format!("cannot read {name}: {error}"));
    let size = std::fs::metadata(path).map_err(cannot)?.len();
    if size > MAX_BYTES {
        let problem = format!("{name}: {size} bytes; at most {MAX_BYTES} are read");
        return Err(Explained::usage(problem));
    }
    let text = std::fs::read_to_string(path).map_err(cannot)?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| Explained::usage(format!("{name}: {error}")))?;
    read_chat(&value).map_err(|error| Explained::usage(format!("{name}: {error}")))
}

/// Reads `name=value`; what is not JSON is text.
pub(super) fn variable(flag: &str) -> Result<(String, Value), String> {
    let (name, value) = flag
        .split_once('=')
        .ok_or_else(|| "write a name and its value, such as enable_thinking=false".to_owned())?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.trim().to_owned(), value))
}

/// The variables of all flags; later ones win.
pub(super) fn variables(flags: &[(String, Value)]) -> anyhow::Result<TemplateVariables> {
    let map: Map<String, Value> = flags.iter().cloned().collect();
    TemplateVariables::try_from(map).map_err(Explained::usage)
}
