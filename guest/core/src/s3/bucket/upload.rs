//! An object that is stored in parts (AWS, "Multipart upload"): each is in memory while it is sent, and none of the others.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc::{CRC_32_ISO_HDLC, Crc, Table};
use http::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH};
use http::{Method, StatusCode};

use super::super::dialect::{Crc32, Dialect};
use super::super::error::{S3Error, S3ErrorKind};
use super::super::listing::{check_completed, parse_error, parse_upload_id, parse_uploads};
use super::super::sign::encode_query;
use super::connection::{Bucket, Call, ERROR_LIMIT, PAGE_LIMIT, header, text};
use crate::error::{Code, Error};
use crate::store::{ObjectStore, Part, Stat, Upload};

/// How long a store may take to put the parts together.
const COMPLETION: Duration = Duration::from_secs(300);

const ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const CRC32: HeaderName = HeaderName::from_static("x-amz-checksum-crc32");

/// Its tables of 16 KiB are made when they are needed: in the component they could not be compressed.
static CRC_32: LazyLock<Crc<u32, Table<16>>> = LazyLock::new(|| Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC));

/// More pages of uploads than any bucket has.
const MOST_PAGES: usize = 10_000;

impl Bucket {
    pub(super) async fn begin(&self, key: &str) -> Result<Upload, Error> {
        let tries = Cell::new(0_u32);
        let mut crc32 = self.dialect.crc32() == Crc32::Alone;
        let mut begun = self.try_to_begin(key, crc32, &tries).await;
        if let Err(error) = &begun
            && crc32
            && (Dialect::may_refuse_crc32(error) || error.is_denied())
        {
            crc32 = false;
            let again = self.try_to_begin(key, crc32, &tries).await;
            if again.is_ok() {
                self.log_crc32(error);
            }
            begun = again;
        }
        let begun = begun.map(|id| Upload { key: key.to_owned(), id, begun: None, crc32 });
        // One whose answer was lost is there all the same.
        if tries.get() > 1 || begun.is_err() {
            self.abort_others(key, begun.as_ref().ok()).await;
        }
        Ok(begun?)
    }

    async fn try_to_begin(&self, key: &str, crc32: bool, tries: &Cell<u32>) -> Result<String, S3Error> {
        let mut call = Call { query: "uploads=".to_owned(), ..Call::new(Method::POST, key) };
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        self.ask_for_encryption(&mut call);
        if crc32 {
            // Each part has to have one then, and the list of the parts has to name them (AWS, "CreateMultipartUpload").
            call.headers.insert(ALGORITHM, HeaderValue::from_static("CRC32"));
        }
        let begun = self.retries.run(async || {
            tries.set(tries.get() + 1);
            let response = self.send_once(&call).await?;
            let answer = self.read(&call, response, ERROR_LIMIT).await?;
            parse_upload_id(&answer).map_err(|what| self.error(&call, S3ErrorKind::Shape(what)))
        });
        begun.await
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

    /// Stores a part as cheaply as the store lets it: over TLS its content is not in the signature, and it is checked by its
    /// CRC-32. The store has to say that it has this CRC-32, else the part is sent with its MD5.
    pub(super) async fn part(&self, upload: &Upload, number: u32, body: &[u8]) -> Result<Part, Error> {
        let query = format!("partNumber={number}&uploadId={}", encode_query(&upload.id));
        let signed_body = !self.settings.endpoint.host.tls || self.dialect.wants_signed_bodies();
        let crc32 = CRC_32.checksum(body);
        let encoded = BASE64.encode(crc32.to_be_bytes());
        let mut call = Call {
            query,
            body: Cow::Borrowed(body),
            signed_body,
            md5: !upload.crc32 || self.dialect.crc32() != Crc32::Alone,
            ..Call::new(Method::PUT, &upload.key)
        };
        if upload.crc32 && self.dialect.crc32() != Crc32::Refused {
            call.headers.extend(text(CRC32.as_str(), encoded.clone()));
        }
        let (mut refused_unsigned, mut refused_crc32) = (None, None);
        loop {
            let error = match self.receive(&call, ERROR_LIMIT).await {
                Ok((headers, _)) => {
                    let stored = header(&headers, &CRC32).filter(|_| call.headers.contains_key(CRC32));
                    if let Some(other) = stored.filter(|stored| *stored != encoded) {
                        let what = format!("the store has the CRC-32 {other} of a part that has {encoded}");
                        return Err(self.error(&call, S3ErrorKind::Shape(what)).into());
                    }
                    refused_unsigned.iter().for_each(|error| self.log_signed_bodies(error));
                    refused_crc32.iter().for_each(|error| self.log_crc32(error));
                    if stored.is_none() && !call.md5 {
                        // It has not looked at it: nothing but the connection has kept these bytes.
                        self.dialect.learn_crc32(Crc32::BesideMd5);
                        call.md5 = true;
                        continue;
                    }
                    let etag = header(&headers, &ETAG).unwrap_or_default().to_owned();
                    return Ok(Part { etag, crc32: stored.map(|_| crc32), bytes: body.len() as u64 });
                }
                Err(error) => error,
            };
            if !call.md5 && Dialect::asks_for_md5(&error) {
                self.dialect.learn_crc32(Crc32::BesideMd5);
                call.md5 = true;
            } else if !call.signed_body && Dialect::may_want_signed_bodies(&error) {
                call.signed_body = true;
                refused_unsigned = Some(error);
            } else if call.headers.contains_key(CRC32) && Dialect::may_refuse_crc32(&error) {
                call.headers.remove(CRC32);
                call.md5 = true;
                // It was not about the signature then, as far as is known.
                call.signed_body = signed_body;
                refused_unsigned = None;
                refused_crc32 = Some(error);
            } else {
                // A store that knows checksums refuses a part without one, which says less than what it said before.
                return Err(refused_crc32.unwrap_or(error).into());
            }
        }
    }

    fn log_signed_bodies(&self, error: &S3Error) {
        if self.dialect.learn_signed_bodies() {
            let what =
                format!("parts are sent with a signature of their content from now on, which takes longer: {error}");
            self.log.info(None, &what);
        }
    }

    fn log_crc32(&self, error: &S3Error) {
        if self.dialect.learn_crc32(Crc32::Refused) {
            let what = format!("parts are sent with their MD5 from now on, which takes longer than a CRC-32: {error}");
            self.log.info(None, &what);
        }
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
            if let Some(crc32) = part.crc32 {
                let _ = write!(xml, "<ChecksumCRC32>{}</ChecksumCRC32>", BASE64.encode(crc32.to_be_bytes()));
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
