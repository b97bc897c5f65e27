//! The fuzz targets are built apart from the package, with the same libraries.

use std::collections::BTreeMap;

use crate::support::repository;

/// Dependencies of a manifest, each with its line.
fn dependencies(manifest: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(repository(manifest)).expect("a manifest");
    let (_, rest) = text.split_once("\n[dependencies]\n").expect("dependencies");
    let lines = rest.lines().take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect()
}

#[test]
fn they_use_the_libraries_of_the_package() {
    let ours = dependencies("Cargo.toml");
    let mut theirs = dependencies("fuzz/Cargo.toml");
    assert!(theirs.remove("libfuzzer-sys").is_some());
    assert!(theirs.len() > 5, "{theirs:?}");
    for (name, version) in &theirs {
        assert_eq!(ours.get(name), Some(version), "{name}");
    }
}

#[test]
fn each_target_has_seeds() {
    let targets = std::fs::read_dir(repository("fuzz/fuzz_targets")).expect("targets");
    let mut seen = 0;
    for target in targets {
        let path = target.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        let seeds = std::fs::read_dir(repository(&format!("fuzz/seeds/{name}")));
        assert!(seeds.expect("a folder").count() > 2, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 3);
}
