//! A request that is not answered: the status, whom to blame, and each API's way of saying so.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::engine::EngineError;
use crate::generation::SamplingError;
use crate::protocol::WireError;
use crate::protocol::openai::{ApiError, ErrorBody};
use crate::target::TargetError;
use crate::text::GrammarError;

/// Whose error body a path speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    OpenAi,
    Anthropic,
}

impl Api {
    /// The API of a path.
    pub(super) fn of(path: &str) -> Self {
        match path.starts_with("/v1/messages") {
            true => Self::Anthropic,
            false => Self::OpenAi,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// The field to blame.
    param: Option<String>,
    code: Option<&'static str>,
    retry_after_seconds: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            param: None,
            code: None,
            retry_after_seconds: None,
        }
    }

    /// The request is wrong at a field.
    pub(super) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(field.into()),
            ..Self::new(StatusCode::BAD_REQUEST, message)
        }
    }

    pub(super) fn with_code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    pub(super) fn not_found(message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn wrong_method(message: String) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    /// Too much at once.
    pub(super) fn busy(message: String) -> Self {
        Self {
            code: Some("queue_full"),
            retry_after_seconds: Some(1),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, message)
        }
    }

    /// The server is on its way out.
    pub(super) fn stopping() -> Self {
        Self {
            code: Some("shutting_down"),
            retry_after_seconds: Some(5),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the server is shutting down",
            )
        }
    }

    fn openai_type(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            400..500 => "invalid_request_error",
            _ => "server_error",
        }
    }

    fn anthropic_type(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            400..500 => "invalid_request_error",
            503 => "overloaded_error",
            _ => "api_error",
        }
    }

    /// The body of the answer.
    pub(super) fn body(&self, api: Api) -> Value {
        match api {
            Api::OpenAi => json!(ErrorBody {
                error: ApiError {
                    message: &self.message,
                    r#type: self.openai_type(),
                    param: self.param.as_deref(),
                    code: self.code,
                },
            }),
            Api::Anthropic => json!({
                "type": "error",
                "error": {"type": self.anthropic_type(), "message": self.message},
            }),
        }
    }

    /// The whole answer.
    pub(super) fn response(&self, api: Api) -> Response {
        let mut response = (self.status, Json(self.body(api))).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

/// The middleware knows the path and with it the API, and writes the body.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status;
        (status, Extension(self)).into_response()
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        match error.place.is_empty() {
            true => Self::new(StatusCode::BAD_REQUEST, format!("body{error}")),
            false => Self::field(error.place.clone(), error.to_string()),
        }
    }
}

impl From<SamplingError> for Refusal {
    fn from(error: SamplingError) -> Self {
        Self::field(error.field, error.to_string())
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let status = match &error {
            // A template that refuses a conversation, and a text without tokens, are the
            // request's; a template that is broken cannot be told apart from the first.
            EngineError::Request(_) | EngineError::Text { .. } => StatusCode::BAD_REQUEST,
            EngineError::Form(GrammarError::Tokenizer(_) | GrammarError::Form(_)) => {
                StatusCode::BAD_REQUEST
            }
            EngineError::Model(_) | EngineError::Form(GrammarError::Broken(_)) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            EngineError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Engine(error) => error.into(),
            TargetError::Http(error) => Self::new(StatusCode::BAD_GATEWAY, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_api_has_its_own_shape() {
        let refusal = Refusal::field("temperature", "temperature is 11");
        let openai = refusal.body(Api::OpenAi);
        assert_eq!(openai["error"]["param"], "temperature");
        assert_eq!(openai["error"]["type"], "invalid_request_error");
        let anthropic = refusal.body(Api::Anthropic);
        assert_eq!(anthropic["type"], "error");
        assert_eq!(anthropic["error"]["type"], "invalid_request_error");
    }
}
