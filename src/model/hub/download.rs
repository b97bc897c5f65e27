//! Fetches the files of a revision into the cache.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{HubName, HubProgress, HubSettings, TEXT_FILES, is_weights};
use crate::model::files::MAX_TEXT_BYTES;
use crate::model::mapping;

/// Largest list of a repository's files that is read.
const MAX_INFO_BYTES: u64 = 16 << 20;

/// What the hub says of a revision.
#[derive(Debug, Deserialize)]
struct InfoWire {
    sha: String,
    siblings: Vec<FileWire>,
}

/// One file of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileWire {
    rfilename: String,
    size: u64,
    /// The name of its blob in git, unless it is a large file.
    blob_id: Option<String>,
    /// Only of large files.
    lfs: Option<LargeWire>,
}

#[derive(Debug, Deserialize)]
struct LargeWire {
    sha256: String,
}

/// Asks for the revision's files, fetches those that the cache lacks, and returns their folder.
pub(super) fn download(
    name: &HubName,
    settings: &HubSettings,
    on_progress: &mut dyn FnMut(HubProgress<'_>),
) -> Result<PathBuf, String> {
    let cache = hf_hub::Cache::new(settings.cache.clone());
    let api = ApiBuilder::from_cache(cache.clone())
        .with_endpoint(settings.endpoint.clone())
        .with_token(settings.token.clone())
        .with_progress(false)
        .build()
        .map_err(|error| error.to_string())?;
    let info = ask(name, &api, settings)?;
    let files = wanted(&info)?;
    // The commit, not the branch: all files are of one state, whatever is pushed meanwhile.
    let repo = cache.repo(name.hub_repo(&info.sha));
    let folder = repo.pointer_path(&info.sha);
    let total = files.iter().map(|file| file.size).sum();
    let mut done = 0;
    for file in files {
        let here = folder.join(&file.rfilename);
        let mut report = |bytes: u64| {
            on_progress(HubProgress {
                file: &file.rfilename,
                done: done + bytes.min(file.size),
                total,
            });
        };
        report(0);
        if std::fs::metadata(&here).is_ok_and(|metadata| metadata.len() == file.size) {
            done += file.size;
            continue;
        }
        if let Some(blob) = file.blob_name() {
            drop_finished_part(&repo.blob_path(blob), file.size);
        }
        let remote = api.repo(name.hub_repo(&info.sha));
        let path = transfer(remote, &file.rfilename, settings.patience, &mut report)
            .map_err(|problem| explain(&file.rfilename, &problem, settings))?;
        if path != here {
            return Err(format!(
                "the server answered with another commit for {}",
                file.rfilename
            ));
        }
        check(file, &path)?;
        done += file.size;
    }
    cache
        .repo(name.hub_repo(&name.revision))
        .create_ref(&info.sha)
        .map_err(|error| format!("{}: {error}", settings.cache.display()))?;
    Ok(folder)
}

/// Asks which commit the revision is, and which files it has.
fn ask(name: &HubName, api: &Api, settings: &HubSettings) -> Result<InfoWire, String> {
    let endpoint = &settings.endpoint;
    let patience = Some(settings.patience);
    let mut response = api
        .repo(name.hub_repo(&name.revision))
        .info_request()
        .query("blobs", "true")
        .config()
        .timeout_connect(patience)
        .timeout_recv_response(patience)
        .timeout_recv_body(patience)
        .http_status_as_error(false)
        .build()
        .call()
        .map_err(|error| {
            format!(
                "{endpoint} cannot be reached ({error}); check the network, or set \
                 HF_HUB_OFFLINE=1 to use the cache alone"
            )
        })?;
    let status = response.status().as_u16();
    if status != 200 {
        let code = response.headers().get("x-error-code");
        let code = code.and_then(|code| code.to_str().ok()).unwrap_or_default();
        return Err(refusal(status, code, name, settings));
    }
    let info: InfoWire = response
        .body_mut()
        .with_config()
        .limit(MAX_INFO_BYTES)
        .read_json()
        .map_err(|error| format!("{endpoint} does not answer as a hub does: {error}"))?;
    let hash = !info.sha.is_empty() && info.sha.chars().all(|c| c.is_ascii_hexdigit());
    if !hash {
        return Err(format!("{endpoint} names no commit: '{}'", info.sha));
    }
    Ok(info)
}

fn refusal(status: u16, code: &str, name: &HubName, settings: &HubSettings) -> String {
    let endpoint = &settings.endpoint;
    match (status, code) {
        (404, "RevisionNotFound") => format!(
            "{endpoint} has no revision '{}' of {}; give a branch, tag or commit of it",
            name.revision, name.repo
        ),
        (401 | 403, _) if settings.token.is_some() => format!(
            "{endpoint} refuses access to {} ({status}); your token may not read it, or you have \
             to accept its terms there",
            name.repo
        ),
        (401 | 403 | 404, _) => format!(
            "{endpoint} has no model {} that everyone may read; check the name, or set HF_TOKEN \
             if it is private",
            name.repo
        ),
        _ => format!("{endpoint} answers with status {status}; try again later"),
    }
}

/// The files to fetch: text first, so that a cache with all weights has everything.
fn wanted(info: &InfoWire) -> Result<Vec<&FileWire>, String> {
    let of_text = TEXT_FILES
        .iter()
        .filter_map(|name| info.siblings.iter().find(|file| file.rfilename == *name));
    let mut files: Vec<&FileWire> = of_text.collect();
    if let Some(large) = files.iter().find(|file| file.size > MAX_TEXT_BYTES) {
        return Err(format!(
            "{} has {} bytes; at most {MAX_TEXT_BYTES} are read",
            large.rfilename, large.size
        ));
    }
    let weights = info
        .siblings
        .iter()
        .filter(|file| is_weights(&file.rfilename));
    let before = files.len();
    files.extend(weights);
    if files.len() == before {
        let problem = "it has no model*.safetensors (GGUF and .bin are not supported)";
        return Err(problem.to_owned());
    }
    if !files.iter().any(|file| file.rfilename == "config.json") {
        return Err("it has no config.json, so it is not a checkpoint".to_owned());
    }
    Ok(files)
}

impl FileWire {
    /// The name under which the cache keeps its content.
    fn blob_name(&self) -> Option<&str> {
        let name = match &self.lfs {
            Some(large) => Some(&large.sha256),
            None => self.blob_id.as_ref(),
        };
        name.map(String::as_str)
            .filter(|name| name.chars().all(|c| c.is_ascii_hexdigit()))
    }
}

/// `hf-hub` goes on with a part that it finds, but cannot with one that has everything.
fn drop_finished_part(blob: &Path, size: u64) {
    let part = blob.with_extension("part");
    if std::fs::metadata(&part).is_ok_and(|metadata| metadata.len() >= size) {
        // If it stays, the transfer fails and says so.
        let _ = std::fs::remove_file(part);
    }
}

enum Step {
    Begun,
    Bytes(usize),
    Done(Result<PathBuf, String>),
}

/// Tells the other thread what arrives.
struct Report(mpsc::Sender<Step>);

impl hf_hub::api::Progress for Report {
    fn init(&mut self, _size: usize, _filename: &str) {
        let _ = self.0.send(Step::Begun);
    }

    fn update(&mut self, size: usize) {
        let _ = self.0.send(Step::Bytes(size));
    }

    fn finish(&mut self) {}
}

/// Fetches one file on a thread of its own, and gives up on it when nothing arrives: `hf-hub`
/// 0.5.0 would wait for ever. The thread then ends with the program.
fn transfer(
    repo: ApiRepo,
    file: &str,
    patience: Duration,
    report: &mut dyn FnMut(u64),
) -> Result<PathBuf, String> {
    let (sender, steps) = mpsc::channel();
    let wanted = file.to_owned();
    std::thread::Builder::new()
        .name("hub".to_owned())
        .spawn(move || {
            let progress = Report(sender.clone());
            let fetched = repo.download_with_progress(&wanted, progress);
            let _ = sender.send(Step::Done(fetched.map_err(|error| error.to_string())));
        })
        .map_err(|error| error.to_string())?;
    let mut bytes = 0;
    loop {
        match steps.recv_timeout(patience) {
            Ok(Step::Begun) => bytes = 0,
            Ok(Step::Bytes(more)) => {
                bytes += more as u64;
                report(bytes);
            }
            Ok(Step::Done(result)) => return result,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let seconds = patience.as_secs();
                return Err(format!("the server sent nothing for {seconds} s"));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err("the transfer broke off".to_owned());
            }
        }
    }
}

fn explain(file: &str, problem: &str, settings: &HubSettings) -> String {
    format!(
        "{file} could not be fetched from {}: {problem}; run again to go on where it stopped",
        settings.endpoint
    )
}

/// A file has the size that was announced and, if it is large, the content.
fn check(file: &FileWire, path: &Path) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(cannot)?.len();
    let problem = if size != file.size {
        Some(format!("it has {size} bytes instead of {}", file.size))
    } else if let Some(large) = &file.lfs {
        let blob = mapping::map(path).map_err(cannot)?;
        let digest = Sha256::digest(blob.bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        (digest != large.sha256).then(|| "its content is not what was announced".to_owned())
    } else {
        None
    };
    let Some(problem) = problem else {
        return Ok(());
    };
    // Both the link and what it leads to, so that the next run fetches it anew.
    if let Ok(blob) = std::fs::canonicalize(path) {
        let _ = std::fs::remove_file(blob);
    }
    let _ = std::fs::remove_file(path);
    Err(format!(
        "{} arrived damaged: {problem}; run again to fetch it anew",
        file.rfilename
    ))
}
