//! How the terminal shows things: colours, and numbers with their units.
//!
//! Colours are plain escape codes; the streams of `anstream` remove them where `NO_COLOR` or a
//! pipe asks for it.

/// Ends every style.
pub(super) const RESET: &str = "\u{1b}[0m";
/// Headings and names.
pub(super) const BOLD: &str = "\u{1b}[1m";
/// What matters less.
pub(super) const DIM: &str = "\u{1b}[2m";
/// Success.
pub(super) const GOOD: &str = "\u{1b}[32m";
/// Failure.
pub(super) const BAD: &str = "\u{1b}[31;1m";
/// A loop, and other things to look at.
pub(super) const LOOP: &str = "\u{1b}[33m";

/// A time, or a dash where there is none.
pub(super) fn milliseconds(us: Option<u64>) -> String {
    match us {
        Some(us) if us < 100_000 => format!("{:.1} ms", us as f64 / 1e3),
        Some(us) if us < 10_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        Some(us) => format!("{:.1} s", us as f64 / 1e6),
        None => "–".to_owned(),
    }
}

/// Tokens per second, or a dash where there is none.
pub(super) fn rate(tokens_per_second: Option<f64>) -> String {
    match tokens_per_second {
        Some(rate) => format!("{rate:.0} tok/s"),
        None => "–".to_owned(),
    }
}
