//! Turns a record into one HTML file that a person reads in a minute, with the evidence.
//!
//! The page needs no network and no script: its own policy forbids both, so that hostile model
//! output stays text even if it were not escaped. This module knows records and how to show them:
//! `page` says what the page says, `thresholds` what groups of runs had to hold, `case`, `turns` and
//! `repeats` what one case says, `marking`, `plot` and `ribbon` make its evidence, `filter` narrows it,
//! and the templates lay it out. It does not run or judge anything,
//! does no IO and reads no clock, so the same record always gives the same page.

mod case;
mod filter;
#[cfg(test)]
mod fixture;
mod looped;
mod marking;
mod numbers;
mod page;
mod plot;
mod repeats;
mod ribbon;
mod settings;
pub mod sweep;
mod thresholds;
mod timing;
mod turns;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use crate::record::Record;

pub(crate) use timing::{pooled_decode_tps, slowest_ttft};

/// The templates: `base.html` is the frame that every kind of report extends.
const TEMPLATES: [(&str, &str); 6] = [
    ("base.html", include_str!("templates/base.html")),
    ("report.html", include_str!("templates/report.html")),
    ("case.html", include_str!("templates/case.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("sweep.html", include_str!("templates/sweep.html")),
    ("report.css", include_str!("templates/report.css")),
];

/// The report of one run, as one HTML file.
#[must_use]
pub fn html(record: &Record) -> String {
    render("report.html", &page::Page::of(record))
}

#[expect(
    clippy::expect_used,
    reason = "the templates are part of the program and use every field of views that have no \
              failing conversion, so an error here is a bug that any rendering test finds"
)]
fn render(template: &str, view: &impl Serialize) -> String {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // The builder fails only on clashing delimiters, and these are the default ones.
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    environment.set_syntax(syntax.unwrap_or_default());
    for (name, source) in TEMPLATES {
        environment
            .add_template(name, source)
            .expect("the template parses");
    }
    environment
        .get_template(template)
        .and_then(|template| template.render(Value::from(Serde(view))))
        .expect("the template renders")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_nothing_of_the_network() {
        let page = html(&fixture::record());
        for forbidden in [
            "http:", "https:", "src=", "url(", "@import", "<link", "<script",
        ] {
            assert!(!page.contains(forbidden), "the page contains {forbidden}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn hostile_text_stays_text_wherever_it_stands() {
        let hostile = r#"<script>alert("x")</script><img src=x onerror='y'>"#;
        let page = html(&fixture::hostile(hostile));
        assert!(!page.contains("<script"), "a script got through");
        assert!(!page.contains("<img"), "an element got through");
        assert!(!page.contains("onerror='y'"), "an attribute got through");
        // Header, table, case, checks, conversation, tool calls, control: all show it.
        let shown = page.matches("&lt;script&gt;").count();
        assert!(shown >= 15, "only {shown} of the places show the text");
    }

    #[test]
    fn the_same_record_gives_the_same_page() {
        assert_eq!(html(&fixture::record()), html(&fixture::record()));
    }

    #[test]
    fn twenty_long_cases_stay_below_a_megabyte() {
        let page = html(&fixture::long(20));
        assert!(page.len() < 1_000_000, "{} bytes", page.len());
    }

    #[test]
    fn five_hundred_cases_stay_below_two_megabytes() {
        let page = html(&fixture::long(500));
        assert!(page.len() < 2_000_000, "{} bytes", page.len());
        assert_eq!(page.matches("<tr class=\"is-case").count(), 500);
    }

    #[test]
    fn every_link_leads_somewhere_in_the_page() {
        let page = html(&fixture::record());
        let links: Vec<&str> = page
            .split("href=\"#")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(links.len() >= fixture::record().cases.len());
        for link in links {
            assert!(page.contains(&format!("id=\"{link}\"")), "no #{link}");
        }
    }

    #[test]
    fn empty_interrupted_and_flawless_records_have_their_page() {
        let mut record = fixture::record();
        record
            .cases
            .retain(|case| case.verdict == crate::record::CaseVerdict::Passed);
        let flawless = html(&record);
        assert!(flawless.contains("2 of 2 cases passed"));
        assert!(!flawless.contains("What needs attention"));
        record.summary = None;
        record.truncated = true;
        let interrupted = html(&record);
        assert!(interrupted.contains("2 of 2 cases passed so far"));
        assert!(interrupted.contains("This run was interrupted"));
        assert!(interrupted.contains("the case in flight is lost"));
        record.cases.clear();
        assert!(html(&record).contains("No case was run"));
    }

    /// Writes the page for the eyes: `LOOPWATCH_SAMPLE=/tmp/sample.html cargo test sample`.
    #[test]
    fn sample() {
        let page = html(&fixture::record());
        if let Ok(path) = std::env::var("LOOPWATCH_SAMPLE") {
            std::fs::write(path, page).expect("written");
        }
    }
}
