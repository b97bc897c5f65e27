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
        let time_limit = match &self.time_limit {
            None => defaults.time_limit,
            Some(text) => duration(text).ok_or_else(|| {
                format!("limits: time_limit '{text}' is no duration; write it as 500ms, 30s or 2m")
            })?,
        };
        Ok(Limits {
            max_turns,
            time_limit,
        })
    }
}
