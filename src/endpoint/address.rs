//! The address of an API, checked.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use super::Api;

/// The address of an API, its version included, such as `http://127.0.0.1:8080/v1`. It holds no
/// secret: addresses are printed and recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseUrl {
    text: String,
    loopback: bool,
}

impl BaseUrl {
    /// Reads an address. OpenAI's clients are given it with the version and Anthropic's without;
    /// both forms are taken for both.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn parse(text: &str, api: Api) -> Result<Self, String> {
        let refuse = |problem: &str| Err(format!("the address '{text}' {problem}"));
        let Ok(url) = Url::parse(text) else {
            return refuse("is no URL; write it as http://127.0.0.1:8080");
        };
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("is neither http:// nor https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            // The text is not repeated: it holds a secret.
            return Err(
                "the address holds a name or a password; put the key into an environment \
                 variable and name that in api_key_env"
                    .to_owned(),
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(
                "the address has a query or a fragment; leave out everything from '?' \
                        or '#' on"
                    .to_owned(),
            );
        }
        let mut text = url.as_str().trim_end_matches('/').to_owned();
        let versioned = match api {
            Api::OpenAi => url.path() != "/",
            Api::Anthropic => text.ends_with("/v1"),
        };
        if !versioned {
            text.push_str("/v1");
        }
        Ok(Self {
            loopback: is_loopback(&url),
            text,
        })
    }

    /// The address of a path below the version.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// Whether it is an address of this machine alone.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Whether what is sent there can be read on the way.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        self.text.starts_with("http:") && !self.loopback
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Api::OpenAi, "http://127.0.0.1:8080", "http://127.0.0.1:8080/v1", true)]
    #[case(Api::OpenAi, "http://[::1]:8080/v1/", "http://[::1]:8080/v1", true)]
    #[case(
        Api::OpenAi,
        "https://example.org/api/v4",
        "https://example.org/api/v4",
        false
    )]
    #[case(
        Api::Anthropic,
        "http://localhost:8080",
        "http://localhost:8080/v1",
        true
    )]
    #[case(
        Api::Anthropic,
        "https://example.org/api/v1",
        "https://example.org/api/v1",
        false
    )]
    #[case(
        Api::Anthropic,
        "http://localhost.example.org/a",
        "http://localhost.example.org/a/v1",
        false
    )]
    fn addresses_end_with_the_version(
        #[case] api: Api,
        #[case] written: &str,
        #[case] expected: &str,
        #[case] loopback: bool,
    ) {
        let base = BaseUrl::parse(written, api).expect("an address");
        assert_eq!(base.to_string(), expected);
        assert_eq!(base.is_loopback(), loopback);
    }

    #[rstest]
    #[case("localhost:8080", "is neither http:// nor https://")]
    #[case("127.0.0.1:8080", "is no URL")]
    #[case("ftp://a", "is neither")]
    #[case("http://me:secret@a", "the address holds a name or a password")]
    #[case("http://a/?key=secret", "the address has a query")]
    fn others_are_refused_without_telling_secrets(#[case] text: &str, #[case] message: &str) {
        let error = BaseUrl::parse(text, Api::OpenAi).expect_err("refused");
        assert!(error.contains(message), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
