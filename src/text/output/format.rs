//! Which formats a model writes, as its chat template and its vocabulary tell.
//!
//! A template shows earlier calls and thoughts in the form in which the model was trained to write
//! them, so the marks of a format stand in it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::{function_xml, harmony, hermes, llama, mistral};

/// A way to write tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallFormat {
    /// `<tool_call>{"name": …, "arguments": {…}}</tool_call>`: Hermes, Qwen.
    Hermes,
    /// `<function=NAME><parameter=KEY>VALUE</parameter></function>`: Qwen3-Coder.
    FunctionXml,
    /// `{"name": …, "parameters": {…}}` as the whole answer: Llama 3.
    Llama,
    /// `[f(a=1, b="x")]` as the whole answer: Llama 3.2 and 4.
    Python,
    /// `[TOOL_CALLS]` before a list, or before `name[ARGS]{…}`: Mistral.
    Mistral,
    /// Messages to `functions.NAME`: gpt-oss. Its thoughts are messages, too.
    Harmony,
}

/// What stands around a thought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThinkMarks {
    /// Before it.
    pub open: &'static str,
    /// Behind it.
    pub close: &'static str,
}

/// The pairs in use.
const THINK_MARKS: [ThinkMarks; 4] = [
    ThinkMarks {
        open: "<think>",
        close: "</think>",
    },
    ThinkMarks {
        open: "[THINK]",
        close: "[/THINK]",
    },
    ThinkMarks {
        open: "<longcat_think>",
        close: "</longcat_think>",
    },
    ThinkMarks {
        open: "<|think:start|>",
        close: "<|think:end|>",
    },
];

/// The formats of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputFormat {
    calls: BTreeSet<CallFormat>,
    thinking: Option<ThinkMarks>,
}

impl OutputFormat {
    /// The formats that a chat template shows, or whose marks are tokens of the vocabulary.
    #[must_use]
    pub fn detect(template: &str, is_token: &dyn Fn(&str) -> bool) -> Self {
        let shown = |mark: &str| template.contains(mark);
        let known = |open: &str, close: &str| is_token(open) && is_token(close);
        let mut calls = BTreeSet::new();
        let mut add = |format, is_on: bool| {
            if is_on {
                calls.insert(format);
            }
        };
        let hermes = shown(hermes::OPEN) || known(hermes::OPEN, hermes::CLOSE);
        add(CallFormat::Hermes, hermes);
        add(CallFormat::FunctionXml, shown(function_xml::OPEN));
        add(CallFormat::Mistral, shown(mistral::OPEN));
        add(CallFormat::Python, shows_python_calls(template));
        let json = shown("<|start_header_id|>") && shown("\"parameters\": ");
        add(CallFormat::Llama, shown(llama::TAG) || json);
        add(CallFormat::Harmony, shown(harmony::CHANNEL));
        let thinking = THINK_MARKS
            .into_iter()
            .find(|marks| shown(marks.close) || known(marks.open, marks.close));
        Self { calls, thinking }
    }

    /// Whether the model writes calls in this way.
    #[must_use]
    pub fn has(&self, format: CallFormat) -> bool {
        self.calls.contains(&format)
    }

    /// The marks of its thoughts, if it has some.
    #[must_use]
    pub fn thinking(&self) -> Option<ThinkMarks> {
        self.thinking
    }

    /// Whether its answers are text and nothing else.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.calls.is_empty() && self.thinking.is_none()
    }

    /// Whether a prompt with this end has opened a thought that the answer goes on with, as the
    /// templates of some models do.
    #[must_use]
    pub fn is_thinking(&self, prompt_end: &str) -> bool {
        let end = prompt_end.trim_end();
        if self.has(CallFormat::Harmony) {
            return end.ends_with(harmony::OPEN_THOUGHT);
        }
        self.thinking.is_some_and(|marks| end.ends_with(marks.open))
    }
}

/// Templates of such models show the form to the model: `[func_name1(params_name1=value, …)]`.
fn shows_python_calls(template: &str) -> bool {
    static CALL: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\[\w+\(\w+=[^)\]]*\)").ok());
    CALL.as_ref().is_some_and(|call| call.is_match(template))
}
