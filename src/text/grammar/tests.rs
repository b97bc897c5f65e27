//! Draws at random from what each form allows, and reads it with the parser of answers.

use rstest::rstest;
use serde_json::json;

use super::super::output::{OutputFormat, OutputParser, Piece};
use super::super::{Grammars, Tokenizer};
use crate::generation::{Constraint, ToolCall, ToolSpec};

/// The token that ends an answer.
const END: u32 = 256;

/// A token for each byte, one that ends, and `marks` as special tokens.
fn tokenizer(marks: &[&str]) -> Tokenizer {
    let names: Vec<char> = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet()
        .into_iter()
        .collect();
    assert_eq!(names.len(), END as usize);
    let vocabulary: serde_json::Map<String, serde_json::Value> = names
        .iter()
        .enumerate()
        .map(|(id, name)| (name.to_string(), json!(id)))
        .collect();
    let added: Vec<serde_json::Value> = ["<end>"]
        .iter()
        .chain(marks)
        .zip(END..)
        .map(|(mark, id)| {
            json!({
                "id": id, "content": mark, "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false
            })
        })
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true});
    let json = json!({
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    });
    Tokenizer::from_json(&json.to_string()).expect("a tokenizer")
}

fn tools() -> Vec<ToolSpec> {
    let tool = |name: &str, properties: serde_json::Value| ToolSpec {
        name: name.to_owned(),
        description: String::new(),
        parameters: json!({
            "type": "object",
            "required": properties.as_object().expect("a table").keys().collect::<Vec<_>>(),
            "properties": properties,
            "additionalProperties": false,
        }),
    };
    let lines = json!({"type": "integer", "minimum": 1, "maximum": 9});
    let word = json!({"type": "string", "maxLength": 6});
    vec![
        tool("Read", json!({"path": word, "lines": lines})),
        tool("Bash", json!({"command": word})),
    ]
}

/// Numbers from 0 up (Knuth's linear congruences), so that a seed is one text for ever.
fn next(state: &mut u64) -> f32 {
    *state = (*state)
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32
}

/// The text of an answer whose every token is drawn at random from those that are allowed.
fn drawn(grammars: &Grammars, tokenizer: &Tokenizer, names: &[&str], seed: u64) -> String {
    let tools_named = names.iter().map(|name| (*name).to_owned()).collect();
    let call = Constraint::Call { tools: tools_named };
    let mut grammar = grammars.compile(&call, &tools()).expect("a form");
    let mut random = seed;
    let mut ids = Vec::new();
    let mut detokenizer = tokenizer.detokenizer();
    let mut text = String::new();
    loop {
        let mut logits: Vec<f32> = (0..300).map(|_| next(&mut random)).collect();
        grammar.restrict(&mut logits).expect("goes on");
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        let id = best.map_or(END, |(id, _)| id as u32);
        if id != END {
            text += &detokenizer.push(id).expect("text");
        }
        ids.push(id);
        assert!(ids.len() < 400, "no end in sight: {text}");
        if id == END || grammar.push(id).expect("was allowed") {
            return text + &detokenizer.finish().expect("text");
        }
    }
}

#[rstest]
#[case::hermes("<tool_call>", &["<tool_call>", "</tool_call>"], "<tool_call>\n{\"name\": \"Bash\"")]
#[case::hermes_as_text("<tool_call>", &[], "<tool_call>\n{\"name\": \"Bash\"")]
#[case::llama(
    "<|start_header_id|> {\"name\": , \"parameters\": }",
    &["<|start_header_id|>", "<|python_tag|>"],
    "{\"name\": \"Bash\", \"parameters\": "
)]
#[case::mistral_list("[TOOL_CALLS]", &["[TOOL_CALLS]"], "[TOOL_CALLS] [{\"name\": \"Bash\"")]
#[case::mistral(
    "[TOOL_CALLS] [ARGS]",
    &["[TOOL_CALLS]", "[ARGS]"],
    "[TOOL_CALLS]Bash[ARGS]{"
)]
#[case::harmony(
    "<|channel|>",
    &["<|channel|>", "<|constrain|>", "<|message|>", "<|start|>"],
    "<|channel|>commentary to=functions.Bash <|constrain|>json<|message|>{"
)]
fn whatever_is_drawn_is_one_call_in_the_form_of_the_model(
    #[case] template: &str,
    #[case] marks: &[&str],
    #[case] beginning: &str,
) {
    let tokenizer = tokenizer(marks);
    let format = OutputFormat::detect(template, &|mark| marks.contains(&mark));
    let grammars = Grammars::new(&tokenizer, 300, &[END], &format).expect("grammars");
    for seed in 0..20 {
        let names: &[&str] = if seed % 2 == 0 {
            &["Bash"]
        } else {
            &["Read", "Bash"]
        };
        let text = drawn(&grammars, &tokenizer, names, seed);
        if seed % 2 == 0 {
            assert!(text.starts_with(beginning), "{text}");
        }
        // The parser looks at the arguments, too.
        let mut parser = OutputParser::new(&format, &tools(), false);
        let mut pieces = parser.push(&text);
        pieces.extend(parser.finish());
        let [Piece::Call(ToolCall { name, .. })] = pieces.as_slice() else {
            panic!("not one call: {text} is {pieces:?}");
        };
        assert!(names.contains(&name.as_str()), "{text}");
    }
}

#[rstest]
#[case::none("{{ messages }}")]
#[case::python("[func_name1(params_name1=value)]")]
fn a_model_without_json_calls_is_not_forced(#[case] template: &str) {
    let tokenizer = tokenizer(&[]);
    let format = OutputFormat::detect(template, &|_| false);
    let grammars = Grammars::new(&tokenizer, 300, &[END], &format).expect("grammars");
    let call = Constraint::Call {
        tools: vec!["Bash".to_owned()],
    };
    let error = grammars.compile(&call, &tools()).expect_err("refused");
    assert!(
        error.to_string().contains("its chat template shows none"),
        "{error}"
    );
    // Other forms are not touched by that.
    let json = Constraint::Json {
        schema: json!({"type": "object"}),
    };
    assert!(grammars.compile(&json, &[]).is_ok());
}
