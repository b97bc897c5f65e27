//! The table of a sweep's page: what became of every prompt with every setting.

use serde_json::Value;

use crate::support::{Sandbox, repository};

/// The rows of the table of prompts and settings: the prompt, and the words of each cell.
fn matrix(page: &str) -> Vec<Vec<String>> {
    let table = page
        .split("<table class=\"matrix\"")
        .nth(1)
        .expect("a table");
    let body = table.split("<tbody>").nth(1).expect("a body");
    let rows = body
        .split("</table>")
        .next()
        .expect("its end")
        .split("</tr>");
    let row = |row: &str| {
        let inside = |text: &str, begin: &str| {
            let text = text.split(begin).nth(1).expect("a cell");
            let text = text.split('<').next().expect("its end");
            text.replace("&#x2f;", "/")
        };
        let mut cells = row.split("<td");
        let head = inside(cells.next().expect("a head"), "<th scope=\"row\">");
        let cells = cells.map(|cell| inside(cell, "<span class=\"aside\">"));
        std::iter::once(head).chain(cells).collect()
    };
    let rows = rows.filter(|row| row.contains("<th"));
    rows.map(row).collect()
}

#[test]
fn the_matrix_says_what_became_of_every_prompt_with_every_setting() {
    let sandbox = Sandbox::new();
    sandbox.scenario_of_a_broken_server();
    let script = std::fs::read_to_string(repository("scenarios/sweeps/period-thirty.yaml"));
    sandbox.write("period.yaml", &script.expect("a script"));
    sandbox.write(
        "count.yaml",
        "version: 1\ndescription: Counts\nwhy: A sweep needs prompts\nmodel: script:period.yaml\n\
         sampling: {max_tokens: 400}\ntests:\n\
         - {id: one, user: Count., assert: [not-loop]}\n\
         - {id: lost, user: Count., assert: [not-loop, {type: contains, value: nowhere}]}\n",
    );
    let axes = ["--axis", "penalty=1.0,1.2", "--axis", "window=20,64"];
    sandbox
        .run(&[&["sweep", "count.yaml", "down.yaml"][..], &axes].concat())
        .expect_code(101);
    let folder = sandbox.runs("reports").remove(0);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    let found: Value = serde_json::from_str(&read("sweep.json")).expect("JSON");
    let cured = "passed, different from off";
    let lost = "failed, different from off";
    let rows = [
        ["count/one", "looped", "looped", cured],
        ["count/lost", "looped", "looped", lost],
        ["down/a", "errored", "errored", "errored"],
    ];
    assert_eq!(matrix(&read("sweep.html")), rows);
    assert_eq!(found["settings"][2]["cells"][1]["failed"], 1);
    assert_eq!(found["settings"][0]["cells"][2]["errored"], 1);
}
