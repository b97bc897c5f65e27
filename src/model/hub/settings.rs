//! Where the cache is and how the hub is reached, as the variables of Hugging Face's own tools
//! say it.

use std::path::PathBuf;
use std::time::Duration;

/// The hub, unless `HF_ENDPOINT` names another.
const ENDPOINT: &str = "https://huggingface.co";
/// Seconds without an answer or a byte after which a server is given up.
const PATIENCE_S: u64 = 30;

/// How models of the hub are found.
#[derive(Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// The folder of the cache.
    pub cache: PathBuf,
    /// The address of the hub, without a slash at its end.
    pub endpoint: String,
    /// The user's token, for private and gated models.
    pub token: Option<String>,
    /// Use the cache and nothing else.
    pub offline: bool,
    /// How long a server may say nothing.
    pub patience: Duration,
}

impl std::fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is a secret.
        f.debug_struct("HubSettings")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl HubSettings {
    /// Reads the variables of huggingface_hub (1.x, `constants.py`): `HF_HUB_CACHE`, or else
    /// `HF_HOME`, or else `XDG_CACHE_HOME`; `HF_ENDPOINT`; `HF_TOKEN`, or else the file
    /// `HF_TOKEN_PATH`, or else the one in `HF_HOME`; `HF_HUB_OFFLINE`; and
    /// `HF_HUB_DOWNLOAD_TIMEOUT` in seconds.
    ///
    /// # Errors
    /// If one has no meaning, or there is no home for the cache; the error names the variable.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let home = match (set("HF_HOME"), set("XDG_CACHE_HOME")) {
            (Some(home), _) => PathBuf::from(home),
            (None, Some(cache)) => PathBuf::from(cache).join("huggingface"),
            (None, None) => std::env::home_dir()
                .ok_or("there is no home folder for the cache; set HF_HOME")?
                .join(".cache/huggingface"),
        };
        let token_file = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(format!(
                "HF_ENDPOINT is '{endpoint}', but must begin with https:// or http://"
            ));
        }
        let cache = set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
        Ok(Self {
            // The links in the cache are computed from absolute paths.
            cache: std::path::absolute(&cache)
                .map_err(|error| format!("{}: {error}", cache.display()))?,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: set("HF_TOKEN")
                .or_else(|| std::fs::read_to_string(token_file).ok())
                .map(|token| token.trim().to_owned())
                .filter(|token| !token.is_empty()),
            offline: switch("HF_HUB_OFFLINE", set("HF_HUB_OFFLINE").as_deref())?,
            patience: patience(set("HF_HUB_DOWNLOAD_TIMEOUT").as_deref())?,
        })
    }
}

fn switch(name: &str, value: Option<&str>) -> Result<bool, String> {
    match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("0" | "off" | "no" | "false") => Ok(false),
        Some("1" | "on" | "yes" | "true") => Ok(true),
        Some(other) => Err(format!("{name} is '{other}', but must be 1 or 0")),
    }
}

fn patience(value: Option<&str>) -> Result<Duration, String> {
    let Some(value) = value else {
        return Ok(Duration::from_secs(PATIENCE_S));
    };
    match value.trim().parse() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!(
            "HF_HUB_DOWNLOAD_TIMEOUT is '{value}', but must be seconds from 1 to 3600"
        )),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<HubSettings, String> {
        HubSettings::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_more_special_variable_wins() {
        let settings = read(&[
            ("HF_HOME", "/h"),
            ("XDG_CACHE_HOME", "/x"),
            ("HF_ENDPOINT", "http://mirror/"),
            ("HF_TOKEN", " secret\n"),
        ])
        .expect("valid");
        assert_eq!(settings.cache, PathBuf::from("/h/hub"));
        assert_eq!(settings.endpoint, "http://mirror");
        assert_eq!(settings.token.as_deref(), Some("secret"));
        assert!(!settings.offline);
        assert!(!format!("{settings:?}").contains("secret"));
        let cache = |variables: &[_]| read(variables).expect("valid").cache;
        assert_eq!(
            cache(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]),
            PathBuf::from("/c")
        );
        assert_eq!(
            cache(&[("XDG_CACHE_HOME", "/x")]),
            PathBuf::from("/x/huggingface/hub")
        );
    }

    #[rstest]
    #[case("HF_ENDPOINT", "mirror", "must begin with https://")]
    #[case("HF_HUB_OFFLINE", "maybe", "must be 1 or 0")]
    #[case("HF_HUB_DOWNLOAD_TIMEOUT", "0", "seconds from 1 to 3600")]
    fn mistakes_name_their_variable(
        #[case] name: &str,
        #[case] value: &str,
        #[case] message: &str,
    ) {
        let error = read(&[("HF_HOME", "/h"), (name, value)]).expect_err("refused");
        assert!(
            error.starts_with(name) && error.contains(message),
            "{error}"
        );
    }
}
