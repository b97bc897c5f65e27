//! Texts as parts of ids: what tests and cases may be called.

/// A text in lower-case letters, digits and single hyphens between them; empty if it has neither.
#[must_use]
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_legal() {
        assert_eq!(slug("Says Hello, World! (é)"), "says-hello-world");
        assert_eq!(slug("--- é"), "");
    }
}
