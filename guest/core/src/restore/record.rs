//! The record of a restore: of one collection, into one target, under one id. It is written when the restore begins,
//! before anything is changed, and when it has ended, to the bucket for the next pod and to the work directory where
//! the bucket takes nothing. That a collection is the half restored one is not taken from here: the collection itself
//! says so (see `marker`).

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

use super::job::Job;
use super::plan::Role;
use crate::error::{Code, Error};
use crate::naming;
use crate::places;
use crate::settings::hash;
use crate::state_files;
use crate::timestamp;

/// The version written.
const VERSION: u32 = 1;

/// The largest record.
const LIMIT: usize = 1 << 20;

/// How far a restore has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// The collection may be half restored.
    Begun,
    /// Another restore has taken its place.
    Superseded,
    /// It was restored, as far as the record says.
    Ended,
}

/// A restore of one collection into one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub version: u32,
    /// The id of the restore.
    pub restore: String,
    /// What it restores from: see `Plan::backup`.
    pub backup: String,
    /// The collection's name on the target.
    pub collection: String,
    /// The target's configured host, for people.
    pub host: String,
    /// The target's peers, as text. Empty for a single server that had no collection yet.
    pub peers: BTreeSet<String>,
    pub state: State,
    /// When it began, RFC 3339 in UTC.
    pub begun_at: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// When Qdrant says that the collection was created (1.20 and later), at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// The aliases that led to the collection which was deleted to be replaced.
    #[serde(default)]
    pub aliases: BTreeSet<String>,
    /// Whether a verified replacement lies beside it until it has ended.
    #[serde(default)]
    pub beside: bool,
    /// Whether it was verified, at the end.
    #[serde(default)]
    pub verified: bool,
}

impl Record {
    /// The record of `job`, which begins now.
    pub(super) fn begun(job: &Job<'_>, peers: BTreeSet<String>, aliases: BTreeSet<String>, beside: bool) -> Self {
        Self {
            version: VERSION,
            restore: job.restore.to_owned(),
            backup: job.plan.backup.clone(),
            collection: job.plan.collection.clone(),
            host: job.cluster.host.to_string(),
            peers,
            state: State::Begun,
            begun_at: timestamp::RFC3339.write(job.context.ports.clock.now()),
            ended_at: None,
            created_at: None,
            aliases,
            beside,
            verified: false,
        }
    }

    fn key(&self) -> String {
        format!("{}{}-{:016x}.json", prefix(&self.collection), naming::escape_segment(&self.restore), hash(&self.host))
    }

    /// Writes it, to the bucket and to the work directory.
    ///
    /// # Errors
    /// Neither can be written: whoever goes on would not know of it.
    pub(super) async fn write(&self, job: &Job<'_>) -> Result<(), Error> {
        // What is dropped again leaves nothing.
        if job.plan.role != Role::Lasting {
            return Ok(());
        }
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::new(Code::WorkDirectory, "the record of this restore", error.to_string()))?;
        let line = [json.as_slice(), b"\n"].concat();
        let in_files = job.context.ports.files.append(state_files::RESTORE_RECORDS, &line);
        match job.store.put(&job.store.places().ours(&self.key()), "application/json", json).await {
            Ok(()) => Ok(()),
            Err(error) => {
                job.warn(&format!("another pod could not go on with this restore: {error}"));
                in_files.map_err(Error::from)
            }
        }
    }
}

/// Where the records of a collection are.
fn prefix(collection: &str) -> String {
    // The records of earlier versions, `<set>.json`, name a host and no collection that could be known again.
    format!("{}/{}/restore-", places::RESTORE_STATE, naming::escape_segment(collection))
}

/// The records of restores of this collection into this target, of whatever backup, those that began first first.
///
/// # Errors
/// The bucket or the work directory can't be read: what is not known is not taken for none.
pub(super) async fn read(job: &Job<'_>, peers: &BTreeSet<String>) -> Result<Vec<Record>, Error> {
    let mut keys = Vec::new();
    let places = job.store.places();
    job.store
        .list_own(&prefix(&job.plan.collection), &mut |object| keys.push(places.bare(&object.key).to_owned()))
        .await?;
    let read = || job.context.ports.files.read(state_files::RESTORE_RECORDS);
    let noted = job.common.noted.of(read, &job.plan.collection)?;
    let noted = noted.iter().filter_map(|line| parse(line));
    let mut found: BTreeMap<String, Record> = noted.map(|record| (record.key(), record)).collect();
    for key in keys {
        // One that is being replaced, or that nobody can read, says nothing: at worst a person asks by force.
        if let Some(record) = job.store.get_own(&key, LIMIT).await?.as_deref().and_then(parse) {
            let newer = |known: &Record| (&known.begun_at, known.state) <= (&record.begun_at, record.state);
            if found.get(&record.key()).is_none_or(newer) {
                found.insert(record.key(), record);
            }
        }
    }
    let mut records: Vec<Record> = found
        .into_values()
        .filter(|record| record.is_about(&job.plan.collection, &job.cluster.host.to_string(), peers))
        .collect();
    records.sort_by(|one, other| one.begun_at.cmp(&other.begun_at));
    Ok(records)
}

/// A restore that has ended, as far as its record tells.
pub(crate) struct Ended {
    /// What it restored: `<collection>/<set>`, or the snapshots of whole collections.
    pub backup: String,
    /// When it ended, or was given up for another one.
    pub at: OffsetDateTime,
}

/// Reads the record of a restore that has ended; `None` for one that has not, and for what is no record.
pub(crate) fn ended(json: &[u8]) -> Option<Ended> {
    let record = parse(json).filter(|record| record.state != State::Begun)?;
    let at = timestamp::RFC3339.read(record.ended_at.as_deref().unwrap_or(&record.begun_at))?;
    Some(Ended { backup: record.backup, at })
}

fn parse(json: &[u8]) -> Option<Record> {
    crate::decode::json(json).ok().filter(|record: &Record| record.version <= VERSION)
}

impl Record {
    /// True where it is about this collection of this target. Peers decide; a single server tells its own only with a
    /// collection, and without one it is known by its address alone.
    fn is_about(&self, collection: &str, host: &str, peers: &BTreeSet<String>) -> bool {
        let same_target =
            if self.peers.is_empty() || peers.is_empty() { self.host == host } else { !self.peers.is_disjoint(peers) };
        self.collection == collection && same_target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(host: &str, peers: &[&str]) -> Record {
        Record {
            version: VERSION,
            restore: "r".to_owned(),
            backup: "b".to_owned(),
            collection: "docs".to_owned(),
            host: host.to_owned(),
            peers: peers.iter().map(ToString::to_string).collect(),
            state: State::Begun,
            begun_at: String::new(),
            ended_at: None,
            created_at: None,
            aliases: BTreeSet::new(),
            beside: false,
            verified: false,
        }
    }

    #[test]
    fn a_record_belongs_to_the_peers_and_not_to_the_address() {
        let peers = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let one = record("http://a:6333", &["1", "2"]);
        assert!(one.is_about("docs", "http://b:6333", &peers(&["2", "3"])));
        assert!(!one.is_about("docs", "http://a:6333", &peers(&["3"])));
        assert!(!one.is_about("other", "http://a:6333", &peers(&["1"])));
        assert!(one.is_about("docs", "http://a:6333", &peers(&[])));
        assert!(!one.is_about("docs", "http://b:6333", &peers(&[])));
    }

    #[test]
    fn what_an_earlier_version_wrote_or_a_crash_left_is_no_record() {
        assert_eq!(parse(br#"{"http://a:6333 docs":"begun"}"#), None);
        assert_eq!(parse(b"{\"version\":1,\"resto"), None);
        let json = serde_json::to_vec(&record("h", &[])).unwrap_or_default();
        assert_eq!(parse(&json), Some(record("h", &[])));
    }
}
