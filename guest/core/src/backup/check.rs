//! The check of a snapshot that Qdrant says it has made: the right peer has made it, and it is in the bucket, whole. What
//! can't be used is removed again.

use super::snapshot::{Created, Subject};
use crate::context::Context;
use crate::error::{Code, Error};
use crate::qdrant::{Client, SnapshotDescription};
use crate::report::{Item, Outcome};
use crate::sets::quality::made_by;
use crate::settings::SnapshotCheck;
use crate::snapshot_file;
use crate::store::ObjectStore;

/// A snapshot that was checked; without a bucket, one that Qdrant says it has made.
pub(super) struct Checked {
    pub name: String,
    pub bytes: u64,
    /// Something a person should know although all went well.
    pub note: Option<String>,
    /// Where it was found, and as what.
    pub stored: Option<Stored>,
}

/// A snapshot as it was found in the bucket.
pub(super) struct Stored {
    pub key: String,
    pub etag: String,
    /// SHA-256 in hexadecimal digits; empty where it was not computed.
    pub checksum: String,
}

/// Why a snapshot can't be used.
struct Wanting {
    error: Error,
    /// False where the object is, or may be, another source's: it is not ours to remove.
    ours: bool,
}

impl From<Error> for Wanting {
    fn from(error: Error) -> Self {
        Self { error, ours: true }
    }
}

impl<'a> Created<'a> {
    /// Finds the snapshot in the bucket. `own_id` is the id of the peer that was asked, where anybody knows it: what the
    /// snapshot itself has to say. One that is found wanting is removed.
    ///
    /// # Errors
    /// It is of another peer, or isn't where it has to be, or not whole; and whether it was removed.
    pub(super) async fn check(self, context: &Context, own_id: u64) -> Result<(Checked, NewSnapshot<'a>), Error> {
        let mut made = NewSnapshot::of_qdrant(self.client, self.subject, self.description.name.clone());
        let Wanting { error, ours } = match self.checked(context, own_id).await {
            Ok(stored) => {
                made.etag = stored.as_ref().map(|stored| stored.etag.clone());
                let SnapshotDescription { name, size: bytes, .. } = self.description;
                return Ok((Checked { name, bytes, note: self.note, stored }, made));
            }
            Err(wanting) => wanting,
        };
        // A part of a collection may be good although nobody can look at it now, and a restore judges it by itself.
        if !ours || (error.is_unknown() && self.subject.shard.is_none()) {
            return Err(error);
        }
        Err(match made.remove(context).await {
            Ok(()) => error.advice("what was made of it was deleted again"),
            Err(left) => error.advice(format!("what was made of it could not be deleted: {left}")),
        })
    }

    async fn checked(&self, context: &Context, own_id: u64) -> Result<Option<Stored>, Wanting> {
        let name = &self.description.name;
        if !self.subject.is_signed(name) {
            let expected = self.client.expect_peer(self.subject.collection, self.subject.peer).await;
            expected.map_err(|cause| Error::new(Code::Changed, "", cause))?;
        }
        let Some(bucket) = context.store.as_deref() else { return Ok(None) };
        let key = self.subject.key(bucket.key_prefix(), name);
        let stat = bucket.stat(&key).await?.ok_or_else(|| not_there(self.client, bucket, name, &key))?;
        let size = self.description.size;
        let check = context.settings.snapshot_check;
        // All snapshots of a whole collection are walked together when they are recorded.
        let is_walked = self.subject.shard.is_some() && check != SnapshotCheck::None;
        let walked = if is_walked { Some(snapshot_file::check_shard(bucket, &key, stat.bytes).await) } else { None };
        if let Some(Ok(peer)) = walked {
            let of_key = |error: Error| Wanting { error: error.of(format!("the object `{key}`")), ours: false };
            made_by(peer, own_id).map_err(of_key)?;
        }
        if stat.bytes != size {
            let cause = format!("it has {} bytes and Qdrant says {size}: it is not the whole snapshot", stat.bytes);
            return Err(Error::new(Code::SnapshotDamaged, format!("the object `{key}`"), cause).into());
        }
        walked.transpose().map_err(Error::from)?;
        let mut checksum = String::new();
        if is_walked && check == SnapshotCheck::Full {
            let mut passing = context.passing(name, size);
            checksum = snapshot_file::sha256(bucket, &key, size, &mut |count| passing.add(count))
                .await
                .map_err(Error::from)?;
        }
        // Looked up after all of it: a snapshot that was replaced meanwhile is not the one that was checked.
        if is_walked && bucket.stat(&key).await?.as_ref() != Some(&stat) {
            let cause = "it was replaced by another one while it was checked";
            let error = Error::new(Code::Changed, format!("the object `{key}`"), cause);
            return Err(Wanting { error, ours: false });
        }
        Ok(Some(Stored { key, etag: stat.etag, checksum }))
    }
}

fn not_there(client: &Client, bucket: &dyn ObjectStore, name: &str, key: &str) -> Error {
    let cause = format!(
        "{} says that it made `{name}`, but there is no object `{key}` in the bucket `{}`: this peer stores snapshots on its \
         own disk, in another bucket or under another path; check its QDRANT__STORAGE__SNAPSHOTS_CONFIG settings and \
         QDRANT_S3_KEY_PREFIX, or leave its settings as they are and use `create_snap_shards` with \
         QDRANT_SNAPSHOT_TRANSFER=auto or stream, which needs no S3 storage of Qdrant's own",
        client.host(),
        bucket.name(),
    );
    Error::new(Code::SnapshotMissing, "", cause)
}

/// A snapshot that this run has made, which is removed where it is of no use.
pub(super) struct NewSnapshot<'a> {
    client: &'a Client,
    subject: Subject<'a>,
    /// Its name.
    pub name: String,
    /// Its key, where this program has stored it: no peer knows of it.
    streamed: Option<String>,
    /// Its ETag, where it was found in the bucket: an object with another one is not this snapshot any more.
    etag: Option<String>,
}

impl<'a> NewSnapshot<'a> {
    /// One that the peer behind `client` says it has made.
    pub(super) fn of_qdrant(client: &'a Client, subject: Subject<'a>, name: String) -> Self {
        Self { client, subject, name, streamed: None, etag: None }
    }

    /// One that this program has stored at `key`.
    pub(super) fn streamed(client: &'a Client, subject: Subject<'a>, name: String, key: String, etag: String) -> Self {
        Self { client, subject, name, streamed: Some(key), etag: Some(etag) }
    }

    /// Removes it from where it is: from the bucket, or else by the peer that made it, which also has those on its own
    /// disk, and keys of its own for the bucket. Succeeds only where it is gone.
    ///
    /// # Errors
    /// It is, or may be, still there: says why.
    pub(super) async fn remove(&self, context: &Context) -> Result<(), Error> {
        let Some(bucket) = context.store.as_deref() else { return self.removed_by_peer().await };
        let of_qdrant = || self.subject.key(bucket.key_prefix(), &self.name);
        let key = self.streamed.clone().unwrap_or_else(of_qdrant);
        let of_key = |error: Error| error.of(format!("`{key}`"));
        match bucket.stat(&key).await.map_err(of_key)? {
            None if self.streamed.is_some() => Ok(()),
            None => self.removed_by_peer().await,
            Some(stat) if self.etag.as_ref().is_some_and(|etag| *etag != stat.etag) => {
                let cause = "another object is in its place, which is not this run's";
                Err(Error::new(Code::Changed, format!("`{key}`"), cause))
            }
            Some(_) if self.streamed.is_some() => bucket.delete(&key).await.map_err(of_key),
            Some(_) => {
                let Err(denied) = bucket.delete(&key).await else { return Ok(()) };
                let _ = self.removed_by_peer().await;
                if bucket.stat(&key).await.map_err(of_key)?.is_none() { Ok(()) } else { Err(of_key(denied)) }
            }
        }
    }

    async fn removed_by_peer(&self) -> Result<(), Error> {
        let deleted = self.client.delete_snapshot(self.subject.collection, self.subject.shard, &self.name).await;
        deleted.map_err(|error| Error::from(error).of(format!("`{}`", self.name)))
    }
}

/// Removes the snapshots of a backup that did not come to be. Their items say what became of each.
pub(super) async fn remove_all(context: &Context, made: &[NewSnapshot<'_>], items: &mut [Item]) {
    for item in items.iter_mut().filter(|item| item.is_done()) {
        let made = made.iter().find(|made| item.name.as_ref() == Some(&made.name));
        item.outcome = Outcome::Skipped;
        item.cause = Some(match made {
            None => "left where it is, as its manifest may be there after all".to_owned(),
            Some(made) => match made.remove(context).await {
                Ok(()) => "deleted again, as the backup failed".to_owned(),
                Err(error) => format!("unused, as the backup failed, and could not be deleted: {error}"),
            },
        });
    }
}
