//! How a model of each format would write one call, as a Lark grammar.
//!
//! Knows what stands around a tool's name and arguments, and which of it are tokens of their own.
//! The arguments are JSON of the tool's schema, so formats that write them otherwise are not here.

use serde_json::{Value, json};

use super::super::output::{CallFormat, OutputFormat};
use super::{GrammarError, Tokenizer, bounded};
use crate::generation::ToolSpec;

/// Stands between name and arguments from Mistral Small 3.2 on.
const MISTRAL_ARGUMENTS: &str = "[ARGS]";

/// One call in a model's form, in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallForm {
    before: Vec<Term>,
    /// How the name is written.
    name: Name,
    between: Vec<Term>,
    behind: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Text(&'static str),
    /// A special token, by its id.
    Token(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Json,
    Plain,
}

impl CallForm {
    /// The form that a model with this output was trained to write; `None` if it has none whose
    /// arguments are JSON.
    pub(super) fn of(output: &OutputFormat, tokenizer: &Tokenizer) -> Option<Self> {
        let mark = |mark: &'static str| match tokenizer.id(mark) {
            Some(id) if tokenizer.is_special(id) => Term::Token(id),
            _ => Term::Text(mark),
        };
        let json = |before: Vec<Term>, between: &'static str, behind: Vec<Term>| Self {
            before,
            name: Name::Json,
            between: vec![Term::Text(between)],
            behind,
        };
        // Templates that show two forms show that of Hermes around the other.
        Some(if output.has(CallFormat::Hermes) {
            json(
                vec![mark("<tool_call>"), Term::Text("\n{\"name\": ")],
                ", \"arguments\": ",
                vec![Term::Text("}\n"), mark("</tool_call>")],
            )
        } else if output.has(CallFormat::Harmony) {
            Self {
                before: vec![mark("<|channel|>"), Term::Text("commentary to=functions.")],
                name: Name::Plain,
                between: vec![
                    Term::Text(" "),
                    mark("<|constrain|>"),
                    Term::Text("json"),
                    mark("<|message|>"),
                ],
                // The mark behind a call ends the answer.
                behind: Vec::new(),
            }
        } else if output.has(CallFormat::Mistral) && tokenizer.id(MISTRAL_ARGUMENTS).is_some() {
            Self {
                before: vec![mark("[TOOL_CALLS]")],
                name: Name::Plain,
                between: vec![mark(MISTRAL_ARGUMENTS)],
                behind: Vec::new(),
            }
        } else if output.has(CallFormat::Mistral) {
            json(
                vec![mark("[TOOL_CALLS]"), Term::Text(" [{\"name\": ")],
                ", \"arguments\": ",
                vec![Term::Text("}]")],
            )
        } else if output.has(CallFormat::Llama) {
            json(
                vec![Term::Text("{\"name\": ")],
                ", \"parameters\": ",
                vec![Term::Text("}")],
            )
        } else {
            return None;
        })
    }

    /// The grammar of one call of one of `names`, which are among `tools`.
    pub(super) fn lark(
        &self,
        names: &[String],
        tools: &[ToolSpec],
    ) -> Result<String, GrammarError> {
        if names.is_empty() {
            return Err(GrammarError::Form("no tools are offered".to_owned()));
        }
        let alternatives: Vec<String> = (0..names.len()).map(|at| format!("call_{at}")).collect();
        let mut lark = format!(
            "start: {} ({}) {}\n",
            written(&self.before),
            alternatives.join(" | "),
            written(&self.behind)
        );
        for (at, name) in names.iter().enumerate() {
            let Some(tool) = tools.iter().find(|tool| tool.name == *name) else {
                let problem = format!("there is no tool '{name}' among those offered");
                return Err(GrammarError::Form(problem));
            };
            let arguments = match &tool.parameters {
                schema @ Value::Object(fields) if !fields.is_empty() => bounded(schema)?,
                _ => bounded(&json!({"type": "object"}))?,
            };
            let name = match self.name {
                Name::Json => json!(name).to_string(),
                Name::Plain => name.clone(),
            };
            // Each schema stays a document of its own, so that its references find their targets.
            let between = written(&self.between);
            lark += &format!("call_{at}: {} {between} arguments_{at}\n", json!(name));
            lark += &format!("arguments_{at}: %json {arguments}\n");
        }
        Ok(lark)
    }
}

fn written(terms: &[Term]) -> String {
    let terms = terms.iter().map(|term| match term {
        Term::Text(text) => json!(text).to_string(),
        Term::Token(id) => format!("<[{id}]>"),
    });
    terms.collect::<Vec<_>>().join(" ")
}
