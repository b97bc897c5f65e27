//! A target as people write it, and its lowering.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Api, BaseUrl, Endpoint, FieldNames, HttpEndpoint, HttpOptions, SpawnEndpoint};
use crate::yaml::duration;

/// Most tries of one request, the first one apart.
const MOST_RETRIES: u32 = 10;

/// A target: a text such as `openai:http://127.0.0.1:8080`, or a table with options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetWire(TargetTable);

/// A target with options. At most one of `openai`, `anthropic` and `spawn`; without one, the
/// engine in this process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetTable {
    /// The address of a server with OpenAI's API, such as `http://127.0.0.1:8080/v1`.
    pub openai: Option<String>,
    /// The address of a server with Anthropic's API, such as `http://127.0.0.1:8080`.
    pub anthropic: Option<String>,
    /// A command that starts a server; `{port}` in it stands for a free port. It is ended with
    /// the run, and all that it started.
    pub spawn: Option<String>,
    /// Answers with what was said last, without a model.
    pub echo: Option<bool>,
    /// `spawn`: the API that the server speaks, `openai` (default) or `anthropic`.
    pub api: Option<String>,
    /// `spawn`: the path that answers with success when the server is ready; default
    /// `/v1/models`.
    pub ready: Option<String>,
    /// `spawn`: longest time until then, such as `90s`; default `60s`.
    pub ready_timeout: Option<String>,
    /// The model's name there; default: the only one that the server lists.
    pub model: Option<String>,
    /// The environment variable that holds the API key. The key itself is never printed or
    /// recorded.
    pub api_key_env: Option<String>,
    /// Whether answers are streamed; default true.
    pub stream: Option<bool>,
    /// Whether to ask for token ids (`return_tokens`); default: if the server says that it is
    /// loopwatch.
    pub tokens: Option<bool>,
    /// Which sampling fields the server takes: `extended` (default), `standard` or `llama.cpp`.
    pub fields: Option<FieldNames>,
    /// How often a request is sent again when the server cannot be reached or says 429, 502, 503
    /// or 504; default 2, at most 10. Retries are always shown.
    pub retries: Option<u32>,
    /// Longest time to a connection; default `5s`.
    pub connect_timeout: Option<String>,
    /// Longest time from a request to the first byte of its answer; default `60s`.
    pub first_byte_timeout: Option<String>,
    /// Longest silence in an answer; default `30s`.
    pub stall_timeout: Option<String>,
    /// Longest time for one answer; default `600s`.
    pub total_timeout: Option<String>,
}

impl TargetWire {
    /// Reads the short form: `engine`, `openai:URL`, `anthropic:URL`, `spawn:COMMAND` or `echo`.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut table = TargetTable::default();
        match text.split_once(':') {
            _ if text == "engine" => {}
            _ if text == "echo" => table.echo = Some(true),
            Some(("openai", url)) => table.openai = Some(url.to_owned()),
            Some(("anthropic", url)) => table.anthropic = Some(url.to_owned()),
            Some(("spawn", command)) => table.spawn = Some(command.to_owned()),
            _ => {
                return Err(format!(
                    "there is no target '{text}'; write engine, openai:URL, anthropic:URL, \
                     spawn:COMMAND or echo"
                ));
            }
        }
        Ok(Self(table))
    }

    /// Lays `over` on top of `self`: each field that `over` has wins. One that names a server
    /// takes nothing from another one, as options belong to their server.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let (base, over) = (&self.0, &over.0);
        let engine = *over == TargetTable::default();
        if engine || (base.names_a_server() && over.names_a_server()) {
            return Self(over.clone());
        }
        let text = |over: &Option<String>, base: &Option<String>| over.clone().or(base.clone());
        Self(TargetTable {
            openai: text(&over.openai, &base.openai),
            anthropic: text(&over.anthropic, &base.anthropic),
            spawn: text(&over.spawn, &base.spawn),
            echo: over.echo.or(base.echo),
            api: text(&over.api, &base.api),
            ready: text(&over.ready, &base.ready),
            ready_timeout: text(&over.ready_timeout, &base.ready_timeout),
            model: text(&over.model, &base.model),
            api_key_env: text(&over.api_key_env, &base.api_key_env),
            stream: over.stream.or(base.stream),
            tokens: over.tokens.or(base.tokens),
            fields: over.fields.or(base.fields),
            retries: over.retries.or(base.retries),
            connect_timeout: text(&over.connect_timeout, &base.connect_timeout),
            first_byte_timeout: text(&over.first_byte_timeout, &base.first_byte_timeout),
            stall_timeout: text(&over.stall_timeout, &base.stall_timeout),
            total_timeout: text(&over.total_timeout, &base.total_timeout),
        })
    }

    /// Checks and lowers.
    ///
    /// # Errors
    /// What is wrong, by name.
    pub fn resolve(&self) -> Result<Endpoint, String> {
        let table = &self.0;
        let of_spawn = [&table.api, &table.ready, &table.ready_timeout];
        if table.spawn.is_none() && of_spawn.into_iter().any(Option::is_some) {
            return Err("target: 'api', 'ready' and 'ready_timeout' go with 'spawn'".to_owned());
        }
        if table.echo.is_some() {
            let alone = TargetTable {
                echo: Some(true),
                ..TargetTable::default()
            };
            return match *table == alone {
                true => Ok(Endpoint::Echo),
                false => Err("target: 'echo' is true, and takes no other option".to_owned()),
            };
        }
        let http = |api, url: &str| {
            Ok(Endpoint::Http(HttpEndpoint {
                api,
                base: BaseUrl::parse(url, api).map_err(|problem| format!("target: {problem}"))?,
                options: table.options()?,
            }))
        };
        match (&table.openai, &table.anthropic, &table.spawn) {
            (None, None, None) if *table == TargetTable::default() => Ok(Endpoint::Engine),
            (None, None, None) => {
                Err("target: options need a server: 'openai', 'anthropic' or 'spawn'".to_owned())
            }
            (Some(url), None, None) => http(Api::OpenAi, url),
            (None, Some(url), None) => http(Api::Anthropic, url),
            (None, None, Some(command)) => table.spawned(command),
            _ => Err("target: has several of 'openai', 'anthropic' and 'spawn'".to_owned()),
        }
    }
}

impl TargetTable {
    fn names_a_server(&self) -> bool {
        let servers = [&self.openai, &self.anthropic, &self.spawn];
        self.echo.is_some() || servers.into_iter().any(Option::is_some)
    }

    fn spawned(&self, command: &str) -> Result<Endpoint, String> {
        if !command.contains("{port}") {
            return Err(format!(
                "target: the command '{command}' has no {{port}}; write it where the server takes \
                 its port"
            ));
        }
        let api = match self.api.as_deref() {
            None | Some("openai") => Api::OpenAi,
            Some("anthropic") => Api::Anthropic,
            Some(other) => {
                return Err(format!(
                    "target: api is '{other}', but must be openai or anthropic"
                ));
            }
        };
        let ready = self.ready.as_deref().unwrap_or("/v1/models");
        if !ready.starts_with('/') {
            return Err(format!(
                "target: ready is '{ready}', but must be a path such as /health"
            ));
        }
        Ok(Endpoint::Spawn(SpawnEndpoint {
            command: command.to_owned(),
            api,
            ready: ready.to_owned(),
            ready_timeout: time(
                "ready_timeout",
                self.ready_timeout.as_ref(),
                Duration::from_secs(60),
            )?,
            options: self.options()?,
        }))
    }

    fn options(&self) -> Result<HttpOptions, String> {
        let defaults = HttpOptions::default();
        let retries = self.retries.unwrap_or(defaults.retries);
        if retries > MOST_RETRIES {
            return Err(format!(
                "target: retries is {retries}, but must be at most {MOST_RETRIES}"
            ));
        }
        let key = self.api_key_env.as_deref();
        let is_name = |name: &str| {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
            !name.is_empty() && name.chars().all(legal)
        };
        if !key.is_none_or(is_name) {
            // It may be a key that was put there by mistake, so it is not repeated.
            return Err("target: api_key_env is no name of an environment variable".to_owned());
        }
        Ok(HttpOptions {
            model: self.model.clone(),
            api_key_env: self.api_key_env.clone(),
            stream: self.stream.unwrap_or(defaults.stream),
            tokens: self.tokens,
            fields: self.fields.unwrap_or_default(),
            retries,
            connect_timeout: time(
                "connect_timeout",
                self.connect_timeout.as_ref(),
                defaults.connect_timeout,
            )?,
            first_byte_timeout: time(
                "first_byte_timeout",
                self.first_byte_timeout.as_ref(),
                defaults.first_byte_timeout,
            )?,
            stall_timeout: time(
                "stall_timeout",
                self.stall_timeout.as_ref(),
                defaults.stall_timeout,
            )?,
            total_timeout: time(
                "total_timeout",
                self.total_timeout.as_ref(),
                defaults.total_timeout,
            )?,
        })
    }
}

fn time(name: &str, written: Option<&String>, default: Duration) -> Result<Duration, String> {
    let Some(text) = written else {
        return Ok(default);
    };
    duration(text).ok_or_else(|| {
        format!("target: {name} '{text}' is no duration; write it as 500ms, 30s or 2m")
    })
}

impl<'de> Deserialize<'de> for TargetWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = TargetWire;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a target such as openai:URL, or a table with options")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TargetWire, E> {
                TargetWire::parse(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TargetWire, A::Error> {
                TargetTable::deserialize(MapAccessDeserializer::new(map)).map(TargetWire)
            }
        }
        deserializer.deserialize_any(Form).map_err(D::Error::custom)
    }
}

impl JsonSchema for TargetWire {
    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<TargetTable>();
        schemars::json_schema!({
            "description": "Who answers: engine (default), openai:URL, anthropic:URL, \
                            spawn:COMMAND, echo, or a table with options.",
            "anyOf": [
                {"type": "string", "pattern": "^(engine$|echo$|openai:|anthropic:|spawn:)"},
                table,
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn endpoint(yaml: &str) -> Result<Endpoint, String> {
        let wire: TargetWire = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        wire.resolve()
    }

    #[rstest]
    #[case("engine", "engine")]
    #[case("echo", "echo")]
    #[case("openai:http://localhost:1", "openai:http://localhost:1/v1")]
    #[case("'anthropic:http://localhost:1'", "anthropic:http://localhost:1/v1")]
    #[case("'spawn:serve --port {port}'", "spawn:serve --port {port}")]
    #[case(
        "{openai: 'http://localhost:1', model: m, stall_timeout: 2s}",
        "openai:http://localhost:1/v1"
    )]
    fn both_forms_are_read(#[case] yaml: &str, #[case] shown: &str) {
        assert_eq!(
            endpoint(yaml).map(|endpoint| endpoint.to_string()),
            Ok(shown.to_owned())
        );
    }

    #[rstest]
    #[case("opnai:http://a", "there is no target 'opnai:http://a'")]
    #[case("{opnai: http://a}", "unknown field `opnai`")]
    #[case("{echo: true, model: m}", "takes no other option")]
    #[case("{model: m}", "options need a server")]
    #[case("{openai: http://a, anthropic: http://a}", "has several of")]
    #[case("{openai: http://a, ready: /x}", "go with 'spawn'")]
    #[case("{openai: http://a, retries: 99}", "retries is 99")]
    #[case("{openai: http://a, stall_timeout: 3}", "no duration")]
    #[case("{openai: http://a, api_key_env: sk-1.2}", "api_key_env is no name")]
    #[case("{spawn: serve}", "has no {port}")]
    #[case("{spawn: 'serve {port}', api: grpc}", "api is 'grpc'")]
    #[case("{spawn: 'serve {port}', ready: health}", "ready is 'health'")]
    fn mistakes_are_named(#[case] yaml: &str, #[case] message: &str) {
        let error = endpoint(yaml).expect_err("refused");
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn options_stay_with_their_server() {
        let file: TargetWire =
            serde_saphyr::from_str("{openai: 'http://a', model: m, retries: 0}").expect("a table");
        let option: TargetWire = serde_saphyr::from_str("{model: other}").expect("a table");
        let model = |wire: TargetWire| {
            let endpoint = wire.resolve().expect("valid");
            endpoint.options().map(|of| (of.model.clone(), of.retries))
        };
        assert_eq!(
            model(file.overlaid(&option)),
            Some((Some("other".to_owned()), 0))
        );
        let server = TargetWire::parse("anthropic:http://b").expect("a target");
        assert_eq!(model(file.overlaid(&server)), Some((None, 2)));
    }
}
