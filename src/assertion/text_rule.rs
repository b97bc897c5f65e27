//! Rules about the text of an answer alone, most of them under promptfoo's names and with its
//! meaning.
//!
//! Knows a text and what it is compared with. Rules about tokens, times, tools and loops are the
//! neighbour `judge`.

mod json;
mod markup;
mod similarity;

use serde_json::Value;

use self::json::Schema;
use self::similarity::{bleu, gleu};
use super::finding::{Finding, found};
use super::message::{beginning, quoted};
use super::spec::{AssertionSpec, SpecError};

/// Characters of a text that a label or a message shows.
const SHOWN_CHARS: usize = 60;
/// What promptfoo asks of `bleu` and `gleu` if nobody says.
const SIMILARITY: f64 = 0.5;
/// What promptfoo allows `levenshtein` if nobody says.
const DISTANCE: f64 = 5.0;

/// A rule about a text.
#[derive(Debug, Clone)]
pub enum TextRule {
    /// It contains several texts.
    Among {
        /// At least one.
        texts: Vec<String>,
        /// All of them, and not any.
        all: bool,
        /// Whatever the case of their letters.
        ignore_case: bool,
    },
    /// It begins with this text.
    StartsWith(String),
    /// It is JSON of this value.
    EqualsJson(Value),
    /// It is JSON.
    IsJson(Option<Schema>),
    /// A JSON object stands in it.
    ContainsJson(Option<Schema>),
    /// It is an XML document with these elements, each a path of names from the root.
    IsXml(Vec<String>),
    /// An XML element stands in it, with these elements.
    ContainsXml(Vec<String>),
    /// It has at least two signs of HTML.
    ContainsHtml,
    /// So many characters at most are inserted, deleted or replaced to make it this text.
    Levenshtein(String, f64),
    /// It has so many words.
    Words(usize, usize),
    /// It is similar to one of several texts.
    Similar {
        /// How that is measured.
        measure: Measure,
        /// At least one.
        references: Vec<String>,
        /// From 0 to 1.
        least: f64,
    },
}

/// How similar texts are, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Papineni et al., "BLEU" (2002), of one sentence, an order without a match counting 1e-7.
    Bleu,
    /// Wu et al., "Google's neural machine translation system" (2016), section 6.
    Gleu,
}

impl TextRule {
    /// The types here, in the order of the documentation.
    pub(super) const KINDS: [&'static str; 14] = [
        "contains-any",
        "contains-all",
        "icontains-any",
        "icontains-all",
        "starts-with",
        "is-json",
        "contains-json",
        "is-xml",
        "contains-xml",
        "contains-html",
        "levenshtein",
        "word-count",
        "bleu",
        "gleu",
    ];

    /// The types that take a `threshold`.
    pub(super) const WITH_THRESHOLD: [&'static str; 3] = ["levenshtein", "bleu", "gleu"];

    /// Lowers an assertion of the type `base`; nothing if it is not one of these.
    pub(super) fn lower(spec: &AssertionSpec, base: &str) -> Result<Option<Self>, SpecError> {
        let among = |all: bool, ignore_case: bool| {
            let texts = spec.texts()?;
            Ok(Self::Among {
                texts,
                all,
                ignore_case,
            })
        };
        let similar = |measure: Measure| {
            Ok(Self::Similar {
                measure,
                references: spec.texts()?,
                least: spec.threshold_or(SIMILARITY, 1.0)?,
            })
        };
        let rule = match base {
            "contains-any" => among(false, false),
            "contains-all" => among(true, false),
            "icontains-any" => among(false, true),
            "icontains-all" => among(true, true),
            "starts-with" => spec.text().map(Self::StartsWith),
            "is-json" => Schema::of(spec).map(Self::IsJson),
            "contains-json" => Schema::of(spec).map(Self::ContainsJson),
            "is-xml" => elements(spec).map(Self::IsXml),
            "contains-xml" => elements(spec).map(Self::ContainsXml),
            "contains-html" => Ok(Self::ContainsHtml),
            "levenshtein" => Ok(Self::Levenshtein(
                spec.text()?,
                spec.threshold_or(DISTANCE, 1e9)?,
            )),
            "word-count" => words(spec),
            "bleu" => similar(Measure::Bleu),
            "gleu" => similar(Measure::Gleu),
            _ => return Ok(None),
        };
        rule.map(Some)
    }

    /// What stands behind the type in a label; empty if there is nothing.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Among { texts, .. } => list(texts),
            Self::StartsWith(text) => quoted(text, SHOWN_CHARS),
            Self::EqualsJson(value) => quoted(&value.to_string(), SHOWN_CHARS),
            Self::IsJson(schema) | Self::ContainsJson(schema) => match schema {
                Some(_) => "of a schema".to_owned(),
                None => String::new(),
            },
            Self::IsXml(elements) | Self::ContainsXml(elements) => elements.join(", "),
            Self::ContainsHtml => String::new(),
            Self::Levenshtein(text, most) => format!("{} <= {most}", quoted(text, SHOWN_CHARS)),
            Self::Words(least, most) => range(*least, *most),
            Self::Similar {
                references, least, ..
            } => format!("{} >= {least}", list(references)),
        }
    }

    /// Judges an answer.
    pub(super) fn judge(&self, answer: &str) -> Finding {
        match self {
            Self::Among {
                texts,
                all,
                ignore_case,
            } => among(answer, texts, *all, *ignore_case),
            Self::StartsWith(text) => {
                let holds = answer.starts_with(text.as_str());
                found(holds, beginning(answer))
            }
            Self::EqualsJson(value) => json::equals(answer, value),
            Self::IsJson(schema) => json::is(answer, schema.as_ref()),
            Self::ContainsJson(schema) => json::contains(answer, schema.as_ref()),
            Self::IsXml(elements) => markup::is_xml(answer, elements),
            Self::ContainsXml(elements) => markup::contains_xml(answer, elements),
            Self::ContainsHtml => markup::contains_html(answer),
            Self::Levenshtein(text, most) => {
                let distance = strsim::levenshtein(answer, text);
                let fact = format!("the distance is {distance}; {}", beginning(answer));
                found(distance as f64 <= *most, fact)
            }
            Self::Words(least, most) => {
                let count = answer.split_whitespace().count();
                found(
                    (*least..=*most).contains(&count),
                    format!("the answer has {count} words"),
                )
            }
            Self::Similar {
                measure,
                references,
                least,
            } => {
                let score = match measure {
                    Measure::Bleu => bleu(answer, references),
                    Measure::Gleu => gleu(answer, references),
                };
                Finding {
                    score,
                    ..found(
                        score >= *least,
                        format!("the score is {score:.4}; {}", beginning(answer)),
                    )
                }
            }
        }
    }
}

fn among(answer: &str, texts: &[String], all: bool, ignore_case: bool) -> Finding {
    let lower = answer.to_lowercase();
    let stands = |text: &&String| match ignore_case {
        true => lower.contains(&text.to_lowercase()),
        false => answer.contains(text.as_str()),
    };
    let (there, missing): (Vec<&String>, Vec<&String>) = texts.iter().partition(stands);
    let holds = if all {
        missing.is_empty()
    } else {
        !there.is_empty()
    };
    let shown = |texts: &[&String]| match texts {
        [] => "nothing".to_owned(),
        texts => texts
            .iter()
            .map(|text| quoted(text, SHOWN_CHARS))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let fact = format!(
        "found {}; missing {}; {}",
        shown(&there),
        shown(&missing),
        beginning(answer)
    );
    found(holds, fact)
}

fn list(texts: &[String]) -> String {
    let shown: Vec<String> = texts.iter().map(|text| quoted(text, SHOWN_CHARS)).collect();
    shown.join(", ")
}

fn range(least: usize, most: usize) -> String {
    match (least, most) {
        (least, most) if least == most => least.to_string(),
        (least, usize::MAX) => format!(">= {least}"),
        (0, most) => format!("<= {most}"),
        (least, most) => format!("{least} to {most}"),
    }
}

/// `50`, `{min: 20}`, `{max: 50}` or both.
fn words(spec: &AssertionSpec) -> Result<TextRule, SpecError> {
    let wrong = || spec.problem("needs a 'value' that is a whole number or {min: 20, max: 50}");
    let count = |value: &Value| {
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(wrong)
    };
    match &spec.value {
        Some(Value::Object(bounds)) => {
            if let Some(key) = bounds
                .keys()
                .find(|key| !["min", "max"].contains(&key.as_str()))
            {
                return Err(spec.problem(format!("'value' has 'min' and 'max', and no '{key}'")));
            }
            let least = bounds.get("min").map(count).transpose()?;
            let most = bounds.get("max").map(count).transpose()?;
            if least.is_none() && most.is_none() {
                return Err(wrong());
            }
            let (least, most) = (least.unwrap_or(0), most.unwrap_or(usize::MAX));
            if least > most {
                return Err(spec.problem(format!("min is {least}, and max {most}")));
            }
            Ok(TextRule::Words(least, most))
        }
        Some(value) => count(value).map(|count| TextRule::Words(count, count)),
        None => Err(wrong()),
    }
}

/// The elements that a document must have: none, one, or several.
fn elements(spec: &AssertionSpec) -> Result<Vec<String>, SpecError> {
    match spec.value {
        None => Ok(Vec::new()),
        Some(_) => spec.texts(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn holds(kind: &str, spec: Value, answer: &str) -> bool {
        let mut spec = spec;
        spec["type"] = json!(kind);
        spec["line"] = json!(1);
        let spec: AssertionSpec = serde_json::from_value(spec).expect("a spec");
        let rule = TextRule::lower(&spec, kind)
            .expect("valid")
            .expect("one of these");
        rule.judge(answer).holds
    }

    #[rstest]
    #[case("contains-any", json!({"value": ["x", "b"]}), "abc", "ayc")]
    #[case("contains-all", json!({"value": ["a", "b"]}), "abc", "ac")]
    #[case("icontains-any", json!({"value": ["X", "B"]}), "abc", "ayc")]
    #[case("icontains-all", json!({"value": ["A", "É"]}), "aé", "ae")]
    #[case("starts-with", json!({"value": "ab"}), "abc", " abc")]
    #[case("is-json", json!({}), " [1, {\"a\": null}]\n", "[1,]")]
    #[case("is-json", json!({"value": {"required": ["a"]}}), "{\"a\": 1}", "{\"b\": 1}")]
    #[case("contains-json", json!({}), "so: {\"a\": {\"b\": 1}} end", "so: {a}")]
    #[case(
        "contains-json",
        json!({"value": {"properties": {"a": {"type": "string"}}, "required": ["a"]}}),
        "{\"a\": 1} {\"a\": \"x\"}",
        "{\"a\": 1} {\"b\": \"x\"}"
    )]
    #[case("is-xml", json!({"value": ["r.a", "r.b.c"]}), "<r><a/><b><c>1</c></b></r>", "<r><a/><b/></r>")]
    #[case("is-xml", json!({}), "<r/>", "<r>")]
    #[case("contains-xml", json!({"value": "a"}), "so <b>1</b> <a>2</a>", "so <b>1</b>")]
    #[case("contains-html", json!({}), "a <p>b</p>", "1 < 2 and 3 > 2")]
    #[case("levenshtein", json!({"value": "kitten", "threshold": 3}), "sitting", "sitttting")]
    #[case("levenshtein", json!({"value": "kitten"}), "kit", "a dog and a cat")]
    #[case("word-count", json!({"value": 3}), " a b\nc ", "a b")]
    #[case("word-count", json!({"value": {"min": 2, "max": 3}}), "a b", "a b c d")]
    fn each_rule_holds_for_one_text_and_not_for_another(
        #[case] kind: &str,
        #[case] spec: Value,
        #[case] right: &str,
        #[case] wrong: &str,
    ) {
        assert!(holds(kind, spec.clone(), right), "{right:?}");
        assert!(!holds(kind, spec, wrong), "{wrong:?}");
    }

    #[rstest]
    #[case("contains-any", json!({"value": []}), "needs a 'value' that is a list")]
    #[case("contains-any", json!({"value": 3}), "needs a 'value' that is a list")]
    #[case("word-count", json!({"value": {"most": 3}}), "and no 'most'")]
    #[case("word-count", json!({"value": {"min": 3, "max": 2}}), "min is 3, and max 2")]
    #[case("word-count", json!({"value": "3"}), "needs a 'value' that is a whole number")]
    #[case("bleu", json!({"value": "x", "threshold": 2}), "threshold is 2, but must be 0 to 1")]
    #[case("is-json", json!({"value": {"type": "objct"}}), "is no JSON Schema")]
    #[case("is-json", json!({"value": "x"}), "needs a 'value' that is a JSON Schema")]
    fn mistakes_are_named(#[case] kind: &str, #[case] spec: Value, #[case] message: &str) {
        let mut spec = spec;
        spec["type"] = json!(kind);
        spec["line"] = json!(1);
        let spec: AssertionSpec = serde_json::from_value(spec).expect("a spec");
        let error = TextRule::lower(&spec, kind)
            .expect_err("refused")
            .to_string();
        assert!(error.contains(message), "{error}");
    }
}
