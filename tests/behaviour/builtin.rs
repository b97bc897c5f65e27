//! The built-in model's prompt format, and that a conversation is continued from what was said.

use loopwatch::engine::{Engine, EngineOptions};
use loopwatch::generation::{
    EventKind, GenerateRequest, Message, Prompt, Role, SamplingSettings, TemplateVariables,
    ToolSpec, Transcript,
};
use loopwatch::model::ModelRef;
use loopwatch::text::{ChatTemplate, TemplateFiles};
use serde_json::json;

fn tools() -> Vec<ToolSpec> {
    let tool = |name: &str, argument: &str| ToolSpec {
        name: name.to_owned(),
        description: "not shown to this model".to_owned(),
        parameters: json!({"type": "object", "properties": {argument: {"type": "string"}}}),
    };
    vec![tool("Read", "file_path"), tool("Bash", "command")]
}

#[test]
fn prompts_have_the_form_the_model_was_trained_on() {
    let source = include_str!("../../models/readme/chat_template.jinja").to_owned();
    let files = TemplateFiles {
        jinja: Some(source),
        ..TemplateFiles::default()
    };
    let template = ChatTemplate::from_files(files)
        .expect("Jinja")
        .expect("a template");
    let none = TemplateVariables::default();
    let plain = template.render(&[Message::text(Role::User, "Explain X")], &[], &none);
    assert_eq!(
        plain.expect("renders"),
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n\
         <|im_start|>user\nExplain X<|im_end|>\n<|im_start|>assistant\n"
    );
    let call = Message {
        tool_calls: vec![
            serde_json::from_value(json!({"name": "Read", "arguments": {"file_path": "a"}}))
                .expect("a call"),
        ],
        ..Message::text(Role::Assistant, "I'll look.")
    };
    let messages = [
        Message::text(Role::User, "read a"),
        call,
        Message::text(Role::Tool, "# A"),
    ];
    assert_eq!(
        template
            .render(&messages, &tools(), &none)
            .expect("renders"),
        "<|im_start|>system\n# Tools\n\nYou may call one or more functions.\n<tools>\n\
         {\"name\": \"Read\", \"parameters\": {\"file_path\": \"string\"}}\n\
         {\"name\": \"Bash\", \"parameters\": {\"command\": \"string\"}}\n\
         </tools>\nReturn a call within <tool_call></tool_call> tags.<|im_end|>\n\
         <|im_start|>user\nread a<|im_end|>\n\
         <|im_start|>assistant\nI'll look.\n<tool_call>\n\
         {\"name\": \"Read\", \"arguments\": {\"file_path\": \"a\"}}\n</tool_call><|im_end|>\n\
         <|im_start|>user\n<tool_response>\n# A\n</tool_response><|im_end|>\n\
         <|im_start|>assistant\n"
    );
}

/// What the next prompt says of the last answer must be that answer, token for token: otherwise
/// the model continues a conversation that never took place.
#[test]
fn the_next_prompt_holds_the_tokens_of_the_last_answer() {
    let engine = Engine::load(
        &ModelRef::parse("builtin:readme"),
        &EngineOptions::default(),
    )
    .expect("built in");
    let mut messages = vec![Message::text(Role::User, "read README.md and summarise")];
    let prompt = |messages: &[Message]| Prompt::Chat {
        messages: messages.to_vec(),
        tools: tools(),
        variables: TemplateVariables::default(),
    };
    let mut receiver = engine.submit(GenerateRequest {
        prompt: prompt(&messages),
        sampling: SamplingSettings::default().resolve().expect("valid"),
        top_logprobs: 0,
        constraint: None,
    });
    let mut events = Vec::new();
    while let Some(event) = receiver.blocking_recv() {
        events.push(event.expect("generates"));
    }
    let transcript = Transcript::from_events(events).expect("complete");
    assert_eq!(transcript.tool_calls.len(), 1, "{}", transcript.text);

    let mut expected = engine.model().tokenize(&prompt(&messages)).expect("tokens");
    expected.extend(transcript.token_ids());
    messages.push(transcript.message());
    messages.push(Message::text(Role::Tool, "# A title"));
    let next = engine.model().tokenize(&prompt(&messages)).expect("tokens");
    assert!(next.starts_with(&expected), "{next:?}\n{expected:?}");
}

#[test]
fn a_request_whose_reader_has_gone_does_not_block_the_next() {
    let engine = Engine::load(
        &ModelRef::parse("builtin:readme"),
        &EngineOptions::default(),
    )
    .expect("built in");
    let request = |max_tokens| GenerateRequest {
        prompt: Prompt::Text {
            text: "Rust".to_owned(),
        },
        sampling: SamplingSettings {
            max_tokens: Some(max_tokens),
            ignore_eos: Some(true),
            ..Default::default()
        }
        .resolve()
        .expect("valid"),
        top_logprobs: 0,
        constraint: None,
    };
    // Without cancellation this one alone would take hours.
    let mut abandoned = engine.submit(request(100_000_000));
    abandoned
        .blocking_recv()
        .expect("started")
        .expect("no error");
    drop(abandoned);
    let mut receiver = engine.submit(request(2));
    let mut events = 0;
    while let Some(event) = receiver.blocking_recv() {
        let said = matches!(event.expect("generates").kind, EventKind::Said { .. });
        events += usize::from(!said);
    }
    assert_eq!(events, 4, "started, two tokens, finished");
}
