//! Limits as written, laid over each other and checked.

use super::Limits;
use super::wire::LimitsWire;
use crate::yaml::duration;

impl LimitsWire {
    /// Lays `over` on top of `self`: each field that `over` has wins.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        Self {
            max_turns: over.max_turns.or(self.max_turns),
            time_limit: over.time_limit.clone().or_else(|| self.time_limit.clone()),
            token_limit: over.token_limit.or(self.token_limit),
            stall_limit: over
                .stall_limit
                .clone()
                .or_else(|| self.stall_limit.clone()),
        }
    }

    /// Fills in the defaults and checks.
    ///
    /// # Errors
    /// What is wrong, by name.
    pub fn resolve(&self) -> Result<Limits, String> {
        let defaults = Limits::default();
        let max_turns = self.max_turns.unwrap_or(defaults.max_turns);
        if max_turns == 0 {
            return Err("limits: max_turns is 0, but must be at least 1".to_owned());
        }
        if self.token_limit == Some(0) {
            return Err("limits: token_limit is 0, but must be at least 1".to_owned());
        }
        let time = |name: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => duration(text).map(Some).ok_or_else(|| {
                format!("limits: {name} '{text}' is no duration; write it as 500ms, 30s or 2m")
            }),
        };
        Ok(Limits {
            max_turns,
            time_limit: time("time_limit", &self.time_limit)?.unwrap_or(defaults.time_limit),
            token_limit: self.token_limit,
            stall_limit: time("stall_limit", &self.stall_limit)?,
        })
    }
}
