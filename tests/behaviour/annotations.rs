//! GitHub's annotations: at the assertion's line and column, escaped, and no more than are shown.

use crate::support::Sandbox;

/// The workflow commands among the lines of stdout: their properties and their message.
fn commands(stdout: &str) -> Vec<(Vec<(String, String)>, String)> {
    let unescape = |text: &str| {
        text.replace("%0A", "\n")
            .replace("%0D", "\r")
            .replace("%3A", ":")
            .replace("%2C", ",")
            .replace("%25", "%")
    };
    let lines = stdout
        .lines()
        .filter_map(|line| line.strip_prefix("::error "));
    lines
        .map(|line| {
            let (properties, message) = line.split_once("::").expect("a message");
            let properties = properties.split(',').map(|property| {
                let (name, value) = property.split_once('=').expect("a value");
                (name.to_owned(), unescape(value))
            });
            (properties.collect(), unescape(message))
        })
        .collect()
}

fn property<'a>(properties: &'a [(String, String)], name: &str) -> &'a str {
    let found = properties.iter().find(|(other, _)| other == name);
    found.map_or("", |(_, value)| value)
}

#[test]
fn they_point_at_the_line_and_column_of_the_assertion() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    let github = [("GITHUB_ACTIONS", "true")];
    let ran = sandbox
        .run_with(&github, &["run", "s.yaml"])
        .expect_code(100);
    let commands = commands(&ran.stdout);
    assert_eq!(commands.len(), 3, "{}", ran.stdout);
    let yaml = sandbox.read("s.yaml");
    let lines: Vec<&str> = yaml.lines().collect();
    let (first, message) = &commands[0];
    assert_eq!(property(first, "file"), "s.yaml");
    let line: usize = property(first, "line").parse().expect("a line");
    let column: usize = property(first, "col").parse().expect("a column");
    assert_eq!(&lines[line - 1][column - 1..], "not-loop");
    assert_eq!(property(first, "title"), "s/loops: not-loop");
    assert!(
        message.contains("period 5 tokens, 80.0 copies"),
        "{message}"
    );
    assert!(message.contains("\nfragment: "), "{message}");
    // The first problem of every case comes before the second of any.
    assert_eq!(
        property(&commands[1].0, "title"),
        "s/toothless: control must fail not-loop"
    );
    let (second, _) = &commands[2];
    let line: usize = property(second, "line").parse().expect("a line");
    assert!(lines[line - 1].contains("nowhere"));
}

#[test]
fn outside_of_github_there_are_none_unless_they_are_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    let plain = sandbox.run(&["run", "s.yaml"]).expect_code(100);
    assert!(!plain.stdout.contains("::error"));
    let asked = ["run", "s.yaml", "--annotations", "github"];
    sandbox
        .run(&asked)
        .expect_code(100)
        .expect_stdout("::error file=s.yaml,line=");
    let never = ["run", "s.yaml", "--annotations", "none"];
    let ran = sandbox
        .run_with(&[("GITHUB_ACTIONS", "true")], &never)
        .expect_code(100);
    assert!(!ran.stdout.contains("::error"));
}

#[test]
fn paths_are_those_of_the_checkout() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    let root = sandbox.path("").parent().expect("a parent").to_owned();
    let folder = sandbox
        .path("")
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let variables = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_WORKSPACE", root.to_str().expect("UTF-8")),
    ];
    let expected = match folder {
        Some(folder) => format!("::error file={folder}/s.yaml,line="),
        None => panic!("a name"),
    };
    sandbox
        .run_with(&variables, &["run", "s.yaml"])
        .expect_code(100)
        .expect_stdout(&expected);
}

#[test]
fn what_would_end_a_command_is_escaped() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox.write(
        "a,b:c%.yaml",
        &sandbox
            .read("s.yaml")
            .replace("value: nowhere", "value: \"50%, no::where\\n\""),
    );
    let ran = sandbox
        .run(&["run", "a,b:c%.yaml", "--annotations", "github"])
        .expect_code(100)
        .expect_stdout("::error file=a%2Cb%3Ac%25.yaml,line=");
    let commands = commands(&ran.stdout);
    let (properties, _) = commands
        .iter()
        .find(|(properties, _)| property(properties, "title").contains("50%"))
        .expect("the assertion");
    assert_eq!(
        property(properties, "title"),
        "a,b:c%/loops: contains \"50%, no::where\\n\""
    );
    assert_eq!(property(properties, "file"), "a,b:c%.yaml");
}

#[test]
fn no_more_are_printed_than_are_shown_and_the_rest_is_counted() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 60);
    let ran = sandbox
        .run(&["run", "s.yaml", "--annotations", "github"])
        .expect_code(100);
    let lines: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|l| l.starts_with("::error"))
        .collect();
    assert_eq!(lines.len(), 10);
    assert_eq!(
        lines[9],
        "::error title=loopwatch::11 more problems are in the summary and the report"
    );
}
