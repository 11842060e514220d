//! A bucket in memory, for tests.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{Object, ObjectReader, ObjectStore, Part, Stat, Upload};
use crate::error::{Code, Error};
use crate::places::Places;
use crate::presigned_url::PresignedUrl;

/// Objects by key, each with its ETag, and the keys that can't be asked for.
#[derive(Default)]
pub(crate) struct Memory {
    pub objects: RefCell<BTreeMap<String, (Vec<u8>, String)>>,
    pub refused: RefCell<BTreeSet<String>>,
    /// The keys that were read, wholly or in part.
    pub read: RefCell<BTreeSet<String>>,
    /// Where each reader began.
    pub readers: RefCell<Vec<u64>>,
    /// The sizes of the parts of each upload that was begun.
    pub uploads: RefCell<Vec<Vec<usize>>>,
    places: Places,
}

impl Memory {
    /// Stores an object under this ETag.
    pub(crate) fn store(&self, key: &str, bytes: &[u8], etag: &str) {
        self.objects.borrow_mut().insert(key.to_owned(), (bytes.to_vec(), etag.to_owned()));
    }

    fn ask(&self, key: &str) -> Result<Option<(Vec<u8>, String)>, Error> {
        if self.refused.borrow().contains(key) {
            return Err(Error::new(Code::StoreUnauthorized, "", "403"));
        }
        Ok(self.objects.borrow().get(key).cloned())
    }
}

#[async_trait(?Send)]
impl ObjectStore for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn key_prefix(&self) -> &str {
        "snapshots"
    }

    fn places(&self) -> &Places {
        &self.places
    }

    async fn stat(&self, key: &str) -> Result<Option<Stat>, Error> {
        Ok(self.ask(key)?.map(|(bytes, etag)| Stat { bytes: bytes.len() as u64, etag }))
    }

    async fn get(&self, key: &str, _: usize) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.ask(key)?.map(|(bytes, _)| bytes))
    }

    async fn range(&self, key: &str, start: u64, length: usize) -> Result<Vec<u8>, Error> {
        self.read.borrow_mut().insert(key.to_owned());
        let (bytes, _) = self.ask(key)?.ok_or_else(|| Error::new(Code::StoreRefused, key, "404"))?;
        Ok(bytes.into_iter().skip(usize::try_from(start).unwrap_or(usize::MAX)).take(length).collect())
    }

    fn reader<'a>(&'a self, key: &'a str, _: u64, start: u64, end: u64) -> Box<dyn ObjectReader + 'a> {
        self.readers.borrow_mut().push(start);
        Box::new(Whole { store: self, key, start, end })
    }

    async fn put(&self, key: &str, _: &'static str, body: Vec<u8>) -> Result<(), Error> {
        self.store(key, &body, "put");
        Ok(())
    }

    async fn put_new(&self, key: &str, _: &'static str, body: Vec<u8>) -> Result<bool, Error> {
        let new = !self.objects.borrow().contains_key(key);
        if new {
            self.store(key, &body, "put");
        }
        Ok(new)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.objects.borrow_mut().remove(key);
        Ok(())
    }

    async fn begin_upload(&self, key: &str) -> Result<Upload, Error> {
        let mut uploads = self.uploads.borrow_mut();
        uploads.push(Vec::new());
        Ok(Upload { key: key.to_owned(), id: uploads.len().to_string(), begun: None, crc32: false })
    }

    async fn put_part(&self, _: &Upload, _: u32, body: &[u8]) -> Result<Part, Error> {
        self.uploads.borrow_mut().last_mut().into_iter().for_each(|parts| parts.push(body.len()));
        Ok(Part { etag: String::new(), crc32: None, bytes: body.len() as u64 })
    }

    async fn complete_upload(&self, upload: &Upload, _: &[Part]) -> Result<Stat, Error> {
        Err(Error::new(Code::StoreRefused, &upload.key, "no upload ends here"))
    }

    async fn abort_upload(&self, _: &Upload) -> Result<(), Error> {
        Ok(())
    }

    async fn list_uploads(&self, _: &str, _: &mut dyn FnMut(Upload)) -> Result<(), Error> {
        Ok(())
    }

    async fn list(&self, prefix: &str, each: &mut dyn FnMut(Object)) -> Result<(), Error> {
        for (key, (bytes, _)) in self.objects.borrow().iter().filter(|(key, _)| key.starts_with(prefix)) {
            let last_modified = Some(OffsetDateTime::UNIX_EPOCH);
            each(Object { key: key.clone(), bytes: bytes.len() as u64, last_modified });
        }
        Ok(())
    }

    async fn presigned_get(&self, key: &str, _: Duration) -> Result<PresignedUrl, Error> {
        Ok(PresignedUrl::new(format!("memory:{key}")))
    }
}

struct Whole<'a> {
    store: &'a Memory,
    key: &'a str,
    start: u64,
    end: u64,
}

#[async_trait(?Send)]
impl ObjectReader for Whole<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.start == self.end {
            return Ok(None);
        }
        let length = usize::try_from(self.end - self.start).unwrap_or(usize::MAX);
        let piece = self.store.range(self.key, self.start, length).await?;
        self.start = self.end;
        Ok(Some(piece))
    }
}
