//! The promises of the watch: indifferent to deltas, the same live as afterwards, on time, bounded.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::loops::words::{fibonacci, square_free, thue_morse};
use crate::loops::{Context, Requested, text_units};

/// All changes, and the verdict, of a text that comes in the given pieces.
fn read<'a>(deltas: impl IntoIterator<Item = &'a str>) -> (Vec<Change>, Option<LoopVerdict>) {
    let mut watch = Watch::new(Settings::for_text());
    let mut changes = Vec::new();
    for delta in deltas {
        watch.push_text(delta, |change| changes.push(change));
    }
    changes.extend(watch.finish(Ending::Itself));
    (changes, watch.verdict())
}

fn verdict(text: &str) -> LoopVerdict {
    read([text]).1.unwrap_or_else(|| panic!("nothing found"))
}

/// Cuts a text after every `length` characters.
fn cut(text: &str, length: usize) -> Vec<&str> {
    let mut cuts: Vec<usize> = text
        .char_indices()
        .map(|(at, _)| at)
        .step_by(length)
        .collect();
    cuts.push(text.len());
    cuts.windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

/// Sentences, lines of code, tables and signs, some of them repeated, with a number that counts.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-z]{1,9}( [a-z]{1,9}){3,12}\\. ",
        "[a-z_]{3,12} = [a-z]{2,8}\\([0-9]{1,4}\\);\n",
        "\\| [a-z]{1,6} \\| [0-9]{1,3} \\|\n",
        "[!?.,#=-]{1,4}",
        "```[a-z]{0,4}\n",
        "[é気🙂\u{301}\t\r\n ]{1,6}",
    ];
    let repeated = (part, 1..120_usize, any::<bool>()).prop_map(|(part, times, counts)| {
        let copy = |n: usize| {
            if counts {
                format!("{n} {part}")
            } else {
                part.clone()
            }
        };
        (0..times).map(copy).collect::<String>()
    });
    prop::collection::vec(repeated, 1..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn deltas_make_no_difference(text in texts()) {
        let whole = read([text.as_str()]);
        prop_assert_eq!(&read(cut(&text, 1)), &whole);
        prop_assert_eq!(&read(cut(&text, 7)), &whole);
        prop_assert_eq!(&read(text_units(&text).into_iter().map(|unit| &text[unit.bytes])), &whole);
    }

    #[test]
    fn the_verdict_on_the_way_is_the_verdict_on_what_came_before(
        text in texts(), parts in prop::collection::vec(0.0..1.0_f64, 4),
    ) {
        let chars: Vec<&str> = cut(&text, 1);
        let mut watch = Watch::new(Settings::for_text());
        for (at, character) in chars.iter().enumerate() {
            if parts.iter().any(|part| (part * chars.len() as f64) as usize == at) {
                let mut now = watch.clone();
                now.finish(Ending::Itself);
                let before: String = chars[..at].concat();
                prop_assert_eq!(now.verdict(), read([before.as_str()]).1);
            }
            watch.push_text(character, |_| ());
        }
    }

    /// Pieces are finished by what follows them, so the text before is finished by hand.
    #[test]
    fn live_is_offline_at_every_prefix(text in texts()) {
        let text: String = text.chars().take(500).collect();
        let mut watch = Watch::new(Settings::for_text());
        for (at, character) in text.char_indices() {
            watch.push_text(&text[at..at + character.len_utf8()], |_| ());
            let mut now = watch.clone();
            now.finish(Ending::Itself);
            let before = &text[..at + character.len_utf8()];
            prop_assert_eq!(now.verdict(), read([before]).1);
        }
    }

    /// Tokens with text give the same exact loops as the ids alone, under the same context.
    #[test]
    fn a_loop_is_confirmed_at_the_earliest_token(
        period in 1..700_usize, before in 0..2_000_usize, extra in 0..40_usize,
    ) {
        let settings = Settings::default();
        let word = |n: usize| format!("w{} ", ["ord", "ait", "ell", "ind"][n % 4]);
        let mut watch = Watch::new(settings.clone());
        let longest = settings.thresholds.spans_in(period, Some(Context::Data)).map_or(0, |spans| spans.1);
        for n in 0..before {
            watch.push_token(1_000_000 + n as u32, &word(n * 7 % 11));
        }
        let mut confirmed = None;
        for n in 0..longest + extra {
            let change = watch.push_token((n % period) as u32, &word(n % period));
            let is_it = |change: &Change| change.state == LoopState::Confirmed && change.kind == LoopKind::Exact;
            confirmed = confirmed.or(change.filter(is_it).map(|change| change.at));
        }
        let Some(found) = watch.verdict() else { return Err(TestCaseError::fail("not found")) };
        prop_assert!(found.state.is_confirmed());
        prop_assert_eq!((found.period, found.onset), (period, before));
        prop_assert_eq!(found.delay(), 0);
        prop_assert_eq!(Some(found.detected_at), confirmed);
        prop_assert_eq!(found.detected_at, found.earliest_possible);
    }
}

#[rstest]
#[case::square_free(square_free(20_000))]
#[case::thue_morse(thue_morse(20_000))]
#[case::fibonacci(fibonacci(20_000))]
fn words_without_fourth_powers_are_never_confirmed(#[case] word: Vec<u32>) {
    let mut watch = Watch::new(Settings::default());
    for letter in word {
        let text = ["a", "b", "c"][letter as usize];
        let told = watch.push_token(letter, text);
        assert!(told.is_none_or(|change| change.state != LoopState::Confirmed));
    }
}

#[rstest]
#[case::steps(|n| format!("Step {n}: check the settings of the server and restart it.\n"), LoopKind::Counter)]
#[case::waits(|n| format!("Wait, I should check item {n}. The list is long. Done. "), LoopKind::Counter)]
fn a_loop_that_counts_is_suspected_as_one(
    #[case] copy: fn(usize) -> String,
    #[case] kind: LoopKind,
) {
    let text: String = (41..120).map(copy).collect();
    let found = verdict(&text);
    assert_eq!(found.state, LoopState::Suspected);
    assert!(
        matches!(found.kind, LoopKind::NearDuplicate) || found.kind == kind,
        "{found:?}"
    );
    assert!(found.onset_byte.is_some_and(|byte| byte < 200), "{found:?}");
}

#[test]
fn a_number_that_does_not_count_makes_no_counter() {
    let text: String = (0..80)
        .map(|n| format!("Got {} from it, ", n * n * 37 % 101))
        .collect();
    let found = verdict(&text);
    assert_ne!(found.kind, LoopKind::Counter, "{found:?}");
}

#[test]
fn a_paragraph_that_drifts_is_suspected() {
    let words = "the quick server reads every small record and keeps the broken answer in a narrow cache while another worker checks the final version of this ancient file";
    let words: Vec<&str> = words.split(' ').collect();
    let copy = |n: usize| {
        let changed = |(at, word): (usize, &&str)| {
            if (at + 3 * n).is_multiple_of(13) {
                format!("other{n}")
            } else {
                (*word).to_owned()
            }
        };
        words
            .iter()
            .enumerate()
            .map(changed)
            .collect::<Vec<_>>()
            .join(" ")
            + ". "
    };
    let text: String = (0..30).map(copy).collect();
    assert_eq!(verdict(&text).kind, LoopKind::NearDuplicate);
}

#[test]
fn two_phrases_in_any_order_are_suspected() {
    let text: String = thue_morse(300)
        .into_iter()
        .map(|side| ["No, it is nine after all. ", "Wait, that makes eight. "][side as usize])
        .collect();
    let found = verdict(&text);
    assert!(
        matches!(found.kind, LoopKind::LowNovelty | LoopKind::NearDuplicate),
        "{found:?}"
    );
    assert_eq!(found.state, LoopState::Suspected);
}

#[test]
fn ids_without_text_have_no_context() {
    let read = |ids: &mut dyn Iterator<Item = u32>| {
        let mut watch = Watch::new(Settings::default());
        let changes: Vec<Change> = ids.filter_map(|id| watch.push_id(id)).collect();
        (changes, watch.verdict())
    };
    let (_, Some(exact)) = read(&mut (0..600).map(|n| n % 7)) else {
        panic!("nothing found")
    };
    assert!(exact.state.is_confirmed());
    assert_eq!((exact.context, exact.onset_byte), (None, None));
    assert!(exact.false_alarms().contains("not measured"));
    // Two blocks of ten in any order.
    let mut order = thue_morse(200).into_iter();
    let mut blocks = order.by_ref().flat_map(|side| side * 10..side * 10 + 10);
    let (changes, Some(found)) = read(&mut blocks) else {
        panic!("nothing found")
    };
    assert_eq!(found.kind, LoopKind::LowNovelty);
    assert_eq!((found.context, found.onset_byte), (None, None));
    assert!(
        changes
            .iter()
            .any(|change| change.kind == LoopKind::LowNovelty)
    );
}

#[test]
fn rows_of_constants_have_to_go_on_for_longer() {
    let confirmed = |text: &str| {
        read([text])
            .1
            .is_some_and(|found| found.state.is_confirmed())
    };
    let head = "static const int table[] = {\n    first_entry(of, the, table),\n    second(entry),\n    another_entry(here),\n    and_more(of, them),\n    the_last(one, here),\n";
    let rows = |row: &str, count: usize| format!("{head}{}", row.repeat(count));
    // The same number of pieces says something in one case and nothing in the others.
    assert!(confirmed(&rows(
        "    load(next, item); store(item, again);\n",
        60
    )));
    assert!(!confirmed(&rows("    0x00, 0x00, 0x00, 0x00, 0x00,\n", 60)));
    assert!(!confirmed(&rows(
        "    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,\n",
        60
    )));
    assert!(confirmed(&rows("    0x00, 0x00, 0x00, 0x00, 0x00,\n", 400)));
}

#[test]
fn a_sentence_between_new_ones_is_suspected() {
    let text: String = (0..40)
        .map(|n| {
            let new = [
                "river", "garden", "letter", "engine", "window", "budget", "village",
            ];
            let word = |at: usize| new[(n * at + at + n / 7) % 7];
            format!(
                "The little server writes another answer again. {} {} carries {} beyond {} {n}. ",
                word(1),
                word(2),
                word(3),
                word(5)
            )
        })
        .collect();
    let found = verdict(&text);
    assert_eq!(found.state, LoopState::Suspected);
}

#[test]
fn data_has_to_repeat_for_longer() {
    let head = "x,y,z\n1,2,3\n4,5,6\n7,8,9\n2,4,8\n3,6,9\n5,5,5\n";
    let rows = |count: usize| format!("{head}{}", "0,20,7\n".repeat(count));
    let confirmed = |text: &str| {
        read([text])
            .1
            .is_some_and(|found| found.state.is_confirmed())
    };
    assert!(!confirmed(&rows(400)));
    assert_eq!(verdict(&rows(400)).state, LoopState::Suspected);
    assert!(confirmed(&rows(1_500)));
    assert_eq!(verdict(&rows(1_500)).context, Some(Context::Data));
}

#[test]
fn an_open_fence_hides_no_loop() {
    let text = format!(
        "Here:\n```rust\n{}",
        "    let total = total + next(1);\n".repeat(80)
    );
    let found = verdict(&text);
    assert!(found.state.is_confirmed());
    assert_eq!(
        (found.kind, found.requested),
        (LoopKind::Exact, Requested::Unknown)
    );
}

#[test]
fn prose_is_left_alone() {
    let words = [
        "river", "garden", "letter", "engine", "window", "budget", "village", "signal",
    ];
    let text: String = square_free(900)
        .chunks(6)
        .enumerate()
        .map(|(n, chunk)| {
            let sentence: Vec<&str> = chunk
                .iter()
                .enumerate()
                .map(|(at, letter)| words[(*letter as usize + at * n) % 8])
                .collect();
            format!("Once the {} of {n} was here. ", sentence.join(" "))
        })
        .collect();
    assert!(
        !read([text.as_str()])
            .1
            .is_some_and(|found| found.state.is_confirmed())
    );
}

#[test]
fn state_is_below_a_mebibyte_and_does_not_grow() {
    let mut watch = Watch::new(Settings::for_text());
    let before = watch.memory_bytes();
    assert!(before < 1 << 20, "{before}");
    for n in 0..3_000 {
        watch.push_text(&format!("Line {n} says {} and ends.\n", n % 7), |_| ());
    }
    assert_eq!(watch.memory_bytes(), before);
}

#[test]
fn a_suspected_loop_is_confirmed_where_the_allowance_ends_it() {
    let read = |text: &str, ending| {
        let mut watch = Watch::new(Settings::for_text());
        watch.push_text(text, |_| ());
        let told = watch.finish(ending);
        let found = watch
            .verdict()
            .unwrap_or_else(|| panic!("nothing found in {text}"));
        (told, found, watch.tokens())
    };
    let text = format!(
        "Well. {}",
        "The buffer is read again and then cleared.\n".repeat(9)
    );
    let (_, itself, _) = read(&text, Ending::Itself);
    assert_eq!(itself.state, LoopState::Suspected);
    let (told, cut, tokens) = read(&text, Ending::CutOff);
    assert_eq!(told.map(|change| change.state), Some(LoopState::Confirmed));
    assert_eq!(cut.state, LoopState::Confirmed);
    assert_eq!((cut.detected_at, cut.delay()), (tokens - 1, 0));
    assert_eq!(cut.suspected_at, itself.suspected_at);
    let over = format!("{text}Something else entirely follows, for good.");
    assert_eq!(read(&over, Ending::CutOff).1.state, LoopState::Ended);
}

#[rstest]
#[case::statement("    next(item);\n", 40, true)]
#[case::element("    next(item),\n", 40, false)]
#[case::more_elements("    next(item),\n", 140, true)]
#[case::signs("    {};\n", 60, false)]
#[case::more_signs("    {};\n", 120, true)]
#[case::long_statement(
    "    let total_sum = first.next(item).or(other_item)?.value();\n",
    14,
    false
)]
#[case::more_long_statements(
    "    let total_sum = first.next(item).or(other_item)?.value();\n",
    40,
    true
)]
fn in_programs_it_depends_on_what_repeats(
    #[case] line: &str,
    #[case] copies: usize,
    #[case] confirmed: bool,
) {
    let head = "fn main() {\n    let x = first(of, the);\n    second(entry);\n    call(x);\n    last(one);\n    done(x);\n";
    let found = verdict(&format!("{head}{}", line.repeat(copies)));
    assert_eq!(found.context, Some(Context::Code));
    assert_eq!(found.state.is_confirmed(), confirmed, "{found:?}");
}
