//! A folder of its own and a command line for each behaviour test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// What a command printed and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Fails with everything that was printed unless the code is the expected one.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Fails unless stdout contains `text`.
    #[track_caller]
    pub(crate) fn expect_stdout(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "no {text:?} in:\n{}",
            self.stdout
        );
        self
    }

    /// Fails unless stderr contains `text`.
    #[track_caller]
    pub(crate) fn expect_stderr(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "no {text:?} in:\n{}",
            self.stderr
        );
        self
    }
}

/// An empty folder in which commands run.
pub(crate) struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        let folder = path.parent().expect("a folder");
        std::fs::create_dir_all(folder).expect("the folder");
        std::fs::write(path, text).expect("written");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect(name)
    }

    /// The program with a clean environment, in this folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loopwatch"));
        command.args(arguments).current_dir(self.folder.path());
        for name in [
            "CI",
            "TF_BUILD",
            "CI_PROJECT_DIR",
            "GITHUB_ACTIONS",
            "GITHUB_OUTPUT",
            "GITHUB_STEP_SUMMARY",
            "GITHUB_WORKSPACE",
            "CI_NODE_INDEX",
            "CI_NODE_TOTAL",
            "JOB_COMPLETION_INDEX",
            "SLURM_ARRAY_TASK_ID",
            "MLX_REPETITION_PENALTY",
            "MLX_REPETITION_CONTEXT_SIZE",
            "CLICOLOR_FORCE",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Writes the checkpoint of `tests/scripted/coder.yaml`, whose template shows the form of its
    /// calls, and returns its folder.
    pub(crate) fn coder(&self) -> String {
        let script = repository("tests/scripted/coder.yaml");
        self.run(&["checkpoint", &script, "coder"]).expect_code(0);
        let template = self.read("coder/chat_template.jinja");
        self.write(
            "coder/chat_template.jinja",
            &(template + "{#- Calls: <function=NAME> -#}"),
        );
        let path = self.path("coder");
        path.to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("runs"))
    }

    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        Ran::from(command.output().expect("runs"))
    }
}

/// A file of the repository.
pub(crate) fn repository(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// A script of a model that counts to five for ever without a penalty, and stops with one.
const STUCK: &str = "version: 1\ndescription: Repeats five tokens\nstates:\n  stuck:\n    \
    loop: [\"one \", \"two \", \"three \", \"four \", \"five \"]\n    \
    escape: {to: eos, breaks_above: 1.031}\n";

impl Sandbox {
    /// A scenario `s.yaml` with four cases on a scripted model: one loops, one is cured and its
    /// control proves it, one has a control that proves nothing, one passes.
    pub(crate) fn gate_scenario(&self, why: &str) {
        self.write("checkpoints/stuck.yaml", STUCK);
        self.write(
            "s.yaml",
            &format!(
                "version: 1\ndescription: A gate\nwhy: {why}\nmodel: script:checkpoints/stuck.yaml\n\
                 sampling: {{max_tokens: 400}}\ntests:\n\
                 - id: loops\n  user: go\n  sampling: {{repetition_penalty: 1.0, seed: 5}}\n  \
                   assert:\n  - contains: one\n  - not-loop\n  - {{type: contains, value: nowhere}}\n\
                 - id: cured\n  user: go\n  \
                   control: {{sampling: {{repetition_penalty: 1.0}}, must_fail: [not-loop]}}\n  \
                   assert: [contains: one, not-loop]\n\
                 - id: toothless\n  user: go\n  \
                   control: {{sampling: {{repetition_penalty: 1.2}}, must_fail: [not-loop]}}\n  \
                   assert: [not-loop]\n\
                 - id: fine\n  user: go\n  assert: [not-loop]\n"
            ),
        );
    }

    /// A scenario `name` of `count` quick cases that pass.
    pub(crate) fn many_cases(&self, name: &str, count: usize) {
        self.write("checkpoints/stuck.yaml", STUCK);
        let mut yaml = "version: 1\ndescription: Many\nwhy: w\n\
                        model: script:checkpoints/stuck.yaml\nsampling: {max_tokens: 40}\ntests:\n"
            .to_owned();
        for number in 0..count {
            // Every third one loops, and is no less recorded for that.
            let penalty = if number % 3 == 2 { 1.0 } else { 1.05 };
            yaml += &format!(
                "- {{id: t{number}, user: go {number}, sampling: {{repetition_penalty: {penalty}, \
                 max_tokens: 400}}, assert: [not-loop]}}\n"
            );
        }
        self.write(name, &yaml);
    }

    /// A scenario `down.yaml` whose server answers every request with 500.
    pub(crate) fn scenario_of_a_broken_server(&self) {
        self.write(
            "faults.yaml",
            "version: 1\nanswer: {pieces: [a]}\nfaults: {status: {code: 500}}\n",
        );
        self.write(
            "down.yaml",
            &format!(
                "version: 1\ndescription: d\nwhy: w\n\
                 target: {{spawn: '{} faults faults.yaml --port {{port}}'}}\n\
                 tests: [{{id: a, user: hi, assert: [contains: b]}}]\n",
                env!("CARGO_BIN_EXE_loopwatch")
            ),
        );
    }

    /// The folders of runs below `reports`, oldest first.
    pub(crate) fn runs(&self, reports: &str) -> Vec<PathBuf> {
        let found = std::fs::read_dir(self.path(reports)).expect("reports");
        let mut runs: Vec<PathBuf> = found.map(|run| run.expect("a run").path()).collect();
        runs.sort();
        runs
    }
}

/// The cases of a run as recorded, in the order of the plan, without what the clock decides.
pub(crate) fn timeless_cases(run: &Path) -> Vec<serde_json::Value> {
    fn forget(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                for name in ["token_at_us", "e2e_us", "cached_tokens"] {
                    fields.remove(name);
                }
                fields.values_mut().for_each(forget);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(forget),
            _ => {}
        }
    }
    let text = std::fs::read_to_string(run.join("record.jsonl")).expect("a record");
    let lines = text.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        forget(&mut line);
        line
    });
    let mut cases: Vec<_> = lines.filter(|line| line["line"] == "case").collect();
    cases.sort_by_key(|case| case["index"].as_u64());
    cases
}
