//! An object read piece by piece, in constant memory, however often the connection breaks.

use async_trait::async_trait;
use http::header::{CONTENT_RANGE, HeaderValue, RANGE};
use http::{Method, StatusCode};

use super::{Bucket, Call, S3Error, S3ErrorKind, header};
use crate::error::Error;
use crate::ports::{Body, HttpError};
use crate::retry;
use crate::store::ObjectReader;

/// Reads a part of an object. Where an answer breaks off, the next one goes on at that place.
pub struct Reader<'a> {
    bucket: &'a Bucket,
    key: &'a str,
    /// The size of the whole object.
    total: u64,
    at: u64,
    end: u64,
    answer: Option<Box<dyn Body>>,
    /// How many answers in a row broke off without a byte.
    failures: u32,
}

impl<'a> Reader<'a> {
    /// Reads the object `key` of `total` bytes from `start` until before `end`.
    pub(super) fn new(bucket: &'a Bucket, key: &'a str, total: u64, start: u64, end: u64) -> Self {
        Self { bucket, key, total, at: start, end: end.min(total), answer: None, failures: 0 }
    }

    async fn piece(&mut self) -> Result<Option<Vec<u8>>, S3Error> {
        while self.at < self.end {
            let mut call = Call::new(Method::GET, self.key);
            let shape = |what: String| S3ErrorKind::Shape(what);
            let last = self.end - 1;
            let answer = match &mut self.answer {
                Some(answer) => answer,
                None => {
                    let range = HeaderValue::from_str(&format!("bytes={}-{last}", self.at));
                    let range = range.map_err(|error| self.bucket.error(&call, shape(error.to_string())))?;
                    call.headers.insert(RANGE, range);
                    let response = self.bucket.send(&call).await?;
                    let expected = format!("bytes {}-{last}/{}", self.at, self.total);
                    let right = response.status == StatusCode::PARTIAL_CONTENT
                        && header(&response.headers, &CONTENT_RANGE) == Some(&expected);
                    if !right {
                        let what = format!("the answer is not the range `{expected}` that was asked for");
                        return Err(self.bucket.error(&call, shape(what)));
                    }
                    self.answer.insert(response.body)
                }
            };
            let broke_off = match answer.chunk().await {
                Ok(Some(chunk)) if chunk.len() as u64 <= self.end - self.at => {
                    self.at += chunk.len() as u64;
                    self.failures = 0;
                    return Ok(Some(chunk));
                }
                Ok(Some(_)) => {
                    return Err(self.bucket.error(&call, shape("more bytes than were asked for".to_owned())));
                }
                Ok(None) => HttpError::Interrupted(format!("{} of {} bytes arrived", self.at, self.end)),
                Err(error) => error,
            };
            self.answer = None;
            self.failures += 1;
            if self.failures == retry::ATTEMPTS {
                return Err(self.bucket.error(&call, S3ErrorKind::Http(broke_off)));
            }
            let clock = self.bucket.ports.clock.as_ref();
            clock.sleep(retry::pause(clock, self.failures, None)).await;
        }
        Ok(None)
    }
}

#[async_trait(?Send)]
impl ObjectReader for Reader<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.piece().await.map_err(Error::from)
    }
}
