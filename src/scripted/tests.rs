//! The reader against broken scripts, and what a script's table holds.

use std::path::Path;

use proptest::prelude::*;
use rstest::rstest;
use safetensors::SafeTensors;

use super::*;

const HEAD: &str = "version: 1\ndescription: A test\nstates:\n";

fn parse(text: &str) -> Result<Script, YamlError> {
    Script::parse(Path::new("s.yaml"), text)
}

fn script(states: &str) -> Script {
    parse(&format!("{HEAD}{states}")).expect("a valid script")
}

#[rstest]
#[case(
    "  a: {txt: x, next: eos}",
    "s.yaml:4:7: unknown key 'txt'",
    "did you mean 'text'?"
)]
#[case(
    "  a: {text: x, next: helo}\n  hello: {text: z, next: eos}",
    "s.yaml:4:22: there is no state 'helo'",
    "did you mean 'hello'?"
)]
#[case("  a: {text: x}", "s.yaml:4:6: the key 'next' is missing", "or eos")]
#[case(
    "  a: {text: x, say: z, next: eos}",
    "s.yaml:4:6: 'a' needs exactly one of",
    ""
)]
#[case("  a: {next: eos}", "'a' needs exactly one of", "")]
#[case(
    "  A: {text: x, next: eos}",
    "a state cannot be called 'A'",
    "lower-case"
)]
#[case(
    "  eos: {text: x, next: eos}",
    "a state cannot be called 'eos'",
    "'eos' is the end"
)]
#[case(
    "  a: {loop: x, next: a}",
    "s.yaml:4:22: a loop leads to itself",
    "escape"
)]
#[case(
    "  a: {say: x, next: eos, escape: {to: eos, probability: 0.1}}",
    "'escape' goes with 'loop' or 'text'",
    ""
)]
#[case(
    "  a: {loop: x, escape: {to: eos}}",
    "an escape needs 'breaks_above', 'probability' or both",
    ""
)]
#[case(
    "  a: {loop: x, escape: {to: eos, breaks_above: 1.0}}",
    "s.yaml:4:48: breaks_above is 1, but must be above 1",
    ""
)]
#[case(
    "  a: {loop: x, escape: {to: eos, breaks_above: .nan}}",
    "breaks_above is NaN",
    ""
)]
#[case(
    "  a: {loop: x, escape: {to: eos, probability: 0.5}}",
    "probability is 0.5, but must be",
    ""
)]
#[case(
    "  a: {loop: x, escape: {to: a, probability: 0.1}}",
    "leads to where the state leads anyway",
    ""
)]
#[case(
    "  a: {loop: x, escape: {to: eos, breaks_above: 1.001, probability: 0.000001}}",
    "would need logits of 13692.",
    "leave out"
)]
#[case(
    "  a: {text: x, next: {eos: 1, a: 1}, escape: {to: b, probability: 0.4}}\n  b: {text: z, next: eos}",
    "would need logits of 20.000 and 20.288",
    "as a weight of 'next'"
)]
#[case(
    "  a: {text: x, next: {eos: 0}}",
    "needs at least one positive weight",
    ""
)]
#[case(
    "  a: {text: x, next: {eos: 1, a: -1}}",
    "the weight of 'a' is -1",
    "positive"
)]
#[case(
    "  a: {text: x, next: {eos: 1, a: .nan}}",
    "the weight of 'a' is NaN",
    "positive"
)]
#[case("  a: {say: '', next: eos}", "the text of 'a' is empty", "")]
#[case("  a: {say: [x, ''], next: eos}", "a token has no text", "")]
#[case("  a: {say: 5, next: eos}", "expected a text in quotes", "")]
#[case(
    "  a: {text: 'x<think>', next: eos}",
    "'<think>' must be a token of its own",
    ""
)]
#[case(
    "  a: {say: 'x<|im_end|>', next: eos}",
    "a state cannot say '<|im_end|>'",
    "next: eos"
)]
#[case("  a: {text: 'x␟', next: eos}", "a state cannot say '␟'", "")]
#[case(
    "  a: {say: [<0x41>], next: eos}",
    "a token cannot say '<0x41>' alone",
    "name of a byte"
)]
#[case(
    "  a: {think: x, next: b}\n  b: {think: z, next: eos}",
    "s.yaml:5:6: '<think>' is spoken a second time",
    "one place only"
)]
#[case("  {}", "there is no state", "")]
fn a_mistake_has_a_place_and_a_remedy(
    #[case] states: &str,
    #[case] message: &str,
    #[case] help: &str,
) {
    let error = parse(&format!("{HEAD}{states}")).expect_err("is refused");
    let line = error.in_one_line();
    assert!(line.contains(message) && line.contains(help), "{line}");
}

#[rstest]
#[case(
    "version: 2\ndescription: x\nstates: {a: {text: x, next: eos}}",
    "version 2 is not known"
)]
#[case(
    "version: 1\ndescription: ' '\nstates: {a: {text: x, next: eos}}",
    "'description' is empty"
)]
#[case(
    "version: 1\ndescription: x\nstart: eos\nstates: {a: {text: x, next: eos}}",
    "s.yaml:3:8: an answer cannot be empty"
)]
#[case(
    "version: 1\ndescription: x\nafter_tool: b\nstates: {a: {text: x, next: eos}}",
    "s.yaml:3:13: there is no state 'b'"
)]
#[case(
    "version: 1\ndescription: x\ngeneration_prompt: ''\nstates: {a: {text: x, next: eos}}",
    "'generation_prompt' has 0 bytes"
)]
#[case(
    "version: 1\ndescription: x\ngeneration_prompt: '<|im_end|>'\nstates: {a: {text: x, next: eos}}",
    "must not contain <|im_end|>"
)]
#[case(
    "version: 1\nstates: {a: {text: x, next: eos}}",
    "the key 'description' is missing"
)]
#[case(
    "version: 1\ndescription: x\nstates: {a: {text: x, next: eos}, a: {text: z, next: eos}}",
    "duplicate"
)]
fn the_head_is_checked_as_well(#[case] text: &str, #[case] message: &str) {
    let error = parse(text).expect_err("is refused").in_one_line();
    assert!(error.contains(message), "{error}");
}

#[test]
fn too_many_tokens_are_refused_by_name() {
    let say = |tokens: usize| format!("  long: {{say: \"{}\", next: eos}}", "a ".repeat(tokens));
    // Each word is a token, and so is the space behind the last.
    assert_eq!(
        script(&say(MAX_STATE_TOKENS - 1)).state_tokens(),
        MAX_STATE_TOKENS
    );
    let error = parse(&format!("{HEAD}{}", say(MAX_STATE_TOKENS))).expect_err("is refused");
    let message = "with 'long' the states have 2049 tokens; at most 2048 are allowed";
    assert!(error.to_string().contains(message), "{error}");
}

/// The logits behind a state, largest first, read back from the weights.
fn logits(script: &Script, state: usize) -> Vec<(u32, f32)> {
    let files = script.files().expect("files");
    let (_, bytes) = files
        .iter()
        .find(|(name, _)| *name == "model.safetensors")
        .expect("weights");
    let weights = SafeTensors::deserialize(bytes).expect("safetensors");
    let head = weights.tensor("lm_head.weight").expect("a head");
    let hidden = head.shape()[1];
    let values: Vec<f32> = head
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|raw| f32::from_le_bytes(*raw))
        .collect();
    let mut column: Vec<(u32, f32)> = values
        .chunks_exact(hidden)
        .zip(0..)
        .map(|(row, id)| (id, row[2 + state] * (hidden as f32).sqrt()))
        .filter(|(_, logit)| *logit > 0.0)
        .collect();
    column.sort_by(|a, b| b.1.total_cmp(&a.1));
    column
}

#[test]
fn an_escape_stands_just_below_the_stated_penalty() {
    let ring = script("  a: {loop: [x, z], escape: {to: eos, breaks_above: 1.25}}");
    let [(second, top), (end, escape)] = logits(&ring, 0)[..] else {
        panic!("two ways out of a token of the loop")
    };
    assert_eq!((second, end), (269, 2));
    let penalty = top / escape;
    assert!(penalty > 1.25 && penalty < 1.2501, "{penalty}");
}

#[test]
fn a_probability_and_a_penalty_can_both_be_had() {
    let ring = script("  a: {loop: [x], escape: {to: eos, breaks_above: 1.25, probability: 0.01}}");
    let [(_, top), (_, escape)] = logits(&ring, 0)[..] else {
        panic!("two ways out of a token of the loop")
    };
    let share = escape.exp() / (top.exp() + escape.exp());
    assert!((share - 0.01).abs() < 1e-4, "{share}");
    let penalty = top / escape;
    assert!(penalty > 1.25 && penalty < 1.2501, "{penalty}");
}

#[test]
fn weights_are_shares() {
    let fork = script("  a: {text: x, next: {b: 3, eos: 1}}\n  b: {text: z, next: eos}");
    let [(first, heavy), (second, light)] = logits(&fork, 0)[..] else {
        panic!("two ways")
    };
    assert_eq!((first, second), (269, 2));
    assert!(((heavy - light).exp() - 3.0).abs() < 1e-3);
}

#[test]
fn the_same_script_gives_the_same_files() {
    let text = "  a: {say: 'Hello there', next: b}\n  b: {think: hm, next: eos}";
    assert_eq!(
        script(text).files().expect("files"),
        script(text).files().expect("files")
    );
}

proptest! {
    #[test]
    fn nothing_panics(text in "\\PC{0,200}") {
        let _ = parse(&text);
        let _ = parse(&format!("{HEAD}{text}"));
    }
}
