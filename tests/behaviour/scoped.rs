//! Loops that count only where they lie: in what is thought, said, or written as a call.

use rstest::rstest;

use crate::faults::start;
use crate::support::{Ran, Sandbox};

const RING: &str = "loop: ['I ', 'will ', 'read ', 'it ', 'now. '], times: 40";

fn run(target: &str, assertions: &str) -> Ran {
    let sandbox = Sandbox::new();
    sandbox.write(
        "s.yaml",
        &format!(
            "version: 1\ndescription: d\nwhy: w\n{target}\n\
             tests: [{{id: a, user: hi, assert: [{assertions}]}}]\n"
        ),
    );
    sandbox.run(&["run", "s.yaml"])
}

fn served(api: &str, script: &str, assertions: &str) -> Ran {
    let address = start(script);
    run(
        &format!("target: {{{api}: 'http://{address}'}}"),
        assertions,
    )
}

/// A loop in what is thought is none in what is said, and the other way round; with tokens and without.
#[rstest]
fn a_loop_counts_in_its_channel_alone(
    #[values("openai", "anthropic")] api: &str,
    #[values(true, false)] tokens: bool,
    #[values(true, false)] thought: bool,
) {
    let plain = "pieces: ['The ', 'licence ', 'is ', 'MIT.']";
    let script = match thought {
        true => format!("tokens: {tokens}\nreasoning: {{{RING}}}\nanswer: {{{plain}}}\n"),
        false => format!("tokens: {tokens}\nreasoning: {{{plain}}}\nanswer: {{{RING}}}\n"),
    };
    let (there, elsewhere) = match thought {
        true => ("reasoning", "content"),
        false => ("content", "reasoning"),
    };
    let not_loop = |scope: &str| format!("{{type: not-loop, scope: {scope}}}");
    served(api, &script, "not-loop").expect_code(100);
    served(api, &script, &not_loop(elsewhere)).expect_code(0);
    served(api, &script, &not_loop("[tool-call]")).expect_code(0);
    served(api, &script, &not_loop(there))
        .expect_code(100)
        .expect_stdout(&format!("not-loop ({there})"))
        .expect_stdout("loop confirmed in generation 1")
        .expect_stdout("I will read it now");
    served(api, &script, &not_loop("[reasoning, content]")).expect_code(100);
}

/// A thought that loops hides no loop in the answer behind it.
#[test]
fn one_loop_hides_no_other() {
    let script = format!(
        "reasoning: {{{RING}}}\nanswer: {{loop: ['one ', 'two ', 'three ', 'and '], times: 40}}\n"
    );
    served("openai", &script, "{type: not-loop, scope: content}")
        .expect_code(100)
        .expect_stdout("one two three and");
}

/// In this process the thought is read from the text of the tokens.
#[test]
fn a_thought_of_a_model_in_this_process_is_told_apart() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "m.yaml",
        "version: 1\ndescription: d\nstates:\n  open: {text: \"<think>\", next: ring}\n  \
         ring: {loop: [\"I \", \"will \", \"read \", \"it \", \"now. \"], escape: {to: close, breaks_above: 1.031}}\n  \
         close: {text: \"</think>\", next: answer}\n  answer: {say: \"It is MIT.\", next: eos}\n",
    );
    for (scope, code) in [
        ("content", 0),
        ("reasoning", 100),
        ("[content, reasoning]", 100),
    ] {
        sandbox.write(
            "s.yaml",
            &format!(
                "version: 1\ndescription: d\nwhy: w\nmodel: script:m.yaml\n\
                 sampling: {{repetition_penalty: 1.0, max_tokens: 200}}\n\
                 tests: [{{id: a, user: hi, assert: [{{type: not-loop, scope: {scope}}}]}}]\n"
            ),
        );
        sandbox.run(&["run", "s.yaml"]).expect_code(code);
    }
}

/// A server that leaves its thoughts in the answer does not tell where the loop lies.
#[test]
fn where_nobody_can_tell_it_is_an_error() {
    let answer = |text: &str| format!("answer: {{pieces: ['{text}'], {RING}}}\n");
    served(
        "openai",
        &answer("<think>Hm. "),
        "{type: not-loop, scope: content}",
    )
    .expect_code(101)
    .expect_stdout("'not-loop' (line 5) asks for loops in one part of the answer")
    .expect_stdout("leave out 'scope', or let the server send what is thought apart");
    // Without a loop there is nothing to tell.
    served(
        "openai",
        "answer: {pieces: ['<think>Hm.</think>', ' It is MIT.']}\n",
        "{type: not-loop, scope: content}",
    )
    .expect_code(0);
}

#[test]
fn unknown_channels_are_named() {
    run("", "{type: not-loop, scope: thoughts}")
        .expect_code(2)
        .expect_stderr("scope is 'thoughts', but must be one or several of")
        .expect_stderr("reasoning, content, tool-call");
}
