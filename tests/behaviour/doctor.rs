//! `loopwatch doctor` says what is there, and tries it.

use crate::support::Sandbox;

#[test]
fn it_tries_every_backend_that_is_there_and_says_why_one_is_not() {
    let ran = Sandbox::new().run(&["doctor"]).expect_code(0);
    let line = |start: &str| {
        let mut lines = ran.stdout.lines();
        lines.find(|line| line.starts_with(start)).expect(start)
    };
    assert!(line("loopwatch").ends_with(env!("CARGO_PKG_VERSION")));
    assert!(line("platform").contains(std::env::consts::ARCH));
    assert!(line("models").ends_with("builtin:readme"));
    assert!(line("environment").ends_with("none"));
    assert!(line("backend cpu").contains("works"));
    assert!(line("backend cpu").contains("8 tokens"));
    let mlx = line("backend mlx");
    match cfg!(feature = "mlx") {
        true => assert!(mlx.contains("works") && mlx.contains("8 tokens"), "{mlx}"),
        false => assert!(
            mlx.contains("missing: this build has no mlx backend"),
            "{mlx}"
        ),
    }
}

#[test]
fn an_environment_that_would_stop_a_run_fails() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run_with(&[("MLX_REPETITION_PENALTY", "1.2")], &["doctor"]);
    ran.expect_code(0)
        .expect_stdout("MLX_REPETITION_PENALTY=1.2");
    let ran = sandbox.run_with(&[("MLX_REPETITION_PENALTY", "much")], &["doctor"]);
    ran.expect_code(101).expect_stdout("but must be a number");
}
