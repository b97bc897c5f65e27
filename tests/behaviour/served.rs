//! A running `loopwatch serve`, and a client plain enough to send what no library would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Sandbox, repository};

/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server process, ended with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) sandbox: Sandbox,
}

impl Server {
    /// Serves a scripted model of `scenarios/checkpoints`.
    pub(crate) fn scripted(script: &str, arguments: &[&str]) -> Self {
        Self::start(Sandbox::new(), &scripted(script), arguments, &[])
    }

    pub(crate) fn start(
        sandbox: Sandbox,
        model: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = sandbox.command(&["serve", "--port", "0", "--model", model]);
        command
            .args(arguments)
            .env_remove("LOOPWATCH_API_KEY")
            .env("LOOPWATCH_LOG", "off")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().rsplit_once("http://").expect(&line).1;
        Self {
            child,
            address: address.parse().expect("an address"),
            sandbox,
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(path, &[], body.to_string().as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.raw(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
    }

    pub(crate) fn send(&self, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        self.raw(&request(path, headers, body))
    }

    /// Sends bytes and reads until the server closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // A server that has seen enough may close before all is sent.
        let _ = stream.write_all(bytes);
        Answer::read(stream)
    }

    /// One value of `/metrics`; 0 if it is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").body;
        let line = page.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok())
            .unwrap_or(0.0)
    }

    /// Waits until a condition holds.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..1600 {
            if condition(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("never: {what}\n{}", self.get("/metrics").body);
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill").success());
    }

    /// Waits for the end and returns the exit code.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        self.child.wait().expect("ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A chat with one message, and these fields besides.
pub(crate) fn chat(over: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "go"}]});
    for (key, value) in over.as_object().expect("an object") {
        body[key] = value.clone();
    }
    body
}

pub(crate) fn scripted(script: &str) -> String {
    let path = repository(&format!("scenarios/checkpoints/{script}.yaml"));
    format!("script:{path}")
}

pub(crate) fn request(path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for header in headers {
        bytes += header;
        bytes += "\r\n";
    }
    let mut bytes = (bytes + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 if the connection was closed without one.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A reset counts as the end.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = match end {
            Some(at) => (&bytes[..at], &bytes[at + 4..]),
            None => (&bytes[..], &[][..]),
        };
        let head = String::from_utf8_lossy(head).to_lowercase();
        let body = match head.contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => body.to_vec(),
        };
        Self {
            status: head
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok())
                .unwrap_or(0),
            body: String::from_utf8_lossy(&body).into_owned(),
            head,
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }

    /// Names and data of the server-sent events; the name is empty where there is none.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let events = self.body.split("\n\n").filter(|event| !event.is_empty());
        let field = |event: &str, name: &str| {
            let mut lines = event.lines();
            let line = lines.find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim_start().to_owned())
        };
        events
            .filter_map(|event| {
                let name = field(event, "event:").unwrap_or_default();
                Some((name, field(event, "data:")?))
            })
            .collect()
    }

    /// The data of all events that are JSON.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let events = self.events().into_iter();
        events
            .filter_map(|(_, data)| serde_json::from_str(&data).ok())
            .collect()
    }

    /// The token ids and the reason of the end, from the object `loopwatch`, wherever it stands.
    pub(crate) fn tokens(&self) -> (Vec<u64>, String) {
        let objects: Vec<Value> = match self.head.contains("text/event-stream") {
            true => self.chunks(),
            false => vec![self.json()],
        };
        let mut ids = Vec::new();
        let mut reason = String::new();
        for object in &objects {
            // In Anthropic's streams the event is the object.
            let told = object.get("loopwatch").unwrap_or(object);
            for token in told["tokens"].as_array().into_iter().flatten() {
                ids.push(token["id"].as_u64().expect("an id"));
            }
            if let Some(why) = told["finish"]["reason"].as_str() {
                why.clone_into(&mut reason);
            }
        }
        (ids, reason)
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..at]).unwrap_or("0");
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let Some(chunk) = rest.get(at + 2..at + 2 + size).filter(|_| size > 0) else {
            break;
        };
        body.extend_from_slice(chunk);
        rest = rest.get(at + 4 + size..).unwrap_or_default();
    }
    body
}

/// The three ways to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Chat,
    Completions,
    Messages,
}

impl Path {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Messages => "/v1/messages",
        }
    }

    /// A request with token ids, and `over` laid over it.
    pub(crate) fn body(self, prompt: &str, stream: bool, over: &Value) -> Value {
        let mut body = json!({"max_tokens": 60, "stream": stream, "return_tokens": true});
        match self {
            Self::Chat | Self::Messages => {
                body["messages"] = json!([{"role": "user", "content": prompt}]);
            }
            Self::Completions => body["prompt"] = json!(prompt),
        }
        for (key, value) in over.as_object().expect("an object") {
            body[key] = value.clone();
        }
        body
    }
}
