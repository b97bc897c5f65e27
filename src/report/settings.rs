//! The sampling parameters of a run beside those of its control.
//!
//! It knows which values switch a parameter off, and leaves those out of the table. What the
//! parameters do is not its business.

use serde::Serialize;

use crate::generation::{SamplingParams, Semantics};

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct SettingRow {
    pub(super) name: &'static str,
    pub(super) run: String,
    pub(super) control: Option<String>,
    /// Whether the control has another value.
    pub(super) differs: bool,
}

/// The parameters that are shown always, and those that one of the two switches on.
pub(super) fn rows(run: &SamplingParams, control: Option<&SamplingParams>) -> Vec<SettingRow> {
    let controls = control.map(values);
    values(run)
        .into_iter()
        .enumerate()
        .filter_map(|(index, value)| {
            let control = controls.as_ref().and_then(|values| values.get(index));
            let differs = control.is_some_and(|control| control.text != value.text);
            (value.always || value.on || differs).then(|| SettingRow {
                name: value.name,
                run: value.text,
                control: control.map(|control| control.text.clone()),
                differs,
            })
        })
        .collect()
}

struct Value {
    name: &'static str,
    text: String,
    /// Whether it has an effect.
    on: bool,
    /// Whether it is shown even without effect.
    always: bool,
}

fn values(params: &SamplingParams) -> Vec<Value> {
    // Taken apart without `..`, so that a new parameter cannot be forgotten here.
    let SamplingParams {
        semantics,
        temperature,
        top_p,
        top_k,
        min_p,
        xtc_probability,
        xtc_threshold,
        seed,
        max_tokens,
        repetition_penalty,
        repetition_context_size,
        presence_penalty,
        presence_context_size,
        frequency_penalty,
        frequency_context_size,
        logit_bias,
        stop,
        ignore_eos,
        repetition_detection,
    } = params;
    let value = |name, text: String, on, always| Value {
        name,
        text,
        on,
        always,
    };
    let window = |size: &usize| match size {
        0 => "0 (no limit)".to_owned(),
        tokens => tokens.to_string(),
    };
    let sampled = *temperature != 0.0;
    let ours = *semantics == Semantics::default();
    let xtc = sampled && *xtc_probability > 0.0;
    let seed_text = seed.map_or_else(|| "0 (not set)".to_owned(), |seed| seed.to_string());
    let biases: Vec<String> = logit_bias
        .iter()
        .map(|(id, bias)| format!("{id}: {bias}"))
        .collect();
    vec![
        value("semantics", semantics.to_string(), !ours, false),
        value(
            "repetition_penalty",
            off(repetition_penalty, [0.0, 1.0].contains(repetition_penalty)),
            true,
            true,
        ),
        value(
            "repetition_context_size",
            window(repetition_context_size),
            true,
            true,
        ),
        value(
            "presence_penalty",
            presence_penalty.to_string(),
            *presence_penalty != 0.0,
            false,
        ),
        value(
            "presence_context_size",
            window(presence_context_size),
            *presence_penalty != 0.0,
            false,
        ),
        value(
            "frequency_penalty",
            frequency_penalty.to_string(),
            *frequency_penalty != 0.0,
            false,
        ),
        value(
            "frequency_context_size",
            window(frequency_context_size),
            *frequency_penalty != 0.0,
            false,
        ),
        value("temperature", greedy(*temperature), true, true),
        value("top_p", top_p.to_string(), sampled && *top_p < 1.0, false),
        value("top_k", top_k.to_string(), sampled && *top_k > 0, false),
        value("min_p", min_p.to_string(), sampled && *min_p > 0.0, false),
        value("xtc_probability", xtc_probability.to_string(), xtc, false),
        value("xtc_threshold", xtc_threshold.to_string(), xtc, false),
        value(
            "seed",
            seed_text,
            sampled || (!ours && seed.is_some()),
            false,
        ),
        value("max_tokens", max_tokens.to_string(), true, true),
        value(
            "logit_bias",
            biases.join(", "),
            !logit_bias.is_empty(),
            false,
        ),
        value("stop", format!("{stop:?}"), !stop.is_empty(), false),
        value("ignore_eos", ignore_eos.to_string(), *ignore_eos, false),
        value(
            "repetition_detection",
            repetition_detection.map_or_else(String::new, |rule| {
                let shortest = rule.min_pattern_size.max(1);
                let (longest, count) = (rule.max_pattern_size, rule.min_count);
                format!("{shortest} to {longest} tokens, {count} times")
            }),
            repetition_detection.is_some(),
            false,
        ),
    ]
}

fn off(number: &f64, is_off: bool) -> String {
    if is_off {
        format!("{number} (off)")
    } else {
        number.to_string()
    }
}

fn greedy(temperature: f64) -> String {
    if temperature == 0.0 {
        "0 (greedy)".to_owned()
    } else {
        temperature.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::SamplingSettings;

    fn lines(run: &SamplingSettings, control: Option<&SamplingSettings>) -> Vec<String> {
        let run = run.resolve().expect("valid");
        let control = control.map(|control| control.resolve().expect("valid"));
        rows(&run, control.as_ref())
            .into_iter()
            .map(|row| {
                let control = row
                    .control
                    .map_or_else(String::new, |text| format!(" | {text}"));
                let differs = if row.differs { " !" } else { "" };
                format!("{} = {}{control}{differs}", row.name, row.run)
            })
            .collect()
    }

    #[test]
    fn what_is_off_is_left_out_and_what_differs_is_marked() {
        let run = SamplingSettings {
            min_p: Some(0.1),
            ..Default::default()
        };
        let control = SamplingSettings {
            repetition_penalty: Some(1.0),
            presence_penalty: Some(0.5),
            ..run.clone()
        };
        insta::assert_snapshot!(lines(&run, Some(&control)).join("\n"), @r"
        repetition_penalty = 1.05 | 1 (off) !
        repetition_context_size = 20 | 20
        presence_penalty = 0 | 0.5 !
        temperature = 0 (greedy) | 0 (greedy)
        max_tokens = 512 | 512
        ");
    }

    #[test]
    fn sampling_shows_its_seed_and_lists_are_readable() {
        let run = SamplingSettings {
            temperature: Some(0.7),
            top_p: Some(0.9),
            stop: Some(vec!["\n\n".to_owned()]),
            logit_bias: Some([(3, -1.5)].into()),
            ..Default::default()
        };
        let shown = lines(&run, None);
        for line in [
            "temperature = 0.7",
            "top_p = 0.9",
            "seed = 0 (not set)",
            r#"stop = ["\n\n"]"#,
            "logit_bias = 3: -1.5",
        ] {
            assert!(
                shown.iter().any(|shown| shown == line),
                "{line} in {shown:?}"
            );
        }
    }
}
