//! Every format, whole and cut in pieces, and what only looks like one.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// Markers of templates by format, as templates show them.
const QWEN: &str = "<tool_call> </think>";
const CODER: &str = "<tool_call>\n<function=example>";
const LLAMA: &str = "<|start_header_id|> {\"name\": x, \"parameters\": y} <|python_tag|>";
const PYTHON: &str = "[func_name1(params_name1=params_value1, params_name2=2), func_name2(params)]";
const MISTRAL: &str = "[TOOL_CALLS] [/THINK]";
const HARMONY: &str = "<|start|>assistant<|channel|>final<|message|>";

fn format(template: &str) -> OutputFormat {
    OutputFormat::detect(template, &|_| false)
}

fn tools() -> Vec<ToolSpec> {
    let tool = |name: &str| ToolSpec {
        name: name.to_owned(),
        description: String::new(),
        parameters: json!({"type": "object", "properties": {
            "n": {"type": "integer"}, "list": {"type": "array"}, "path": {"type": "string"}}}),
    };
    vec![tool("f"), tool("g")]
}

/// An answer, put together again.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    reasoning: String,
    content: String,
    calls: Vec<(String, Value)>,
}

fn fold(pieces: impl IntoIterator<Item = Piece>) -> Taken {
    let mut taken = Taken::default();
    for piece in pieces {
        match piece {
            Piece::Reasoning(text) => taken.reasoning += &text,
            Piece::Content(text) => taken.content += &text,
            Piece::Call(call) => taken.calls.push((call.name, Value::Object(call.arguments))),
        }
    }
    taken
}

fn take_cut(template: &str, offered: &[ToolSpec], thinking: bool, pieces: &[&str]) -> Taken {
    let mut parser = OutputParser::new(&format(template), offered, thinking);
    let mut all: Vec<Piece> = pieces.iter().flat_map(|piece| parser.push(piece)).collect();
    all.extend(parser.finish());
    fold(all)
}

fn take(template: &str, text: &str) -> Taken {
    take_cut(template, &tools(), false, &[text])
}

fn said(content: &str) -> Taken {
    Taken {
        content: content.to_owned(),
        ..Taken::default()
    }
}

fn calls(calls: &[(&str, Value)]) -> Taken {
    Taken {
        calls: calls
            .iter()
            .map(|(name, arguments)| ((*name).to_owned(), arguments.clone()))
            .collect(),
        ..Taken::default()
    }
}

#[test]
fn calls_are_read_in_order_and_the_white_space_before_them_is_left_out() {
    let text = "I'll look.\n<tool_call>\n{\"name\": \"Read\", \"arguments\": {\"p\": 1}}\n\
                </tool_call> and <tool_call>{\"name\":\"Bash\",\"arguments\":{}}</tool_call>\n";
    let expected = Taken {
        content: "I'll look. and".to_owned(),
        ..calls(&[("Read", json!({"p": 1})), ("Bash", json!({}))])
    };
    assert_eq!(take(QWEN, text), expected);
}

#[rstest]
#[case::json(CODER, "<tool_call>{\"name\": \"f\", \"arguments\": {\"s\": \"</tool_call>\"}}</tool_call>", json!({"s": "</tool_call>"}))]
#[case::function(CODER, "<tool_call>\n<function=f>\n<parameter=n>\n3\n</parameter>\n<parameter=path>\n a\n\n</parameter>\n</function>\n</tool_call>", json!({"n": 3, "path": " a\n"}))]
#[case::bare_function(CODER, "<function=f><parameter=list>[1]</parameter></function>", json!({"list": [1]}))]
#[case::half_marked(CODER, "<function=f><parameter=path>7</parameter></function>\n</tool_call>", json!({"path": "7"}))]
#[case::function_not_closed(CODER, "<tool_call><function=f><parameter=path>7</parameter></function>", json!({"path": "7"}))]
#[case::llama(LLAMA, "{\"name\": \"f\", \"parameters\": {\"n\": 3}}", json!({"n": 3}))]
#[case::llama_tag(LLAMA, "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"n\": 3}}", json!({"n": 3}))]
#[case::llama_method(LLAMA, "<|python_tag|>f.call(n=3)", json!({"n": 3}))]
#[case::python(PYTHON, " [f(n=3, path=\"a)]\", list=[{'k': None}])]\n", json!({"n": 3, "path": "a)]", "list": [{"k": null}]}))]
#[case::mistral_list(MISTRAL, "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"n\": 3}, \"id\": \"123456789\"}]", json!({"n": 3}))]
#[case::mistral_args(MISTRAL, "[TOOL_CALLS]f[ARGS]{\"n\": 3}", json!({"n": 3}))]
#[case::mistral_id(MISTRAL, "[TOOL_CALLS]f[CALL_ID]123456789[ARGS]{\"n\": 3}", json!({"n": 3}))]
#[case::mistral_plain(MISTRAL, "[TOOL_CALLS] f{\"n\": 3}", json!({"n": 3}))]
#[case::harmony(HARMONY, "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"n\": 3}", json!({"n": 3}))]
#[case::harmony_ended(HARMONY, "<|channel|>commentary to=functions.f<|message|>{\"n\": 3}<|call|>", json!({"n": 3}))]
#[case::harmony_recipient_first(HARMONY, " to=functions.f<|channel|>commentary<|message|>{\"n\": 3}<|call|>", json!({"n": 3}))]
fn each_format_is_read(#[case] template: &str, #[case] text: &str, #[case] arguments: Value) {
    let taken = take(template, text);
    assert_eq!(taken, calls(&[("f", arguments)]), "{text}");
}

#[rstest]
#[case::hermes(
    QWEN,
    "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>"
)]
#[case::function(CODER, "<function=f></function>\n<function=g></function>")]
#[case::llama(
    LLAMA,
    "{\"name\":\"f\",\"parameters\":{}}; {\"name\":\"g\",\"parameters\":{}}"
)]
#[case::python(PYTHON, "[f(), g()]")]
#[case::mistral_list(
    MISTRAL,
    "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}},{\"name\":\"g\",\"arguments\":{}}]"
)]
#[case::mistral_args(MISTRAL, "[TOOL_CALLS]f[ARGS]{}[TOOL_CALLS]g[ARGS]{}")]
#[case::harmony(
    HARMONY,
    "<|channel|>commentary to=functions.f<|message|>{}<|call|><|start|>assistant<|channel|>commentary to=functions.g<|message|>{}"
)]
fn several_calls_are_read(#[case] template: &str, #[case] text: &str) {
    assert_eq!(
        take(template, text),
        calls(&[("f", json!({})), ("g", json!({}))])
    );
}

#[rstest]
#[case::unfinished(QWEN, "<tool_call>{\"name\": \"Read\"")]
#[case::no_arguments(QWEN, "<tool_call>{\"name\": \"Read\"}</tool_call>")]
#[case::no_json(QWEN, "<tool_call>not json</tool_call> ")]
#[case::wrong_name(QWEN, "a <tool_call>{\"name\": 1, \"arguments\": {}}</tool_call> b")]
#[case::never_opened(QWEN, "</tool_call>")]
#[case::not_closed(QWEN, "<tool_call>{\"name\": \"f\", \"arguments\": {}} x")]
#[case::a_brace_is_missing(QWEN, "<tool_call>{\"name\": \"f\", \"arguments\": {}</tool_call>")]
#[case::function_cut(CODER, "<function=f>\n<parameter=n>\n3")]
#[case::function_wrong(CODER, "<function=f>\n<param=n>3</parameter></function>")]
#[case::coder_function_elsewhere(QWEN, "<function=f></function>")]
#[case::json_of_another_name(LLAMA, "{\"name\": \"Bob\", \"parameters\": {\"n\": 3}}")]
#[case::json_with_more(LLAMA, "{\"name\": \"f\", \"parameters\": {}} is a call")]
#[case::json_behind_text(LLAMA, "Look: {\"name\": \"f\", \"parameters\": {}}")]
#[case::json_of_other_models(QWEN, "{\"name\": \"f\", \"arguments\": {}}")]
#[case::code(LLAMA, "<|python_tag|>print(1)")]
#[case::a_list(PYTHON, "[1, 2]")]
#[case::a_link(PYTHON, "[f](https://example.org)")]
#[case::unknown_function(PYTHON, "[h(n=1)]")]
#[case::positional(PYTHON, "[f(1)]")]
#[case::list_with_more(PYTHON, "[f(n=1)] x")]
#[case::list_cut(PYTHON, "[f(n=1")]
#[case::list_of_no_calls(MISTRAL, "[TOOL_CALLS] [{\"name\": \"f\"}]")]
#[case::empty_list(MISTRAL, "[TOOL_CALLS] []")]
#[case::arguments_cut(MISTRAL, "[TOOL_CALLS]f[ARGS]{\"n\":")]
#[case::no_name(MISTRAL, "[TOOL_CALLS][ARGS]{}")]
#[case::harmony_cut(HARMONY, "<|channel|>commentary to=functions.f<|message|>{\"n\":")]
#[case::harmony_wrong(HARMONY, "<|channel|>commentary to=functions.f<|message|>n<|call|>")]
#[case::harmony_header(HARMONY, "<|channel|>comm")]
fn what_is_no_call_is_text_unchanged(#[case] template: &str, #[case] text: &str) {
    assert_eq!(take(template, text), said(text));
}

#[test]
fn without_tools_json_and_lists_are_text() {
    for (template, text) in [
        (LLAMA, "{\"name\": \"f\", \"parameters\": {\"n\": 3}}"),
        (PYTHON, "[f(n=3)]"),
    ] {
        assert_eq!(take_cut(template, &[], false, &[text]), said(text));
        assert_eq!(take(template, text).calls.len(), 1);
    }
}

#[rstest]
#[case("<think>\nHm, a.\n</think>\n\nYes. ", "Hm, a.", "Yes. ")]
#[case("<think>\n\n</think>\n\nYes.", "", "Yes.")]
#[case("<think>never closed \n", "never closed", "")]
#[case("\n<think>a</think>b", "a", "b")]
#[case("say <think>a</think>", "", "say <think>a</think>")]
#[case("a</think>", "", "a</think>")]
#[case("<think>a </th </think>b", "a </th", "b")]
fn thoughts_are_told_apart(#[case] text: &str, #[case] reasoning: &str, #[case] content: &str) {
    let taken = take(QWEN, text);
    assert_eq!(
        (taken.reasoning.as_str(), taken.content.as_str()),
        (reasoning, content)
    );
}

#[test]
fn a_prompt_may_open_the_thought() {
    let qwen = format(QWEN);
    assert!(qwen.is_thinking("<|im_start|>assistant\n<think>\n"));
    assert!(!qwen.is_thinking("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
    assert!(!OutputFormat::default().is_thinking("<think>"));
    let harmony = format(HARMONY);
    assert!(harmony.is_thinking("<|start|>assistant<|channel|>analysis<|message|>"));
    let taken = take_cut(QWEN, &[], true, &["Hm.\n</think>\n\nYes."]);
    assert_eq!(
        (taken.reasoning.as_str(), taken.content.as_str()),
        ("Hm.", "Yes.")
    );
    let taken = take_cut(
        HARMONY,
        &[],
        true,
        &["Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes."],
    );
    assert_eq!(
        (taken.reasoning.as_str(), taken.content.as_str()),
        ("Hm.", "Yes.")
    );
}

#[test]
fn calls_within_thoughts_are_thoughts() {
    let call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
    let taken = take(QWEN, &format!("<think>{call}</think>{call}"));
    assert_eq!(taken.reasoning, call);
    assert_eq!(taken.calls.len(), 1);
    assert_eq!(taken.content, "");
}

#[test]
fn a_thought_may_stand_before_a_call_that_is_the_whole_answer() {
    let taken = take(
        "</think> \"parameters\":  <|python_tag|>",
        "<think>a</think>\n{\"name\": \"f\", \"parameters\": {}}",
    );
    assert_eq!(taken.reasoning, "a");
    assert_eq!(taken.calls.len(), 1);
}

#[test]
fn the_messages_of_harmony_are_told_apart() {
    let text = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary\
                <|message|>I look.<|end|><|start|>assistant<|channel|>analysis<|message|>So.<|end|>\
                <|start|>assistant<|channel|>final<|message|>Done < 2.<|return|>";
    let taken = take(HARMONY, text);
    assert_eq!(taken.reasoning, "Hm.\n\nSo.");
    assert_eq!(taken.content, "I look.\n\nDone < 2.");
    assert_eq!(
        take(HARMONY, "no marks <|at all"),
        said("no marks <|at all")
    );
}

#[test]
fn the_ids_of_mistral_are_kept() {
    for text in [
        "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{},\"id\":\"a1b2c3d4e\"}]",
        "[TOOL_CALLS]f[CALL_ID]a1b2c3d4e[ARGS]{}",
    ] {
        let mut parser = OutputParser::new(&format(MISTRAL), &[], false);
        let pieces = parser.push(text);
        let [Piece::Call(call)] = pieces.as_slice() else {
            panic!("{pieces:?}")
        };
        assert_eq!(call.id.as_deref(), Some("a1b2c3d4e"));
    }
}

/// Text is told as soon as it is certain, and calls as soon as they are complete.
#[test]
fn nothing_waits_longer_than_it_must() {
    let mut parser = OutputParser::new(&format(QWEN), &[], false);
    let content = |text: &str| vec![Piece::Content(text.to_owned())];
    assert_eq!(parser.push("I look. "), content("I look."));
    assert_eq!(parser.push("\n<tool"), []);
    assert_eq!(parser.push("box>"), content(" \n<toolbox>"));
    assert_eq!(
        parser.push("<tool_call>\n{\"name\": \"f\", \"arguments\": {}}"),
        []
    );
    assert!(matches!(
        parser.push("</tool_call>").as_slice(),
        [Piece::Call(_)]
    ));
    assert_eq!(parser.push("<tool_call>no"), content("<tool_call>no"));
    assert_eq!(parser.push(" <"), []);
    assert_eq!(parser.finish(), content(" <"));
}

/// What stands behind a mark that opens nothing is read again; there must be an end to it.
#[test]
fn hostile_text_is_read_in_time() {
    let text = "<function=f><parameter=n>".repeat(20_000);
    let started = std::time::Instant::now();
    assert_eq!(take(CODER, &text), said(&text));
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

fn fragments() -> impl Strategy<Value = Vec<String>> {
    let fragment = prop_oneof![
        "[ab<\\[{ \n]{0,4}",
        prop::sample::select(vec![
            "<think>",
            "</think>",
            "<tool_call>",
            "</tool_call>",
            "{\"name\":\"f\",\"arguments\":{}}",
            "{\"name\":\"f\",\"parameters\":{\"n\":1}}",
            "<function=f>",
            "<parameter=n>",
            "1",
            "</parameter>",
            "</function>",
            "[TOOL_CALLS]",
            "[",
            "]",
            "f",
            "[ARGS]",
            "[CALL_ID]",
            "{}",
            "f(n=1)",
            ", ",
            ";",
            "<|python_tag|>",
            "f.call()",
            "<|channel|>",
            "analysis",
            "final",
            "<|message|>",
            " to=functions.f",
            "<|end|>",
            "<|start|>",
            "assistant",
            "<|call|>",
            "é",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(fragment, 0..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// However the text is cut, the parts are the same; and without a call nothing is lost but
    /// marks and white space.
    #[test]
    fn cuts_change_nothing(
        pieces in fragments(),
        template in prop::sample::select(vec![QWEN, CODER, LLAMA, PYTHON, MISTRAL, HARMONY]),
        thinking in any::<bool>(),
    ) {
        let text = pieces.concat();
        let whole = take_cut(template, &tools(), thinking, &[&text]);
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        prop_assert_eq!(&take_cut(template, &tools(), thinking, &pieces), &whole);
        let chars: Vec<String> = text.chars().map(String::from).collect();
        let chars: Vec<&str> = chars.iter().map(String::as_str).collect();
        prop_assert_eq!(&take_cut(template, &tools(), thinking, &chars), &whole);
        if whole.calls.is_empty() && template != HARMONY {
            let visible = |text: &str| {
                let text: String = text.split_whitespace().collect();
                text.replace("<think>", "").replace("</think>", "")
            };
            prop_assert_eq!(visible(&text), visible(&whole.reasoning) + &visible(&whole.content));
        }
    }

    /// A model that writes none of the formats is not misread.
    #[test]
    fn plain_models_say_what_they_say(pieces in fragments()) {
        let text = pieces.concat();
        prop_assert_eq!(take("{{ messages }}", &text), said(&text));
    }
}

/// What a model wrote comes through, letter by letter, whichever way its call is wrong.
#[rstest]
#[case(
    QWEN,
    r#"<tool_call>{"name": "f", "arguments": {"n": "x"}}</tool_call>"#
)]
#[case(
    CODER,
    "<tool_call>\n<function=f>\n<parameter=n>\nx\n</parameter>\n</function>\n</tool_call>"
)]
#[case(CODER, "<function=f><parameter=n>x</parameter></function> and so on")]
#[case(LLAMA, r#"{"name": "f", "parameters": {"n": "x"}}"#)]
#[case(LLAMA, r#"<|python_tag|>{"name": "f", "parameters": {"n": "x"}}"#)]
#[case(PYTHON, r#"[f(n="x")]"#)]
#[case(MISTRAL, r#"[TOOL_CALLS] [{"name": "g", "arguments": {"n": 1}}, {"name": "f", "arguments": {"n": "x"}}]"#)]
#[case(
    HARMONY,
    r#"<|channel|>commentary to=functions.f<|message|>{"n": "x"}<|call|>"#
)]
fn a_call_that_breaks_its_schema_is_text(#[case] template: &str, #[case] text: &str) {
    let letters: Vec<String> = text.chars().map(String::from).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    assert_eq!(take_cut(template, &tools(), false, &letters), said(text));
    // Nobody says what a tool that is not offered takes; these forms are calls all the same.
    if template == QWEN {
        assert_eq!(take_cut(template, &[], false, &[text]).calls.len(), 1);
    }
    // Whoever knows better can leave the check out.
    let mut parser = OutputParser::new(&format(template), &tools(), false).trusting();
    let mut pieces = parser.push(text);
    pieces.extend(parser.finish());
    assert!(!fold(pieces).calls.is_empty(), "{text}");
}

#[test]
fn a_good_call_beside_a_wrong_one_is_a_call() {
    let wrong = r#"<tool_call>{"name": "f", "arguments": {"n": "x"}}</tool_call>"#;
    let good = r#"<tool_call>{"name": "f", "arguments": {"n": 1}}</tool_call>"#;
    for text in [format!("{wrong}{good}"), format!("{good}{wrong}")] {
        let expected = Taken {
            content: wrong.to_owned(),
            ..calls(&[("f", json!({"n": 1}))])
        };
        assert_eq!(take(QWEN, &text), expected);
    }
}
