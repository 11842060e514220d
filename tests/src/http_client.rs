//! A plain HTTP client for the stand-in and the tests.

use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::network;

type Plain = Client<HttpConnector, Full<Bytes>>;

/// Reads a URL whole.
pub async fn get(url: &str) -> Result<(StatusCode, Vec<u8>), String> {
    send(Method::GET, url, &[], Vec::new()).await
}

/// Sends a request and reads the answer whole.
pub async fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<(StatusCode, Vec<u8>), String> {
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Bytes::from(body)).map_err(|error| error.to_string())?;
    if network::has(url) {
        let answer = network::send(request).await.map_err(|failure| format!("{failure:?}"))?;
        return read(answer).await;
    }
    let request = request.map(Full::new);
    // No pool: tests run on runtimes of their own, and a connection belongs to the runtime that made it.
    let client: Plain = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    read(client.request(request).await.map_err(|error| error.to_string())?).await
}

async fn read<B>(response: Response<B>) -> Result<(StatusCode, Vec<u8>), String>
where
    B: hyper::body::Body<Error: std::fmt::Display>,
{
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes().to_vec()))
}
