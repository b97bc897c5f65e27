//! Connections, one request each: read, answered as scripted, closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::FaultScript;
use super::answer::{Form, Part, parts};

/// Most bytes of a request.
const MAX_REQUEST: usize = 16 << 20;
/// Longest time for a request to come in.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait when the system has no more sockets.
const NO_SOCKETS: Duration = Duration::from_millis(100);

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, script: FaultScript) {
    let script = Arc::new(script);
    let asked = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(NO_SOCKETS).await;
            continue;
        };
        let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
        tokio::spawn(async move {
            // A client that leaves is what this server is for.
            let _ = answer(stream, &script, &asked).await;
        });
    }
}

/// What is read of a request.
struct Request {
    path: String,
    body: Value,
}

async fn answer(
    mut stream: TcpStream,
    script: &FaultScript,
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let Ok(Some(request)) = timeout(PATIENCE, read(&mut stream)).await else {
        return Ok(());
    };
    let start = Instant::now();
    if request.path == "/v1/models" {
        let owner = if script.tokens { "loopwatch" } else { "nobody" };
        let model = json!({"id": script.model, "object": "model", "owned_by": owner});
        let list = json!({"object": "list", "data": [model]});
        return plain(&mut stream, 200, "", &list.to_string()).await;
    }
    let flag = |name: &str| request.body.get(name).and_then(Value::as_bool) == Some(true);
    let form = Form {
        anthropic: match request.path.as_str() {
            "/v1/messages" => true,
            "/v1/chat/completions" => false,
            _ => return plain(&mut stream, 404, "", "Not Found").await,
        },
        stream: flag("stream"),
        tokens: script.tokens && flag("return_tokens"),
    };
    if let Some(status) = &script.faults.status
        && asked.fetch_add(1, Ordering::Relaxed) < status.times
    {
        let wait = status.retry_after;
        let wait = wait.map_or_else(String::new, |seconds| format!("retry-after: {seconds}\r\n"));
        let body = json!({"error": {"message": "not now, says the script"}});
        return plain(&mut stream, status.code, &wait, &body.to_string()).await;
    }
    if let Some(time) = script.faults.slow_headers {
        sleep(time).await;
    }
    let usual = if form.stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    let kind = script.faults.content_type.as_deref().unwrap_or(usual);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n"
    );
    match script.faults.dribble {
        None => stream.write_all(head.as_bytes()).await?,
        Some(pause) => {
            for byte in head.as_bytes() {
                stream.write_all(&[*byte]).await?;
                sleep(pause).await;
            }
        }
    }
    if send(&mut stream, script, start, parts(script, form)).await? {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    stream.shutdown().await
}

/// Sends the body in time; false if the connection is to be cut.
async fn send(
    stream: &mut TcpStream,
    script: &FaultScript,
    start: Instant,
    parts: Vec<Part>,
) -> std::io::Result<bool> {
    let mut left = script.faults.disconnect_at.unwrap_or(usize::MAX);
    for part in parts {
        sleep_until(start + part.at).await;
        let bytes = &part.bytes[..part.bytes.len().min(left)];
        left -= bytes.len();
        let size = script.faults.split.unwrap_or(bytes.len()).max(1);
        for piece in bytes.chunks(size) {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            stream.write_all(&chunk).await?;
            if script.faults.split.is_some() {
                // So that the pieces do not travel together.
                stream.flush().await?;
                tokio::task::yield_now().await;
            }
        }
        if left == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn plain(
    stream: &mut TcpStream,
    code: u16,
    headers: &str,
    body: &str,
) -> std::io::Result<()> {
    let answer = format!(
        "HTTP/1.1 {code} Scripted\r\ncontent-type: application/json\r\n{headers}\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Head and body of a request; `None` if it is none.
async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, &mut bytes).await?;
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let path = text.split_whitespace().nth(1)?.to_owned();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(Some(0), |length| length.trim().parse().ok())?;
    while bytes.len() < head.checked_add(length)? {
        more(stream, &mut bytes).await?;
    }
    let body = serde_json::from_slice(&bytes[head..]).unwrap_or(Value::Null);
    Some(Request { path, body })
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(bytes).await.ok()?;
    (read > 0 && bytes.len() <= MAX_REQUEST).then_some(())
}
