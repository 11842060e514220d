//! The objects, and the calls on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc::{CRC_32_ISO_HDLC, Crc, Table};
use futures_util::TryStreamExt;
use md5::{Digest, Md5};
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};

use super::{BUCKET, REGION};
use crate::clock;
use crate::qdrant::sha256;

/// One bucket in memory. Clones are the same bucket.
#[derive(Clone)]
pub struct Store {
    objects: Arc<Mutex<BTreeMap<String, Stored>>>,
    uploads: Arc<Mutex<BTreeMap<String, Begun>>>,
    page: usize,
    /// How large every part but the last has to be.
    least_part: usize,
    /// True where `x-amz-checksum-...` of parts is known and checked.
    checks_parts: bool,
}

/// An upload in parts that was not ended.
#[derive(Clone)]
struct Begun {
    key: String,
    initiated: SystemTime,
    /// Begun with a CRC-32 for each part.
    crc32: bool,
    /// Number to content.
    parts: BTreeMap<i32, Vec<u8>>,
}

#[derive(Clone)]
struct Stored {
    bytes: Vec<u8>,
    modified: SystemTime,
    etag: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// An empty bucket that lists `page` keys at a time, and checks parts by `x-amz-checksum-...` or does not know it.
    pub fn new(page: usize, checks_parts: bool) -> Self {
        Self { objects: Arc::default(), uploads: Arc::default(), page, least_part: 5 << 20, checks_parts }
    }

    /// The keys that begin with `prefix`.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        lock(&self.objects).keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// An object's bytes.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        lock(&self.objects).get(key).map(|stored| stored.bytes.clone())
    }

    /// An object's ETag.
    pub fn etag(&self, key: &str) -> Option<String> {
        lock(&self.objects).get(key).map(|stored| stored.etag.clone())
    }

    /// Stores an object.
    pub fn put(&self, key: &str, bytes: Vec<u8>) {
        let etag = sha256(&bytes)[..32].to_owned();
        self.insert(key, bytes, etag);
    }

    /// Deletes an object.
    pub fn delete(&self, key: &str) {
        lock(&self.objects).remove(key);
    }

    /// The keys of the uploads that were begun and not ended.
    pub fn uploads(&self) -> Vec<String> {
        lock(&self.uploads).values().map(|begun| begun.key.clone()).collect()
    }

    /// Begins an upload and stores a part of it; its id.
    pub fn begin_upload(&self, key: &str) -> String {
        self.begin(key, false)
    }

    fn begin(&self, key: &str, crc32: bool) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        let parts = BTreeMap::new();
        let begun = Begun { key: key.to_owned(), initiated: clock::now().into(), crc32, parts };
        lock(&self.uploads).insert(id.clone(), begun);
        id
    }

    /// Stores an object under this ETag.
    pub fn insert(&self, key: &str, bytes: Vec<u8>, etag: String) {
        lock(&self.objects).insert(key.to_owned(), Stored { bytes, modified: clock::now().into(), etag });
    }

    /// Has the objects whose keys begin with `prefix` be older than they are.
    pub fn age(&self, prefix: &str, by: Duration) {
        let mut objects = lock(&self.objects);
        objects.iter_mut().filter(|(key, _)| key.starts_with(prefix)).for_each(|(_, stored)| stored.modified -= by);
    }

    fn find(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        known(bucket)?;
        lock(&self.objects).get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }
}

fn known(bucket: &str) -> S3Result<()> {
    if bucket == BUCKET { Ok(()) } else { Err(s3_error!(NoSuchBucket, "The specified bucket does not exist")) }
}

/// What AWS answers to a part whose checksum is not of the kind that the upload was begun with.
fn mismatch(expected: &str, actual: &str) -> S3Error {
    s3_error!(
        InvalidRequest,
        "Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
    )
}

/// As in `x-amz-checksum-crc32`.
fn crc32(bytes: &[u8]) -> String {
    BASE64.encode(Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC).checksum(bytes).to_be_bytes())
}

async fn read(body: Option<StreamingBlob>) -> S3Result<Vec<u8>> {
    let Some(body) = body else { return Ok(Vec::new()) };
    let pieces: Vec<_> = body.try_collect().await.map_err(|error| s3_error!(IncompleteBody, "{error}"))?;
    Ok(pieces.concat())
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        known(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        known(&request.input.bucket)?;
        let location = Some(BucketLocationConstraint::from(REGION.to_owned()));
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint: location }))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        known(&input.bucket)?;
        let bytes = read(input.body).await?;
        if input.if_none_match.is_some_and(|condition| condition.is_any()) && self.get(&input.key).is_some() {
            return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
        }
        let etag = sha256(&bytes)[..32].to_owned();
        self.insert(&input.key, bytes, etag.clone());
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(etag)), ..Default::default() }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let stored = self.find(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(stored.bytes.len() as i64),
            last_modified: Some(stored.modified.into()),
            e_tag: Some(ETag::Strong(stored.etag)),
            ..Default::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let stored = self.find(&request.input.bucket, &request.input.key)?;
        let total = stored.bytes.len() as u64;
        let (piece, range) = match request.input.range {
            None => (stored.bytes, None),
            Some(range) => {
                let range = range.check(total)?;
                let piece = stored.bytes[range.start as usize..range.end as usize].to_vec();
                (piece, Some(format!("bytes {}-{}/{total}", range.start, range.end - 1)))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(piece.len() as i64),
            content_range: range,
            body: Some(StreamingBlob::from(s3s::Body::from(piece))),
            last_modified: Some(stored.modified.into()),
            e_tag: Some(ETag::Strong(stored.etag)),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        known(&request.input.bucket)?;
        self.delete(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        known(&input.bucket)?;
        let prefix = input.prefix.unwrap_or_default();
        let after = input.continuation_token.or(input.start_after).unwrap_or_default();
        let most = input.max_keys.map_or(self.page, |keys| (keys as usize).min(self.page));
        let objects = lock(&self.objects);
        let mut found = objects.range(after.clone()..).filter(|(key, _)| **key > after && key.starts_with(&prefix));
        let contents: Vec<Object> = found
            .by_ref()
            .take(most)
            .map(|(key, stored)| Object {
                key: Some(key.clone()),
                size: Some(stored.bytes.len() as i64),
                last_modified: Some(stored.modified.into()),
                e_tag: Some(ETag::Strong(stored.etag.clone())),
                ..Default::default()
            })
            .collect();
        let truncated = found.next().is_some();
        let last = contents.last().and_then(|object| object.key.clone());
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(prefix),
            key_count: Some(contents.len() as i32),
            max_keys: Some(most as i32),
            is_truncated: Some(truncated),
            next_continuation_token: last.filter(|_| truncated),
            contents: Some(contents),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        known(&request.input.bucket)?;
        let algorithm = request.input.checksum_algorithm.filter(|_| self.checks_parts);
        if algorithm.as_ref().is_some_and(|algorithm| algorithm.as_str() != ChecksumAlgorithm::CRC32) {
            return Err(s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported."));
        }
        let id = self.begin(&request.input.key, algorithm.is_some());
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(request.input.bucket),
            key: Some(request.input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let bytes = read(request.input.body).await?;
        if request.input.content_md5.is_some_and(|md5| md5 != BASE64.encode(Md5::digest(&bytes))) {
            return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
        }
        let given = request.input.checksum_crc32.filter(|_| self.checks_parts);
        if given.as_ref().is_some_and(|given| *given != crc32(&bytes)) {
            return Err(s3_error!(BadDigest, "The CRC32 you specified did not match the calculated checksum."));
        }
        let etag = sha256(&bytes)[..32].to_owned();
        let mut uploads = lock(&self.uploads);
        let begun = uploads.get_mut(&request.input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        match (begun.crc32, &given) {
            (true, None) => return Err(mismatch("crc32", "null")),
            (false, Some(_)) => return Err(mismatch("null", "crc32")),
            _ => {}
        }
        begun.parts.insert(request.input.part_number, bytes);
        let e_tag = Some(ETag::Strong(etag));
        Ok(S3Response::new(UploadPartOutput { e_tag, checksum_crc32: given, ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let begun = lock(&self.uploads).get(&input.upload_id).cloned().ok_or_else(|| s3_error!(NoSuchUpload))?;
        if input.if_none_match.is_some_and(|condition| condition.is_any()) && self.get(&input.key).is_some() {
            return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
        }
        let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let mut bytes = Vec::new();
        for (place, part) in listed.iter().enumerate() {
            let number = part.part_number.unwrap_or_default();
            let stored = begun.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
            let same = part.e_tag.as_ref().is_some_and(|etag| etag.value() == &sha256(stored)[..32]);
            if begun.crc32 && part.checksum_crc32.as_deref() != Some(&*crc32(stored)) {
                return Err(s3_error!(
                    InvalidRequest,
                    "The upload was created using a crc32 checksum. The complete request must include the checksum for each part."
                ));
            }
            if !same || place > 0 && listed[place - 1].part_number >= part.part_number {
                return Err(s3_error!(InvalidPart));
            }
            if place + 1 < listed.len() && stored.len() < self.least_part {
                return Err(s3_error!(EntityTooSmall));
            }
            bytes.extend_from_slice(stored);
        }
        lock(&self.uploads).remove(&input.upload_id);
        let etag = format!("{}-{}", &sha256(&bytes)[..32], listed.len());
        self.insert(&input.key, bytes, etag.clone());
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let aborted = lock(&self.uploads).remove(&request.input.upload_id);
        aborted.map(|_| S3Response::new(AbortMultipartUploadOutput::default())).ok_or_else(|| s3_error!(NoSuchUpload))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        known(&input.bucket)?;
        let prefix = input.prefix.unwrap_or_default();
        let after = (input.key_marker.unwrap_or_default(), input.upload_id_marker.unwrap_or_default());
        let mut all: Vec<(String, String, SystemTime)> = lock(&self.uploads)
            .iter()
            .map(|(id, begun)| (begun.key.clone(), id.clone(), begun.initiated))
            .filter(|(key, id, _)| key.starts_with(&prefix) && (key.as_str(), id.as_str()) > (&*after.0, &*after.1))
            .collect();
        all.sort();
        let truncated = all.len() > self.page;
        all.truncate(self.page);
        let last = all.last().filter(|_| truncated).cloned();
        let uploads = all.into_iter().map(|(key, id, initiated)| MultipartUpload {
            key: Some(key),
            upload_id: Some(id),
            initiated: Some(initiated.into()),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: Some(prefix),
            is_truncated: Some(truncated),
            next_key_marker: last.as_ref().map(|(key, ..)| key.clone()),
            next_upload_id_marker: last.map(|(_, id, _)| id),
            uploads: Some(uploads.collect()),
            ..Default::default()
        }))
    }
}
