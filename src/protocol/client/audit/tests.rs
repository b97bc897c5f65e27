//! Each rule with a stream that breaks it and nothing else, and the good stream beside it.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// A chat with a call, as OpenAI's own server streams it.
fn openai() -> Vec<Value> {
    let chunk = |choices: Value| {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": choices})
    };
    let delta = |delta: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]));
    let call = |call: Value| delta(json!({"tool_calls": [call]}));
    let mut counts = chunk(json!([]));
    counts["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7});
    vec![
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"content": "I "})),
        delta(json!({"content": "look."})),
        call(json!({"index": 0, "id": "a", "type": "function",
            "function": {"name": "Read", "arguments": ""}})),
        call(json!({"index": 0, "function": {"arguments": "{\"x\""}})),
        call(json!({"index": 0, "function": {"arguments": ":1}"}})),
        chunk(json!([{"index": 0, "delta": {}, "finish_reason": "tool_calls"}])),
        counts,
    ]
}

/// The same as Anthropic streams it.
fn anthropic() -> Vec<Value> {
    let delta = |index: usize, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let text = |text: &str| delta(0, json!({"type": "text_delta", "text": text}));
    let part = |part: &str| delta(1, json!({"type": "input_json_delta", "partial_json": part}));
    let stop = |index: usize| json!({"type": "content_block_stop", "index": index});
    let start = |index: usize, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    vec![
        json!({"type": "message_start", "message": {"id": "m", "type": "message",
            "role": "assistant", "model": "m", "content": [], "stop_reason": null,
            "usage": {"input_tokens": 3, "output_tokens": 1}}}),
        json!({"type": "ping"}),
        start(0, json!({"type": "text", "text": ""})),
        text("I "),
        text("look."),
        stop(0),
        start(
            1,
            json!({"type": "tool_use", "id": "a", "name": "Read", "input": {}}),
        ),
        part("{\"x\""),
        part(":1}"),
        stop(1),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 4}}),
        json!({"type": "message_stop"}),
    ]
}

fn audit(openai: bool, events: &[Value]) -> StreamNotes {
    let mut audit: Box<dyn Audit> = match openai {
        true => Box::new(OpenAi::new(true)),
        false => Box::<Anthropic>::default(),
    };
    for event in events {
        let named = !openai && !event.is_null();
        let name = event["name"].as_str().or_else(|| event["type"].as_str());
        let name = name.filter(|_| named).unwrap_or_default().to_owned();
        let data = match event {
            Value::String(text) => text.clone(),
            document => document.to_string(),
        };
        audit.see(&SseEvent { name, data });
    }
    audit.end()
}

/// Rule, first event and number of times of each note.
fn noted(notes: &StreamNotes) -> Vec<(&str, usize, usize)> {
    let notes = notes.irregularities.iter();
    notes
        .map(|one| (one.rule.as_str(), one.event, one.times))
        .collect()
}

#[test]
fn good_streams_have_nothing_to_note() {
    let mut chat = openai();
    chat.push(json!("[DONE]"));
    assert_eq!(noted(&audit(true, &chat)), []);
    assert_eq!(noted(&audit(false, &anthropic())), []);
    assert_eq!(audit(true, &chat).events, 9);
}

/// Puts a value at a place of one event, or of all; null removes.
fn set(events: &mut [Value], at: Option<usize>, pointer: &str, value: &Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let chosen = events.iter_mut().enumerate();
    for (_, event) in chosen.filter(|(number, _)| at.is_none_or(|at| at == *number)) {
        let Some(object) = event.pointer_mut(parent).and_then(Value::as_object_mut) else {
            continue;
        };
        match value {
            Value::Null => drop(object.remove(name)),
            value => drop(object.insert(name.to_owned(), value.clone())),
        }
    }
}

const CALL: &str = "/choices/0/delta/tool_calls/0";

#[rstest]
#[case::id_missing(None, "/id", json!(null), ("id", 1, 8))]
#[case::id_changes(Some(4), "/id", json!("d"), ("id", 5, 1))]
#[case::created(Some(0), "/created", json!("now"), ("created", 1, 1))]
#[case::created_changes(Some(3), "/created", json!(2), ("created", 4, 1))]
#[case::model(Some(2), "/model", json!(""), ("model", 3, 1))]
#[case::object(Some(7), "/object", json!("chat.completion"), ("object", 8, 1))]
#[case::role(Some(0), "/choices/0/delta/role", json!(null), ("role", 1, 1))]
#[case::index(Some(1), "/choices/0/index", json!(null), ("choice", 2, 1))]
#[case::no_delta(Some(6), "/choices/0/delta", json!(null), ("choice", 7, 1))]
#[case::no_choices(Some(1), "/choices", json!([]), ("no-choices", 2, 1))]
#[case::early_finish(Some(2), "/choices/0/finish_reason", json!("stop"), ("after-finish", 4, 3))]
#[case::usage_early(Some(6), "/usage", json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}), ("usage-beside-choices", 7, 1))]
#[case::no_usage(Some(7), "/usage", json!(null), ("no-choices", 8, 1))]
#[case::no_sum(Some(7), "/usage/total_tokens", json!(4), ("usage-count", 8, 1))]
#[case::miscounted(Some(1), "/loopwatch", json!({"tokens": [1, 2, 3]}), ("usage-count", 10, 1))]
#[case::torn(Some(2), "/choices/0/delta/content", json!("\u{fffd}look."), ("torn-character", 3, 1))]
#[case::no_call_id(Some(3), "/choices/0/delta/tool_calls/0/id", json!(null), ("tool-call-head", 4, 1))]
#[case::no_call_type(Some(3), "/choices/0/delta/tool_calls/0/type", json!(null), ("tool-call-head", 4, 1))]
#[case::no_call_name(Some(3), "/choices/0/delta/tool_calls/0/function/name", json!(null), ("tool-call-head", 4, 1))]
#[case::id_again(Some(4), "/choices/0/delta/tool_calls/0/id", json!("a"), ("tool-call-head-again", 5, 1))]
#[case::no_call_index(Some(5), "/choices/0/delta/tool_calls/0/index", json!(null), ("tool-call-index", 6, 1))]
#[case::bad_json(Some(5), "/choices/0/delta/tool_calls/0/function/arguments", json!(":1"), ("tool-arguments", 6, 1))]
#[case::no_object(Some(4), "/choices/0/delta/tool_calls/0/function/arguments", json!("1"), ("tool-arguments", 6, 1))]
fn openai_rules(
    #[case] at: Option<usize>,
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] expected: (&str, usize, usize),
) {
    let mut events = openai();
    if pointer.ends_with("content") {
        // The other half of the character.
        set(&mut events, Some(1), pointer, &json!("I \u{fffd}"));
    }
    set(&mut events, at, pointer, &value);
    events.push(json!("[DONE]"));
    let notes = audit(true, &events);
    assert_eq!(noted(&notes).first(), Some(&expected), "{notes:?}");
}

/// Nothing but the rule that is broken is noted, where one breach does not bring another.
#[test]
fn one_breach_is_one_note() {
    let mut events = openai();
    set(&mut events, Some(4), &format!("{CALL}/id"), &json!("a"));
    let notes = audit(true, &events);
    let expected = [("tool-call-head-again", 5, 1), ("no-done", 9, 1)];
    assert_eq!(noted(&notes), expected);
    assert_eq!(
        notes.irregularities[0].found,
        "'id' of tool call 0 comes again: \"a\""
    );
}

#[test]
fn what_the_limit_cut_off_is_no_breach() {
    let mut events = openai();
    set(
        &mut events,
        Some(5),
        &format!("{CALL}/function/arguments"),
        &json!(":"),
    );
    set(
        &mut events,
        Some(6),
        "/choices/0/finish_reason",
        &json!("length"),
    );
    events.push(json!("[DONE]"));
    assert_eq!(noted(&audit(true, &events)), []);
    let mut events = anthropic();
    set(&mut events, Some(8), "/delta/partial_json", &json!(":"));
    set(
        &mut events,
        Some(10),
        "/delta/stop_reason",
        &json!("max_tokens"),
    );
    assert_eq!(noted(&audit(false, &events)), []);
}

#[rstest]
#[case::name(Some(4), "/name", json!("delta"), ("event-name", 5, 1))]
#[case::no_model(Some(0), "/message/model", json!(null), ("message-head", 1, 1))]
#[case::content(Some(0), "/message/content", json!(null), ("message-head", 1, 1))]
#[case::usage(Some(0), "/message/usage", json!(null), ("message-head", 1, 1))]
#[case::block_index(Some(6), "/index", json!(2), ("block-index", 7, 1))]
#[case::not_stopped(Some(5), "/type", json!("ping"), ("block-overlap", 7, 1))]
#[case::text_in_a_tool(Some(7), "/delta", json!({"type": "text_delta", "text": "x"}), ("delta-type", 8, 1))]
#[case::torn(Some(4), "/delta/text", json!("\u{fffd}look."), ("torn-character", 5, 1))]
#[case::no_tool_id(Some(6), "/content_block/id", json!(""), ("tool-call-head", 7, 1))]
#[case::bad_json(Some(8), "/delta/partial_json", json!(":1"), ("tool-arguments", 9, 1))]
#[case::no_counts(Some(10), "/usage", json!(null), ("usage-missing", 11, 1))]
#[case::no_reason(Some(10), "/delta/stop_reason", json!(null), ("stop-reason", 13, 1))]
#[case::early_finish(Some(9), "/type", json!("message_delta"), ("usage-missing", 10, 1))]
fn anthropic_rules(
    #[case] at: Option<usize>,
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] expected: (&str, usize, usize),
) {
    let mut events = anthropic();
    if pointer == "/delta/text" {
        set(&mut events, Some(3), pointer, &json!("I \u{fffd}"));
    }
    set(&mut events, at, pointer, &value);
    let notes = audit(false, &events);
    assert_eq!(noted(&notes).first(), Some(&expected), "{notes:?}");
}

/// However long a stream and however bad, its notes are few and short.
#[test]
fn notes_are_bounded() {
    let long = "x".repeat(10_000);
    let events: Vec<Value> = (0..500)
        .map(|at| json!({"id": format!("{at}{long}"), "object": long, "choices": [{"delta": {"tool_calls": [
            {"index": at + 7, "function": {"arguments": long}}]}}]}))
        .collect();
    let notes = audit(true, &events);
    assert!(notes.irregularities.len() < 20, "{notes:?}");
    for one in &notes.irregularities {
        assert!(one.found.chars().count() <= 160, "{one:?}");
    }
    assert!(noted(&notes).contains(&("id", 2, 499)), "{notes:?}");
}
