//! A server that answers as a test likes, where a Qdrant is expected.

use std::future::Future;
use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::faults::{Faults, Place, Server, whole};
use crate::qdrant::{PORT, listen};

/// What it is asked.
pub struct Asked {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers, as text.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// The server; stops when dropped.
pub struct Impostor {
    ip: String,
    server: Server,
}

impl Impostor {
    /// Listens on Qdrant's port of an address of its own; `answer` gives status and body.
    pub async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Asked) -> A + Send + Sync + 'static,
        A: Future<Output = (u16, Vec<u8>)> + Send + 'static,
    {
        let (ip, listener) = listen(1, false).await.remove(0);
        let answer = Arc::new(answer);
        let server = Server::start(listener, Place::Qdrant(0), Faults::default(), move |request| {
            let answer = Arc::clone(&answer);
            async move {
                let (head, body) = request.into_parts();
                let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
                let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
                let (method, path) = (head.method, head.uri.to_string());
                let (status, body) = answer(Asked { method, path, headers, body: body.to_vec() }).await;
                Some(whole(StatusCode::from_u16(status).expect("a status"), body))
            }
        });
        Self { ip, server }
    }

    /// Its IP address.
    pub fn ip(&self) -> &str {
        &self.ip
    }

    /// `http://ip:port`.
    pub fn host(&self) -> String {
        format!("http://{}:{PORT}", self.ip)
    }

    /// How many connections were made to it, whether or not anything was asked.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }
}

/// `result` in the envelope of Qdrant's answers.
pub fn envelope(result: &Value) -> (u16, Vec<u8>) {
    (200, json!({"result": result, "status": "ok", "time": 0.1}).to_string().into_bytes())
}
