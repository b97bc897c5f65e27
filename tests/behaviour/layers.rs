//! The layering, and the size and shape of files, as tests.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom: a module and the modules it may name. A row names only rows above it,
/// so there are no cycles. `cli` may name everything.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("generation", &[]),
    ("loops", &[]),
    ("yaml", &[]),
    ("simd", &[]),
    ("statistics", &[]),
    ("threshold", &["yaml", "statistics"]),
    ("metrics", &["generation"]),
    ("sampling", &["generation", "simd"]),
    ("text", &["generation"]),
    ("protocol", &["generation", "yaml"]),
    ("endpoint", &["yaml", "protocol"]),
    ("faults", &["yaml"]),
    ("backend", &["simd"]),
    ("scripted", &["yaml"]),
    // Text and rules only: what collects generations or reads files for it is above.
    ("evaluation", &["loops", "statistics"]),
    ("snapshot", &["generation"]),
    ("model", &["backend", "scripted", "yaml"]),
    (
        "assertion",
        &["generation", "loops", "statistics", "metrics", "snapshot"],
    ),
    (
        "engine",
        &["generation", "simd", "sampling", "text", "backend", "model"],
    ),
    (
        "scenario",
        &["generation", "yaml", "threshold", "endpoint", "assertion"],
    ),
    ("import", &["yaml", "assertion", "scenario"]),
    ("target", &["generation", "protocol", "endpoint", "engine"]),
    ("measure", &["generation", "engine"]),
    (
        "plan",
        &[
            "generation",
            "yaml",
            "threshold",
            "endpoint",
            "assertion",
            "scenario",
        ],
    ),
    (
        "server",
        &[
            "generation",
            "loops",
            "metrics",
            "protocol",
            "text",
            "engine",
            "target",
        ],
    ),
    ("record", &["generation", "loops", "assertion"]),
    (
        "gate",
        &["loops", "threshold", "metrics", "assertion", "record"],
    ),
    (
        "sweep",
        &[
            "generation",
            "loops",
            "yaml",
            "statistics",
            "sampling",
            "scenario",
            "assertion",
            "plan",
            "record",
        ],
    ),
    (
        "report",
        &[
            "generation",
            "loops",
            "metrics",
            "assertion",
            "statistics",
            "record",
            "gate",
            "sweep",
        ],
    ),
    (
        "export",
        &[
            "generation",
            "loops",
            "metrics",
            "assertion",
            "record",
            "gate",
        ],
    ),
    (
        "compare",
        &[
            "generation",
            "metrics",
            "snapshot",
            "assertion",
            "statistics",
            "record",
        ],
    ),
    (
        "runner",
        &[
            "generation",
            "loops",
            "endpoint",
            "assertion",
            "snapshot",
            "scenario",
            "plan",
            "record",
            "target",
        ],
    ),
];

/// Modules that compute from what they are given: no files, no clock, no environment.
const PURE: &[&str] = &[
    "generation",
    "loops",
    "statistics",
    "threshold",
    "gate",
    "evaluation",
    "metrics",
    "sampling",
    "text",
    "protocol",
    "assertion",
    "report",
    "export",
    "compare",
];

/// Lines of a file before its tests.
const MOST_LINES: usize = 420;

fn sources() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    found.sort();
    assert!(found.len() > 50, "only {} sources", found.len());
    found
}

/// The module a file belongs to: its first folder below `src`, or its name.
fn module(path: &Path) -> String {
    let relative = path
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .expect("below src");
    let first = relative.components().next().expect("a file");
    let first = first.as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The part of a file that ships: without comments, and up to its inline tests.
fn shipped(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"))
}

fn is_test_file(path: &Path) -> bool {
    // Declared under `#[cfg(test)]` in their module.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    matches!(&*name, "tests.rs" | "oracle.rs" | "words.rs" | "fixture.rs")
}

#[test]
fn a_row_names_only_rows_above_it() {
    for (index, (module, allowed)) in MAY_IMPORT.iter().enumerate() {
        for name in *allowed {
            let above = MAY_IMPORT[..index].iter().any(|(above, _)| above == name);
            assert!(above, "{module} names {name}, which is not above it");
        }
    }
}

#[test]
fn modules_import_only_from_floors_below() {
    let mut problems = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        if matches!(module.as_str(), "lib" | "main" | "cli") {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            problems.push(format!("{module} is not in the table"));
            continue;
        };
        for line in text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for import in line.split("crate::").skip(1) {
                let name: String = import
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                if name != module && !allowed.contains(&name.as_str()) {
                    problems.push(format!(
                        "{}: {module} must not import {name}",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn pure_modules_read_no_files_no_clock_and_no_environment() {
    for (path, text) in sources() {
        if !PURE.contains(&module(&path).as_str()) || is_test_file(&path) {
            continue;
        }
        for line in shipped(&text).filter(|line| !line.trim_start().starts_with("//")) {
            for word in [
                "std::fs",
                "Instant::now",
                "SystemTime",
                "std::env",
                "std::net",
            ] {
                assert!(!line.contains(word), "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{}: no //!", path.display());
        if is_test_file(&path) {
            continue;
        }
        let lines = shipped(&text).count();
        assert!(
            lines <= MOST_LINES,
            "{}: {lines} lines before its tests",
            path.display()
        );
    }
}
