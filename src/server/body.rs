//! Reads a request's body: bounded in bytes, in time, and in depth.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::Value;

use super::admission::App;
use super::refusal::Refusal;

/// The body as JSON.
///
/// `serde_json` refuses documents that are nested deeper than 128, and numbers that are none.
pub(super) async fn json(app: &App, request: Request<Body>) -> Result<Value, Refusal> {
    let most = app.options.limits.body_bytes;
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json {
        // A form on a web page can post anything but this without asking first.
        let problem = "the content-type must be application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem));
    }
    let too_large = || {
        let problem = format!("the body has more than {most} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, problem)
    };
    let length = request.headers().get(header::CONTENT_LENGTH);
    let announced = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > most as u64) {
        return Err(too_large());
    }
    let reading = to_bytes(request.into_body(), most);
    let bytes = match tokio::time::timeout(app.options.time_outs.body, reading).await {
        Ok(Ok(bytes)) => bytes,
        // The limit, or a connection that broke: then nobody reads the answer.
        Ok(Err(_)) => return Err(too_large()),
        Err(_) => {
            let problem = "the body did not arrive in time";
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, problem));
        }
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        let problem = format!("the body is not JSON: {error}");
        Refusal::new(StatusCode::BAD_REQUEST, problem)
    })
}
