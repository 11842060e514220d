//! Where snapshots go: S3, through a real S3 client, or the peers' own disks.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use qdrant_backup_contract::settings::{Endpoint, S3Settings, Secret};
use qdrant_backup_core::naming;
use qdrant_backup_core::ports::{LocalBoxFuture, Ports};
use qdrant_backup_core::s3::Bucket;
use qdrant_backup_core::store::ObjectStore;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::{clock, native, network};

/// Access to a bucket, as Qdrant's configuration has it.
#[derive(Clone, Debug)]
pub struct S3Access {
    /// `http://host:port`.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// Region.
    pub region: String,
    /// `snapshots_path` without `./`.
    pub key_prefix: String,
}

/// Where a peer's snapshots go.
pub enum Storage {
    /// A bucket that all peers share.
    S3(S3Access),
    /// A disk of its own for each peer: peer and path to content.
    Disk(Mutex<BTreeMap<(u64, String), Vec<u8>>>),
}

impl Storage {
    /// Stores a snapshot and describes it as Qdrant does.
    pub async fn put(&self, peer: u64, path: &str, name: &str, bytes: Vec<u8>) -> Result<Value, String> {
        let now = clock::now();
        let size = bytes.len();
        match self {
            Self::S3(access) => {
                let key = access.key(path);
                with_bucket(access, move |bucket| {
                    Box::pin(async move {
                        bucket.put(&key, "application/octet-stream", bytes).await.map_err(|error| error.to_string())
                    })
                })
                .await?;
                Ok(describe(name, now, size, None))
            }
            Self::Disk(disk) => {
                let checksum = sha256(&bytes);
                disk.lock().expect("the disk").insert((peer, path.to_owned()), bytes);
                Ok(describe(name, now, size, Some(checksum)))
            }
        }
    }

    /// Deletes a snapshot; false where there is none.
    pub async fn delete(&self, peer: u64, path: &str) -> Result<bool, String> {
        match self {
            Self::S3(access) => {
                let key = access.key(path);
                let deleted = with_bucket(access, move |bucket| {
                    Box::pin(async move {
                        let there = bucket.stat(&key).await.map_err(|error| error.to_string())?.is_some();
                        bucket.delete(&key).await.map_err(|error| error.to_string())?;
                        Ok(there)
                    })
                });
                deleted.await
            }
            Self::Disk(disk) => Ok(disk.lock().expect("the disk").remove(&(peer, path.to_owned())).is_some()),
        }
    }

    /// The snapshots below `folder`.
    pub async fn list(&self, peer: u64, folder: &str) -> Result<Vec<Value>, String> {
        match self {
            Self::S3(access) => {
                let prefix = format!("{}/", access.key(folder));
                let listed = with_bucket(access, move |bucket| {
                    Box::pin(async move {
                        let mut objects = Vec::new();
                        bucket
                            .list(&prefix, &mut |object| objects.push(object))
                            .await
                            .map_err(|error| error.to_string())?;
                        Ok(objects)
                    })
                });
                let described = listed.await?.into_iter().map(|object| {
                    let name = object.key.rsplit('/').next().unwrap_or_default();
                    let stored = object.last_modified.unwrap_or(OffsetDateTime::UNIX_EPOCH);
                    describe(&naming::unescape_segment(name), stored, object.bytes as usize, None)
                });
                Ok(described.collect())
            }
            Self::Disk(disk) => {
                let prefix = format!("{folder}/");
                let disk = disk.lock().expect("the disk");
                let own = disk.iter().filter(|((owner, path), _)| *owner == peer && path.starts_with(&prefix));
                let described = own.map(|((_, path), bytes)| {
                    let name = path.rsplit('/').next().unwrap_or_default();
                    describe(&naming::unescape_segment(name), clock::now(), bytes.len(), Some(sha256(bytes)))
                });
                Ok(described.collect())
            }
        }
    }
}

impl S3Access {
    fn key(&self, path: &str) -> String {
        if self.key_prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.key_prefix) }
    }

    /// The same access as the core's settings have it.
    pub fn settings(&self) -> S3Settings {
        let endpoint = Endpoint::parse(&self.endpoint).expect("an endpoint");
        S3Settings {
            region: Some(self.region.clone()),
            key_prefix: self.key_prefix.clone(),
            timeout: Duration::from_secs(60),
            ..S3Settings::new(endpoint, &self.bucket, &self.access_key, Secret::new(self.secret_key.clone()))
        }
    }
}

/// The path of a collection's snapshots below `snapshots_path`.
pub fn folder(collection: &str) -> String {
    naming::escape_segment(collection)
}

async fn with_bucket<T: Send + 'static>(
    access: &S3Access,
    work: impl FnOnce(Bucket) -> LocalBoxFuture<'static, Result<T, String>> + Send + 'static,
) -> Result<T, String> {
    let settings = access.settings();
    let work = move |ports: Ports| -> LocalBoxFuture<'static, Result<T, String>> {
        Box::pin(async move {
            let bucket = Bucket::open(&ports, &settings).await.map_err(|error| error.to_string())?;
            work(bucket).await
        })
    };
    if network::has(&access.endpoint) { native::run_here(work).await } else { native::run(work).await }
}

fn describe(name: &str, stored: OffsetDateTime, size: usize, checksum: Option<String>) -> Value {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let mut description = json!({"name": name, "creation_time": stored.format(form).expect("a date"), "size": size});
    if let Some(checksum) = checksum {
        description["checksum"] = json!(checksum);
    }
    description
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
