//! Which sources have backups in the bucket, and whose each backup is: a pure function of the records and of what the
//! backups say.

use std::collections::BTreeSet;

use super::{Record, Source, SourceId};
use crate::sets::SetHeader;

/// The id by which backups go that name no source and no peer.
const UNKNOWN: &str = "unknown";

/// What a backup, or several of one origin, say of where they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The source's id, where the backup has it.
    pub id: Option<String>,
    /// The source's name, where the backup has it.
    pub name: Option<String>,
    /// The peers that it names, which are of one cluster.
    pub peers: BTreeSet<u64>,
}

impl Origin {
    /// What a set says.
    pub fn of_set(header: &SetHeader) -> Self {
        Self { id: header.source_id.clone(), name: header.source_name.clone(), peers: header.peers.clone() }
    }
}

/// A source with backups in the bucket, or with a record, or with both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id and name. Without a record: the id that a record would get, and its peers for a name.
    pub source: Source,
    /// The peers of its record and of all of its backups.
    pub peers: BTreeSet<u64>,
    /// True where it has a record.
    pub recorded: bool,
    /// True where there are backups of it.
    pub has_backups: bool,
}

/// The sources of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    entries: Vec<Entry>,
}

impl Catalogue {
    /// Puts together what is known. A backup with the id of a source is that source's; one without belongs to the source
    /// that has one of its peers, and makes the rest of them known as that source's peers. Backups that overlap with no
    /// source are sources of their own. What overlaps with two is nobody's: which one's can't be told.
    pub fn new(records: &[Record], origins: impl IntoIterator<Item = Origin>) -> Self {
        let mut entries: Vec<Entry> = records
            .iter()
            .map(|record| Entry { source: record.source(), peers: record.peers(), recorded: true, has_backups: false })
            .collect();
        let (named, mut nameless): (BTreeSet<Origin>, BTreeSet<Origin>) =
            origins.into_iter().partition(|origin| origin.id.is_some());
        for Origin { id, name, peers } in named {
            let id = SourceId::from_text(&id.unwrap_or_default());
            match entries.iter_mut().find(|entry| entry.source.id == id) {
                Some(entry) => {
                    entry.peers.extend(peers);
                    entry.has_backups = true;
                }
                None => {
                    let name = name.unwrap_or_else(|| id.to_string());
                    entries.push(Entry { source: Source { id, name }, peers, recorded: false, has_backups: true });
                }
            }
        }
        let without_peers = nameless.remove(&Origin::default());
        // One backup may tell of peers by which another one is known to be the source's.
        loop {
            let before = nameless.len();
            nameless.retain(|origin| {
                let mut of = entries.iter_mut().filter(|entry| !entry.peers.is_disjoint(&origin.peers));
                let Some(entry) = of.next() else { return true };
                if of.next().is_none() {
                    entry.peers.extend(&origin.peers);
                    entry.has_backups = true;
                }
                false
            });
            if nameless.len() == before {
                break;
            }
        }
        let mut groups: Vec<BTreeSet<u64>> = Vec::new();
        for origin in nameless {
            let (same, mut other): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|group| !group.is_disjoint(&origin.peers));
            other.push(same.into_iter().flatten().chain(origin.peers).collect());
            groups = other;
        }
        for peers in groups {
            let Some(id) = SourceId::of_new(&peers) else { continue };
            let shown: Vec<String> = peers.iter().take(3).map(u64::to_string).collect();
            let more = if peers.len() > shown.len() { ", ..." } else { "" };
            let name = format!("peers {}{more}", shown.join(", "));
            entries.push(Entry { source: Source { id, name }, peers, recorded: false, has_backups: true });
        }
        if without_peers {
            match entries.as_mut_slice() {
                [only] => only.has_backups = true,
                _ => entries.push(Entry {
                    source: Source { id: SourceId::from_text(UNKNOWN), name: UNKNOWN.to_owned() },
                    peers: BTreeSet::new(),
                    recorded: false,
                    has_backups: true,
                }),
            }
        }
        Self { entries }
    }

    /// The sources, those with records first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Those of which there are backups.
    pub fn with_backups(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.has_backups)
    }

    /// Whose a backup is that says this of its origin; `None` where that can't be told.
    pub fn whose(&self, id: Option<&str>, peers: &BTreeSet<u64>) -> Option<&Source> {
        if let Some(id) = id {
            return self.entries.iter().find(|entry| entry.source.id.as_str() == id).map(|entry| &entry.source);
        }
        if peers.is_empty() {
            let unknown = self.entries.iter().find(|entry| entry.source.id.as_str() == UNKNOWN);
            return match (unknown, self.entries.as_slice()) {
                (Some(entry), _) | (None, [entry]) => Some(&entry.source),
                _ => None,
            };
        }
        self.only_one_of(peers).ok().flatten().map(|entry| &entry.source)
    }

    /// The source that has one of `peers`.
    ///
    /// # Errors
    /// Several have: all of them.
    pub fn only_one_of(&self, peers: &BTreeSet<u64>) -> Result<Option<&Entry>, Vec<&Entry>> {
        let found: Vec<&Entry> = self.entries.iter().filter(|entry| !entry.peers.is_disjoint(peers)).collect();
        match found.as_slice() {
            [] => Ok(None),
            [entry] => Ok(Some(entry)),
            _ => Err(found),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::source::tests::known;

    fn origin(id: Option<&str>, peers: &[u64]) -> Origin {
        Origin { id: id.map(str::to_owned), name: None, peers: peers.iter().copied().collect() }
    }

    fn whose(catalogue: &Catalogue, id: Option<&str>, peers: &[u64]) -> Option<String> {
        let peers = peers.iter().copied().collect();
        catalogue.whose(id, &peers).map(|source| source.id.to_string())
    }

    #[test]
    fn an_old_backup_belongs_to_the_source_whose_peers_overlap() {
        let records = [known("a", "A", &[1, 2, 3]), known("b", "B", &[7])];
        // 9 was replaced by 2 long ago, and 8 by 9.
        let old = [origin(None, &[8, 9]), origin(None, &[9, 2]), origin(None, &[7]), origin(None, &[50, 51])];
        let catalogue = Catalogue::new(&records, old);
        assert_eq!(whose(&catalogue, None, &[8]), Some("a".to_owned()));
        assert_eq!(whose(&catalogue, None, &[7]), Some("b".to_owned()));
        let other = whose(&catalogue, None, &[51]).unwrap();
        assert_eq!(Some(other), SourceId::of_new(&BTreeSet::from([50, 51])).map(|id| id.to_string()));
        assert_eq!(catalogue.entries().len(), 3);
    }

    #[test]
    fn an_id_decides_whatever_the_peers_are() {
        let records = [known("a", "A", &[1]), known("b", "B", &[7])];
        let catalogue = Catalogue::new(&records, [origin(Some("a"), &[7]), origin(Some("c"), &[9])]);
        assert_eq!(whose(&catalogue, Some("a"), &[7]), Some("a".to_owned()));
        assert_eq!(whose(&catalogue, Some("c"), &[]), Some("c".to_owned()));
        assert_eq!(whose(&catalogue, Some("d"), &[1]), None);
    }

    #[test]
    fn what_overlaps_with_two_sources_is_nobodys() {
        let records = [known("a", "A", &[1]), known("b", "B", &[7])];
        let catalogue = Catalogue::new(&records, [origin(None, &[1, 7])]);
        assert_eq!(whose(&catalogue, None, &[1, 7]), None);
        assert_eq!(whose(&catalogue, None, &[1]), Some("a".to_owned()));
        assert!(catalogue.entries().iter().all(|entry| !entry.has_backups));
    }

    #[test]
    fn without_records_the_peers_of_the_backups_make_the_sources() {
        let catalogue = Catalogue::new(&[], [origin(None, &[1, 2]), origin(None, &[3, 4]), origin(None, &[2, 5])]);
        assert_eq!(catalogue.entries().len(), 2);
        assert_eq!(whose(&catalogue, None, &[1]), whose(&catalogue, None, &[5]));
        assert_ne!(whose(&catalogue, None, &[1]), whose(&catalogue, None, &[3]));
    }

    #[test]
    fn backups_that_name_no_peer_are_the_only_sources_or_their_own() {
        let one = Catalogue::new(&[known("a", "A", &[1])], [origin(None, &[])]);
        assert_eq!(whose(&one, None, &[]), Some("a".to_owned()));
        let two = Catalogue::new(&[known("a", "A", &[1]), known("b", "B", &[2])], [origin(None, &[])]);
        assert_eq!(whose(&two, None, &[]), Some("unknown".to_owned()));
        let alone = Catalogue::new(&[], [origin(None, &[])]);
        assert_eq!(whose(&alone, None, &[]), Some("unknown".to_owned()));
    }
}
