//! Whether a set is good, and how good: the one place that says so. A backup asks it when it ends, and retention,
//! `verify`, `list_sets`, a restore and a drill ask it of what they find, so that what counts for retention is what
//! counts for a restore.

use std::collections::BTreeSet;
use std::fmt;

use super::drilled::DrillRecord;
use super::manifest::{SetManifest, SetShard};
use crate::concurrent;
use crate::creation;
use crate::error::{Code, Error};
use crate::snapshot_file;
use crate::store::{ObjectStore, Stat};

/// How many snapshots are looked at at the same time.
const SNAPSHOTS_AT_ONCE: usize = 16;

/// How many snapshots are read whole at the same time.
const READ_AT_ONCE: usize = 4;

/// How good a set is. Each level has all that the ones before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every snapshot is in the bucket, with its size, and is the one that was made.
    Recorded,
    /// Every snapshot was walked to its end, was made by the peer that the manifest names, and has a SHA-256.
    Checked,
    /// Everything was looked for that a restore would refuse, and what a restore is verified with is known.
    Restorable,
    /// It was restored once, by a drill, and verified.
    Drilled,
}

impl Level {
    /// Its name in tables, reports and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Checked => "checked",
            Self::Restorable => "restorable",
            Self::Drilled => "drilled",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much of a snapshot is looked at, at least. More is, where less does not tell whether it is the one that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// It is there, with the size that it had. Of one that has another ETag, or was not checked when it was made, no more
    /// than that is known then.
    Presence,
    /// It is there, with the size and the ETag that it had.
    Identity,
    /// It is walked to its end, and tells which peer made it.
    Walk,
    /// It is read whole, and compared with its SHA-256.
    Whole,
}

/// Says whether a set is good. Looks at every snapshot: it has to be there, with the size of the manifest, and be the
/// one that was made. That is told by its ETag; where this is another one (a bucket that was copied), by its SHA-256.
/// Those that were not checked when they were made are walked to their ends. `depth` says of which snapshots more is
/// looked at.
///
/// # Errors
/// All that is wrong with it, or could not be looked at: see [`is_unknown`].
pub async fn of_set(
    store: &dyn ObjectStore,
    manifest: &SetManifest,
    depth: &dyn Fn(&SetShard) -> Depth,
) -> Result<Level, Vec<Error>> {
    if !manifest.missing.is_empty() {
        let missing = manifest.missing.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        return Err(vec![Error::new(Code::Incomplete, "", format!("it is partial: it lacks shard {missing}"))]);
    }
    let checked = manifest.was_checked();
    let mut wrong = Vec::new();
    let mut to_read = Vec::new();
    let mut unseen = false;
    let work =
        manifest.shards.iter().map(|shard| async move { (shard, look(store, shard, checked, depth(shard)).await) });
    concurrent::at_most(SNAPSHOTS_AT_ONCE, work, |(shard, looked)| match looked {
        Ok(Looked::Good) => {}
        Ok(Looked::There) => unseen = true,
        Ok(Looked::ToRead(stat)) => to_read.push((shard, stat)),
        Err(error) => wrong.push(error.of(named(shard))),
    })
    .await;
    // What is known to be bad need not be read.
    if wrong.is_empty() {
        let work = to_read.into_iter().map(|(shard, stat)| async move { (shard, compare(store, shard, &stat).await) });
        concurrent::at_most(READ_AT_ONCE, work, |(shard, compared)| {
            wrong.extend(compared.err().map(|error| error.of(named(shard))));
        })
        .await;
    }
    wrong.extend(refusal(manifest).err());
    match (wrong.is_empty(), unseen) {
        (false, _) => Err(wrong),
        (true, true) => Ok(Level::Recorded),
        (true, false) => Ok(level(manifest)),
    }
}

/// The level of a set that was found to be of `level`, and of which `drill` is the last record: one that could be restored
/// and was, with what was counted at the backup, is a drilled one.
pub fn with_drill(level: Level, drill: Option<&DrillRecord>) -> Level {
    if level == Level::Restorable && drill.is_some_and(|drill| drill.verified) { Level::Drilled } else { level }
}

/// True where nothing bad is known of what was judged, and something of it could not be asked: nothing may be concluded
/// from it.
pub fn is_unknown(errors: &[Error]) -> bool {
    errors.iter().all(Error::is_unknown)
}

/// Several errors as one: that one which says that something is bad, where there is one, with the texts of all.
pub fn as_one(errors: &[Error]) -> Error {
    let worst = errors.iter().find(|error| !error.is_unknown()).or(errors.first());
    let code = worst.map_or(Code::Incomplete, Error::code);
    let texts: BTreeSet<String> = errors.iter().map(Error::to_string).collect();
    Error::new(code, "", texts.into_iter().collect::<Vec<_>>().join("; "))
}

/// Several errors as one, where there are any.
pub fn any(errors: &[Error]) -> Option<Error> {
    (!errors.is_empty()).then(|| as_one(errors))
}

/// Everything but the snapshots that a restore would refuse, whatever the target.
///
/// # Errors
/// Says what.
pub(crate) fn refusal(manifest: &SetManifest) -> Result<(), Error> {
    let config = manifest.collection_config.get("config").ok_or_else(|| {
        Error::new(Code::ManifestUnusable, "its manifest", "there is no configuration of the collection in it")
    })?;
    let shards: Vec<_> = manifest.shards.iter().map(|shard| (shard.id, shard.key.clone())).collect();
    creation::check(config, &shards)
}

fn level(manifest: &SetManifest) -> Level {
    if !manifest.has_checksums() {
        return Level::Recorded;
    }
    let version = manifest.qdrant_version.split('.').next().is_some_and(|major| major.parse::<u32>().is_ok());
    let counted = |shard: &SetShard| shard.points.before.is_some() && shard.points.after.is_some();
    if version && manifest.shards.iter().all(counted) { Level::Restorable } else { Level::Checked }
}

fn named(shard: &SetShard) -> String {
    format!("the snapshot of shard {} (`{}`)", shard.id, shard.s3_key)
}

/// What a look at one snapshot has come to.
enum Looked {
    /// It is the one that was made.
    Good,
    /// It is there, and more was not asked.
    There,
    /// It has to be read and compared.
    ToRead(Stat),
}

/// Looks at one snapshot.
async fn look(store: &dyn ObjectStore, shard: &SetShard, checked: bool, depth: Depth) -> Result<Looked, Error> {
    let stat = store.stat(&shard.s3_key).await.map_err(unknown)?;
    let stat = stat.ok_or_else(|| Error::new(Code::SnapshotMissing, "", "the object is missing"))?;
    if let Some(size) = shard.size.filter(|size| *size != stat.bytes) {
        let cause = format!("the object has {} bytes and had {size}", stat.bytes);
        return Err(replaced(store, shard, &stat, &cause).await);
    }
    let made = shard.etag.is_empty() || shard.etag.trim_matches('"') == stat.etag;
    if !made && shard.checksum.is_empty() {
        let cause = "the object is not the one that was made (its ETag is another), and there is no SHA-256 to compare";
        return Err(replaced(store, shard, &stat, cause).await);
    }
    if made && checked && depth <= Depth::Identity {
        return Ok(Looked::Good);
    }
    if depth == Depth::Presence {
        return Ok(Looked::There);
    }
    let peer = snapshot_file::check_shard(store, &shard.s3_key, stat.bytes).await.map_err(Error::from)?;
    made_by(peer, shard.source_peer_id)?;
    let to_read = !shard.checksum.is_empty() && (!made || depth == Depth::Whole);
    Ok(if to_read { Looked::ToRead(stat) } else { Looked::Good })
}

/// Why an object is not the snapshot that was made: where it is another peer's, that is what is to be said.
async fn replaced(store: &dyn ObjectStore, shard: &SetShard, stat: &Stat, cause: &str) -> Error {
    let peer = snapshot_file::check_shard(store, &shard.s3_key, stat.bytes).await;
    let of_another = peer.ok().and_then(|peer| made_by(peer, shard.source_peer_id).err());
    of_another.unwrap_or_else(|| Error::new(Code::SnapshotDamaged, "", cause.to_owned()))
}

/// Compares the peer that made a snapshot with the one that was asked for it.
///
/// # Errors
/// It is another one.
pub(crate) fn made_by(peer: u64, asked: u64) -> Result<(), Error> {
    // 0 stands for a server that was not known by its id.
    if asked == 0 || peer == asked {
        return Ok(());
    }
    let cause = format!("it was made by peer {peer}, and peer {asked} was asked for it");
    let advice = "another source stores snapshots of a collection of this name under the same keys, in the same second: \
                  give each source a bucket, or Qdrant a prefix (S3_CONFIG__PREFIX), of its own";
    Err(Error::new(Code::SnapshotDamaged, "", cause).advice(advice))
}

async fn compare(store: &dyn ObjectStore, shard: &SetShard, stat: &Stat) -> Result<(), Error> {
    let actual = snapshot_file::sha256(store, &shard.s3_key, stat.bytes, &mut |_| ()).await.map_err(Error::from)?;
    if actual.eq_ignore_ascii_case(&shard.checksum) {
        return Ok(());
    }
    let cause = format!("its SHA-256 is {actual} and was {}: it is not the one that was made", shard.checksum);
    Err(Error::new(Code::SnapshotDamaged, "", cause))
}

/// Whatever keeps an object from being looked at, nothing is known of it.
fn unknown(error: Error) -> Error {
    if error.is_unknown() { error } else { Error::new(Code::StoreRefused, "", error.to_string()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::manifest::Points;
    use crate::places::Places;
    use crate::sets::{SetId, SetSource};
    use crate::store::memory::Memory;
    use futures_executor::block_on;
    use serde_json::json;
    use sha2::{Digest, Sha256};

    /// A snapshot of a shard that the peer `peer` says it has made.
    fn snapshot(peer: u64) -> Vec<u8> {
        let state = json!({"is_local": true, "this_peer_id": peer, "peers": {"1": "Active"}}).to_string();
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in [
            ("segments/a.tar", "data"),
            ("wal/open-1", ""),
            ("shard_config.json", "{}"),
            ("replica_state.json", &state),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn sha256(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn key(shard: u32) -> String {
        format!("snapshots/docs/shards/{shard}/x.snapshot")
    }

    /// A set of two shards in a bucket, made by peer 1.
    fn set() -> (Memory, SetManifest) {
        let (store, bytes) = (Memory::default(), snapshot(1));
        let shards = (0..2).map(|id| {
            store.store(&key(id), &bytes, "made");
            SetShard { size: Some(bytes.len() as u64), checksum: sha256(&bytes), ..SetShard::example(id) }
        });
        let config = json!({"config": {"params": {"vectors": {}, "shard_number": 2}}});
        let points = Points { before: Some(2), after: Some(2) };
        let source = SetSource { points, check: Some("full".to_owned()), ..SetSource::default() };
        let manifest = SetManifest { source: Some(source), ..SetManifest::example(config, shards.collect()) };
        assert!(
            SetManifest::parse(
                &serde_json::to_vec(&manifest).unwrap(),
                "docs",
                &SetId::from_text("s"),
                "snapshots",
                &Places::default()
            )
            .is_ok()
        );
        (store, manifest)
    }

    fn judge(store: &Memory, manifest: &SetManifest, depth: Depth) -> Result<Level, Vec<Error>> {
        block_on(of_set(store, manifest, &|_| depth))
    }

    fn code(store: &Memory, manifest: &SetManifest, depth: Depth) -> Code {
        as_one(&judge(store, manifest, depth).unwrap_err()).code()
    }

    #[test]
    fn what_is_as_it_was_made_is_not_read_again() {
        let (store, manifest) = set();
        assert_eq!(judge(&store, &manifest, Depth::Identity), Ok(Level::Restorable));
        assert!(store.read.borrow().is_empty());
        assert_eq!(judge(&store, &manifest, Depth::Whole), Ok(Level::Restorable));
        assert_eq!(store.read.borrow().len(), 2);
    }

    #[test]
    fn what_is_missing_or_of_another_size_is_bad() {
        let (store, manifest) = set();
        store.store(&key(1), b"short", "made");
        assert_eq!(code(&store, &manifest, Depth::Identity), Code::SnapshotDamaged);
        store.objects.borrow_mut().remove(&key(1));
        assert_eq!(code(&store, &manifest, Depth::Identity), Code::SnapshotMissing);
    }

    #[test]
    fn the_sha256_decides_where_the_etag_is_another() {
        let (store, mut manifest) = set();
        let bytes = snapshot(1);
        store.store(&key(0), &bytes, "copied");
        assert_eq!(judge(&store, &manifest, Depth::Identity), Ok(Level::Restorable));
        let mut other = bytes.clone();
        let content = other.iter().position(|byte| *byte == b'd').unwrap();
        other[512] ^= 1;
        assert!(content < 512 || other.len() == bytes.len());
        store.store(&key(0), &other, "copied");
        assert_eq!(code(&store, &manifest, Depth::Identity), Code::SnapshotDamaged);
        // Without one nothing says that a copy is the same.
        store.store(&key(0), &bytes, "copied");
        manifest.shards[0].checksum = String::new();
        assert_eq!(code(&store, &manifest, Depth::Identity), Code::SnapshotDamaged);
    }

    #[test]
    fn bytes_that_changed_behind_the_same_etag_are_seen_whole() {
        let (store, manifest) = set();
        let mut other = snapshot(1);
        other[512] ^= 1;
        store.store(&key(0), &other, "made");
        assert_eq!(code(&store, &manifest, Depth::Whole), Code::SnapshotDamaged);
    }

    #[test]
    fn what_was_not_checked_when_it_was_made_is_walked() {
        let (store, mut manifest) = set();
        manifest.source.as_mut().unwrap().check = None;
        assert_eq!(judge(&store, &manifest, Depth::Identity), Ok(Level::Restorable));
        assert_eq!(store.read.borrow().len(), 2);
        let mut cut = snapshot(1);
        cut.truncate(600);
        cut.resize(snapshot(1).len(), 7);
        store.store(&key(0), &cut, "made");
        assert_eq!(code(&store, &manifest, Depth::Identity), Code::SnapshotDamaged);
        store.store(&key(0), &snapshot(2), "made");
        let wrong = judge(&store, &manifest, Depth::Identity).unwrap_err();
        assert!(as_one(&wrong).to_string().contains("it was made by peer 2"), "{wrong:?}");
        manifest.shards[0].source_peer_id = 0;
        assert!(judge(&store, &manifest, Depth::Identity).is_ok(), "an id that nobody knew is none");
    }

    #[test]
    fn what_can_t_be_asked_is_not_known_and_never_bad() {
        let (store, manifest) = set();
        store.refused.borrow_mut().insert(key(0));
        assert!(is_unknown(&judge(&store, &manifest, Depth::Identity).unwrap_err()));
        store.objects.borrow_mut().remove(&key(1));
        assert!(!is_unknown(&judge(&store, &manifest, Depth::Identity).unwrap_err()), "the other one is gone");
        assert_eq!(code(&store, &manifest, Depth::Identity), Code::SnapshotMissing);
    }

    #[test]
    fn what_a_restore_would_refuse_is_no_good_set() {
        let (store, mut manifest) = set();
        manifest.missing = vec![2];
        assert_eq!(code(&store, &manifest, Depth::Identity), Code::Incomplete);
        manifest.missing = Vec::new();
        manifest.collection_config = json!({"config": {"params": {"vectors": {}, "shard_number": 3}}});
        assert_eq!(code(&store, &manifest, Depth::Identity), Code::Unsupported);
    }

    #[test]
    fn a_level_says_no_more_than_what_is_known() {
        let (store, manifest) = set();
        let with = |change: &dyn Fn(&mut SetManifest)| {
            let mut manifest = manifest.clone();
            change(&mut manifest);
            judge(&store, &manifest, Depth::Identity).unwrap()
        };
        assert_eq!(with(&|manifest| manifest.qdrant_version = "unknown".to_owned()), Level::Checked);
        for uncounted in [Points::default(), Points { before: Some(1), after: None }] {
            assert_eq!(with(&|manifest| manifest.shards[1].points = uncounted), Level::Checked);
        }
        assert_eq!(with(&|manifest| manifest.shards[0].checksum = String::new()), Level::Recorded);
        let drill = |verified: bool| DrillRecord {
            version: 1,
            collection: "docs".to_owned(),
            backup_set_id: "s".to_owned(),
            snapshots: manifest.fingerprint(),
            restored_at: String::new(),
            points: 2,
            verified,
            compared: String::new(),
            host: String::new(),
            run_id: String::new(),
            content: super::super::RecordedContent::default(),
        };
        assert_eq!(with_drill(Level::Restorable, Some(&drill(true))), Level::Drilled);
        assert_eq!(with_drill(Level::Restorable, Some(&drill(false))), Level::Restorable);
        assert_eq!(with_drill(Level::Checked, Some(&drill(true))), Level::Checked);
    }
}
