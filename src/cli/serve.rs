//! `loopwatch serve`: a model behind OpenAI's and Anthropic's APIs.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::backend::BackendFlags;
use super::exit::{Exit, Explained};
use super::sampling::{self, SamplingFlags};
use super::serve_file::ServeFile;
use super::{models, signals};
use crate::engine::Engine;
use crate::server::{self, OnLoop, Served, ServerOptions, TraceSink, TraceText};
use crate::target::EngineTarget;

/// Environment variable for the key, so that no process list shows it.
const KEY_VARIABLE: &str = "LOOPWATCH_API_KEY";

/// Environment variable for what happens to answers that loop.
const ON_LOOP_VARIABLE: &str = "LOOPWATCH_ON_LOOP";

/// Serve a model over HTTP, in the words of OpenAI's and Anthropic's APIs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    /// A folder with a checkpoint, hf:org/name[@revision], script:FILE (a checkpoint script), or
    /// builtin:readme [default: builtin:readme]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// A YAML file with all settings; flags and the environment win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on; anything but loopback lets other machines in [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// Port to listen on; 0 takes a free one [default: 8080]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Most tokens of a prompt and its answer together [default: 32768]
    #[arg(long, value_name = "N")]
    max_context: Option<usize>,
    /// Most answers that are generated or wait at the same time; more are refused with 429
    /// [default: 320]
    #[arg(long, value_name = "N")]
    max_answers: Option<usize>,
    /// Most bytes of a request's body [default: 16777216]
    #[arg(long, value_name = "N")]
    max_body: Option<usize>,
    /// Bytes of answers to keep and give again to the same greedy or seeded request; a request
    /// with `Cache-Control: no-cache` is generated anyway [default: 0, none]
    #[arg(long, value_name = "BYTES")]
    answer_cache: Option<usize>,
    /// Longest block of tokens that a request's `repetition_detection` may look for; 0 refuses the
    /// field [default: 2048]
    #[arg(long, value_name = "N")]
    max_repetition_pattern: Option<usize>,
    /// Seconds that running answers have after the order to stop [default: 10]
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u64>,
    /// What happens to an answer once a loop in it is confirmed: observe counts and logs it, annotate
    /// also tells the client, stop ends it with the reason `repetition` [default: observe]
    #[arg(long, value_name = "POLICY")]
    on_loop: Option<OnLoop>,
    /// Append one JSON object for each answer to this file, without its texts
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Let the trace hold prompts and answers as they are
    #[arg(long, requires = "trace")]
    trace_text: bool,
    /// How logs look on stderr
    #[arg(long, value_name = "FORM", default_value = "text")]
    log: LogForm,
    #[command(flatten)]
    backend: BackendFlags,
    #[command(flatten)]
    sampling: SamplingFlags,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogForm {
    Text,
    Json,
}

const EXAMPLES: &str = "\
Sampling flags set what holds where a request says nothing. LOOPWATCH_API_KEY, if set, is the key
that requests must show; LOOPWATCH_ON_LOOP is --on-loop; LOOPWATCH_LOG filters the logs, as in
LOOPWATCH_LOG=debug.

Examples:
  loopwatch serve
  loopwatch serve --model ./my-checkpoint --port 9000 --repetition-penalty 1.1";

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        self.start_log();
        let file = match &self.config {
            Some(path) => ServeFile::load(path)?,
            None => ServeFile::default(),
        };
        let options = self.options(&file)?;
        let model = self.model.as_ref().or(file.model.as_ref());
        let model = model.map_or("builtin:readme", String::as_str);
        let address = SocketAddr::new(
            self.host
                .or(file.host)
                .unwrap_or(Ipv4Addr::LOCALHOST.into()),
            self.port.or(file.port).unwrap_or(8080),
        );
        let name = models::find(model)?;
        let engine = Engine::load(&name, &self.backend.options()?).map_err(Explained::target)?;
        let served = Served {
            name: model.to_owned(),
            target: Arc::new(EngineTarget::new(engine.clone())),
            vocabulary: Some(Arc::new(engine)),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(listen(address, served, options))
    }

    fn options(&self, file: &ServeFile) -> anyhow::Result<ServerOptions> {
        let mut options = ServerOptions {
            sampling: file
                .sampling()
                .overlaid(&sampling::environment()?)
                .overlaid(&self.sampling.settings()),
            ..ServerOptions::default()
        };
        options.sampling.resolve().map_err(Explained::usage)?;
        options.access.key = std::env::var(KEY_VARIABLE)
            .ok()
            .or_else(|| file.api_key.clone())
            .filter(|key| !key.is_empty());
        let environment = sampling::variable(ON_LOOP_VARIABLE, "observe, annotate or stop")?;
        set(
            &mut options.on_loop,
            self.on_loop.or(environment).or(file.on_loop),
        );
        file.limit(&mut options.limits);
        file.time(&mut options.time_outs);
        let limits = &mut options.limits;
        set(&mut limits.context_tokens, self.max_context);
        set(&mut limits.answers, self.max_answers);
        set(&mut limits.body_bytes, self.max_body);
        set(&mut limits.answer_cache_bytes, self.answer_cache);
        set(
            &mut limits.repetition_pattern_tokens,
            self.max_repetition_pattern,
        );
        set(
            &mut options.time_outs.grace,
            self.grace.map(Duration::from_secs),
        );
        options.trace = match (&self.trace, &file.trace) {
            (Some(path), _) => Some(trace(path, self.trace_text)?),
            (None, Some(wire)) => Some(trace(&wire.file, wire.text)?),
            (None, None) => None,
        };
        Ok(options)
    }

    fn start_log(&self) {
        let filter = EnvFilter::builder()
            .with_env_var("LOOPWATCH_LOG")
            .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
            .from_env_lossy();
        let log = tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_env_filter(filter);
        // A program that has a log already, such as a test, keeps it.
        let _ = match self.log {
            LogForm::Text => log.with_target(false).compact().try_init(),
            LogForm::Json => log.json().try_init(),
        };
    }
}

/// Serves until the program is asked to end.
async fn listen(
    address: SocketAddr,
    served: Served,
    options: ServerOptions,
) -> anyhow::Result<Exit> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| Explained::usage(format!("cannot listen on {address}: {error}")))?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() && options.access.key.is_none() {
        tracing::warn!(
            "{address} is open to other machines, and {KEY_VARIABLE} is not set: whoever \
             reaches it can use the model"
        );
    }
    let mut out = anstream::stdout();
    writeln!(out, "{} answers on http://{address}", served.name)?;
    out.flush()?;
    let (stopped, mut exit) = tokio::sync::oneshot::channel();
    let shutdown = async {
        // The receiver is read below.
        let _ = stopped.send(signals::asked_to_stop().await);
    };
    server::serve(listener, served, options, shutdown).await;
    // A server that was asked to end and did so has done its work.
    match exit.try_recv() {
        Ok(Exit::Interrupted | Exit::Terminated) => Ok(Exit::Passed),
        _ => Ok(Exit::Internal),
    }
}

/// Lays a value over another one, if there is one.
pub(super) fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn trace(path: &Path, keep_text: bool) -> anyhow::Result<TraceSink> {
    let name = path.display();
    let cannot = |error| Explained::usage(format!("cannot write {name}: {error}"));
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(cannot)?;
    let text = match keep_text {
        true => TraceText::Kept,
        false => TraceText::Redacted,
    };
    TraceSink::new(file, text).map_err(cannot)
}
