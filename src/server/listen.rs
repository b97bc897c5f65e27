//! Connections: accepted up to a limit, timed out when they stall, and closed in good order.
//!
//! The order to stop ends new requests at once. Running answers have the grace period; what is
//! left then ends with an error in its API's form, so that no client waits for more.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::admission::App;
use super::stall::StallGuard;
use super::{Served, ServerOptions, TimeOuts, router};

/// Bytes of a request's head, and of what waits to be written.
const BUFFER_BYTES: usize = 64 << 10;
/// Headers of a request.
const MOST_HEADERS: usize = 100;
/// How long to wait when the system has no more sockets.
const NO_SOCKETS: Duration = Duration::from_millis(100);
/// How long clients have to read the last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves until `shutdown` completes, and then until the running answers are over or the grace
/// period is.
pub async fn serve(
    listener: TcpListener,
    served: Served,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) {
    let time_outs = options.time_outs.clone();
    let room = Arc::new(Semaphore::new(options.limits.connections));
    let (close, closing) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let app = Arc::new(App::new(served, options, stopped, closing.clone()));
    let router = router(app);

    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        // The semaphore is never closed, so there is always a permit in the end.
        let accepting = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            (permit, accepted) = accepting => match accepted {
                Ok((stream, peer)) => {
                    let connection =
                        connection(stream, peer, router.clone(), time_outs.clone(), closing.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(NO_SOCKETS).await;
                }
            },
            // Only so that ended connections do not pile up.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    tracing::info!(connections = connections.len(), "stopping");
    // Every connection holds a receiver; without connections nobody needs to know.
    let _ = close.send(true);
    if !all_end(&mut connections, time_outs.grace).await {
        let _ = stop.send(true);
        all_end(&mut connections, LAST_WORDS).await;
    }
    connections.shutdown().await;
}

/// Waits for all connections to end; false if the time is over first.
async fn all_end(connections: &mut JoinSet<()>, most: Duration) -> bool {
    let ending = async { while connections.join_next().await.is_some() {} };
    tokio::time::timeout(most, ending).await.is_ok()
}

/// Waits for the order to close. Its sender outlives the connections.
async fn told(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    time_outs: TimeOuts,
    mut closing: watch::Receiver<bool>,
) {
    // Tokens are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(StallGuard::new(stream, time_outs.write));
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(time_outs.headers)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(MOST_HEADERS)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = told(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        // Clients leave in the middle all the time.
        tracing::debug!(%peer, %error, "connection ended");
    }
}
