//! What stands in the headers of both APIs: warnings, and whether an answer is one from before.

use axum::http::{HeaderMap, HeaderValue, header};

use super::admission::{Admitted, App};
use crate::protocol::UnknownField;

/// Most warnings of one answer.
const MOST_WARNINGS: usize = 16;

/// Whether the client wants the answer generated, though it may be known (RFC 9111, 5.2.1).
pub(super) fn wants_fresh(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).into_iter();
    let mut words = values.filter_map(|value| value.to_str().ok());
    words.any(|words| words.contains("no-cache") || words.contains("no-store"))
}

/// What the client should know about its request, and whether its answer is one from before.
pub(super) fn headers(
    app: &App,
    model: Option<&str>,
    unknown: &[UnknownField],
    admitted: &Admitted,
) -> HeaderMap {
    let mut headers = warnings(app, model, unknown, admitted.notes.clone());
    if admitted.known {
        headers.insert("x-loopwatch-cache", HeaderValue::from_static("hit"));
    }
    headers
}

/// What the client should know about its request, as `Warning` headers.
pub(super) fn warnings(
    app: &App,
    model: Option<&str>,
    unknown: &[UnknownField],
    notes: Vec<String>,
) -> HeaderMap {
    let served = &app.served.name;
    let other = model
        .filter(|model| *model != served)
        .map(|model| format!("model '{model}' is not served here; {served} answers"));
    let texts = unknown
        .iter()
        .map(ToString::to_string)
        .chain(other)
        .chain(notes);
    let mut headers = HeaderMap::new();
    for text in texts.take(MOST_WARNINGS) {
        // 299: miscellaneous, persistent (RFC 7234, 5.5). The text is a quoted string.
        let text: String = text
            .chars()
            .filter(|c| c.is_ascii_graphic() || *c == ' ')
            .filter(|c| !matches!(c, '"' | '\\'))
            .take(400)
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 loopwatch \"{text}\"")) {
            headers.append("warning", value);
        }
    }
    headers
}
