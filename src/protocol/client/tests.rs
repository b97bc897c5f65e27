//! Requests as they are sent, and answers of servers as they are read.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::generation::{
    Channel, FinishReason, Message, Role, SamplingSettings, ToolCall, ToolSpec, Usage,
};

fn form(api: Api) -> Form {
    Form {
        api,
        model: "m".to_owned(),
        stream: true,
        tokens: false,
        names: FieldNames::Extended,
    }
}

fn request(settings: SamplingSettings) -> GenerateRequest {
    let call = ToolCall {
        id: None,
        name: "Read".to_owned(),
        arguments: [("path".to_owned(), json!("a"))].into_iter().collect(),
    };
    GenerateRequest {
        prompt: crate::generation::Prompt::Chat {
            messages: vec![
                Message::text(Role::System, "be brief"),
                Message::text(Role::User, "read"),
                Message {
                    tool_calls: vec![call.clone(), call],
                    ..Message::text(Role::Assistant, "")
                },
                Message::text(Role::Tool, "one"),
                Message::text(Role::Tool, "two"),
            ],
            tools: vec![ToolSpec {
                name: "Read".to_owned(),
                description: "Read a file".to_owned(),
                parameters: json!({"type": "object"}),
            }],
            variables: Default::default(),
        },
        sampling: settings.resolve().expect("in range"),
        top_logprobs: 0,
        constraint: None,
    }
}

fn body(form: &Form, settings: SamplingSettings) -> Value {
    form.outgoing(&request(settings))
        .expect("can be asked")
        .body
}

#[test]
fn calls_and_results_are_tied_by_names_that_are_made_up() {
    let openai = body(&form(Api::OpenAi), SamplingSettings::default());
    let messages = &openai["messages"];
    assert_eq!(messages[2]["tool_calls"][1]["id"], "call_1");
    assert_eq!(
        messages[2]["tool_calls"][1]["function"]["arguments"],
        r#"{"path":"a"}"#
    );
    assert_eq!(messages[3]["tool_call_id"], "call_0");
    assert_eq!(messages[4]["tool_call_id"], "call_1");
    assert_eq!(openai["tools"][0]["function"]["name"], "Read");
    assert_eq!(openai["stream_options"], json!({"include_usage": true}));

    let anthropic = body(&form(Api::Anthropic), SamplingSettings::default());
    assert_eq!(anthropic["system"], "be brief");
    let messages = anthropic["messages"].as_array().expect("a list");
    assert_eq!(messages.len(), 3, "results are one message: {messages:?}");
    assert_eq!(
        messages[1]["content"][0],
        json!({
            "type": "tool_use", "id": "call_0", "name": "Read", "input": {"path": "a"}
        })
    );
    assert_eq!(messages[2]["role"], "user");
    assert_eq!(messages[2]["content"][1]["tool_use_id"], "call_1");
    assert_eq!(
        anthropic["tools"][0]["input_schema"],
        json!({"type": "object"})
    );
}

#[rstest]
#[case(Api::OpenAi)]
#[case(Api::Anthropic)]
fn the_cure_is_sent_even_if_it_is_switched_off(#[case] api: Api) {
    let with = |penalty| SamplingSettings {
        repetition_penalty: Some(penalty),
        ..SamplingSettings::default()
    };
    assert_eq!(body(&form(api), with(1.1))["repetition_penalty"], 1.1);
    assert_eq!(body(&form(api), with(1.0))["repetition_penalty"], 1.0);
    assert_eq!(body(&form(api), with(1.1))["repetition_context_size"], 20);
    let llama = Form {
        names: FieldNames::LlamaCpp,
        ..form(api)
    };
    let everything = SamplingSettings {
        repetition_context_size: Some(0),
        ..with(1.1)
    };
    let body = body(&llama, everything);
    assert_eq!(body["repeat_penalty"], 1.1);
    assert_eq!(body["repeat_last_n"], -1);
    assert_eq!(body["repetition_penalty"], Value::Null);
}

/// Found by fuzzing: what OpenAI's API takes, Anthropic's refuses as a request without messages.
#[test]
fn system_messages_alone_are_no_conversation_for_anthropic() {
    let mut alone = request(SamplingSettings::default());
    alone.prompt = crate::generation::Prompt::Chat {
        messages: vec![Message::text(Role::System, "be brief")],
        tools: Vec::new(),
        variables: Default::default(),
    };
    assert!(form(Api::OpenAi).outgoing(&alone).is_ok());
    let refused = form(Api::Anthropic).outgoing(&alone);
    let error = refused.expect_err("no message").to_string();
    assert!(error.contains("nothing but system messages"), "{error}");
}

#[test]
fn standard_fields_never_drop_the_cure() {
    let standard = Form {
        names: FieldNames::Standard,
        ..form(Api::OpenAi)
    };
    let refused = standard.outgoing(&request(SamplingSettings::default()));
    let error = refused.expect_err("1.05 is on by default").to_string();
    assert!(
        error.starts_with("repetition_penalty 1.05 cannot be asked for here"),
        "{error}"
    );
    let off = SamplingSettings {
        repetition_penalty: Some(1.0),
        max_tokens: Some(9),
        ..SamplingSettings::default()
    };
    let body = body(&standard, off);
    assert_eq!(body["max_completion_tokens"], 9);
    assert_eq!(body["repetition_penalty"], Value::Null);
}

/// Reads a stream that comes byte by byte.
fn read(api: Api, tokens: bool, stream: &str) -> Result<Vec<EventKind>, String> {
    let form = Form {
        tokens,
        ..form(api)
    };
    let mut reader = form.stream_reader(&request(SamplingSettings::default()));
    let mut sse = SseReader::default();
    let mut events = Vec::new();
    for byte in stream.as_bytes().chunks(1) {
        for event in sse.push(byte).map_err(|error| error.to_string())? {
            events.extend(reader.read(&event).map_err(|error| error.to_string())?);
        }
    }
    assert!(reader.is_over(), "{events:?}");
    Ok(events)
}

fn piece(channel: Channel, text: &str, logprobs: &[f32]) -> EventKind {
    EventKind::Text(crate::generation::TextPiece {
        channel,
        text: text.to_owned(),
        logprobs: logprobs.to_vec(),
    })
}

fn finished(reason: FinishReason, input: usize, cached: usize, output: usize) -> EventKind {
    EventKind::Finished {
        reason,
        text: String::new(),
        content: None,
        reasoning: None,
        usage: Usage {
            input_tokens: input,
            cached_tokens: cached,
            output_tokens: output,
        },
    }
}

#[test]
fn a_chunk_that_only_names_the_role_is_no_token() {
    // vLLM#15106: such a chunk was taken for the first token.
    let events = read(
        Api::OpenAi,
        false,
        concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"logprobs\":{\"content\":[{\"token\":\"H\",\"logprob\":-0.5},{\"token\":\"i\",\"logprob\":-1}]}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":2}}}\n\n",
            "data: [DONE]\n\n",
        ),
    );
    let expected = vec![
        piece(Channel::Reasoning, "hm", &[]),
        piece(Channel::Content, "Hi", &[-0.5, -1.0]),
        finished(FinishReason::Length, 7, 2, 3),
    ];
    assert_eq!(events, Ok(expected));
}

#[test]
fn calls_in_fragments_are_put_together() {
    let openai = read(
        Api::OpenAi,
        false,
        concat!(
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"Read\",\"arguments\":\"\"}}]}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\"\"}}]}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
            "data: [DONE]\n\n",
        ),
    )
    .expect("a stream");
    let anthropic = read(
        Api::Anthropic,
        false,
        concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[],\"usage\":{\"input_tokens\":5,\"output_tokens\":1,\"cache_read_input_tokens\":3}}}\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"Read\",\"input\":{}}}\n\n",
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"x\\\"\"}}\n\n",
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\":1}\"}}\n\n",
            "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":9}}\n\n",
            "data: {\"type\":\"message_stop\"}\n\n",
        ),
    )
    .expect("a stream");
    let call = ToolCall {
        id: Some("a".to_owned()),
        name: "Read".to_owned(),
        arguments: [("x".to_owned(), json!(1))].into_iter().collect(),
    };
    for events in [&openai, &anthropic] {
        assert!(
            events.contains(&EventKind::ToolCall(call.clone())),
            "{events:?}"
        );
        assert_eq!(events[0], piece(Channel::ToolCall, "Read", &[]));
    }
    assert_eq!(
        anthropic.last(),
        Some(&finished(FinishReason::ToolCalls, 8, 3, 9))
    );
}

#[rstest]
#[case(
    Api::OpenAi,
    "data: {\"error\":{\"message\":\"no memory\"}}\n\n",
    "the server reports an error: no memory"
)]
#[case(
    Api::OpenAi,
    "data: {\"choices\":[{\"delta\":{\"content\":5}}]}\n\n",
    "a chunk is malformed: choices[0].delta.content: invalid type: integer"
)]
#[case(
    Api::OpenAi,
    "data: {\"choices\":[\n\n",
    "a chunk is malformed: choices"
)]
#[case(
    Api::OpenAi,
    "data: {\"a\":1}\n\n",
    "the stream is out of order: it has neither"
)]
#[case(
    Api::OpenAi,
    "data: {\"choices\":[{\"index\":1}]}\n\n",
    "the stream is out of order: one answer was asked for"
)]
#[case(
    Api::OpenAi,
    "data: {\"choices\":[{\"delta\":{}}]}\n\ndata: [DONE]\n\n",
    "the answer ended without a finish reason"
)]
#[case(
    Api::OpenAi,
    "data: {\"choices\":[{\"finish_reason\":\"content_filter\"}]}\n\n",
    "the answer ended with the finish reason 'content_filter'"
)]
#[case(
    Api::OpenAi,
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":0}}\n\ndata: [DONE]\n\n",
    "the token counts are wrong: text came"
)]
#[case(
    Api::OpenAi,
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":513}}\n\ndata: [DONE]\n\n",
    "the token counts are wrong: 513 tokens are counted, and 512"
)]
#[case(
    Api::Anthropic,
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n",
    "the server reports an error: busy"
)]
#[case(
    Api::Anthropic,
    "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "the stream is out of order: message_start does not come first"
)]
#[case(
    Api::Anthropic,
    "data: {\"type\":\"message_start\",\"message\":{}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
    "the stream is out of order: a delta of a block that is not open"
)]
fn broken_streams_say_what_is_wrong(#[case] api: Api, #[case] stream: &str, #[case] message: &str) {
    let error = read(api, false, stream).expect_err("refused");
    assert!(error.starts_with(message), "{error}");
}

#[test]
fn told_tokens_are_the_answer_and_are_counted() {
    let stream = |counted: usize| {
        format!(
            "data: {{\"choices\":[],\"loopwatch\":{{\"started\":{{\"input_tokens\":4}}}}}}\n\n\
             data: {{\"choices\":[{{\"delta\":{{\"content\":\"ab\"}}}}],\"loopwatch\":{{\"tokens\":[{{\"id\":5,\"logprob\":-0.5,\"margin\":1.5,\"text\":\"a\"}},{{\"id\":6,\"logprob\":-1,\"margin\":2,\"text\":\"b\"}}]}}}}\n\n\
             data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"stop\"}}],\"loopwatch\":{{\"finish\":{{\"reason\":\"stop_sequence\",\"text\":\"c\",\"usage\":{{\"input_tokens\":4,\"output_tokens\":{counted}}}}}}}}}\n\n\
             data: [DONE]\n\n"
        )
    };
    let events = read(Api::OpenAi, true, &stream(2)).expect("a stream");
    let ids: Vec<u32> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::Delta { token, .. } => Some(token.id),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [5, 6]);
    assert_eq!(events[0], EventKind::Started { input_tokens: 4 });
    assert!(matches!(
        events.last(),
        Some(EventKind::Finished { reason: FinishReason::StopSequence, text, .. }) if text == "c"
    ));
    let error = read(Api::OpenAi, true, &stream(3)).expect_err("miscounted");
    assert_eq!(
        error,
        "the token counts are wrong: 2 tokens came and 3 are counted"
    );
    let silent = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let error = read(Api::OpenAi, true, silent).expect_err("no tokens");
    assert!(error.contains("was asked for token ids"), "{error}");
}

#[test]
fn the_owner_of_a_model_tells_a_loopwatch_server() {
    let listing = |owner| {
        read_models(&format!(
            r#"{{"object":"list","data":[{{"id":"m","owned_by":"{owner}"}}]}}"#
        ))
    };
    assert_eq!(listing("loopwatch").map(|list| list.loopwatch), Ok(true));
    assert_eq!(listing("vllm").map(|list| list.loopwatch), Ok(false));
    assert!(read_models("Not Found").is_err());
}
