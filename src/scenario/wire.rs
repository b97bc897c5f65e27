//! The scenario file as written. Every unknown key is an error.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::assertion_wire::AssertionWire;
use crate::endpoint::TargetWire;
use crate::generation::{Role, SamplingSettings, TemplateVariables};

/// A scenario file, version 1.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "loopwatch scenario")]
pub(super) struct ScenarioWire {
    /// Version of this format: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub(super) version: Spanned<u32>,
    /// What the scenario is about, one line.
    #[schemars(with = "String")]
    pub(super) description: Option<Spanned<String>>,
    /// Why it exists; printed beside its results.
    #[schemars(with = "String")]
    pub(super) why: Option<Spanned<String>>,
    /// A file of shared parts, relative to this one: any of the keys here but `description`, `why`
    /// and `tests`. What stands here is laid over it.
    #[schemars(with = "Option<String>")]
    pub(super) extends: Option<Spanned<String>>,
    /// Labels to select by, with `--filter tag:NAME`.
    #[serde(default)]
    pub(super) tags: Vec<String>,
    /// `builtin:readme` (default), `hf:org/name@revision`, a folder with a checkpoint, or
    /// `script:FILE`, a checkpoint script; folder and file are relative to this file.
    pub(super) model: Option<String>,
    /// Who answers: `engine` (default: this process), `openai:URL`, `anthropic:URL`,
    /// `spawn:COMMAND`, or a table with options.
    #[schemars(with = "Option<TargetWire>")]
    pub(super) target: Option<Spanned<TargetWire>>,
    /// Sampling parameters of every test.
    #[schemars(with = "Option<SamplingSettings>")]
    pub(super) sampling: Option<Spanned<SamplingSettings>>,
    /// Limits of every test.
    #[schemars(with = "Option<LimitsWire>")]
    pub(super) limits: Option<Spanned<LimitsWire>>,
    /// Variables of the chat template for every test, such as `enable_thinking: false`.
    #[serde(default)]
    pub(super) template: TemplateVariables,
    /// The folder of files that mock tools return, relative to this file; default `fixtures`.
    pub(super) fixtures: Option<String>,
    /// Tools that the model may call, by name, and what they answer.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, ToolWire>")]
    pub(super) tools: IndexMap<String, Spanned<ToolWire>>,
    /// The same run with the cure removed, for every test that has no control of its own.
    #[schemars(with = "Option<ControlWire>")]
    pub(super) control: Option<Spanned<ControlWire>>,
    /// Values that texts and assertions of every test name as `{{name}}`.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub(super) vars: Values,
    /// Lists of such values; a test that names one becomes a case for each of its values.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, Vec<serde_json::Value>>")]
    pub(super) matrix: Lists,
    /// Parts of answers that the snapshots of every test do not hold, before its own.
    #[serde(default)]
    #[schemars(with = "Vec<RedactWire>", length(max = 32))]
    pub(super) redact: Vec<Spanned<RedactWire>>,
    /// What every test has, before its own.
    #[serde(default, rename = "defaultTest")]
    pub(super) default_test: DefaultTestWire,
    /// What groups of runs must hold together, such as `loops: rate < 0.01`, or
    /// `ttft{slow}: [p95 < 2s, max < 9s]` of the tests with the tag `slow`.
    #[serde(default)]
    #[schemars(schema_with = "super::thresholds::schema")]
    pub(super) thresholds: IndexMap<String, Spanned<serde_json::Value>>,
    /// The tests, at least one.
    #[schemars(with = "Vec<TestWire>", length(min = 1))]
    pub(super) tests: Option<Spanned<Vec<Spanned<TestWire>>>>,
}

/// Values by name.
pub(super) type Values = IndexMap<String, Spanned<serde_json::Value>>;
/// Lists of values by name.
pub(super) type Lists = IndexMap<String, Spanned<Vec<serde_json::Value>>>;

/// What every test has, before its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultTestWire {
    /// As a test's.
    #[schemars(with = "Option<usize>", range(min = 1, max = 1000))]
    pub(super) repeat: Option<Spanned<usize>>,
    /// As a test's.
    #[schemars(with = "Option<String>")]
    pub(super) reduce: Option<Spanned<String>>,
    /// As a test's, before its own.
    #[serde(default)]
    #[schemars(with = "Vec<RedactWire>", length(max = 32))]
    pub(super) redact: Vec<Spanned<RedactWire>>,
    /// Assertions of every test, before its own.
    #[serde(default, rename = "assert")]
    #[schemars(with = "Vec<AssertionWire>")]
    pub(super) assertions: Vec<Spanned<AssertionWire>>,
}

/// One test. Exactly one of `user`, `turns`, `messages` and `prompt` is needed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestWire {
    /// Unique in the file: lower-case letters, digits and hyphens.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9-]+$"))]
    pub(super) id: Spanned<String>,
    /// Labels beside those of the file.
    #[serde(default)]
    pub(super) tags: Vec<String>,
    /// What the user says, once.
    pub(super) user: Option<String>,
    /// What the user says, turn by turn.
    pub(super) turns: Option<Vec<TurnWire>>,
    /// A whole history that ends with the user.
    pub(super) messages: Option<Vec<MessageWire>>,
    /// Text to continue as it stands, without the chat template.
    pub(super) prompt: Option<String>,
    /// A system message before the user's turns.
    pub(super) system: Option<String>,
    /// Laid over the file's sampling parameters.
    #[schemars(with = "Option<SamplingSettings>")]
    pub(super) sampling: Option<Spanned<SamplingSettings>>,
    /// Laid over the file's limits.
    #[schemars(with = "Option<LimitsWire>")]
    pub(super) limits: Option<Spanned<LimitsWire>>,
    /// Laid over the file's template variables.
    #[serde(default)]
    pub(super) template: TemplateVariables,
    /// Replaces the file's control.
    #[schemars(with = "Option<ControlWire>")]
    pub(super) control: Option<Spanned<ControlWire>>,
    /// Laid over the file's values.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub(super) vars: Values,
    /// Laid over the file's lists.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, Vec<serde_json::Value>>")]
    pub(super) matrix: Lists,
    /// How often it is run, each time with the next seed; default 1.
    #[schemars(with = "Option<usize>", range(min = 1, max = 1000))]
    pub(super) repeat: Option<Spanned<usize>>,
    /// When repeated runs pass together: `all` (default), `at_least 4/5`, `pass_k 3 >= 0.5`, or
    /// `lower95 >= 0.8`.
    #[schemars(with = "Option<String>")]
    pub(super) reduce: Option<Spanned<String>>,
    /// Parts of its answers that its snapshot does not hold, beside those of the file. The snapshot
    /// holds no token ids then, and has `match: text` or `normalised`.
    #[serde(default)]
    #[schemars(with = "Vec<RedactWire>", length(max = 32))]
    pub(super) redact: Vec<Spanned<RedactWire>>,
    /// Excuses its failures until a day.
    #[schemars(with = "Option<QuarantineWire>")]
    pub(super) quarantine: Option<Spanned<QuarantineWire>>,
    /// What must hold: at least one assertion, here or in `defaultTest`.
    #[serde(rename = "assert")]
    #[schemars(with = "Option<Vec<AssertionWire>>", length(min = 1))]
    pub(super) assertions: Option<Spanned<Vec<Spanned<AssertionWire>>>>,
}

/// A part of answers that a snapshot does not hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RedactWire {
    /// A regular expression that matches no empty text.
    pub(super) pattern: String,
    /// What stands there instead, as it is.
    #[serde(rename = "as")]
    pub(super) replacement: String,
}

/// A failure that is known and excused until a day.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QuarantineWire {
    /// The last day, in UTC, such as `2026-12-31`.
    pub(super) until: String,
    /// Where the cause is known, such as the number of an issue.
    pub(super) why: String,
}

/// One turn of the user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TurnWire {
    /// What the user says.
    pub(super) user: String,
    /// What must hold for the answers to this turn: assertions of any type but `snapshot`.
    #[schemars(with = "Option<Vec<AssertionWire>>", length(min = 1))]
    pub(super) expect: Option<Spanned<Vec<Spanned<AssertionWire>>>>,
}

/// One message of a history.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageWire {
    /// Who speaks.
    pub(super) role: Role,
    /// The text.
    pub(super) content: String,
}

/// Bounds on one case.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsWire {
    /// Most generations in one conversation, at least 1; default 8.
    pub max_turns: Option<usize>,
    /// Longest time for one conversation, such as `30s`; default `120s`.
    pub time_limit: Option<String>,
    /// Most tokens that all generations of one conversation make; no limit without.
    pub token_limit: Option<usize>,
    /// Longest pause of a generation once its first token has come, such as `5s`; no limit without.
    pub stall_limit: Option<String>,
}

/// The same run with the cure removed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ControlWire {
    /// Laid over the sampling parameters of the run.
    #[schemars(with = "SamplingSettings")]
    pub(super) sampling: Spanned<SamplingSettings>,
    /// The types of the assertions that must fail.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub(super) must_fail: Vec<Spanned<String>>,
}

/// A mock tool.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolWire {
    /// One sentence for the model.
    pub(super) description: String,
    /// JSON Schema of the arguments: an object.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub(super) input_schema: Spanned<serde_json::Value>,
    /// What it answers: the first rule that matches. A call that no rule matches gets an error.
    #[schemars(with = "Vec<MockWire>")]
    pub(super) mock: Vec<Spanned<MockWire>>,
}

/// One rule of a mock: `when` with `return`, or a last `otherwise`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MockWire {
    /// Arguments that the call must have, at least.
    pub(super) when: Option<serde_json::Map<String, serde_json::Value>>,
    /// The answer to such a call.
    #[serde(rename = "return")]
    pub(super) answer: Option<AnswerWire>,
    /// The answer to every other call.
    pub(super) otherwise: Option<AnswerWire>,
}

/// What a mock gives back: exactly one of `text`, `file` and `error`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerWire {
    /// This text.
    pub(super) text: Option<String>,
    /// The contents of this file of the fixtures folder.
    pub(super) file: Option<String>,
    /// An error with this message.
    pub(super) error: Option<String>,
    /// How long the tool takes, such as `200ms`.
    pub(super) delay: Option<String>,
}
