//! A server that is started for a run, and ended with it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::endpoint::{BaseUrl, HttpEndpoint, SpawnEndpoint};

/// How long a server may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);
/// The time between two looks at a server that starts or ends.
const LOOK: Duration = Duration::from_millis(50);
/// Most bytes of the log's end that an error shows.
const TAIL: u64 = 1500;

/// A server that could not be started.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// No port, no log file, or no process.
    #[error("spawn:{command}: {problem}")]
    Start {
        /// The command as written.
        command: String,
        /// What the system says.
        problem: std::io::Error,
    },
    /// It ended before it was ready.
    #[error("spawn:{command}: ended with {status} before it was ready; {}", log_end(.log, .tail))]
    Ended {
        /// The command as written.
        command: String,
        /// How.
        status: ExitStatus,
        /// Where its output is.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// It was not ready in time.
    #[error("spawn:{command}: {url} did not answer with success within {patience:?}; raise ready_timeout, or check `ready`; {}", log_end(.log, .tail))]
    NotReady {
        /// The command as written.
        command: String,
        /// What was asked.
        url: String,
        /// How long.
        patience: Duration,
        /// Where its output is.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// No client can be made, or no address.
    #[error("spawn:{command}: {problem}")]
    Client {
        /// The command as written.
        command: String,
        /// Why.
        problem: String,
    },
}

fn log_end(path: &Path, tail: &str) -> String {
    match tail.trim() {
        "" => format!("its log {} is empty", path.display()),
        tail => format!("its log {} ends with:\n{tail}", path.display()),
    }
}

/// A running server. Dropping it ends it, and all that it started.
#[derive(Debug)]
pub struct Spawned {
    child: Child,
    /// Where to reach it.
    pub endpoint: HttpEndpoint,
    /// What it prints.
    pub log: PathBuf,
}

impl Spawned {
    /// Starts the command with a free port, its output going to `log`, and waits until it is
    /// ready.
    ///
    /// # Errors
    /// If it cannot be started, ends early, or is not ready in time.
    pub async fn start(spawn: &SpawnEndpoint, log: &Path) -> Result<Self, SpawnError> {
        let failed = |problem| SpawnError::Start {
            command: spawn.command.clone(),
            problem,
        };
        let client = |problem: String| SpawnError::Client {
            command: spawn.command.clone(),
            problem,
        };
        let port = free_port().map_err(failed)?;
        let root = format!("http://127.0.0.1:{port}");
        let base = BaseUrl::parse(&root, spawn.api).map_err(client)?;
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let child = command(&spawn.command.replace("{port}", &port.to_string()))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(failed)?;
        let mut spawned = Self {
            child,
            endpoint: HttpEndpoint {
                api: spawn.api,
                base,
                options: spawn.options.clone(),
            },
            log: log.to_owned(),
        };
        spawned
            .until_ready(spawn, format!("{root}{}", spawn.ready))
            .await?;
        Ok(spawned)
    }

    async fn until_ready(&mut self, spawn: &SpawnEndpoint, url: String) -> Result<(), SpawnError> {
        let http = super::http::probe().map_err(|problem| SpawnError::Client {
            command: spawn.command.clone(),
            problem,
        })?;
        let start = Instant::now();
        while start.elapsed() < spawn.ready_timeout {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(SpawnError::Ended {
                    command: spawn.command.clone(),
                    status,
                    log: self.log.clone(),
                    tail: self.tail(),
                });
            }
            if let Ok(response) = http.get(&url).send().await
                && response.status().is_success()
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(SpawnError::NotReady {
            command: spawn.command.clone(),
            url,
            patience: spawn.ready_timeout,
            log: self.log.clone(),
            tail: self.tail(),
        })
    }

    /// The end of the log.
    fn tail(&self) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut tail = Vec::new();
            file.take(TAIL).read_to_end(&mut tail)?;
            Ok(tail)
        };
        read().map_or_else(
            |error| error.to_string(),
            |tail| String::from_utf8_lossy(&tail).into_owned(),
        )
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        end(&mut self.child, false);
        let start = Instant::now();
        while start.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(LOOK);
        }
        // What it started may have outlived it.
        end(&mut self.child, true);
        let _ = self.child.wait();
    }
}

/// A port that is free now. Another program could take it before the server does; then the
/// server says so and ends.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// The shell that runs the command, as the leader of a group of its own.
#[cfg(unix)]
fn command(text: &str) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("sh");
    command.arg("-c").arg(text).process_group(0);
    command
}

#[cfg(not(unix))]
fn command(text: &str) -> Command {
    let mut command = Command::new("cmd");
    command.arg("/C").arg(text);
    command
}

/// Asks the whole group to end, or ends it.
#[cfg(unix)]
fn end(child: &mut Child, now: bool) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // A group that is gone needs no signal.
        let _ = kill_process_group(group, if now { Signal::KILL } else { Signal::TERM });
    }
}

#[cfg(not(unix))]
fn end(child: &mut Child, _now: bool) {
    let _ = child.kill();
}
