//! Numbers as people read them: with their unit, rounded, and a dash where there is none.
//!
//! It does not know what the numbers mean.

/// Stands for a number that is not known. Zero is a number and never stands for it.
pub(super) const MISSING: &str = "–";

/// A time in microseconds.
pub(super) fn micros(us: Option<u64>) -> String {
    match us {
        Some(us) if us < 10_000 => format!("{:.2} ms", us as f64 / 1e3),
        Some(us) if us < 100_000 => format!("{:.1} ms", us as f64 / 1e3),
        Some(us) if us < 1_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        Some(us) => seconds(us as f64 / 1e6),
        None => MISSING.to_owned(),
    }
}

/// A time in milliseconds, as a run takes it.
pub(super) fn millis(ms: u64) -> String {
    micros(Some(ms.saturating_mul(1_000)))
}

fn seconds(seconds: f64) -> String {
    // Rounded before it is split, so that 119.96 s is not shown as "1 min 60 s".
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

/// Tokens per second.
pub(super) fn rate(tokens_per_second: Option<f64>) -> String {
    match tokens_per_second {
        Some(rate) if rate < 10.0 => format!("{rate:.1} tok/s"),
        Some(rate) => format!("{} tok/s", count(rate.round() as usize)),
        None => MISSING.to_owned(),
    }
}

/// A whole number with separated thousands.
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A number of things that take a plain `s` in the plural.
pub(super) fn things(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number))
}

/// A number of copies, which need not be whole.
pub(super) fn copies(copies: f64) -> String {
    let shown = format!("{copies:.1}");
    shown.strip_suffix(".0").unwrap_or(&shown).to_owned()
}

/// An RFC 3339 time in UTC, without the letters; any other text as it is.
pub(super) fn moment(rfc3339: &str) -> String {
    let parts = rfc3339
        .strip_suffix('Z')
        .and_then(|local| local.split_once('T'));
    match parts {
        Some((date, time)) => {
            let whole_seconds = time.split('.').next().unwrap_or(time);
            format!("{date} {whole_seconds} UTC")
        }
        None => rfc3339.to_owned(),
    }
}

/// A command line that a shell reads as these arguments.
pub(super) fn command(arguments: &[String]) -> String {
    let quoted: Vec<String> = arguments.iter().map(|word| shell_word(word)).collect();
    quoted.join(" ")
}

fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, "–")]
    #[case(Some(0), "0.00 ms")]
    #[case(Some(1_234), "1.23 ms")]
    #[case(Some(45_678), "45.7 ms")]
    #[case(Some(456_789), "457 ms")]
    #[case(Some(4_567_890), "4.6 s")]
    #[case(Some(59_400_000), "59.4 s")]
    #[case(Some(119_960_000), "2 min 0 s")]
    #[case(Some(3_720_000_000), "1 h 2 min")]
    fn times_have_units(#[case] us: Option<u64>, #[case] shown: &str) {
        assert_eq!(micros(us), shown);
    }

    #[test]
    fn other_numbers() {
        assert_eq!(rate(None), "–");
        assert_eq!(rate(Some(3.21)), "3.2 tok/s");
        assert_eq!(rate(Some(1_234.5)), "1,235 tok/s");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(things(1, "case"), "1 case");
        assert_eq!(things(1_000, "token"), "1,000 tokens");
        assert_eq!(copies(14.5), "14.5");
        assert_eq!(copies(3.0), "3");
        assert_eq!(millis(1_500), "1.5 s");
    }

    #[test]
    fn moments_and_commands() {
        assert_eq!(moment("2025-11-24T08:27:11.5Z"), "2025-11-24 08:27:11 UTC");
        assert_eq!(moment("yesterday"), "yesterday");
        let words = ["loopwatch", "run", "a b.yaml", "it's", "", "$HOME"].map(str::to_owned);
        assert_eq!(
            command(&words),
            r"loopwatch run 'a b.yaml' 'it'\''s' '' '$HOME'"
        );
    }
}
