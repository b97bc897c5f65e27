//! Pending snapshots looked at: listed off a terminal, decided key by key on one.

use crate::support::Sandbox;

/// A model that says a word and knows both, so that each keeps its id, and a scenario of two tests
/// that keep what it says.
fn says(sandbox: &Sandbox, word: &str) {
    sandbox.write(
        "checkpoints/m.yaml",
        &format!(
            "version: 1\ndescription: d\nstart: {word}\nstates:\n  \
             cat: {{say: \"the cat is here\", next: eos}}\n  dog: {{say: \"the dog is here\", next: eos}}\n"
        ),
    );
    sandbox.write(
        "s.yaml",
        "version: 1\ndescription: d\nwhy: w\nmodel: script:checkpoints/m.yaml\n\
         tests:\n- {id: one, user: go, assert: [snapshot]}\n- {id: two, user: go, assert: [snapshot]}\n",
    );
}

/// Two references, and beside each a changed output.
fn changed() -> Sandbox {
    let sandbox = Sandbox::new();
    says(&sandbox, "cat");
    sandbox.run(&["run", "s.yaml"]).expect_code(100);
    sandbox.run(&["accept"]).expect_code(0);
    says(&sandbox, "dog");
    sandbox.run(&["run", "s.yaml"]).expect_code(100);
    sandbox
}

const ONE: &str = "snapshots/s/one.script-checkpoints-m-yaml.snap";
const TWO: &str = "snapshots/s/two.script-checkpoints-m-yaml.snap";

#[test]
fn off_a_terminal_what_waits_is_listed_and_nothing_is_decided() {
    let sandbox = changed();
    let ran = sandbox.run(&["review"]).expect_code(100);
    let ran = ran
        .expect_stdout("s/one.script-checkpoints-m-yaml")
        .expect_stdout("2 snapshots wait for review")
        .expect_stdout("loopwatch accept")
        .expect_stdout("the [-cat-]{+dog+} is here");
    // The record of the run knows by how much the token won.
    let token = ran
        .stdout
        .lines()
        .find(|line| line.contains("first different token is"));
    assert!(
        token.expect("a token").contains("(margin "),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    assert!(sandbox.read(ONE).contains("cat"));

    // Without a record the token is told all the same.
    std::fs::remove_dir_all(sandbox.path("reports")).expect("removed");
    let ran = sandbox.run(&["review", "s/one"]).expect_code(100);
    let ran = ran
        .expect_stdout("first different token is 0 of generation 1: expected ")
        .expect_stdout("1 snapshot waits for review");
    assert!(!ran.stdout.contains("margin"), "{}", ran.stdout);

    sandbox.run(&["review", "nowhere"]).expect_code(2);
    sandbox.run(&["accept"]).expect_code(0);
    sandbox
        .run(&["review"])
        .expect_code(0)
        .expect_stdout("no snapshot waits for review");
}

#[test]
fn a_new_snapshot_is_shown_whole() {
    let sandbox = Sandbox::new();
    says(&sandbox, "cat");
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(100)
        .expect_stdout("look at them with 'loopwatch review'");
    sandbox
        .run(&["review"])
        .expect_code(100)
        .expect_stdout("new: there is no reference yet")
        .expect_stdout("  + the cat is here");
}

/// The file's name is not that of the case: a matrix puts a plus into ids.
#[test]
fn a_snapshot_of_a_case_of_a_matrix_is_told_too() {
    let sandbox = Sandbox::new();
    says(&sandbox, "cat");
    let yaml = sandbox
        .read("s.yaml")
        .replace("user: go", "user: 'go {{n}}'");
    sandbox.write(
        "s.yaml",
        &yaml.replace("tests:", "matrix: {n: [1, 2]}\ntests:"),
    );
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(100)
        .expect_stdout("4 snapshots wait for review:");
}

#[test]
fn a_snapshot_that_no_test_asks_for_is_reported() {
    let sandbox = changed();
    sandbox.run(&["accept"]).expect_code(0);
    let yaml = sandbox.read("s.yaml").replace("id: two", "id: three");
    sandbox.write(
        "s.yaml",
        &yaml.replace("assert: [snapshot]", "assert: [contains: dog]"),
    );
    let reported = "2 snapshots are asked for by no test:\n  snapshots/s/one";
    // A filter hides cases and no tests.
    sandbox
        .run(&["run", "s.yaml", "--filter", "three"])
        .expect_code(0)
        .expect_stdout(reported);
    sandbox
        .run(&["run", "s.yaml", "--fail-on-unreferenced"])
        .expect_code(100);
    sandbox.write("s.yaml", &yaml);
    sandbox
        .run(&["run", "s.yaml", "--filter", "one", "--fail-on-unreferenced"])
        .expect_code(100)
        .expect_stdout("1 snapshot is asked for by no test:\n  snapshots/s/two");
    std::fs::remove_file(sandbox.path(TWO)).expect("removed");
    let ran = sandbox.run(&["run", "s.yaml", "--filter", "one", "--fail-on-unreferenced"]);
    let ran = ran.expect_code(0);
    assert!(
        !ran.stdout.contains("asked for by no test"),
        "{}",
        ran.stdout
    );
}

#[cfg(unix)]
mod on_a_terminal {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::process::Stdio;

    use rstest::rstest;
    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

    use super::*;

    /// A terminal: what a person types into and reads from, and the end for a program.
    fn terminal() -> (OwnedFd, OwnedFd) {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&person).expect("granted");
        unlockpt(&person).expect("unlocked");
        let name = ptsname(&person, Vec::new()).expect("a name");
        let program = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its end");
        // A key that is typed before the program waits for it is kept for it, Ctrl-C too.
        let mut settings = tcgetattr(&program).expect("settings");
        settings.make_raw();
        tcsetattr(&program, OptionalActions::Now, &settings).expect("set");
        (person, program)
    }

    /// Reviews on a terminal, with a key at each question. Returns the exit code and the screen.
    fn review(sandbox: &Sandbox, keys: &str) -> (Option<i32>, String) {
        let (person, program) = terminal();
        let end = || Stdio::from(program.try_clone().expect("a copy"));
        let mut command = sandbox.command(&["review"]);
        command.env("TERM", "xterm").env_remove("NO_COLOR");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn();
        let mut child = child.expect("runs");
        drop((command, program));
        let mut person = File::from(person);
        let mut screen = String::new();
        let mut keys = keys.bytes();
        let mut answered = 0;
        let mut buffer = [0_u8; 4096];
        // The terminal ends with an error when the program has closed it.
        while let Ok(read @ 1..) = person.read(&mut buffer) {
            screen += &String::from_utf8_lossy(&buffer[..read]);
            while screen.matches("uit ").count() > answered {
                answered += 1;
                person
                    .write_all(&[keys.next().expect("a key")])
                    .expect("typed");
            }
        }
        (child.wait().expect("ends").code(), screen)
    }

    /// What is decided is done, also when the person leaves at the second question.
    #[rstest]
    #[case("aa", 0, "dog", "dog", [false, false])]
    #[case("ra", 0, "cat", "dog", [false, false])]
    #[case("sr", 100, "cat", "cat", [true, false])]
    #[case("aq", 100, "dog", "cat", [false, true])]
    #[case("a\u{3}", 130, "dog", "cat", [false, true])]
    #[case("q", 100, "cat", "cat", [true, true])]
    fn each_key_does_what_it_says_at_once(
        #[case] keys: &str,
        #[case] code: i32,
        #[case] one: &str,
        #[case] two: &str,
        #[case] waits: [bool; 2],
    ) {
        let sandbox = changed();
        let (ended, screen) = review(&sandbox, keys);
        assert_eq!(ended, Some(code), "{screen}");
        assert!(sandbox.read(ONE).contains(one), "{screen}");
        assert!(sandbox.read(TWO).contains(two), "{screen}");
        let still = [ONE, TWO].map(|name| sandbox.path(&format!("{name}.new")).exists());
        assert_eq!(still, waits, "{screen}");
        assert!(screen.contains("\u{1b}[31;1m[-cat-]"), "{screen}");
    }
}
