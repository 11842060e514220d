//! Whose snapshots lie below the prefix of Qdrant's own that this run is about, and whose below another: told by their
//! sources, and never by the form of a key.

use std::collections::BTreeSet;

use super::catalogue::{Catalogue, Origin};
use super::{Record, Source, SourceId};
use crate::sets::{Headed, SetHeader};

/// The sources of a bucket, and which of them keep snapshots here.
pub struct Here {
    catalogue: Catalogue,
    sources: BTreeSet<SourceId>,
}

impl Here {
    /// `key_prefix`: `QDRANT_S3_KEY_PREFIX`. `sets`: all of the bucket.
    pub fn new(records: &[Record], sets: &[Headed], key_prefix: &str) -> Self {
        let headers = || sets.iter().filter_map(|set| set.header.as_ref());
        let catalogue = Catalogue::new(records, headers().map(Origin::of_set));
        let here = headers().filter(|header| header.key_prefix.as_deref().is_none_or(|prefix| prefix == key_prefix));
        let sources = here.filter_map(|header| whose(&catalogue, header)).map(|source| source.id.clone()).collect();
        Self { catalogue, sources }
    }

    /// The source of a set that is known to be another's: one of which nothing is kept here. `None`: it is of a source
    /// that keeps sets here, or whose it is can't be told.
    pub fn other(&self, header: &SetHeader) -> Option<&Source> {
        whose(&self.catalogue, header).filter(|source| !self.sources.contains(&source.id))
    }
}

fn whose<'a>(catalogue: &'a Catalogue, header: &SetHeader) -> Option<&'a Source> {
    catalogue.whose(header.source_id.as_deref(), &header.peers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sets::{Found, SetId};
    use crate::source::tests::known;

    fn header(source: Option<&str>, peers: &[u64], prefix: Option<&str>) -> SetHeader {
        SetHeader {
            source_id: source.map(str::to_owned),
            peers: peers.iter().copied().collect(),
            key_prefix: prefix.map(str::to_owned),
            ..SetHeader::default()
        }
    }

    fn headed(header: SetHeader) -> Headed {
        let found = Found { id: SetId::from_text("x"), key: String::new(), bytes: 0, drill: None };
        Headed { collection: "docs".to_owned(), found, header: Some(header) }
    }

    #[test]
    fn another_s_is_what_is_of_a_source_that_keeps_nothing_here() {
        let records = [known("a", "A", &[1]), known("b", "B", &[7])];
        let sets = [
            header(Some("a"), &[1], Some("ours")),
            header(Some("a"), &[1], Some("before")),
            header(Some("b"), &[7], Some("theirs")),
            // Of version 0.1.0.
            header(None, &[1], Some("before")),
            header(None, &[7], Some("theirs")),
            // Of peers of both, and of nobody's.
            header(None, &[1, 7], Some("theirs")),
        ];
        let here = Here::new(&records, &sets.clone().map(headed), "ours");
        let names = sets.each_ref().map(|set| here.other(set).map(|source| source.name.as_str()));
        assert_eq!(names, [None, None, Some("B"), None, Some("B"), None]);
        let nowhere = Here::new(&records, &sets.clone().map(headed), "mistyped");
        assert_eq!(sets.each_ref().map(|set| nowhere.other(set).is_some()), [true, true, true, true, true, false]);
    }
}
