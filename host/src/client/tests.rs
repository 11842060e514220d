#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use http_body_util::{Empty, Full};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use wasmtime_wasi_http::Error;

use super::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

fn client() -> Client {
    Client::new(None, AllowList::default(), None)
}

/// A client that trusts `ca_file`, else the system.
fn trusting(ca_file: Option<&Path>) -> Client {
    let trust = Trust { ca_file: ca_file.map(Path::to_path_buf), ..Trust::default() };
    Client::new(Some(configuration(&trust).unwrap()), AllowList::default(), None)
}

fn limits() -> RequestOptions {
    RequestOptions { connect_timeout: Some(LONG), first_byte_timeout: Some(LONG), between_bytes_timeout: Some(LONG) }
}

fn get(uri: impl AsRef<str>) -> Request<WasiBody> {
    Request::get(uri.as_ref()).body(Empty::new().map_err(|never| match never {}).boxed_unsync()).unwrap()
}

fn post(uri: impl AsRef<str>, body: &'static str) -> Request<WasiBody> {
    Request::post(uri.as_ref()).body(Full::from(body).map_err(|never| match never {}).boxed_unsync()).unwrap()
}

async fn text(answer: Response<WasiBody>) -> Result<String, Error> {
    let bytes = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// A server that gives each connection to `serve`; returns its address and its count of connections.
async fn server<F, S>(serve: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    (address, connections)
}

/// Answers every request with its method, its `Host` header and its body.
async fn echo(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
        let host = request.headers()["host"].to_str().unwrap().to_string();
        let method = request.method().clone();
        let body = request.into_body().collect().await?.to_bytes();
        let text = format!("{method} {host} {}", String::from_utf8_lossy(&body));
        Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(text))))
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Reads the head of one request.
async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn connections_are_used_again() {
    let (address, connections) = server(echo).await;
    let client = client();
    let at_a_time = 8;
    let workers = (0..at_a_time).map(|worker| {
        let client = client.clone();
        tokio::spawn(async move {
            for number in 0..2_000 / at_a_time {
                let answer = client.send(get(format!("http://{address}/{worker}/{number}")), limits()).await.unwrap();
                assert_eq!(text(answer).await.unwrap(), format!("GET {address} "));
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let connections = connections.load(Ordering::SeqCst);
    assert!(connections <= 2 * at_a_time, "{connections} connections for 2000 requests, {at_a_time} at a time");
}

#[tokio::test]
async fn method_body_and_host_arrive_as_sent() {
    let (address, _) = server(echo).await;
    let answer = client().send(post(format!("http://{address}/a%20b?c=%2F"), "hello"), limits()).await.unwrap();
    assert_eq!(text(answer).await.unwrap(), format!("POST {address} hello"));
}

#[tokio::test]
async fn the_path_is_sent_as_written_and_redirects_are_answers() {
    let (heads, mut received) = tokio::sync::mpsc::unbounded_channel();
    let (address, _) = server(move |mut stream| {
        let heads = heads.clone();
        async move {
            heads.send(read_head(&mut stream).await).unwrap();
            let redirect =
                b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(redirect).await.unwrap();
        }
    })
    .await;
    let answer = client().send(get(format!("http://{address}/a%20b/..//c?d=%2F&e")), limits()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert!(received.recv().await.unwrap().starts_with("GET /a%20b/..//c?d=%2F&e HTTP/1.1\r\n"));
}

#[tokio::test]
async fn no_answer_in_time() {
    let (address, _) = server(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let limits = RequestOptions { first_byte_timeout: Some(SHORT), ..limits() };
    let failure = client().send(get(format!("http://{address}/")), limits).await.unwrap_err();
    assert!(matches!(failure.code, Error::ConnectionReadTimeout), "{failure:?}");
}

#[tokio::test]
async fn a_body_that_stalls() {
    let (address, _) = server(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n12345").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let limits = RequestOptions { between_bytes_timeout: Some(SHORT), ..limits() };
    let mut body = client().send(get(format!("http://{address}/")), limits).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&first[..], b"12345");
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error:?}");
}

#[tokio::test]
async fn a_slow_body_and_a_slow_reader_are_no_stall() {
    let (address, _) = server(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await.unwrap();
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.write_all(b"x").await.unwrap();
        }
        std::future::pending::<()>().await;
    })
    .await;
    let limits = RequestOptions { between_bytes_timeout: Some(Duration::from_secs(20)), ..limits() };
    let mut body = client().send(get(format!("http://{address}/")), limits).await.unwrap().into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    assert_eq!(length, 10);
}

#[tokio::test]
async fn a_body_that_is_cut_is_no_whole_body() {
    for head in ["content-length: 100", "transfer-encoding: chunked"] {
        let (address, _) = server(move |mut stream| async move {
            read_head(&mut stream).await;
            let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\n12345\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let answer = client().send(get(format!("http://{address}/")), limits()).await.unwrap();
        let error = text(answer).await.unwrap_err();
        assert!(matches!(error, Error::HttpResponseIncomplete), "{head}: {error:?}");
    }
}

#[tokio::test]
async fn a_connection_closed_before_the_answer_is_an_unknown_outcome() {
    let (address, connections) = server(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let failure = client().send(get(format!("http://{address}/")), limits()).await.unwrap_err();
    assert!(matches!(failure.code, Error::ConnectionTerminated), "{failure:?}");
    assert_eq!(connections.load(Ordering::SeqCst), 1, "it is not sent twice");
}

#[tokio::test]
async fn an_answer_that_is_not_http_says_so() {
    let (address, _) = server(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"SSH-2.0-OpenSSH\r\n").await.unwrap();
    })
    .await;
    let failure = client().send(get(format!("http://{address}/")), limits()).await.unwrap_err();
    let Error::InternalError(Some(words)) = failure.code else { panic!("{failure:?}") };
    assert!(words.contains("invalid HTTP"), "{words}");
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failure = client().send(get(format!("http://{address}/")), limits()).await.unwrap_err();
    assert!(matches!(failure.code, Error::ConnectionRefused), "{failure:?}");
}

#[tokio::test]
async fn a_name_that_is_none() {
    let failure = client().send(get("http://no-such-host.invalid/"), limits()).await.unwrap_err();
    let Error::DnsError { rcode: Some(words), .. } = failure.code else { panic!("{failure:?}") };
    assert!(words.contains("lookup"), "{words}");
}

#[tokio::test]
async fn the_handshake_counts_as_connecting() {
    // Accepts the connection and never says a word of TLS.
    let (address, _) = server(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let limits = RequestOptions { connect_timeout: Some(SHORT), ..limits() };
    let failure = client().send(get(format!("https://{address}/")), limits).await.unwrap_err();
    assert!(matches!(failure.code, Error::ConnectionTimeout), "{failure:?}");
}

#[tokio::test]
async fn a_long_answer_is_no_slow_connection() {
    let (address, _) = server(|mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    })
    .await;
    let limits = RequestOptions { connect_timeout: Some(Duration::from_secs(1)), ..limits() };
    let answer = client().send(get(format!("http://{address}/")), limits).await.unwrap();
    assert_eq!(text(answer).await.unwrap(), "ok");
}

#[tokio::test]
async fn giving_up_closes_the_connection() {
    for answers in [false, true] {
        let (closed, is_closed) = oneshot::channel();
        let closed = std::sync::Mutex::new(Some(closed));
        let (asked, is_asked) = oneshot::channel();
        let asked = std::sync::Mutex::new(Some(asked));
        let (address, _) = server(move |mut stream| {
            let closed = closed.lock().unwrap().take().expect("one connection");
            let asked = asked.lock().unwrap().take().expect("one connection");
            async move {
                read_head(&mut stream).await;
                if answers {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n12345").await.unwrap();
                }
                asked.send(()).unwrap();
                let end = stream.read(&mut [0; 1]).await;
                closed.send(end.is_ok_and(|length| length == 0)).unwrap();
            }
        })
        .await;
        let client = client();
        if answers {
            let answer = client.send(get(format!("http://{address}/")), limits()).await.unwrap();
            is_asked.await.unwrap();
            drop(answer);
        } else {
            let request = client.send(get(format!("http://{address}/")), limits());
            tokio::select! {
                _ = request => panic!("there is no answer"),
                asked = is_asked => asked.unwrap(),
            }
        }
        assert!(is_closed.await.unwrap(), "answers: {answers}");
    }
}

/// The server runs on a thread of its own, so that this one can be kept from noticing that it hangs up. A POST,
/// which is never sent twice.
#[tokio::test]
async fn a_connection_that_closed_while_nobody_looked_is_not_used() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (close, may_close) = std::sync::mpsc::channel();
    let (closed, is_closed) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for _ in 0..2 {
            let mut stream = listener.accept().unwrap().0;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            heads.push(String::from_utf8(head).unwrap());
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            may_close.recv().unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
        heads
    });
    let client = client();
    for path in ["first", "second"] {
        let request = Request::post(format!("http://{address}/{path}"));
        let request = request.body(Empty::new().map_err(|never| match never {}).boxed_unsync()).unwrap();
        let answer = client.send(request, limits()).await.unwrap();
        assert_eq!(text(answer).await.unwrap(), "ok");
        // The pool gets its connection back, and then the only thread is blocked while the server hangs up.
        tokio::time::sleep(SHORT).await;
        close.send(()).unwrap();
        is_closed.recv().unwrap();
    }
    let heads = server.join().unwrap();
    assert!(heads[0].starts_with("POST /first ") && heads[1].starts_with("POST /second "), "{heads:?}");
}

/// A CA, and a server with a certificate that it signed for `name`.
struct PrivateCa {
    pem: tempfile::NamedTempFile,
    acceptor: TlsAcceptor,
}

fn private_ca(name: &str) -> PrivateCa {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new([name.to_string()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let pem = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(pem.path(), ca_certificate.pem()).unwrap();
    PrivateCa { pem, acceptor: TlsAcceptor::from(Arc::new(server)) }
}

async fn tls_server(acceptor: TlsAcceptor) -> (SocketAddr, Arc<AtomicUsize>) {
    server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                echo(stream).await;
            }
        }
    })
    .await
}

async fn ask(url: String, ca_file: Option<&Path>) -> Result<String, Failure> {
    let client = trusting(ca_file);
    let answer = client.send(get(url), limits()).await?;
    Ok(text(answer).await.unwrap())
}

#[tokio::test]
async fn a_private_ca_is_trusted_when_given_and_only_then() {
    let ca = private_ca("localhost");
    let (address, _) = tls_server(ca.acceptor.clone()).await;
    let url = format!("https://localhost:{}/", address.port());
    let answer = ask(url.clone(), Some(ca.pem.path())).await.unwrap();
    assert_eq!(answer, format!("GET localhost:{} ", address.port()));

    for other in [None, Some(private_ca("localhost").pem)] {
        let failure = ask(url.clone(), other.as_ref().map(|file| file.path())).await.unwrap_err();
        assert!(matches!(failure.code, Error::TlsCertificateError), "{failure:?}");
        let words = failure.words.unwrap();
        assert!(words.contains("invalid peer certificate") && words.contains("--ca-file"), "{words}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let ca = private_ca("elsewhere.example");
    let (address, _) = tls_server(ca.acceptor).await;
    let failure = ask(format!("https://localhost:{}/", address.port()), Some(ca.pem.path())).await.unwrap_err();
    assert!(matches!(failure.code, Error::TlsCertificateError), "{failure:?}");
}

#[tokio::test]
async fn an_address_in_a_certificate_counts() {
    let ca = private_ca("127.0.0.1");
    let (address, connections) = tls_server(ca.acceptor).await;
    let client = trusting(Some(ca.pem.path()));
    for _ in 0..20 {
        let answer = client.send(get(format!("https://{address}/")), limits()).await.unwrap();
        assert_eq!(text(answer).await.unwrap(), format!("GET {address} "));
    }
    assert!(connections.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn a_second_tls_connection_resumes_the_session_of_the_first() {
    let ca = private_ca("localhost");
    let (kinds, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let (address, _) = server(move |stream| {
        let (acceptor, kinds) = (ca.acceptor.clone(), kinds.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            kinds.send(stream.get_ref().1.handshake_kind().unwrap()).unwrap();
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await;
    let client = trusting(Some(ca.pem.path()));
    for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let answer = client.send(get(format!("https://localhost:{}/", address.port())), limits()).await.unwrap();
        text(answer).await.unwrap();
        assert_eq!(seen.recv().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn tls_to_a_server_without_is_a_tls_error() {
    let (address, _) = server(echo).await;
    let failure = client().send(get(format!("https://{address}/")), limits()).await.unwrap_err();
    assert!(matches!(failure.code, Error::TlsProtocolError), "{failure:?}");
    assert!(failure.words.unwrap().contains("TLS"));
}

/// A certificate of its own CA, in a file, with its key; `name` is empty for one that names nobody.
fn self_signed(name: &str, is_ca: bool, ends: i32) -> (tempfile::NamedTempFile, rcgen::Certificate, rcgen::KeyPair) {
    let names: Vec<String> = if name.is_empty() { Vec::new() } else { vec![name.to_string()] };
    let mut parameters = rcgen::CertificateParams::new(names).unwrap();
    if is_ca {
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    parameters.not_after = rcgen::date_time_ymd(ends, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate.pem()).unwrap();
    (file, certificate, key)
}

fn acceptor(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    TlsAcceptor::from(Arc::new(server))
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_where_it_is_given() {
    for (name, is_ca, ends, trusted) in [
        ("localhost", true, 2999, true),
        ("localhost", false, 2999, true),
        ("", true, 2999, true),
        ("", false, 2999, true),
        ("elsewhere.example", true, 2999, false),
        ("localhost", true, 2001, false),
    ] {
        let (file, certificate, key) = self_signed(name, is_ca, ends);
        let (address, _) = tls_server(acceptor(&certificate, &key)).await;
        let url = format!("https://localhost:{}/", address.port());
        assert_eq!(ask(url.clone(), Some(file.path())).await.is_ok(), trusted, "{name} {is_ca} {ends}");
        // Another one of the same names is not the one that was given.
        let (other, _, _) = self_signed(name, is_ca, ends);
        assert!(ask(url, Some(other.path())).await.is_err(), "{name} {is_ca}");
    }
}

#[tokio::test]
async fn an_extra_ca_is_trusted_beside_the_others() {
    let (first, second) = (private_ca("localhost"), private_ca("localhost"));
    let trust = Trust {
        ca_file: Some(first.pem.path().to_path_buf()),
        extra_ca_file: Some(second.pem.path().to_path_buf()),
        client: None,
    };
    let client = Client::new(Some(configuration(&trust).unwrap()), AllowList::default(), None);
    for ca in [first, second] {
        let (address, _) = tls_server(ca.acceptor).await;
        client.send(get(format!("https://localhost:{}/", address.port())), limits()).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_asks_for_it() {
    let (ca_file, certificate, key) = self_signed("localhost", true, 2999);
    let key_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key_file.path(), key.serialize_pem()).unwrap();
    let mut of_clients = rcgen::CertificateParams::new(Vec::new()).unwrap();
    of_clients.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let of_clients_key = rcgen::KeyPair::generate().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(of_clients.self_signed(&of_clients_key).unwrap().der().clone()).unwrap();
    let issuer = rcgen::Issuer::new(of_clients, of_clients_key);
    let client_key = rcgen::KeyPair::generate().unwrap();
    let ours = rcgen::CertificateParams::new(["client".to_string()]).unwrap().signed_by(&client_key, &issuer).unwrap();
    let (chain_file, client_key_file) =
        (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(chain_file.path(), ours.pem()).unwrap();
    std::fs::write(client_key_file.path(), client_key.serialize_pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let (address, _) = tls_server(TlsAcceptor::from(Arc::new(server))).await;
    let url = format!("https://localhost:{}/", address.port());
    let ask = async |client: Option<ClientCertificate>| {
        let trust = Trust { ca_file: Some(ca_file.path().to_path_buf()), client, ..Trust::default() };
        let client = Client::new(Some(configuration(&trust).unwrap()), AllowList::default(), None);
        text(client.send(get(&url), limits()).await.map_err(|failure| failure.code)?).await
    };
    let (chain, key) = (chain_file.path().to_path_buf(), client_key_file.path().to_path_buf());
    ask(Some(ClientCertificate { chain: chain.clone(), key })).await.unwrap();
    // The server closes at once, and now and then its alert is lost to the reset of the connection.
    let mut refused = false;
    for _ in 0..20 {
        refused |= matches!(ask(None).await.unwrap_err(), Error::TlsAlertReceived { .. });
    }
    assert!(refused);
    // A key that is another certificate's.
    let trust =
        Trust { client: Some(ClientCertificate { chain, key: key_file.path().to_path_buf() }), ..Trust::default() };
    assert!(configuration(&trust).unwrap_err().to_string().contains("does not fit"));
}

#[tokio::test]
async fn https_goes_through_the_proxy_and_is_checked_all_the_same() {
    let ca = private_ca("localhost");
    let (target, _) = tls_server(ca.acceptor).await;
    let (asked, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let (proxy, _) = server(move |mut stream| {
        let asked = asked.clone();
        async move {
            let head = read_head(&mut stream).await;
            let refused = head.starts_with("CONNECT refused");
            asked.send(head).unwrap();
            if refused {
                stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
                return;
            }
            let mut onward = TcpStream::connect(target).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
        }
    })
    .await;
    let trust = Trust { ca_file: Some(ca.pem.path().to_path_buf()), ..Trust::default() };
    let proxy = Proxy::parse(&format!("http://user:pw@{proxy}"), "").unwrap();
    let client = Client::new(Some(configuration(&trust).unwrap()), AllowList::default(), Some(proxy));
    // The proxy leads elsewhere than the name alone would.
    let answer = client.send(get("https://localhost:1/"), limits()).await.unwrap();
    assert_eq!(text(answer).await.unwrap(), "GET localhost:1 ");
    let head = seen.recv().await.unwrap().to_lowercase();
    assert!(head.starts_with("connect localhost:1 ") && head.contains("proxy-authorization: basic "), "{head}");
    // What it answers in place of the server is no connection.
    let failure = client.send(get("https://refused.example/"), limits()).await.unwrap_err();
    assert!(matches!(failure.code, Error::DestinationUnavailable), "{failure:?}");
}

#[tokio::test]
async fn a_name_that_leads_to_a_guarded_address_is_refused() {
    let failure = Failure::of_connecting(&std::io::Error::other(resolve::guarded("169.254.169.254")));
    assert!(matches!(failure.code, Error::DestinationIpProhibited), "{failure:?}");
    assert!(failure.words.unwrap().contains("--allow-host '169.254.169.254'"));
}
