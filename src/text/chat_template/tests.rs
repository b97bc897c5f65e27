//! What `tests/behaviour/templates.rs` does not show: limits, refusals and defaults.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::generation::{Role, ToolCall};

fn template(source: &str) -> ChatTemplate {
    let files = TemplateFiles {
        jinja: Some(source.to_owned()),
        ..TemplateFiles::default()
    };
    ChatTemplate::from_files(files)
        .expect("Jinja")
        .expect("a template")
}

fn configured(config: &str) -> Result<Option<ChatTemplate>, TextError> {
    ChatTemplate::from_files(TemplateFiles {
        tokenizer_config: Some(config.to_owned()),
        ..TemplateFiles::default()
    })
}

fn user(text: &str) -> Message {
    Message::text(Role::User, text)
}

fn variables(value: serde_json::Value) -> TemplateVariables {
    serde_json::from_value(value).expect("variables")
}

fn none() -> TemplateVariables {
    TemplateVariables::default()
}

#[test]
fn python_methods_and_block_trimming_work() {
    let source = "{% for m in messages %}\n    {% if m.role == 'user' %}\n\
                  [{{ m['content'].strip().upper() }}]\n    {% endif %}\n{% endfor %}";
    let text = template(source).render(&[user("  hi ")], &[], &none());
    assert_eq!(text.expect("renders"), "[HI]\n");
}

#[rstest]
#[case(
    "{{ raise_exception('roles must alternate') }}",
    "roles must alternate"
)]
#[case(
    "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}",
    "fuel"
)]
#[case("{% include 'chat_template.jinja' %}", "recursion")]
#[case("{{ undefined_name.field }}", "undefined")]
#[case("{{ undefined_name | tojson }}", "no JSON form")]
#[case(
    "{{ strftime_now('%Y') }}",
    "set its variable strftime_now, such as 2024-07-26"
)]
fn a_template_may_refuse_and_may_not_run_for_ever(#[case] source: &str, #[case] message: &str) {
    let refused = template(source)
        .render(&[user("x")], &[], &none())
        .expect_err("refused")
        .to_string();
    assert!(refused.contains(message), "{refused}");
    assert!(!refused.contains('\n'), "{refused}");
}

#[test]
fn special_tokens_come_in_both_spellings_and_from_both_files() {
    let files = TemplateFiles {
        tokenizer_config: Some(
            r#"{"chat_template": "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ image_token }}",
                "bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>",
                "pad_token": null, "image_token": "<img>"}"#
                .to_owned(),
        ),
        special_tokens_map: Some(
            r#"{"eos_token": "<old>", "pad_token": "<old>", "unk_token": "<unk>"}"#.to_owned(),
        ),
        ..TemplateFiles::default()
    };
    let template = ChatTemplate::from_files(files)
        .expect("valid")
        .expect("a template");
    let text = template.render(&[], &[], &none()).expect("renders");
    assert_eq!(text, "<s></s><img>");
}

#[test]
fn a_model_without_a_template_has_none() {
    assert!(configured("{}").expect("valid").is_none());
    assert!(
        configured(r#"{"chat_template": null}"#)
            .expect("valid")
            .is_none()
    );
}

#[rstest]
#[case("{", "tokenizer_config.json: ")]
#[case(r#"{"chat_template": 5}"#, "neither text nor a list")]
#[case(
    r#"{"chat_template": [{"name": "rag", "template": ""}]}"#,
    "none is called 'default'"
)]
#[case(r#"{"chat_template": "{% if"}"#, "chat template: ")]
fn broken_files_are_named(#[case] config: &str, #[case] message: &str) {
    let error = configured(config).expect_err("refused").to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn a_template_file_replaces_the_templates_of_the_configuration() {
    let tool = ToolSpec {
        name: "f".to_owned(),
        description: String::new(),
        parameters: json!({}),
    };
    let files = |tool_use: Option<&str>| {
        TemplateFiles {
        jinja: Some("file".to_owned()),
        tool_use: tool_use.map(str::to_owned),
        tokenizer_config: Some(
            r#"{"chat_template": [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]}"#
                .to_owned(),
        ),
        ..TemplateFiles::default()
    }
    };
    let text = |files: TemplateFiles, tools: &[ToolSpec]| {
        let template = ChatTemplate::from_files(files)
            .expect("valid")
            .expect("one");
        template.render(&[], tools, &none()).expect("renders")
    };
    let tools = [tool];
    assert_eq!(text(files(None), &tools), "file");
    assert_eq!(text(files(Some("tools")), &tools), "tools");
    assert_eq!(text(files(Some("tools")), &[]), "file");
    let inline = TemplateFiles {
        jinja: None,
        ..files(None)
    };
    assert_eq!(text(inline.clone(), &tools), "b");
    assert_eq!(text(inline, &[]), "a");
}

#[test]
fn variables_go_over_defaults_and_special_tokens() {
    let template = template("{{ enable_thinking }} {{ add_generation_prompt }} {{ n + 1 }}")
        .with_default("enable_thinking", true);
    let n = variables(json!({"n": 2}));
    assert_eq!(
        template.render(&[], &[], &n).expect("renders"),
        "True True 3"
    );
    let over = variables(json!({"n": 0, "enable_thinking": false, "add_generation_prompt": false}));
    assert_eq!(
        template.render(&[], &[], &over).expect("renders"),
        "False False 1"
    );
}

#[rstest]
#[case(json!("yesterday"))]
#[case(json!(20240726))]
fn a_moment_that_is_none_is_refused(#[case] moment: serde_json::Value) {
    let variables = variables(json!({"strftime_now": moment}));
    let error = template("x")
        .render(&[], &[], &variables)
        .expect_err("refused");
    assert!(error.to_string().contains("must be a date"), "{error}");
}

#[test]
fn calls_without_ids_get_some_and_results_refer_to_them() {
    let call = |id: Option<&str>| ToolCall {
        id: id.map(str::to_owned),
        name: "f".to_owned(),
        arguments: serde_json::Map::new(),
    };
    let asking = |calls: Vec<ToolCall>| Message {
        tool_calls: calls,
        ..Message::text(Role::Assistant, "")
    };
    let messages = [
        asking(vec![call(None), call(Some("mine"))]),
        Message::text(Role::Tool, "1"),
        Message::text(Role::Tool, "2"),
        asking(vec![call(None)]),
        Message::text(Role::Tool, "3"),
        Message::text(Role::Tool, "4"),
    ];
    let source = "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.id }} {% endfor %}\
                  {% if m.role == 'tool' %}={{ m.tool_call_id }} {% endif %}{% endfor %}";
    let text = template(source)
        .render(&messages, &[], &none())
        .expect("renders");
    assert_eq!(
        text,
        "call00001 mine =call00001 =mine call00003 =call00003 = "
    );
}
