//! `loopwatch faults`: a scripted server that goes wrong on demand.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Explained};
use super::signals;
use crate::faults::{self, FaultScript};

/// Serve answers, and faults, that a script states: to test what tests servers.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FaultServer {
    /// The script
    #[arg(value_name = "FILE")]
    script: PathBuf,
    /// Port to listen on, of this machine alone; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
}

const EXAMPLES: &str = "\
It speaks OpenAI's chat and Anthropic's messages. docs/targets.md has the language of its scripts.

Examples:
  loopwatch faults stall.yaml --port 9000
  loopwatch run my-scenario.yaml --target 'spawn:loopwatch faults stall.yaml --port {port}'";

impl FaultServer {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let script = FaultScript::load(&self.script)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
            let listener = tokio::net::TcpListener::bind(address)
                .await
                .map_err(|error| {
                    Explained::usage(format!("cannot listen on {address}: {error}"))
                })?;
            let mut out = anstream::stdout();
            writeln!(
                out,
                "{} answers on http://{}",
                script.model,
                listener.local_addr()?
            )?;
            out.flush()?;
            tokio::select! {
                () = faults::serve(listener, script) => {}
                _ = signals::asked_to_stop() => {}
            }
            Ok(Exit::Passed)
        })
    }
}
