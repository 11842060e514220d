//! An object read piece by piece, in constant memory, however often the connection breaks.

use async_trait::async_trait;
use http::header::{CONTENT_RANGE, HeaderValue, RANGE};
use http::{Method, StatusCode};

use super::super::error::{S3Error, S3ErrorKind};
use super::connection::{Bucket, Call, header};
use crate::error::Error;
use crate::ports::{Body, HttpError, Pace};
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
    pace: Pace,
}

impl<'a> Reader<'a> {
    /// Reads the object `key` of `total` bytes from `start` until before `end`.
    pub(super) fn new(bucket: &'a Bucket, key: &'a str, total: u64, start: u64, end: u64) -> Self {
        Self { bucket, key, total, at: start, end: end.min(total), answer: None, pace: Pace::default() }
    }

    /// The next piece of the answer that is there, else of a new one from this place on.
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, S3Error> {
        if self.at >= self.end {
            return Ok(None);
        }
        let mut answer = match self.answer.take() {
            Some(answer) => answer,
            None => self.open().await?,
        };
        let kind = match self.pace.chunk(answer.as_mut(), self.bucket.ports.clock.as_ref()).await {
            Ok(Some(chunk)) if chunk.len() as u64 <= self.end - self.at => {
                self.at += chunk.len() as u64;
                self.answer = Some(answer);
                return Ok(Some(chunk));
            }
            Ok(Some(_)) => S3ErrorKind::Shape("more bytes than were asked for".to_owned()),
            Ok(None) => S3ErrorKind::Http(HttpError::Interrupted(format!("{} of {} bytes arrived", self.at, self.end))),
            Err(error) => S3ErrorKind::Http(error),
        };
        Err(self.bucket.error(&Call::new(Method::GET, self.key), kind))
    }

    /// Asks for what is still to come.
    async fn open(&self) -> Result<Box<dyn Body>, S3Error> {
        let last = self.end - 1;
        let mut call = Call::new(Method::GET, self.key);
        let range = HeaderValue::from_str(&format!("bytes={}-{last}", self.at));
        let range = range.map_err(|error| self.bucket.error(&call, S3ErrorKind::Shape(error.to_string())))?;
        call.headers.insert(RANGE, range);
        let response = self.bucket.send_once(&call).await?;
        let expected = format!("bytes {}-{last}/{}", self.at, self.total);
        let right = response.status == StatusCode::PARTIAL_CONTENT
            && header(&response.headers, &CONTENT_RANGE) == Some(&expected);
        if right {
            Ok(response.body)
        } else {
            let what = format!("the answer is not the range `{expected}` that was asked for");
            Err(self.bucket.error(&call, S3ErrorKind::Shape(what)))
        }
    }
}

#[async_trait(?Send)]
impl ObjectReader for Reader<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let retries = self.bucket.retries.clone();
        retries.run(async || self.piece().await).await.map_err(Error::from)
    }
}
