//! A conversation as turns to read: who says what, with the loops marked.
//!
//! It knows the order of a conversation and what is folded because it is long. It does not know
//! verdicts, or that a run has a control.

use serde::Serialize;

use super::marking::{Segment, mark, plain};
use super::numbers::{count, things};
use crate::generation::{Exchange, Message, Role, ToolCall, ToolResult};
use crate::record::RunRecord;

/// Characters from which on what the model was given is folded.
const FOLDED_CHARS: usize = 600;
/// Characters of folded text that stay visible.
const PREVIEW_CHARS: usize = 120;

/// Something said in a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Turn {
    /// `system`, `user`, `assistant` or `tool`.
    pub(super) role: &'static str,
    /// Who speaks, in words.
    pub(super) speaker: String,
    /// What is worth knowing beside the text.
    pub(super) note: String,
    pub(super) segments: Vec<Segment>,
    /// The beginning of the text, if it is long enough to be folded.
    pub(super) preview: Option<String>,
    /// Tool calls that were read from the text.
    pub(super) calls: Vec<String>,
}

/// Characters that are left of a text that is cut.
const CUT_CHARS: usize = 600;

impl Turn {
    /// Cuts a long text. Its marks go with it, since what they mark may be gone.
    pub(super) fn cut(&mut self) {
        let text: String = self.segments.iter().map(Segment::text).collect();
        if let Some((end, _)) = text.char_indices().nth(CUT_CHARS) {
            self.segments = plain(&format!("{} …", &text[..end]));
        }
    }
}

/// The turns of a run, in order.
pub(super) fn turns(run: &RunRecord) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut answered_by_mocks = false;
    for (index, exchange) in run.conversation.exchanges.iter().enumerate() {
        let added = exchange.added.iter();
        // The answers of mocks stand with their calls already.
        let shown = added.filter(|message| message.role != Role::Tool || !answered_by_mocks);
        turns.extend(shown.map(given));
        if index == 0 && exchange.added.is_empty() {
            turns.push(Turn {
                role: Role::User.as_str(),
                speaker: "Prompt".to_owned(),
                note: "raw text without a chat template; it stands in the scenario".to_owned(),
                ..Turn::default()
            });
        }
        turns.push(generated(run, index, exchange));
        turns.extend(exchange.tool_results.iter().map(tool_result));
        answered_by_mocks = !exchange.tool_results.is_empty();
    }
    turns
}

/// How many turns both begin with, the last of each always left apart.
pub(super) fn shared(run: &[Turn], control: &[Turn]) -> usize {
    let most = run.len().min(control.len()).saturating_sub(1);
    let pairs = run.iter().zip(control).take(most);
    pairs.take_while(|(left, right)| left == right).count()
}

/// A message that the scenario gives to the model.
fn given(message: &Message) -> Turn {
    let speaker = match message.role {
        Role::System => "System",
        Role::User => "User",
        Role::Assistant => "Assistant, as the scenario has it",
        Role::Tool => "Tool result, as the scenario has it",
    };
    Turn {
        role: message.role.as_str(),
        speaker: speaker.to_owned(),
        note: length_note(&message.content),
        segments: plain(&message.content),
        preview: preview(&message.content),
        calls: message.tool_calls.iter().map(call).collect(),
    }
}

fn generated(run: &RunRecord, index: usize, exchange: &Exchange) -> Turn {
    let transcript = &exchange.transcript;
    let mut loops = run.judgement.loops.iter();
    let segments = match loops.find(|evidence| evidence.exchange == index) {
        Some(evidence) => mark(transcript, &evidence.verdict),
        None => plain(&transcript.text),
    };
    let tokens = things(transcript.tokens.len(), "token");
    Turn {
        role: Role::Assistant.as_str(),
        speaker: "Assistant".to_owned(),
        note: format!("{tokens}, finish {}", transcript.finish_reason.as_str()),
        segments,
        preview: None,
        calls: transcript.tool_calls.iter().map(call).collect(),
    }
}

fn tool_result(result: &ToolResult) -> Turn {
    let outcome = if result.is_error { "error" } else { "result" };
    Turn {
        role: Role::Tool.as_str(),
        speaker: format!("Tool {outcome} of {}", result.call.name),
        note: length_note(&result.content),
        segments: plain(&result.content),
        preview: preview(&result.content),
        calls: Vec::new(),
    }
}

fn call(call: &ToolCall) -> String {
    let arguments = serde_json::to_string(&call.arguments).unwrap_or_default();
    format!("{} {arguments}", call.name)
}

fn length_note(text: &str) -> String {
    match text.chars().count() {
        chars if chars > FOLDED_CHARS => format!("{} characters", count(chars)),
        _ => String::new(),
    }
}

/// The first characters of a long text, on one line.
fn preview(text: &str) -> Option<String> {
    if text.chars().count() <= FOLDED_CHARS {
        return None;
    }
    let words: Vec<&str> = text.split_whitespace().take(PREVIEW_CHARS).collect();
    let line: String = words.join(" ").chars().take(PREVIEW_CHARS).collect();
    Some(line.trim_end().to_owned() + " …")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn speakers(turns: &[Turn]) -> Vec<String> {
        turns
            .iter()
            .map(|turn| format!("{}/{} {}", turn.role, turn.speaker, turn.segments.len()))
            .collect()
    }

    #[test]
    fn a_tool_result_is_shown_once_and_with_its_tool() {
        let record = fixture::record();
        let case = &record.cases[0];
        let run = turns(&case.run);
        insta::assert_snapshot!(speakers(&run).join("\n"), @r"
        system/System 1
        user/User 1
        assistant/Assistant 1
        tool/Tool result of read_file 1
        assistant/Assistant 1
        ");
        assert_eq!(run[2].calls, [r#"read_file {"path":"README.md"}"#]);
        assert_eq!(run[2].note, "45 tokens, finish tool_calls");
        assert!(
            run[3]
                .preview
                .as_deref()
                .is_some_and(|text| text.starts_with("# Tidepool"))
        );
    }

    #[test]
    fn what_run_and_control_share_is_everything_before_they_part() {
        let record = fixture::record();
        let case = &record.cases[0];
        let control = case.control.as_ref().expect("has a control");
        let (run, control) = (turns(&case.run), turns(&control.run));
        assert_eq!(shared(&run, &control), 4);
        // Even equal conversations keep their last turns for the comparison.
        assert_eq!(shared(&run, &run), 4);
        assert_eq!(shared(&run, &[]), 0);
    }

    #[test]
    fn a_raw_prompt_is_mentioned() {
        let mut run = fixture::record().cases[0].run.clone();
        run.conversation.exchanges.truncate(1);
        run.conversation.exchanges[0].added.clear();
        assert_eq!(turns(&run)[0].speaker, "Prompt");
    }
}
