//! `completions` and `man`: made from the arguments themselves, so that they cannot be out of date.

use rstest::rstest;

use crate::support::Sandbox;

#[rstest]
#[case("bash", "complete -F _loopwatch")]
#[case("zsh", "#compdef loopwatch")]
#[case("fish", "complete -c loopwatch")]
#[case("powershell", "Register-ArgumentCompleter")]
fn completions_know_commands_and_flags(#[case] shell: &str, #[case] start: &str) {
    let sandbox = Sandbox::new();
    sandbox
        .run(&["completions", shell])
        .expect_code(0)
        .expect_stdout(start)
        .expect_stdout("max-slowdown");
}

#[test]
fn bash_takes_its_completions() {
    let sandbox = Sandbox::new();
    let script = sandbox.run(&["completions", "bash"]).expect_code(0).stdout;
    sandbox.write("c.bash", &script);
    let checked = std::process::Command::new("bash")
        .arg("-n")
        .arg(sandbox.path("c.bash"))
        .status();
    assert!(checked.expect("bash").success());
}

#[test]
fn there_is_a_page_for_every_command() {
    let sandbox = Sandbox::new();
    sandbox
        .run(&["man"])
        .expect_code(0)
        .expect_stdout(".TH loopwatch 1")
        .expect_stdout("Exit codes:");
    sandbox.run(&["man", "--dir", "man1"]).expect_code(0);
    assert!(sandbox.read("man1/loopwatch-run.1").contains("fail\\-fast"));
    assert!(sandbox.path("man1/loopwatch-compare.1").is_file());
}
