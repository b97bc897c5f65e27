//! First differences at every place, and the inputs that explain them.

use rstest::rstest;

use super::*;
use crate::generation::{Exchange, FinishReason, Token, Usage};

/// A conversation whose tokens are letters: id and text are the same character.
fn conversation(texts: &[&str]) -> Conversation {
    let exchanges = texts.iter().map(|text| Exchange {
        added: Vec::new(),
        transcript: Transcript {
            tokens: text
                .chars()
                .map(|character| Token {
                    id: u32::from(character),
                    logprob: -0.1,
                    margin: 0.5,
                    top: Vec::new(),
                })
                .collect(),
            token_at_us: (0..text.chars().count() as u64).collect(),
            text_ends: text
                .char_indices()
                .map(|(at, character)| at + character.len_utf8())
                .collect(),
            text: (*text).to_owned(),
            content: None,
            reasoning: None,
            tool_calls: Vec::new(),
            finish_reason: FinishReason::Stop,
            usage: Usage {
                input_tokens: 7,
                cached_tokens: 0,
                output_tokens: text.chars().count(),
            },
            e2e_us: 100,
            pieces: Vec::new(),
            retries: Vec::new(),
            stream: None,
        },
        tool_results: Vec::new(),
    });
    Conversation {
        exchanges: exchanges.collect(),
    }
}

fn info() -> SnapshotInfo {
    SnapshotInfo {
        model: "builtin:readme".to_owned(),
        ..SnapshotInfo::default()
    }
}

fn against(reference: &[&str], actual: &Conversation) -> Comparison {
    let reference = Snapshot::of(&conversation(reference), info());
    compare(&reference, &info(), actual)
}

fn divergence(reference: &[&str], actual: &Conversation) -> Divergence {
    match against(reference, actual) {
        Comparison::Differs(divergence) => divergence,
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case(&[])]
#[case(&[""])]
#[case(&["abc", "größe"])]
fn the_same_output_matches(#[case] texts: &[&str]) {
    assert_eq!(against(texts, &conversation(texts)), Comparison::Match);
}

const fn id(character: char) -> Option<u32> {
    Some(character as u32)
}

#[rstest]
#[case::start(&["abc"], &["xbc"], (0, 0, 0), id('a'), id('x'))]
#[case::middle(&["abc"], &["axc"], (0, 1, 1), id('b'), id('x'))]
#[case::end(&["äbc"], &["äbx"], (0, 2, 3), id('c'), id('x'))]
#[case::shorter(&["abc"], &["ab"], (0, 2, 2), id('c'), None)]
#[case::longer(&["ab"], &["abc"], (0, 2, 2), None, id('c'))]
#[case::empty(&["ab"], &[""], (0, 0, 0), id('a'), None)]
#[case::second(&["ab", "c"], &["ab", "d"], (1, 0, 0), id('c'), id('d'))]
#[case::missing(&["ab", "c"], &["ab"], (1, 0, 0), id('c'), None)]
#[case::additional(&["ab"], &["ab", "c"], (1, 0, 0), None, id('c'))]
#[case::missing_and_empty(&["ab", ""], &["ab"], (1, 0, 0), None, None)]
fn the_first_difference_is_found(
    #[case] reference: &[&str],
    #[case] actual: &[&str],
    #[case] (exchange, token_index, byte): (usize, usize, usize),
    #[case] expected: Option<u32>,
    #[case] found: Option<u32>,
) {
    let divergence = divergence(reference, &conversation(actual));
    assert_eq!(
        divergence.tokens,
        Some(TokenDivergence {
            exchange,
            token_index,
            expected,
            actual: found,
            margin: found.map(|_| 0.5),
            byte,
        })
    );
    let text = divergence.text.expect("the text differs too");
    assert_eq!((text.exchange, text.byte), (exchange, byte));
    let turns_changed = reference.len() != actual.len();
    assert_eq!(divergence.changed_inputs.len(), usize::from(turns_changed));
}

#[test]
fn another_tokenization_of_the_same_text_is_a_difference_of_tokens_only() {
    let mut actual = conversation(&["abc", "d"]);
    actual.exchanges[0].transcript.tokens[1].id = 7;
    let divergence = divergence(&["abc", "d"], &actual);
    assert_eq!(divergence.text, None);
    assert_eq!(divergence.tokens.expect("tokens").token_index, 1);
}

#[test]
fn another_text_of_the_same_tokens_is_a_difference_of_text_only() {
    let mut actual = conversation(&["abc"]);
    actual.exchanges[0].transcript.text = "abC".to_owned();
    let divergence = divergence(&["abc"], &actual);
    assert_eq!(divergence.tokens, None);
    assert_eq!(divergence.text.expect("text").byte, 2);
}

#[test]
fn tokens_and_text_may_part_in_different_generations() {
    let mut actual = conversation(&["abc", "x"]);
    actual.exchanges[0].transcript.tokens[1].id = 7;
    let divergence = divergence(&["abc", "d"], &actual);
    assert_eq!(divergence.tokens.expect("tokens").exchange, 0);
    assert_eq!(divergence.text.expect("text").exchange, 1);
}

#[test]
fn a_different_course_after_a_different_answer_is_no_changed_input() {
    let other_tokens_same_text = {
        let mut actual = conversation(&["abc"]);
        actual.exchanges[0].transcript.tokens[1].id = 7;
        actual
    };
    for actual in [conversation(&["abx"]), other_tokens_same_text] {
        let divergence = divergence(&["abc", "d"], &actual);
        assert_eq!(divergence.changed_inputs, []);
    }
}

#[test]
fn excerpts_surround_the_difference_and_show_the_cut() {
    let reference = format!("{}é-{}", "a".repeat(30), "b".repeat(50));
    let actual = format!("{}é+c", "a".repeat(30));
    let text = divergence(&[&reference], &conversation(&[&actual]))
        .text
        .expect("text");
    assert_eq!(text.byte, 32);
    assert_eq!(
        text.expected_text,
        format!("…{}é-{}…", "a".repeat(19), "b".repeat(39))
    );
    assert_eq!(text.actual_text, format!("…{}é+c", "a".repeat(19)));
}

#[test]
fn an_unknown_margin_is_none() {
    let mut actual = conversation(&["x"]);
    actual.exchanges[0].transcript.tokens[0].margin = f32::NAN;
    let tokens = divergence(&["a"], &actual).tokens.expect("tokens");
    assert_eq!(tokens.margin, None);
}

#[test]
fn changed_inputs_are_listed_by_name() {
    let sampling = |temperature, repetition_penalty, seed| SamplingSettings {
        temperature,
        repetition_penalty,
        seed,
        ..SamplingSettings::default()
    };
    let mut reference = Snapshot::of(&conversation(&["a"]), info());
    reference.prompt_tokens = Some(9);
    reference.info.sampling = sampling(Some(0.5), Some(1.05), None);
    let now = SnapshotInfo {
        model: "other".to_owned(),
        sampling: sampling(Some(0.5), Some(1.1), Some(3)),
        ..info()
    };
    let Comparison::Differs(divergence) = compare(&reference, &now, &conversation(&["b"])) else {
        panic!("differs");
    };
    let listed: Vec<String> = divergence
        .changed_inputs
        .iter()
        .map(|change| format!("{}: {} -> {}", change.name, change.expected, change.actual))
        .collect();
    assert_eq!(
        listed,
        [
            "model: builtin:readme -> other",
            "prompt: 9 tokens -> 7 tokens",
            "sampling.repetition_penalty: 1.05 -> 1.1",
            "sampling.seed: not given -> 3",
        ]
    );
    // The same output is a match whatever was asked.
    assert_eq!(
        compare(&reference, &now, &conversation(&["a"])),
        Comparison::Match
    );
}
