//! The tokenizer and the chat template of a scripted checkpoint.
//!
//! Any text can be a prompt: what is not a reserved token becomes its UTF-8 bytes. An answer is
//! made of tokens that belong to states, and two states may say the same text. Names in a
//! vocabulary are unique, so such a token is called by its text, a marker and its id, and the
//! decoder takes marker and id off. Prompts never give these tokens: the model has no merges.

use serde_json::{Map, Value, json};

use super::table::{Entry, Reserved};
use super::weights::pretty;

/// Whether a text is the name of a byte token. The decoder would take a state's token of this
/// text for that byte.
pub(super) fn is_byte_name(text: &str) -> bool {
    (0..=u8::MAX).any(|byte| byte_name(byte).eq_ignore_ascii_case(text))
}

fn byte_name(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// Stands between a state's text and its number in the token's name.
pub(super) const MARKER: char = '\u{241f}';

const TEMPLATE: &str = include_str!("template.jinja");
/// What the template has in place of the generation prompt.
const PLACEHOLDER: &str = "GENERATION_PROMPT";

pub(super) fn tokenizer(vocabulary: &[Entry<'_>]) -> Vec<u8> {
    let names = vocabulary.iter().enumerate().map(|(id, entry)| {
        let name = match entry {
            Entry::Reserved(reserved) => reserved.text().to_owned(),
            Entry::Byte(byte) => byte_name(*byte),
            Entry::Own(text) => format!("{text}{MARKER}{id}"),
        };
        (name, Value::from(id))
    });
    let vocab: Map<String, Value> = names.collect();
    let added: Vec<Value> = Reserved::ALL
        .iter()
        .map(|reserved| {
            json!({
                "id": reserved.id(),
                "content": reserved.text(),
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": reserved.is_special(),
            })
        })
        .collect();
    pretty(&json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": null,
        "post_processor": null,
        // Bytes second: joined, those of a prompt could end like a state's name.
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"Regex": format!("{MARKER}[0-9]+$")}, "content": ""},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
        ]},
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": true,
            "ignore_merges": false,
            "vocab": vocab,
            "merges": [],
        },
    }))
}

pub(super) fn tokenizer_config() -> Vec<u8> {
    pretty(&json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": null,
        "eos_token": Reserved::MessageEnd.text(),
        "pad_token": Reserved::EndOfText.text(),
        "unk_token": null,
        "add_bos_token": false,
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": false,
        "model_max_length": 131_072,
    }))
}

/// ChatML. A JSON string is a Jinja string as well.
pub(super) fn chat_template(generation_prompt: &str) -> Vec<u8> {
    let literal = Value::from(generation_prompt).to_string();
    TEMPLATE.replace(PLACEHOLDER, &literal).into_bytes()
}
