//! The seam to storage: what the logic needs of an object store, whoever provides it.

#[cfg(test)]
pub(crate) mod memory;

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::error::{Code, Error};
use crate::places::Places;
use crate::presigned_url::PresignedUrl;

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was stored, as far as the server tells.
    pub last_modified: Option<OffsetDateTime>,
}

/// What the store says of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its ETag without quotes; opaque.
    pub etag: String,
}

/// A multipart upload that was begun and not ended: its parts are kept, and paid for, until it is completed or aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The key of the object that it is to become.
    pub key: String,
    /// The store's own id of it; opaque.
    pub id: String,
    /// When it was begun, as far as a listing tells.
    pub begun: Option<OffsetDateTime>,
    /// True where it was begun with a CRC-32 for each part, which every part has to have then.
    pub crc32: bool,
}

/// A part of a multipart upload that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its ETag as the store gave it, quotes included; opaque.
    pub etag: String,
    /// Its CRC-32, where the store has said that it is this.
    pub crc32: Option<u32>,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What the names of objects begin with that [`ObjectStore::check_writable`] stores.
pub const WRITE_CHECK: &str = "write-check-";

/// A bucket. Every call is repeated on passing faults by whoever implements it.
#[async_trait(?Send)]
pub trait ObjectStore {
    /// The bucket's name, for people.
    fn name(&self) -> &str;

    /// The prefix below which Qdrant stores its snapshots (`QDRANT_S3_KEY_PREFIX`), without a slash at either end.
    fn key_prefix(&self) -> &str;

    /// Where the tool's own objects lie.
    fn places(&self) -> &Places;

    /// The object's size and ETag; `None` where there is no such object.
    ///
    /// # Errors
    /// The store can't be asked.
    async fn stat(&self, key: &str) -> Result<Option<Stat>, Error>;

    /// The whole object, of at most `limit` bytes; `None` where there is no such object.
    ///
    /// # Errors
    /// The store can't be read, or the object is larger.
    async fn get(&self, key: &str, limit: usize) -> Result<Option<Vec<u8>>, Error>;

    /// `length` bytes of the object from `start` on.
    ///
    /// # Errors
    /// The store can't be read, the object isn't there or is shorter.
    async fn range(&self, key: &str, start: u64, length: usize) -> Result<Vec<u8>, Error>;

    /// Reads a part of the object `key` of `total` bytes: from `start` until before `end`.
    fn reader<'a>(&'a self, key: &'a str, total: u64, start: u64, end: u64) -> Box<dyn ObjectReader + 'a>;

    /// Stores an object, in place of one that is there.
    ///
    /// # Errors
    /// The store can't be written.
    async fn put(&self, key: &str, content_type: &'static str, body: Vec<u8>) -> Result<(), Error>;

    /// Stores an object that must not be there yet; false where another one is. Stores without conditional writes
    /// store it all the same, so the key has to be unique by itself.
    ///
    /// # Errors
    /// The store can't be written.
    async fn put_new(&self, key: &str, content_type: &'static str, body: Vec<u8>) -> Result<bool, Error>;

    /// Deletes an object; not an error where there is none.
    ///
    /// # Errors
    /// The store can't be written, or the object is locked.
    async fn delete(&self, key: &str) -> Result<(), Error>;

    /// Whether the store's clock and ours agree, as far as the store tells.
    ///
    /// # Errors
    /// They are a quarter of an hour apart, or more.
    fn check_clock(&self) -> Result<(), Error> {
        Ok(())
    }

    /// By how much the store's clock is ahead of ours; `None` where it does not tell.
    fn clock_ahead(&self) -> Option<time::Duration> {
        None
    }

    /// False where the store is known not to obey a condition, after [`ObjectStore::check_writable`].
    fn obeys_conditions(&self) -> bool {
        true
    }

    /// An object whose key begins with `prefix`; `None` where there is none.
    ///
    /// # Errors
    /// They can't be listed.
    async fn first(&self, prefix: &str) -> Result<Option<Object>, Error> {
        let mut first = None;
        self.list(prefix, &mut |object| first = first.take().or(Some(object))).await?;
        Ok(first)
    }

    /// Stores a small object in `folder` of the tool's own objects and deletes it, so that who may not write there, or can't, is told before work of
    /// hours is begun, and the store's way of refusing conditions is known. Where it can't be deleted it stays: no list
    /// of manifests takes it for one. `unique` tells it from those of other runs.
    ///
    /// # Errors
    /// It can't be stored.
    async fn check_writable(&self, folder: &str, unique: u64) -> Result<(), Error> {
        let key = self.places().ours(&format!("{folder}/{WRITE_CHECK}{unique:016x}"));
        let new = self.put_new(&key, "text/plain", unique.to_string().into_bytes()).await?;
        self.try_condition(&key).await;
        let _ = self.delete(&key).await;
        if new {
            Ok(())
        } else {
            Err(Error::new(Code::StoreAnswer, format!("the object `{key}`"), "it was stored, and another one is there"))
        }
    }

    /// Sees by the small object `key`, which is there, whether the store obeys a condition: some store an object over another
    /// one, and don't say so.
    async fn try_condition(&self, _key: &str) {}

    /// Begins an upload in parts of the object `key`.
    ///
    /// # Errors
    /// The store can't be written.
    async fn begin_upload(&self, key: &str) -> Result<Upload, Error>;

    /// Stores the part `number` (1 to 10,000) of an upload, in place of one that is there.
    ///
    /// # Errors
    /// The store can't be written, or there is no such upload any more.
    async fn put_part(&self, upload: &Upload, number: u32, body: &[u8]) -> Result<Part, Error>;

    /// Makes the object of the parts, from 1 on. An object that is there already is not replaced, where the store knows
    /// conditions. Succeeds only where the object is there afterwards and has the size of all parts.
    ///
    /// # Errors
    /// There is no such object, or another one; or what became of it is not known ([`Error::is_unknown`]).
    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<Stat, Error>;

    /// Ends an upload and removes its parts; not an error where there is none.
    ///
    /// # Errors
    /// The store can't be written.
    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error>;

    /// Calls `each` for every upload that was begun and not ended, and whose key begins with `prefix`.
    ///
    /// # Errors
    /// They can't be listed.
    async fn list_uploads(&self, prefix: &str, each: &mut dyn FnMut(Upload)) -> Result<(), Error>;

    /// Calls `each` for every object whose key begins with `prefix`, page by page.
    ///
    /// # Errors
    /// A page can't be read; `each` may have been called for those before it.
    async fn list(&self, prefix: &str, each: &mut dyn FnMut(Object)) -> Result<(), Error>;

    /// A URL by which Qdrant can read the object for `validity` from now on, or for as long as the keys are good that it is
    /// signed with. Whether the object is there isn't looked up.
    ///
    /// # Errors
    /// The URL can't be signed, or would end at once.
    async fn presigned_get(&self, key: &str, validity: Duration) -> Result<PresignedUrl, Error>;

    /// One of the tool's own objects, wherever it lies (see [`Places`]).
    ///
    /// # Errors
    /// As [`ObjectStore::get`].
    async fn get_own(&self, bare: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        for key in self.places().all(bare) {
            if let Some(found) = self.get(&key, limit).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Lists the tool's own objects whose bare keys begin with `prefix`, at every place where they may lie. What lies at
    /// the place where it would be written now comes first.
    ///
    /// # Errors
    /// As [`ObjectStore::list`].
    async fn list_own(&self, prefix: &str, each: &mut dyn FnMut(Object)) -> Result<(), Error> {
        for key in self.places().all(prefix) {
            self.list(&key, each).await?;
        }
        Ok(())
    }

    /// The object's size in bytes; `None` where there is no such object.
    ///
    /// # Errors
    /// The store can't be asked.
    async fn size(&self, key: &str) -> Result<Option<u64>, Error> {
        Ok(self.stat(key).await?.map(|stat| stat.bytes))
    }

    /// The whole object, which a listing has with `bytes` bytes. What comes with another size is not the object: a
    /// proxy's page, or an error that is called a success. Nothing may be concluded from it.
    ///
    /// # Errors
    /// The store can't be read, or something else came.
    async fn get_listed(&self, key: &str, bytes: u64, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let read = self.get(key, limit).await?;
        match read.as_ref().filter(|read| read.len() as u64 != bytes) {
            None => Ok(read),
            Some(other) => Err(Error::new(
                Code::StoreAnswer,
                format!("the object `{key}`"),
                format!("{} bytes came of an object that is listed with {bytes}", other.len()),
            )),
        }
    }

    /// Reads `bytes` bytes, the whole object, piece by piece.
    ///
    /// # Errors
    /// The store can't be read, or the object isn't there or is shorter.
    async fn read_through(
        &self,
        key: &str,
        bytes: u64,
        each: &mut (dyn for<'b> FnMut(&'b [u8]) + '_),
    ) -> Result<(), Error> {
        let mut reader = self.reader(key, bytes, 0, bytes);
        while let Some(chunk) = reader.next().await? {
            each(&chunk);
        }
        Ok(())
    }
}

/// An object read piece by piece, in constant memory.
#[async_trait(?Send)]
pub trait ObjectReader {
    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// The store can't be read, or the object isn't there or has another size.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error>;
}
