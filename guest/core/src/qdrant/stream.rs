//! A snapshot of a shard that a peer sends while it makes it: it is stored nowhere, and its size is known at the end.

use std::rc::Rc;

use http::Method;
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_ENCODING};

use super::client::{Client, Effect, segment};
use super::error::{QdrantError, QdrantErrorKind};
use crate::ports::{Body, Clock, HttpError, Pace};

/// A snapshot that arrives.
pub struct Streamed {
    /// What Qdrant calls it, where it says so. Two of one shard within a second have one name.
    pub name: Option<String>,
    body: Box<dyn Body>,
    pace: Pace,
    clock: Rc<dyn Clock>,
    host: String,
    call: String,
}

impl Streamed {
    /// The next piece, or `None` at the end of the answer. That is no end of the snapshot: Qdrant ends the answer properly
    /// where it has failed in the middle, too.
    ///
    /// # Errors
    /// It breaks off, or comes too slowly.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, QdrantError> {
        let next = self.pace.chunk(self.body.as_mut(), self.clock.as_ref()).await;
        next.map_err(|error| QdrantError {
            host: self.host.clone(),
            call: self.call.clone(),
            kind: QdrantErrorKind::Http(error),
        })
    }
}

impl Client {
    /// Has this peer send a snapshot of its own replica of a shard. It holds the shard's segments meanwhile, and gives up
    /// where nothing is read for five minutes.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub async fn stream_shard(&self, collection: &str, shard: u32) -> Result<Streamed, QdrantError> {
        let path = format!("/collections/{}/shards/{shard}/snapshot", segment(collection));
        let error = |kind| self.error(&Method::GET, &path, kind);
        let sent = self.retries().run(async || {
            let mut request = self.request(&Method::GET, &path, None, Effect::Work).map_err(error)?;
            request.headers.remove(ACCEPT);
            match self.ports.http.send(request).await {
                Ok(response) if response.status.is_success() => Ok(response),
                other => Err(error(match self.receive(other).await {
                    Err(kind) => kind,
                    Ok(_) => QdrantErrorKind::Shape("no status".to_owned()),
                })),
            }
        });
        let response = sent.await?;
        let header = |name| response.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        if let Some(encoding) = header(CONTENT_ENCODING).filter(|encoding| !matches!(*encoding, "" | "identity")) {
            let what = format!("compressed ({encoding}), which was not requested");
            return Err(error(QdrantErrorKind::Http(HttpError::Interrupted(what))));
        }
        let name = header(CONTENT_DISPOSITION)
            .and_then(|text| text.split("filename=").nth(1))
            .map(|name| name.trim().trim_matches('"').to_owned());
        let QdrantError { host, call, .. } = error(QdrantErrorKind::Shape(String::new()));
        let clock = Rc::clone(&self.ports.clock);
        Ok(Streamed { name, body: response.body, pace: Pace::default(), clock, host, call })
    }
}
