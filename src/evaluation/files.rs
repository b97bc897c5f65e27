//! What kind of text a file is, and which files are of use as healthy documents.

use super::document::{Class, Document, Stratum};

/// Shorter files have no room for a loop.
const SHORTEST: usize = 400;
/// Longer files are cut: one large table would drown everything else.
const LONGEST: usize = 30_000;

/// Files of one source that are used, so that one large package does not decide the figures.
pub const PER_SOURCE: usize = 40;

/// A file as a healthy document; `None` for a kind of file that is not text, or is too short.
///
/// `source` names the repository or package, so that its files share a half.
#[must_use]
pub fn document(source: &str, path: &str, text: &str) -> Option<Document> {
    let class = class_of(path)?;
    if text.len() < SHORTEST {
        return None;
    }
    let end = (0..=text.len().min(LONGEST))
        .rev()
        .find(|end| text.is_char_boundary(*end))?;
    Some(Document::new(
        format!("{source}/{path}"),
        source.to_owned(),
        Stratum::Healthy,
        class,
        text[..end].to_owned(),
    ))
}

/// Parts of the names of folders that keep what a program is tested with.
const INPUTS: [&str; 7] = [
    "test", "bench", "fuzz", "fixture", "corpus", "snapshot", "data",
];

/// Whether a file stands in a folder of inputs. Texts there are made for programs to read, and nest or
/// repeat to their limits: nobody wrote them for people, whatever their extension.
fn is_input(path: &str) -> bool {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    INPUTS.iter().any(|part| folders.contains(part))
}

/// The class of a file by its name.
fn class_of(path: &str) -> Option<Class> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    Some(match extension {
        "rs" | "py" | "js" | "ts" | "c" | "h" | "cc" | "cpp" | "hpp" | "go" | "java" | "sh"
        | "pl" => Class::Code,
        "md" | "txt" | "rst" | "adoc" if is_input(path) => Class::Data,
        "md" | "txt" | "rst" | "adoc" => Class::Prose,
        "json" | "csv" | "tsv" | "toml" | "lock" | "yaml" | "yml" | "xml" | "snap" | "stderr"
        | "jsonl" => Class::Data,
        _ if name.starts_with("LICENSE")
            || name.starts_with("README")
            || name.starts_with("CHANGELOG") =>
        {
            Class::Prose
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_classed_by_name_and_cut_at_a_character() {
        let text = "é".repeat(LONGEST);
        let class = |path: &str| document("crate", path, &text).map(|document| document.class);
        assert_eq!(class("src/lib.rs"), Some(Class::Code));
        assert_eq!(class("README"), Some(Class::Prose));
        assert_eq!(class("tests/data.json"), Some(Class::Data));
        assert_eq!(class("docs/deep.txt"), Some(Class::Prose));
        assert_eq!(
            class("src/snapshot_tests/inputs/deep.txt"),
            Some(Class::Data)
        );
        assert_eq!(class("tests/deep.rs"), Some(Class::Code));
        assert_eq!(class("logo.png"), None);
        assert_eq!(
            document("crate", "lib.rs", &text).map(|d| d.text.len()),
            Some(LONGEST)
        );
        assert!(document("crate", "lib.rs", "fn main() {}").is_none());
    }
}
