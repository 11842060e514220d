//! A snapshot sent to a peer by ourselves, where it can't fetch it from S3.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};

use super::client::{Client, Effect, segment};
use super::error::{QdrantError, QdrantErrorKind};
use crate::ports::{Body, HttpError, LocalBoxFuture};

/// An upload may take a second more for each so many bytes: the limit of the work itself does not count it.
const SLOWEST: u64 = 1 << 20;

impl Client {
    /// Sends this peer a snapshot of `length` bytes to put in place of its replica of a shard, as `recover_shard` does
    /// by a link. Never repeated by itself: the snapshot has to be read anew.
    ///
    /// Qdrant spools it to a file of its own and deletes it afterwards. (A snapshot of a whole collection, sent the same
    /// way, would stay on the peer's disk.)
    pub async fn upload_shard(
        &self,
        collection: &str,
        shard: u32,
        snapshot: &mut dyn Body,
        length: u64,
        checksum: Option<&str>,
    ) -> Result<(), QdrantError> {
        let checksum = checksum.map(|checksum| format!("&checksum={checksum}")).unwrap_or_default();
        let path = format!(
            "/collections/{}/shards/{shard}/snapshots/upload?wait=true&priority=no_sync{checksum}",
            segment(collection)
        );
        let error = |kind| self.error(&Method::POST, &path, kind);
        let boundary = format!("{:016x}{:016x}", self.ports.clock.random(), self.ports.clock.random());
        let mut parts = Parts {
            before: Some(format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"snapshot\"; filename=\"shard-{shard}.snapshot\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            )),
            snapshot,
            after: Some(format!("\r\n--{boundary}--\r\n")),
        };
        let around = [&parts.before, &parts.after].into_iter().flatten().map(String::len).sum::<usize>() as u64;
        let mut request = self.request(&Method::POST, &path, None, Effect::Work).map_err(error)?;
        let content_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"));
        let content_type =
            content_type.map_err(|what| error(QdrantErrorKind::Http(HttpError::Invalid(what.to_string()))))?;
        request.headers.insert(CONTENT_TYPE, content_type);
        let sending = Duration::from_secs(length / SLOWEST);
        request.timeouts.first_byte = request.timeouts.first_byte.saturating_add(sending);
        let sent = self.ports.http.send_stream(request, length + around, &mut parts).await;
        let bytes = self.receive(sent).await.map_err(error)?;
        // Its result is null where a recovery by link has true.
        match self.unwrap(&Method::POST, &path, &bytes)? {
            Some(serde_json::Value::Null | serde_json::Value::Bool(true)) => Ok(()),
            other => {
                let other = other.unwrap_or_default();
                Err(error(QdrantErrorKind::Shape(format!("result {other} in place of null"))))
            }
        }
    }
}

/// A form with one file (RFC 7578).
struct Parts<'a> {
    before: Option<String>,
    snapshot: &'a mut dyn Body,
    after: Option<String>,
}

impl Body for Parts<'_> {
    fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
        Box::pin(async move {
            if let Some(before) = self.before.take() {
                return Ok(Some(before.into_bytes()));
            }
            if self.after.is_none() {
                return Ok(None);
            }
            match self.snapshot.chunk().await? {
                Some(chunk) => Ok(Some(chunk)),
                None => Ok(self.after.take().map(String::into_bytes)),
            }
        })
    }
}
