//! An object that is stored in parts (AWS, "Multipart upload"): each is in memory while it is sent, and none of the others.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::Write;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Method, StatusCode};
use sha2::{Digest, Sha256};

use super::super::error::{S3Error, S3ErrorKind};
use super::super::listing::{check_completed, parse_error, parse_upload_id, parse_uploads};
use super::super::sign::encode_query;
use super::connection::{Bucket, Call, ERROR_LIMIT, PAGE_LIMIT, header, text};
use crate::error::{Code, Error};
use crate::store::{ObjectStore, Part, Stat, Upload};

/// How long a store may take to put the parts together.
const COMPLETION: Duration = Duration::from_secs(300);

/// More pages of uploads than any bucket has.
const MOST_PAGES: usize = 10_000;

impl Bucket {
    pub(super) async fn begin(&self, key: &str) -> Result<Upload, Error> {
        let mut call = Call { query: "uploads=".to_owned(), ..Call::new(Method::POST, key) };
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        self.ask_for_encryption(&mut call);
        if self.dialect.wants_checksum() {
            call.headers.extend(text("x-amz-checksum-algorithm", "SHA256".to_owned()));
        }
        let tries = Cell::new(0_u32);
        let begun = self.retries.run(async || {
            tries.set(tries.get() + 1);
            let response = self.send_once(&call).await?;
            let answer = self.read(&call, response, ERROR_LIMIT).await?;
            parse_upload_id(&answer).map_err(|what| self.error(&call, S3ErrorKind::Shape(what)))
        });
        let begun = begun.await.map(|id| Upload { key: key.to_owned(), id, begun: None });
        // One whose answer was lost is there all the same.
        if tries.get() > 1 || begun.is_err() {
            self.abort_others(key, begun.as_ref().ok()).await;
        }
        Ok(begun?)
    }

    /// Aborts all uploads of `key` but `own`, as far as they can be listed: nobody else makes this key.
    async fn abort_others(&self, key: &str, own: Option<&Upload>) {
        let mut others = Vec::new();
        let mut note = |upload: Upload| {
            if upload.key == key && own.is_none_or(|own| own.id != upload.id) {
                others.push(upload);
            }
        };
        // What can't be listed now is left to the next run.
        let _ = self.uploads(key, &mut note).await;
        for upload in others {
            let _ = self.abort(&upload).await;
        }
    }

    pub(super) async fn part(&self, upload: &Upload, number: u32, body: &[u8]) -> Result<Part, Error> {
        let query = format!("partNumber={number}&uploadId={}", encode_query(&upload.id));
        let sha256: [u8; 32] = Sha256::digest(body).into();
        let mut call =
            Call { query, body: Cow::Borrowed(body), sha256: Some(sha256), ..Call::new(Method::PUT, &upload.key) };
        if self.dialect.wants_checksum() {
            call.headers.extend(text("x-amz-checksum-sha256", BASE64.encode(sha256)));
        }
        let (headers, _) = self.receive(&call, ERROR_LIMIT).await.inspect_err(|error| {
            // Known for the next upload, as it has to be said when one is begun.
            self.dialect.asks_for_checksum(error);
        })?;
        let etag = header(&headers, &ETAG).unwrap_or_default().to_owned();
        Ok(Part { etag, sha256, bytes: body.len() as u64 })
    }

    pub(super) async fn complete(&self, upload: &Upload, parts: &[Part]) -> Result<Stat, Error> {
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        let tries = Cell::new(0_u32);
        let mut completed = self.try_to_complete(upload, parts, self.dialect.has_conditions(), &tries).await;
        if let Err(error) = &completed
            && !is_gone(error)
            && self.dialect.refuses_condition(error)
        {
            completed = self.try_to_complete(upload, parts, false, &tries).await;
        }
        if let Err(S3Error { kind: S3ErrorKind::Status { status: 412, .. }, .. }) = &completed
            && tries.get() == 1
        {
            let cause = "there is an object of this key already, which another run has stored";
            return Err(Error::new(Code::Changed, format!("the object `{}`", upload.key), cause));
        }
        // The store says that it is done, or does not know the upload any more, or nothing: the object tells.
        match (self.stat(&upload.key).await?, completed) {
            (Some(stat), _) if stat.bytes == bytes => Ok(stat),
            (_, Err(error)) => Err(error.into()),
            (there, Ok(())) => {
                let there = there.map_or_else(|| "is not there".to_owned(), |stat| format!("has {} bytes", stat.bytes));
                let what = format!("the upload was completed, and the object {there}; {bytes} bytes were sent");
                Err(self.error(&Call::new(Method::POST, &upload.key), S3ErrorKind::Shape(what)).into())
            }
        }
    }

    async fn try_to_complete(
        &self,
        upload: &Upload,
        parts: &[Part],
        condition: bool,
        tries: &Cell<u32>,
    ) -> Result<(), S3Error> {
        let query = format!("uploadId={}", encode_query(&upload.id));
        let body = Cow::Owned(self.list_of(parts).into_bytes());
        let mut call = Call { query, body, answer: COMPLETION, ..Call::new(Method::POST, &upload.key) };
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if condition {
            call.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let completed = self.retries.run(async || {
            tries.set(tries.get() + 1);
            let response = self.send_once(&call).await?;
            let status = response.status;
            let answer = self.read(&call, response, ERROR_LIMIT).await?;
            // An error may come behind a 200, as the store sends the head before it has put the parts together.
            check_completed(&answer).map_err(|what| self.error(&call, failure(status, &answer, what)))
        });
        completed.await
    }

    fn list_of(&self, parts: &[Part]) -> String {
        let mut xml = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
        for (number, part) in (1..).zip(parts) {
            let etag = quick_xml::escape::escape(&part.etag);
            let _ = write!(xml, "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>");
            if self.dialect.wants_checksum() {
                let _ = write!(xml, "<ChecksumSHA256>{}</ChecksumSHA256>", BASE64.encode(part.sha256));
            }
            xml.push_str("</Part>");
        }
        xml.push_str("</CompleteMultipartUpload>");
        xml
    }

    pub(super) async fn abort(&self, upload: &Upload) -> Result<(), Error> {
        let query = format!("uploadId={}", encode_query(&upload.id));
        let call = Call { query, ..Call::new(Method::DELETE, &upload.key) };
        match self.receive(&call, ERROR_LIMIT).await {
            Err(error) if !is_gone(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn uploads(&self, prefix: &str, each: &mut dyn FnMut(Upload)) -> Result<(), Error> {
        let mut marker = String::new();
        for _ in 0..MOST_PAGES {
            let query = format!("{marker}prefix={}&uploads=", encode_query(prefix));
            let call = Call { query, ..Call::new(Method::GET, "") };
            let (_, xml) = self.receive(&call, PAGE_LIMIT).await?;
            let page = parse_uploads(&xml).map_err(|what| self.error(&call, S3ErrorKind::Shape(what)))?;
            // Some stores don't look at the prefix.
            page.uploads.into_iter().filter(|upload| upload.key.starts_with(prefix)).for_each(&mut *each);
            match page.next {
                None => return Ok(()),
                Some(next) if next == marker => break,
                Some(next) => marker = next,
            }
        }
        let call = Call { query: "uploads=".to_owned(), ..Call::new(Method::GET, "") };
        Err(self.error(&call, S3ErrorKind::Shape("a listing without end".to_owned())).into())
    }
}

/// The error behind the head of a success, or that the answer is none.
fn failure(status: StatusCode, answer: &[u8], what: String) -> S3ErrorKind {
    match parse_error(answer) {
        None => S3ErrorKind::Shape(what),
        Some(error) => {
            S3ErrorKind::Status { status: status.as_u16(), code: error.code, message: error.message, retry_after: None }
        }
    }
}

/// True for the answer that there is no such upload any more.
fn is_gone(error: &S3Error) -> bool {
    matches!(&error.kind, S3ErrorKind::Status { status: 404, code, .. } if code == "NoSuchUpload" || code == "NoSuchKey")
}
