//! An HTTP server whose requests can go wrong.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::fault::{Canned, Faults, Place, Request, Wrong};
use crate::network::Listening;

/// A body that may break off.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What a handler gives: an answer, or nothing, and then the connection ends.
pub type Answer = Option<Response<Body>>;

/// How many pieces a dripping body comes in.
const DRIPS: usize = 12;

/// Where a server listens.
pub enum Listener {
    /// A port of this machine.
    Socket(TcpListener),
    /// An address (`ip:port`) of the network in memory.
    Memory(String),
}

/// A running server; stops when dropped, its connections with it.
pub struct Server {
    accepting: JoinHandle<()>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Serves `place` by `handler`, which gets every request whole.
    pub fn start<F>(
        listener: Listener,
        place: Place,
        faults: Faults,
        handler: impl Fn(http::Request<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let (handler, connections) = (Arc::new(handler), Arc::new(AtomicUsize::new(0)));
        let accepting = match listener {
            Listener::Socket(listener) => {
                tokio::spawn(accept(listener, place, faults, handler, Arc::clone(&connections)))
            }
            Listener::Memory(authority) => in_memory(authority, place, faults, handler),
        };
        Self { accepting, connections }
    }

    /// How many connections were accepted so far; there are none on the network in memory.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Closes the port and every connection.
    pub async fn stop(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An answer with all of its body.
pub fn whole(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never: Infallible| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body));
    *response.status_mut() = status;
    response
}

impl Canned {
    fn response(&self) -> Response<Body> {
        let mut response = whole(StatusCode::from_u16(self.status).expect("a status"), self.body.clone());
        response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(self.content_type));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Asks the port to close for a while; told when it is closed.
type Closing = (Duration, oneshot::Sender<()>);

async fn accept<H, F>(
    mut listener: TcpListener,
    place: Place,
    faults: Faults,
    handler: Arc<H>,
    accepted: Arc<AtomicUsize>,
) where
    H: Fn(http::Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let (close, mut closing) = mpsc::unbounded_channel::<Closing>();
    loop {
        let stream = tokio::select! {
            stream = listener.accept() => match stream {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            Some((time, closed)) = closing.recv() => {
                let address = listener.local_addr().expect("its address");
                drop(listener);
                let _ = closed.send(());
                tokio::time::sleep(time).await;
                listener = again(address).await;
                continue;
            }
        };
        accepted.fetch_add(1, Ordering::SeqCst);
        while connections.try_join_next().is_some() {}
        let Ok(wire) = Wire::of(&stream) else { continue };
        let (faults, handler, close) = (faults.clone(), Arc::clone(&handler), close.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let handler = Arc::clone(&handler);
                serve(request, place, faults.clone(), wire.clone(), close.clone(), move |request| handler(request))
            });
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Serves an address of the network in memory, at once and until the task is aborted.
fn in_memory<H, F>(authority: String, place: Place, faults: Faults, handler: Arc<H>) -> JoinHandle<()>
where
    H: Fn(http::Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let (close, mut closing) = mpsc::unbounded_channel::<Closing>();
    let serve = move |request: http::Request<Bytes>| {
        let handler = Arc::clone(&handler);
        let (request, wire) = (request.map(Full::new), Wire(None));
        let served = serve(request, place, faults.clone(), wire, close.clone(), move |request| handler(request));
        Box::pin(served) as std::pin::Pin<Box<dyn Future<Output = _> + Send>>
    };
    let listening = Listening::at(authority, Arc::new(serve));
    tokio::spawn(async move {
        while let Some((time, closed)) = closing.recv().await {
            listening.open(false);
            let _ = closed.send(());
            tokio::time::sleep(time).await;
            listening.open(true);
        }
    })
}

/// Listens at an address that was just given up.
async fn again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve<B: hyper::body::Body<Data = Bytes>, F: Future<Output = Answer>>(
    request: http::Request<B>,
    place: Place,
    faults: Faults,
    wire: Wire,
    close: mpsc::UnboundedSender<Closing>,
    handler: impl Fn(http::Request<Bytes>) -> F,
) -> Result<Response<Body>, io::Error> {
    let (head, body) = request.into_parts();
    let seen = Request { place, method: head.method.clone(), uri: head.uri.clone(), headers: head.headers.clone() };
    let wrong = faults.see(seen);
    if let Some(Wrong::Refuse(time)) = wrong {
        let (closed, told) = oneshot::channel();
        if close.send((time, closed)).is_ok() {
            let _ = told.await;
        }
        return Err(wire.reset());
    }
    let body = body.collect().await.map_err(|_| ended())?.to_bytes();
    let done = async || handler(http::Request::from_parts(head.clone(), body.clone())).await.ok_or_else(ended);
    match wrong {
        None | Some(Wrong::Refuse(_)) => done().await,
        Some(Wrong::Flipped) => {
            let mut body = body.to_vec();
            let middle = body.len() / 2;
            body[middle] ^= 1;
            handler(http::Request::from_parts(head.clone(), body.into())).await.ok_or_else(ended)
        }
        Some(Wrong::Reset) => Err(wire.reset()),
        Some(Wrong::ResetWithin) => cut(done().await?, usize::MAX, &wire, true).await,
        Some(Wrong::Lost) => {
            done().await?;
            Err(ended())
        }
        Some(Wrong::Status(status, body)) => Ok(whole(StatusCode::from_u16(status).expect("a status"), body)),
        Some(Wrong::Answer(canned)) => Ok(canned.response()),
        Some(Wrong::DoneBut(canned)) => {
            done().await?;
            Ok(canned.response())
        }
        Some(Wrong::Edited(edit)) => {
            let (head, body) = done().await?.into_parts();
            let mut edited = whole(head.status, edit.apply(&body.collect().await?.to_bytes()));
            edited.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
            Ok(edited)
        }
        Some(Wrong::NotHttp) => {
            wire.write(b"\x16\x03\x01\x00\xff\x00 this is not the protocol that was asked for\r\n\r\n\x00\x01");
            Err(ended())
        }
        Some(Wrong::Twice) => {
            done().await?;
            done().await
        }
        Some(Wrong::Truncate(length)) => cut(done().await?, length, &wire, false).await,
        Some(Wrong::Short(length)) => {
            let (head, body) = done().await?.into_parts();
            let bytes = body.collect().await?.to_bytes();
            let piece = Ok(Frame::data(bytes.slice(..length.min(bytes.len()))));
            Ok(Response::from_parts(head, UnsyncBoxBody::new(StreamBody::new(futures_util::stream::iter([piece])))))
        }
        Some(Wrong::TruncateHalf) => cut(done().await?, usize::MAX, &wire, false).await,
        Some(Wrong::Drip(pause)) => drip(done().await?, pause).await,
        Some(Wrong::Stall(time)) => {
            tokio::time::sleep(time).await;
            done().await
        }
        Some(Wrong::Before(event)) => {
            event.happen().await;
            done().await
        }
        Some(Wrong::After(event)) => {
            let answer = done().await?;
            event.happen().await;
            Ok(answer)
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("ended on purpose")
}

/// The first `length` bytes of the body, or its first half, and then the end of the connection.
async fn cut(response: Response<Body>, length: usize, wire: &Wire, reset: bool) -> Result<Response<Body>, io::Error> {
    let (mut head, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let length = if length == usize::MAX { bytes.len() / 2 } else { length.min(bytes.len()) };
    if bytes.is_empty() {
        // What ends early is the head.
        wire.write(b"HTTP/1.1 200 OK\r\ncontent-le");
        return Err(if reset { wire.reset() } else { ended() });
    }
    head.headers.insert(CONTENT_LENGTH, bytes.len().into());
    let (piece, wire) = (bytes.slice(..length), wire.clone());
    let end = async move {
        // What was written before has left by then.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(if reset { wire.reset() } else { ended() })
    };
    let first = (!piece.is_empty()).then(|| Ok(Frame::data(piece)));
    let frames = futures_util::StreamExt::chain(futures_util::stream::iter(first), futures_util::stream::once(end));
    Ok(Response::from_parts(head, UnsyncBoxBody::new(StreamBody::new(frames))))
}

async fn drip(response: Response<Body>, pause: Duration) -> Result<Response<Body>, io::Error> {
    let (mut head, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    if bytes.is_empty() {
        // A head may be late, too.
        tokio::time::sleep(pause * DRIPS as u32).await;
        return Ok(Response::from_parts(head, UnsyncBoxBody::new(Full::new(bytes).map_err(|never| match never {}))));
    }
    head.headers.insert(CONTENT_LENGTH, bytes.len().into());
    let size = bytes.len().div_ceil(DRIPS);
    let pieces: Vec<Bytes> =
        (0..bytes.len()).step_by(size).map(|at| bytes.slice(at..bytes.len().min(at + size))).collect();
    let frames = futures_util::StreamExt::then(futures_util::stream::iter(pieces), move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok(Frame::data(piece))
    });
    Ok(Response::from_parts(head, UnsyncBoxBody::new(StreamBody::new(frames))))
}

/// The socket below a connection, for what no HTTP server does by itself; none in memory.
#[derive(Clone)]
struct Wire(Option<Arc<std::net::TcpStream>>);

impl Wire {
    fn of(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self(Some(Arc::new(stream.as_fd().try_clone_to_owned()?.into()))))
    }

    /// Has the connection end by a reset, as soon as it is dropped.
    fn reset(&self) -> io::Error {
        if let Some(socket) = &self.0 {
            let _ = socket2::SockRef::from(&**socket).set_linger(Some(Duration::ZERO));
        }
        ended()
    }

    fn write(&self, bytes: &[u8]) {
        if let Some(socket) = &self.0 {
            let _ = io::Write::write(&mut &**socket, bytes);
        }
    }
}
