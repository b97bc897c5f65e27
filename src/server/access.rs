//! What every request passes: the key, and on the way back the error body of its API.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};

use super::admission::App;
use super::refusal::{Api, Refusal};

/// Lets a request through if it shows the key, and gives a refusal its body.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let api = Api::of(request.uri().path());
    let path = known_path(request.uri().path());
    // A load balancer that asks for health has no key.
    let open = path == "/health";
    let mut response = if open || is_allowed(app.options.access.key.as_deref(), request.headers()) {
        next.run(request).await
    } else {
        let problem = "the key is missing or wrong; send it as 'Authorization: Bearer KEY'";
        Refusal::new(StatusCode::UNAUTHORIZED, problem).response(api)
    };
    if let Some(refusal) = response.extensions().get::<Refusal>().cloned() {
        tracing::info!(path, status = refusal.status.as_u16(), reason = %refusal.message, "refused");
        response = refusal.response(api);
    }
    app.metrics.answered(path, response.status().as_u16());
    response
}

/// The paths that metrics tell apart; a client that tries many must not fill the memory.
fn known_path(path: &str) -> &'static str {
    const KNOWN: [&str; 7] = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/messages/count_tokens",
        "/v1/messages",
        "/v1/models",
        "/health",
        "/metrics",
    ];
    let known = KNOWN.into_iter().find(|known| path.starts_with(known));
    known.unwrap_or("other")
}

/// Whether a request shows the key, in OpenAI's header or in Anthropic's. Digests are compared,
/// so the time tells nothing about the key.
fn is_allowed(key: Option<&str>, headers: &HeaderMap) -> bool {
    let Some(key) = key else {
        return true;
    };
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let shown = bearer.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes()));
    shown.is_some_and(|shown| Sha256::digest(shown) == Sha256::digest(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_key_opens_in_either_header_and_nothing_else_does() {
        let with = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(
                header::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )])
        };
        for (headers, allowed) in [
            (with("authorization", "Bearer secret"), true),
            (with("x-api-key", "secret"), true),
            (with("authorization", "Bearer secre"), false),
            (with("authorization", "secret"), false),
            (with("x-api-key", ""), false),
            (HeaderMap::new(), false),
        ] {
            assert_eq!(is_allowed(Some("secret"), &headers), allowed, "{headers:?}");
        }
        assert!(is_allowed(None, &HeaderMap::new()));
    }
}
