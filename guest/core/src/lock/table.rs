//! Which work excludes which: the one table, and what it is asked with. docs/identity.md shows it to people.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::naming::escape_segment;
use crate::settings::Share;
use crate::source::Record;

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `create_snap`.
    Snapshots,
    /// `create_snap_shards`.
    Sets,
    /// What a backup removes after itself.
    Retention,
    /// `prune_snap`.
    Prune,
    /// `recover_snap` and `recover_snap_shards`.
    Restore,
    /// `drill`.
    Drill,
    /// `recover_colla`.
    Aliases,
    /// `pin_set`.
    Pin,
}

/// Where two kinds of work are in each other's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The same share of the same source.
    Share,
    /// The backups of one source: one reads, or keeps, what the other removes.
    Backups,
    /// One cluster, which one of them changes.
    Cluster,
    /// Both go on: the one that removes leaves alone what the backup, which stands first, has made and not recorded yet.
    /// Neither has to wait for the other one, which may take days.
    Spared,
}

/// Two that are not here do not exclude each other, such as a backup and a restore into another cluster.
const TABLE: [(Work, Work, Scope); 20] = [
    (Work::Snapshots, Work::Snapshots, Scope::Share),
    (Work::Sets, Work::Sets, Scope::Share),
    (Work::Snapshots, Work::Prune, Scope::Spared),
    (Work::Sets, Work::Prune, Scope::Spared),
    // Of another source with the same keys.
    (Work::Sets, Work::Retention, Scope::Spared),
    // What is half restored is no backup.
    (Work::Snapshots, Work::Restore, Scope::Cluster),
    (Work::Sets, Work::Restore, Scope::Cluster),
    (Work::Retention, Work::Retention, Scope::Share),
    (Work::Retention, Work::Prune, Scope::Backups),
    (Work::Retention, Work::Restore, Scope::Backups),
    (Work::Retention, Work::Drill, Scope::Backups),
    (Work::Retention, Work::Pin, Scope::Backups),
    (Work::Prune, Work::Prune, Scope::Backups),
    (Work::Prune, Work::Restore, Scope::Backups),
    (Work::Prune, Work::Drill, Scope::Backups),
    (Work::Prune, Work::Pin, Scope::Backups),
    (Work::Restore, Work::Restore, Scope::Cluster),
    (Work::Restore, Work::Drill, Scope::Cluster),
    (Work::Restore, Work::Aliases, Scope::Cluster),
    (Work::Drill, Work::Drill, Scope::Cluster),
];

impl Work {
    const ALL: [Self; 8] = [
        // The longer name first: it begins with the shorter one.
        Self::Sets,
        Self::Snapshots,
        Self::Retention,
        Self::Prune,
        Self::Restore,
        Self::Drill,
        Self::Aliases,
        Self::Pin,
    ];

    /// Its name in locks and keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshots => "create_snap",
            Self::Sets => "create_snap_shards",
            Self::Retention => "retention",
            Self::Prune => "prune_snap",
            Self::Restore => "restore",
            Self::Drill => "drill",
            Self::Aliases => "recover_colla",
            Self::Pin => "pin_set",
        }
    }

    /// True for work that removes backups: it must not be done where nobody can be told of it.
    pub fn removes(self) -> bool {
        matches!(self, Self::Retention | Self::Prune)
    }
}

/// What a snapshot, or its key, says of who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// This peer.
    Peer(u64),
    /// A cluster or server of this source.
    Source(String),
    /// It says nothing.
    Unknown,
}

/// What a run says of its work, so that others can tell whether it is in their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What it does.
    pub work: Work,
    /// The source whose backups it makes, reads or removes; `None`: perhaps any.
    pub source: Option<String>,
    /// The peers of the cluster that it works on; none where it has no cluster, or the cluster does not tell.
    pub peers: BTreeSet<u64>,
    /// The host by which that cluster was found, which is what is compared where no peer is known.
    pub host: Option<String>,
    /// The share of the collections.
    pub share: Option<Share>,
}

impl Claim {
    /// True where the two must not be at work at the same time.
    pub fn excludes(&self, other: &Self) -> bool {
        let scope = TABLE.iter().find(|(one, another, _)| {
            (*one, *another) == (self.work, other.work) || (*one, *another) == (other.work, self.work)
        });
        match scope.map(|(.., scope)| scope) {
            None | Some(Scope::Spared) => false,
            Some(Scope::Cluster) => self.is_on_the_cluster_of(other),
            Some(Scope::Backups) => match (&self.source, &other.source) {
                (Some(one), Some(another)) => one == another,
                _ => true,
            },
            Some(Scope::Share) => {
                let same = match (&self.source, &other.source) {
                    (Some(one), Some(another)) => one == another,
                    _ => self.is_on_the_cluster_of(other),
                };
                let apart = matches!((self.share, other.share), (Some(one), Some(another))
                    if one.of == another.of && one.index != another.index);
                same && !apart
            }
        }
    }

    /// True for a backup beside which `work` goes on, and leaves alone what it has made.
    pub fn is_spared_by(&self, work: Work) -> bool {
        TABLE.contains(&(self.work, work, Scope::Spared))
    }

    /// True where this backup may have made what `maker` says of itself, as far as the records of sources tell.
    pub fn may_have_made(&self, maker: &Maker, records: &[Record]) -> bool {
        let Some(source) = &self.source else { return true };
        match maker {
            Maker::Unknown => true,
            Maker::Source(made) => made == source,
            Maker::Peer(peer) => {
                let record = records.iter().find(|record| record.id.to_string() == *source);
                self.peers.contains(peer) || record.is_none_or(|record| record.peers().contains(peer))
            }
        }
    }

    fn is_on_the_cluster_of(&self, other: &Self) -> bool {
        if self.peers.is_empty() || other.peers.is_empty() {
            // A server without clustering tells its id only once it has a collection.
            return self.host.is_some() && self.host == other.host;
        }
        !self.peers.is_disjoint(&other.peers)
    }

    /// A part of the lock's key, for people: what it is about.
    pub fn subject(&self) -> String {
        let peer = || self.peers.first().map(u64::to_string);
        let subject = match self.work {
            Work::Restore | Work::Drill | Work::Aliases => peer().or_else(|| self.host.clone()),
            _ => self.source.clone().or_else(peer),
        };
        escape_segment(&plain(&subject.unwrap_or_else(|| "all".to_owned())))
    }

    /// Reads what a lock says. Those of version 0.1.0 say it by their keys alone: `<work>-<lowest peer id>`, or
    /// `<work>-<scheme>-<host>-<port>`, and `-<index>-of-<shares>`. `None`: it is no lock.
    pub fn read(key: &str, content: &[u8]) -> Option<Self> {
        let name = key.rsplit('/').next()?.strip_suffix(".json")?;
        let told: Value = serde_json::from_slice(content).unwrap_or_default();
        let text = |field: &str| told.get(field).and_then(Value::as_str).map(str::to_owned);
        let number = |field: &str| told.get(field).and_then(Value::as_u64);
        if let Some(work) = text("work") {
            let peers = told.get("peers").and_then(Value::as_array);
            return Some(Self {
                // What a later version does may be in the way of anything.
                work: Work::ALL.into_iter().find(|known| known.name() == work).unwrap_or(Work::Restore),
                source: text("source_id"),
                peers: peers.into_iter().flatten().filter_map(|peer| peer.as_str()?.parse().ok()).collect(),
                host: text("host"),
                share: number("share").zip(number("shares")).map(|(index, of)| Share { index, of }),
            });
        }
        let (work, rest) =
            Work::ALL.into_iter().find_map(|work| Some((work, name.strip_prefix(work.name())?.strip_prefix('-')?)))?;
        let (subject, share) = split_share(rest);
        let peer = subject.parse().ok();
        Some(Self {
            work,
            // These versions know no sources: it may be any.
            source: None,
            peers: peer.into_iter().collect(),
            host: peer.is_none().then(|| crate::naming::unescape_segment(subject)),
            share,
        })
    }

    /// What the lock says, besides who holds it.
    pub fn fields(&self) -> serde_json::Map<String, Value> {
        let peers: Vec<Value> = self.peers.iter().map(|peer| Value::from(peer.to_string())).collect();
        let mut fields = serde_json::Map::new();
        fields.insert("work".to_owned(), self.work.name().into());
        fields.insert("source_id".to_owned(), self.source.clone().into());
        fields.insert("peers".to_owned(), peers.into());
        fields.insert("host".to_owned(), self.host.clone().into());
        if let Some(share) = self.share {
            fields.insert("share".to_owned(), share.index.into());
            fields.insert("shares".to_owned(), share.of.into());
        }
        fields
    }
}

/// A host as version 0.1.0 wrote it into keys.
pub fn plain(host: &str) -> String {
    host.replace("://", "-").replace(':', "-")
}

fn split_share(text: &str) -> (&str, Option<Share>) {
    let share = || {
        let (rest, of) = text.rsplit_once("-of-")?;
        let (subject, index) = rest.rsplit_once('-')?;
        Some((subject, Share { index: index.parse().ok()?, of: of.parse().ok()? }))
    };
    share().map_or((text, None), |(subject, share)| (subject, Some(share)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn claim(work: Work, source: Option<&str>, peers: &[u64]) -> Claim {
        Claim {
            work,
            source: source.map(str::to_owned),
            peers: peers.iter().copied().collect(),
            host: Some("http-qdrant-6333".to_owned()),
            share: None,
        }
    }

    #[test]
    fn the_table_excludes_both_ways_and_each_pair_stands_once() {
        for (place, (one, another, _)) in TABLE.iter().enumerate() {
            let (a, b) = (claim(*one, Some("a"), &[1]), claim(*another, Some("a"), &[1]));
            assert_eq!(a.excludes(&b), b.excludes(&a), "{one:?} {another:?}");
            assert!(a.excludes(&b) != a.is_spared_by(b.work), "{one:?} {another:?}");
            let again = TABLE.iter().skip(place + 1);
            assert!(again.clone().all(|(x, y, _)| (x, y) != (one, another) && (y, x) != (one, another)));
        }
    }

    /// Two servers that are both called http://qdrant:6333, in two namespaces.
    #[test]
    fn sources_are_told_apart_by_their_ids_and_not_by_hosts() {
        let (red, blue) = (claim(Work::Sets, Some("red"), &[1]), claim(Work::Sets, Some("blue"), &[2]));
        assert!(!red.excludes(&blue) && red.excludes(&red));
        let nameless = |peer| claim(Work::Sets, None, &[peer]);
        assert!(!nameless(1).excludes(&nameless(2)) && nameless(1).excludes(&nameless(1)));
        assert!(!red.excludes(&claim(Work::Snapshots, Some("red"), &[1])));
    }

    #[test]
    fn what_a_restore_reads_is_not_removed_and_what_others_have_is() {
        let restore = claim(Work::Restore, Some("red"), &[9]);
        assert!(restore.excludes(&claim(Work::Retention, Some("red"), &[1])));
        assert!(!restore.excludes(&claim(Work::Retention, Some("blue"), &[2])));
        assert!(claim(Work::Restore, None, &[9]).excludes(&claim(Work::Retention, Some("blue"), &[2])));
        assert!(restore.excludes(&Claim { host: None, ..claim(Work::Prune, None, &[]) }));
        assert!(claim(Work::Drill, Some("red"), &[9]).excludes(&claim(Work::Prune, None, &[])));
    }

    #[test]
    fn a_prune_goes_on_beside_a_backup_and_spares_what_it_makes() {
        let record = |id: &str, peer: &str| -> Record {
            serde_json::from_value(serde_json::json!({"version": 1, "id": id, "name": id, "peers": [peer], "created_at": "", "seen_at": ""}))
                .unwrap()
        };
        let records = [record("red", "1"), record("blue", "2")];
        for work in [Work::Sets, Work::Snapshots] {
            let red = claim(work, Some("red"), &[7]);
            assert!(!red.excludes(&claim(Work::Prune, None, &[])) && red.is_spared_by(Work::Prune));
            let spared = |maker| red.may_have_made(&maker, &records);
            // By its lock, by its record, by the key, and where nobody can tell.
            assert!(spared(Maker::Peer(7)) && spared(Maker::Peer(1)) && spared(Maker::Source("red".to_owned())));
            assert!(spared(Maker::Unknown) && claim(work, None, &[7]).may_have_made(&Maker::Peer(2), &records));
            assert!(!spared(Maker::Peer(2)) && !spared(Maker::Source("blue".to_owned())));
            assert!(claim(work, Some("unrecorded"), &[9]).may_have_made(&Maker::Peer(2), &records));
        }
        assert!(!claim(Work::Restore, Some("red"), &[1]).is_spared_by(Work::Prune));
        assert!(!claim(Work::Snapshots, Some("red"), &[1]).is_spared_by(Work::Retention));
    }

    #[test]
    fn a_target_is_known_by_its_peers_and_else_by_its_host() {
        let restore = |peers: &[u64]| claim(Work::Restore, None, peers);
        assert!(restore(&[1, 2]).excludes(&restore(&[2, 3])) && !restore(&[1]).excludes(&restore(&[2])));
        // The first restore has made its collection meanwhile, and the server tells its id.
        assert!(restore(&[]).excludes(&restore(&[7])));
        let elsewhere = Claim { host: Some("http-other-6333".to_owned()), ..restore(&[]) };
        assert!(!elsewhere.excludes(&restore(&[7])));
        assert!(restore(&[1]).excludes(&claim(Work::Sets, Some("red"), &[1])));
        assert!(!restore(&[1]).excludes(&claim(Work::Sets, Some("red"), &[2])));
    }

    #[test]
    fn shares_of_one_run_are_at_work_together() {
        let share = |index, of| Claim { share: Some(Share { index, of }), ..claim(Work::Sets, Some("a"), &[1]) };
        assert!(!share(0, 3).excludes(&share(1, 3)) && share(1, 3).excludes(&share(1, 3)));
        assert!(share(0, 3).excludes(&share(1, 4)) && share(0, 3).excludes(&claim(Work::Sets, Some("a"), &[1])));
    }

    #[test]
    fn locks_of_every_version_are_read() {
        let new = Claim { share: Some(Share { index: 1, of: 3 }), ..claim(Work::Retention, Some("a"), &[u64::MAX]) };
        let content = Value::Object(new.fields()).to_string();
        assert_eq!(Claim::read("p/run_locks/x.json", content.as_bytes()), Some(new));
        let old = |key: &str| Claim::read(key, br#"{"holder":"pod","token":"0"}"#).unwrap();
        let sets = old("run_locks/create_snap_shards-7-1-of-3.json");
        assert_eq!(
            (sets.work, sets.peers, sets.share),
            (Work::Sets, BTreeSet::from([7]), Some(Share { index: 1, of: 3 }))
        );
        let single = old("run_locks/create_snap-http-qdrant-6333.json");
        assert_eq!((single.work, single.host.as_deref()), (Work::Snapshots, Some("http-qdrant-6333")));
        assert!(single.excludes(&claim(Work::Snapshots, Some("a"), &[1])));
        assert!(old("run_locks/restore-1.json").excludes(&claim(Work::Prune, None, &[])));
        assert_eq!(Claim::read("run_locks/else.json", b"{}"), None);
    }
}
