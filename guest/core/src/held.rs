//! What a run holds in the bucket that is in the way of others, or is paid for: locks, and uploads that are not ended. A run
//! that is cancelled lets go of it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::log::Log;
use crate::store::{ObjectStore, Upload};

/// The keys of what is held.
#[derive(Default)]
pub(crate) struct Held {
    locks: RefCell<BTreeSet<String>>,
    uploads: RefCell<BTreeSet<String>>,
}

impl Held {
    /// A lock is about to be written.
    pub(crate) fn lock(&self, key: &str) {
        self.locks.borrow_mut().insert(key.to_owned());
    }

    /// It is not held any more.
    pub(crate) fn unlock(&self, key: &str) {
        self.locks.borrow_mut().remove(key);
    }

    /// An upload is about to be begun.
    pub(crate) fn upload(&self, key: &str) {
        self.uploads.borrow_mut().insert(key.to_owned());
    }

    /// It is completed, or aborted.
    pub(crate) fn ended(&self, key: &str) {
        self.uploads.borrow_mut().remove(key);
    }

    /// Aborts what is being uploaded, then removes the locks, as they say that somebody is at work. By the keys: the answer
    /// that told the id of an upload may have been lost.
    pub(crate) async fn let_go(&self, bucket: &dyn ObjectStore, log: &Log) {
        for key in self.uploads.take() {
            let mut left = Vec::new();
            let mut note = |upload: Upload| left.extend((upload.key == key).then_some(upload));
            let mut ended = bucket.list_uploads(&key, &mut note).await;
            for upload in left {
                ended = ended.and(bucket.abort_upload(&upload).await);
            }
            if let Err(error) = ended {
                log.warn(None, &format!("an upload of `{key}` may be left, and is removed by the next run: {error}"));
            }
        }
        for key in self.locks.take() {
            if let Err(error) = bucket.delete(&key).await {
                log.warn(None, &format!("the lock `{key}` is left, and heals itself: {error}"));
            }
        }
    }
}
