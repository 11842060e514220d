//! Sources whose Qdrants store their snapshots below one prefix. The key of a snapshot of a shard has the collection, the
//! shard and the second in it, and no peer: of two that are made in one second, one takes the other's place.

use time::OffsetDateTime;

use super::{Record, Source, Turn};
use crate::timestamp;

/// For how long a source is a neighbour that was not backed up any more.
const REMEMBERED: time::Duration = time::Duration::days(30);

/// More sources than these share turns: waiting for one takes longer the more there are.
const MOST: u64 = 4;

/// The sources that share one place of Qdrant's.
pub(super) struct Neighbours {
    /// How many of all come before this one.
    before: u64,
    others: Vec<Source>,
}

impl Neighbours {
    /// The neighbours of `own` among `all` records.
    pub(super) fn of(own: &Record, all: &[Record], now: OffsetDateTime) -> Self {
        let lives =
            |record: &Record| timestamp::RFC3339.read(&record.seen_at).is_none_or(|seen| now - seen < REMEMBERED);
        // What the version before wrote does not say it.
        let is_here = |record: &Record| record.key_prefix.is_none() || record.key_prefix == own.key_prefix;
        let others = all.iter().filter(|record| record.id != own.id && lives(record) && is_here(record));
        let others: Vec<Source> = others.map(Record::source).collect();
        Self { before: others.iter().filter(|other| other.id < own.id).count() as u64, others }
    }

    /// What to tell where there are any.
    pub(super) fn warning(&self, key_prefix: &str) -> Option<String> {
        let names: Vec<String> = self.others.iter().map(ToString::to_string).collect();
        (!names.is_empty()).then(|| {
            format!(
                "the snapshots of other sources lie below the same prefix `{key_prefix}` ({}), where two of one shard of a \
                 collection of one name have one key if they are made in one second: give each Qdrant a prefix \
                 (S3_CONFIG__PREFIX, 1.19.2 and later, with QDRANT_S3_KEY_PREFIX), or each source a bucket; until then \
                 snapshots of shards are made in turns, each source in seconds of its own",
                names.join(", ")
            )
        })
    }

    /// When snapshots of shards are made; `None` where there is nobody to take turns with.
    pub(super) fn turn(&self) -> Option<Turn> {
        let of = (self.others.len() as u64 + 1).min(MOST);
        (of > 1).then(|| Turn::new(self.before, of))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::source::tests::known;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-02 02:00:00 UTC);

    #[test]
    fn sources_of_one_prefix_have_seconds_of_their_own() {
        let record = |id: &str, prefix: Option<&str>, seen: OffsetDateTime| Record {
            key_prefix: prefix.map(str::to_owned),
            seen_at: timestamp::RFC3339.write(seen),
            ..known(id, id, &[])
        };
        let all = [
            record("a", Some("snapshots"), NOW),
            record("b", Some("elsewhere"), NOW),
            record("c", None, NOW),
            record("d", Some("snapshots"), NOW - time::Duration::days(40)),
            record("e", Some("snapshots"), NOW - time::Duration::days(2)),
            record("f", Some("snapshots"), NOW - REMEMBERED),
        ];
        let turn = |place: usize| Neighbours::of(&all[place], &all, NOW).turn();
        assert_eq!(turn(0), Some(Turn::new(0, 3)));
        assert_eq!(turn(4), Some(Turn::new(2, 3)));
        // Of what the version before wrote it is not known.
        assert_eq!(turn(1), Some(Turn::new(0, 2)));
        let alone = Neighbours::of(&all[1], &all[..2], NOW);
        assert_eq!((alone.turn(), alone.warning("elsewhere")), (None, None));
        let warning = Neighbours::of(&all[0], &all, NOW).warning("snapshots").unwrap();
        assert!(warning.contains("`c` (c), `e` (e)") && warning.contains("S3_CONFIG__PREFIX"), "{warning}");
        let many: Vec<Record> = (0..9).map(|id| record(&id.to_string(), Some("snapshots"), NOW)).collect();
        assert_eq!(Neighbours::of(&many[6], &many, NOW).turn(), Some(Turn::new(2, 4)));
    }
}
