//! `loopwatch bench`: how fast a model runs here: prefill, decode, batches, memory.

use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use clap::{Args, builder::RangedU64ValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::backend::BackendFlags;
use super::exit::{Exit, Explained};
use super::style::{BOLD, DIM, LOOP, RESET};
use super::{models, provenance};
use crate::backend::BackendKind;
use crate::engine::{Engine, EngineOptions};
use crate::measure::{Measured, Measurements, Sample, Spread, Step};

/// Measure how fast a model runs here.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Bench {
    /// A folder with a checkpoint, hf:org/name[@revision], script:FILE (a checkpoint script), or
    /// builtin:readme
    #[arg(long, value_name = "MODEL", default_value = "builtin:readme")]
    model: String,
    /// Tokens of the prompt whose prefill is measured
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = count(MOST_TOKENS))]
    prompt: usize,
    /// Decode steps that are measured
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = count(MOST_TOKENS))]
    tokens: usize,
    /// Tokens in the context of a sequence when its decode begins
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(MOST_TOKENS))]
    depth: usize,
    /// How many sequences decode together; each number is measured
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "1,8",
          value_parser = count(MOST_SEQUENCES))]
    batch: Vec<usize>,
    /// How often everything is measured, after one round to warm up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = count(1000))]
    repeats: usize,
    /// Print one JSON object, with every sample, instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    backend: BackendFlags,
}

const EXAMPLES: &str = "\
Prompts are random tokens, no two alike, and nothing of them is remembered. Prefill is the prompt's
tokens over the time from the request to its first token; decode counts the tokens of all
sequences from the moment when each of them has its first. Both include greedy sampling with
log-probabilities.

Examples:
  loopwatch bench
  loopwatch bench --model ./my-checkpoint --threads 4
  loopwatch bench --batch 1,4,16,64 --depth 1024 --json > bench.json";

/// Most tokens of a prompt, or of an answer.
const MOST_TOKENS: u64 = 1 << 20;
/// Most sequences of a batch.
const MOST_SEQUENCES: u64 = 1024;

fn count(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    loopwatch: &'static str,
    /// Whether this program was built with debug assertions, and so is slow.
    debug_build: bool,
    model: String,
    description: String,
    platform: String,
    processor: Option<String>,
    backend: &'static str,
    /// Threads and vector instructions, of the cpu backend only.
    threads: Option<usize>,
    isa: Option<String>,
    repeats: usize,
    load_ms: f64,
    /// The first prompt's time to first token, when nothing was warm.
    cold_ttft_ms: f64,
    prefill: Series,
    decode: Vec<Series>,
    memory: Memory,
}

/// One measurement, repeated.
#[derive(Debug, Serialize)]
struct Series {
    sequences: usize,
    /// Tokens of one sequence: of the prompt, or decode steps.
    tokens: usize,
    /// Tokens in a sequence's context when the measurement begins.
    depth: usize,
    /// Tokens of all sequences per second.
    tokens_per_second: Rates,
    samples: Vec<Timed>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Rates {
    median: f64,
    min: f64,
    max: f64,
}

/// One sample as it was timed.
#[derive(Debug, Serialize)]
struct Timed {
    tokens: usize,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Memory {
    /// Most memory of this process that was in use at one time; null where the system does not
    /// tell.
    peak_bytes: Option<u64>,
    /// The weight files.
    weight_bytes: u64,
    /// Keys and values of all sequences of the largest batch, or of the prompt if that is more.
    kv_bytes: u64,
}

impl Bench {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let before = Instant::now();
        let name = models::find(&self.model)?;
        let options = self.options()?;
        let engine = Engine::load(&name, &options).map_err(Explained::target)?;
        let loading = before.elapsed();

        let plan = self.measurements();
        let bar = bar(plan.steps());
        let measured = plan.run(&engine, options.prefill_chunk, &mut |step| {
            bar.set_message(match step {
                Step::Prefill => "prefill".to_owned(),
                Step::Decode(sequences) => format!("decode, {}", counted(sequences)),
            });
            bar.inc(1);
        });
        bar.finish_and_clear();
        let measured = measured.map_err(Explained::target)?;
        let report = self.report(&engine, &options, loading, &measured)?;
        if self.json {
            writeln!(stdout(), "{}", serde_json::to_string(&report)?)?;
        } else {
            show(&report)?;
        }
        Ok(Exit::Passed)
    }

    fn measurements(&self) -> Measurements {
        Measurements {
            prompt: self.prompt,
            tokens: self.tokens,
            depth: self.depth,
            batches: self.batch.clone(),
            repeats: self.repeats,
        }
    }

    fn options(&self) -> anyhow::Result<EngineOptions> {
        let options = self.backend.options()?;
        let largest = self.batch.iter().copied().max().unwrap_or(1);
        Ok(EngineOptions {
            max_batch: options.max_batch.max(largest),
            prefix_cache_bytes: 0,
            ..options
        })
    }

    fn report(
        &self,
        engine: &Engine,
        options: &EngineOptions,
        loading: Duration,
        measured: &Measured,
    ) -> anyhow::Result<Report> {
        let cpu = options.backend == BackendKind::Cpu;
        let model = engine.model();
        let positions = self.measurements().positions(options.prefill_chunk);
        let decode = measured
            .decode
            .iter()
            .map(|(size, samples)| Series::of(*size, self.tokens, self.depth, samples));
        Ok(Report {
            loopwatch: env!("CARGO_PKG_VERSION"),
            debug_build: cfg!(debug_assertions),
            model: self.model.clone(),
            description: model.description().to_owned(),
            platform: provenance::platform(),
            processor: provenance::processor(),
            backend: options.backend.name(),
            threads: cpu.then_some(options.threads),
            isa: cpu.then(|| options.isa.to_string()),
            repeats: self.repeats,
            load_ms: loading.as_secs_f64() * 1e3,
            cold_ttft_ms: measured.cold.as_secs_f64() * 1e3,
            prefill: Series::of(1, self.prompt, 0, &measured.prefill)?,
            decode: decode.collect::<anyhow::Result<_>>()?,
            memory: Memory {
                peak_bytes: peak_bytes(),
                weight_bytes: model.weight_bytes().map_err(Explained::target)? as u64,
                kv_bytes: (positions * model.kv_bytes_per_position()) as u64,
            },
        })
    }
}

impl Series {
    fn of(
        sequences: usize,
        tokens: usize,
        depth: usize,
        samples: &[Sample],
    ) -> anyhow::Result<Self> {
        let spread = Spread::of(samples.iter().map(Sample::rate));
        let spread = spread.ok_or_else(|| anyhow::anyhow!("nothing was measured"))?;
        let timed = samples.iter().map(|sample| Timed {
            tokens: sample.tokens,
            seconds: sample.elapsed.as_secs_f64(),
        });
        Ok(Self {
            sequences,
            tokens,
            depth,
            tokens_per_second: Rates {
                median: spread.median,
                min: spread.min,
                max: spread.max,
            },
            samples: timed.collect(),
        })
    }
}

/// Progress on stderr, if that is a terminal.
fn bar(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    let style = ProgressStyle::with_template("{spinner} {pos}/{len} {elapsed} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    bar
}

fn counted(sequences: usize) -> String {
    match sequences {
        1 => "1 sequence".to_owned(),
        _ => format!("{sequences} sequences"),
    }
}

/// The report for a person.
fn show(report: &Report) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{BOLD}{}{RESET}: {}", report.model, report.description)?;
    let mut how = vec![format!("{} backend", report.backend)];
    if let Some(threads) = report.threads {
        let plural = if threads == 1 { "" } else { "s" };
        how.push(format!("{threads} thread{plural}"));
    }
    how.extend(report.isa.clone());
    let processor = report.processor.as_deref().unwrap_or("unknown processor");
    how.push(format!("{processor} ({})", report.platform));
    writeln!(out, "{}", how.join(", "))?;
    writeln!(
        out,
        "loaded in {}; first token of the first prompt {} later",
        milliseconds(report.load_ms),
        milliseconds(report.cold_ttft_ms)
    )?;
    if report.debug_build {
        let how = "build it with `cargo build --release` for figures that mean something";
        writeln!(out, "{LOOP}this is a debug build; {how}{RESET}")?;
    }
    table(&mut out, report)?;
    memory(&mut out, &report.memory)?;
    writeln!(
        out,
        "{DIM}Median, least and greatest of {} after one round to warm up. Prefill ends with the first\n\
         token; decode begins there and counts the tokens of all sequences. Both include greedy sampling.{RESET}",
        report.repeats
    )
}

/// The peak against what the model needs.
fn memory(out: &mut impl Write, memory: &Memory) -> std::io::Result<()> {
    let Memory {
        peak_bytes,
        weight_bytes,
        kv_bytes,
    } = *memory;
    let parts = format!(
        "weights {} + KV cache {}",
        size(weight_bytes),
        size(kv_bytes)
    );
    match peak_bytes {
        Some(peak) => {
            let ratio = peak as f64 / (weight_bytes + kv_bytes) as f64;
            writeln!(
                out,
                "\nmemory: peak {} = {ratio:.2} × ({parts})",
                size(peak)
            )?;
        }
        None => writeln!(out, "\nmemory: {parts}; this system does not tell the peak")?,
    }
    Ok(())
}

/// A row for each measurement.
fn table(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    writeln!(
        out,
        "\n{BOLD}{:<32} {:>10} {:>10} {:>10}   against one{RESET}",
        "", "tok/s", "least", "greatest"
    )?;
    let name = format!("prefill, {} tokens", report.prefill.tokens);
    row(out, &name, report.prefill.tokens_per_second, None)?;
    let one = report.decode.iter().find(|series| series.sequences == 1);
    for series in &report.decode {
        let sequences = counted(series.sequences);
        let name = format!("decode, {sequences}, {} steps", series.tokens);
        let rates = series.tokens_per_second;
        let one = one.filter(|_| series.sequences > 1);
        let gain = one.map(|one| rates.median / one.tokens_per_second.median);
        row(out, &name, rates, gain)?;
    }
    Ok(())
}

fn row(out: &mut impl Write, name: &str, rates: Rates, gain: Option<f64>) -> std::io::Result<()> {
    let gain = gain.map_or_else(String::new, |gain| {
        format!("   {:>9}", format!("{gain:.2} ×"))
    });
    writeln!(
        out,
        "{name:<32} {:>10} {:>10} {:>10}{gain}",
        rate(rates.median),
        rate(rates.min),
        rate(rates.max),
    )
}

/// Three digits that mean something, where there are not more.
fn rate(tokens_per_second: f64) -> String {
    match tokens_per_second {
        slow if slow < 10.0 => format!("{slow:.2}"),
        middling if middling < 100.0 => format!("{middling:.1}"),
        fast => format!("{fast:.0}"),
    }
}

fn milliseconds(ms: f64) -> String {
    match ms {
        short if short < 100.0 => format!("{short:.1} ms"),
        long => format!("{long:.0} ms"),
    }
}

/// Bytes in powers of two.
fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The most memory that this process had in use at one time, as Linux tells it.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
