//! A hub on the loopback that serves one golden checkpoint as `test/llama`, revision `v1`: the
//! list of files, redirects to a store of large files, tags and ranges; or fails as asked.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::repository;

/// The commit of revision `v1`.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the hub fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The list of files lacks it, or all weights.
    NoConfig,
    NoWeights,
    /// It announces more bytes than anyone should read.
    HugeConfig,
    /// Something else listens there.
    NotAHub,
    /// A file of the list is not there.
    LostFile,
    /// The weights end early, or are others.
    Truncated,
    Altered,
    /// A text file is shorter than announced.
    Short,
    /// Only for those with the token `letmein`.
    Private,
    /// An answer never comes, or never a file.
    Silent,
    SilentFile,
    /// Status 500.
    Broken,
}

/// A running hub. It ends when dropped.
pub(crate) struct FixtureHub {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

struct Hub {
    folder: PathBuf,
    fault: Fault,
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FixtureHub {
    pub(crate) fn serving(checkpoint: &str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let hub = Arc::new(Hub {
            folder: PathBuf::from(repository("tests/goldens")).join(checkpoint),
            fault,
            address: address.clone(),
            requests: Arc::clone(&requests),
        });
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let hub = Arc::clone(&hub);
                // A client that goes away in the middle is no failure of the test.
                thread::spawn(move || hub.serve(stream.expect("a connection")).ok());
            }
        });
        Self {
            address,
            requests,
            stop,
        }
    }

    /// The paths that were asked for, in order.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("the list").clone()
    }
}

impl Drop for FixtureHub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address.trim_start_matches("http://"));
    }
}

struct Request {
    path: String,
    /// First and last byte asked for.
    range: Option<(usize, Option<usize>)>,
    token: Option<String>,
}

impl Hub {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = read_request(&mut reader)? {
            let path = request.path.clone();
            self.requests.lock().expect("the list").push(path);
            self.answer(&request, &stream)?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request, stream: &TcpStream) -> std::io::Result<()> {
        let path = request.path.split('?').next().unwrap_or_default();
        let resolve = format!("/test/llama/resolve/{COMMIT}/");
        if self.fault == Fault::Silent {
            thread::sleep(Duration::from_secs(60));
        }
        if self.fault == Fault::Broken {
            return send(stream, 500, &[], b"");
        }
        if self.fault == Fault::Private && request.token.as_deref() != Some("Bearer letmein") {
            return send(stream, 401, &[("X-Error-Code", "RepoNotFound")], b"");
        }
        if let Some(revision) = path.strip_prefix("/api/models/test/llama/revision/") {
            if revision != "v1" && revision != COMMIT {
                return send(stream, 404, &[("X-Error-Code", "RevisionNotFound")], b"");
            }
            let body = match self.fault {
                Fault::NotAHub => "<html>It works!</html>".to_owned(),
                _ => self.info().to_string(),
            };
            return send(stream, 200, &[], body.as_bytes());
        }
        // A renamed repository: the address is relative.
        if let Some(file) = path.strip_prefix(&resolve) {
            return send(stream, 307, &[("Location", &format!("/moved/{file}"))], b"");
        }
        if let Some(file) = path.strip_prefix("/moved/") {
            return self.answer_file(file, request, stream);
        }
        if let Some(file) = path.strip_prefix("/store/") {
            return self.send_file(file, request, stream, &[]);
        }
        send(stream, 401, &[("X-Error-Code", "RepoNotFound")], b"")
    }

    /// Small files come from the hub, large ones from a store elsewhere.
    fn answer_file(
        &self,
        file: &str,
        request: &Request,
        stream: &TcpStream,
    ) -> std::io::Result<()> {
        let Ok(content) = fs::read(self.folder.join(file)) else {
            return send(stream, 404, &[("X-Error-Code", "EntryNotFound")], b"");
        };
        if self.fault == Fault::LostFile && file == "config.json" {
            return send(stream, 404, &[("X-Error-Code", "EntryNotFound")], b"");
        }
        if self.fault == Fault::SilentFile && file == "config.json" {
            thread::sleep(Duration::from_secs(60));
        }
        let tag = format!("\"{}\"", sha256(&content));
        if file.ends_with(".safetensors") {
            let location = format!("{}/store/{file}", self.address);
            let headers = [
                ("Location", location.as_str()),
                ("X-Repo-Commit", COMMIT),
                ("X-Linked-ETag", &tag),
                ("ETag", "\"of the pointer\""),
            ];
            return send(stream, 302, &headers, b"");
        }
        // Git's name of the blob would do as well; only its form matters.
        let tag = format!("\"{}\"", &sha256(&content)[..40]);
        let headers = [("X-Repo-Commit", COMMIT), ("ETag", &tag)];
        self.send_file(file, request, stream, &headers)
    }

    fn send_file(
        &self,
        file: &str,
        request: &Request,
        mut stream: &TcpStream,
        headers: &[(&str, &str)],
    ) -> std::io::Result<()> {
        let mut content = fs::read(self.folder.join(file))?;
        let weights = file.ends_with(".safetensors");
        if weights && self.fault == Fault::Altered {
            *content.last_mut().expect("content") ^= 1;
        }
        if !weights && self.fault == Fault::Short {
            content.pop();
        }
        let (from, last) = request.range.unwrap_or((0, None));
        let to = last.map_or(content.len(), |last| content.len().min(last + 1));
        let body = content.get(from..to).unwrap_or_default();
        let range = format!("bytes {from}-{}/{}", to.saturating_sub(1), content.len());
        let all = [headers, &[("Content-Range", range.as_str())]].concat();
        if weights && self.fault == Fault::Truncated && body.len() > 100 {
            stream.write_all(head(206, &all, body.len()).as_bytes())?;
            stream.write_all(&body[..body.len() - 100])?;
            return stream.shutdown(std::net::Shutdown::Both);
        }
        send(stream, 206, &all, body)
    }

    /// What the hub says of the revision, with the sizes of its files.
    fn info(&self) -> Value {
        let mut files: Vec<Value> = fs::read_dir(&self.folder)
            .expect("the checkpoint")
            .map(|entry| {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("a name").to_str().expect("UTF-8");
                let content = fs::read(&path).expect("content");
                let mut size = content.len() as u64;
                if self.fault == Fault::HugeConfig && name == "config.json" {
                    size = 99_999_999_999;
                }
                let mut file = json!({
                    "rfilename": name, "size": size, "blobId": &sha256(&content)[..40],
                });
                if name.ends_with(".safetensors") {
                    file["lfs"] =
                        json!({"sha256": sha256(&content), "size": size, "pointerSize": 130});
                }
                file
            })
            .collect();
        files.push(json!({"rfilename": "README.md", "size": 3, "blobId": "00"}));
        files.push(json!({"rfilename": "onnx/model.safetensors", "size": 3, "blobId": "00"}));
        files.retain(|file| match self.fault {
            Fault::NoConfig => file["rfilename"] != "config.json",
            Fault::NoWeights => file["rfilename"] != "model.safetensors",
            _ => true,
        });
        json!({"_id": "x", "id": "test/llama", "sha": COMMIT, "siblings": files})
    }
}

fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    // No request is larger; a client that sends more is not ours.
    if reader.take(1 << 14).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request {
        path,
        range: None,
        token: None,
    };
    loop {
        let mut line = String::new();
        reader.take(1 << 14).read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return Ok(Some(request));
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let bounds = value.trim_start_matches("bytes=").split_once('-');
                request.range =
                    bounds.and_then(|(from, last)| Some((from.parse().ok()?, last.parse().ok())));
            }
            "authorization" => request.token = Some(value.to_owned()),
            _ => {}
        }
    }
}

fn head(status: u16, headers: &[(&str, &str)], length: usize) -> String {
    let mut head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

fn send(
    mut stream: &TcpStream,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<()> {
    stream.write_all(head(status, headers, body.len()).as_bytes())?;
    stream.write_all(body)
}
