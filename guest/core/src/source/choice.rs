//! Whose backups a restore takes.

use std::collections::BTreeSet;

use super::Source;
use super::catalogue::{Catalogue, Entry};
use crate::error::{Code, Error};

/// How the source of a restore was found, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A person named it (`QDRANT_RESTORE_SOURCE`).
    Named,
    /// The target is that source.
    Own,
    /// The target is no source, and the bucket has only this one.
    Only,
}

impl Why {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Named => "it is named by QDRANT_RESTORE_SOURCE",
            Self::Own => "the target is this source",
            Self::Only => "it is the only source in the bucket",
        }
    }
}

/// Chooses the source whose backups are restored into a target of these `peers`: the one that a person `named`, else the
/// target itself, else the only one there is. `None`: the bucket has no backups, of anybody.
///
/// # Errors
/// It can't be told: lists the sources, and the setting that chooses one.
pub fn choose(
    catalogue: &Catalogue,
    peers: &BTreeSet<u64>,
    named: Option<&str>,
) -> Result<Option<(Source, Why)>, Error> {
    let with_backups: Vec<&Entry> = catalogue.with_backups().collect();
    let unclear = |cause: String, sources: &[&Entry]| {
        let list: Vec<String> = sources.iter().map(|entry| entry.source.to_string()).collect();
        Error::new(Code::SourceUnclear, "", format!("{cause}: {}", list.join(", ")))
            .advice("set QDRANT_RESTORE_SOURCE to the id or the name of the one to restore; `list_sources` lists them")
    };
    if let Some(named) = named {
        let by_id = |entry: &&Entry| entry.source.id.as_str() == named;
        let by_name = |entry: &&Entry| entry.source.name == named;
        let all = catalogue.entries();
        let found: Vec<&Entry> = match all.iter().find(by_id) {
            Some(entry) => vec![entry],
            None => all.iter().filter(by_name).collect(),
        };
        return match found.as_slice() {
            [entry] => Ok(Some((entry.source.clone(), Why::Named))),
            [] => Err(unclear(
                format!("QDRANT_RESTORE_SOURCE={named} is not one of the sources in the bucket"),
                &with_backups,
            )),
            several => Err(unclear(format!("several sources have the name QDRANT_RESTORE_SOURCE={named}"), several)),
        };
    }
    match catalogue.only_one_of(peers) {
        Ok(Some(entry)) => return Ok(Some((entry.source.clone(), Why::Own))),
        Err(several) => return Err(unclear("the target has peers of several sources".to_owned(), &several)),
        Ok(None) => {}
    }
    match with_backups.as_slice() {
        [] => Ok(None),
        [entry] => Ok(Some((entry.source.clone(), Why::Only))),
        several => Err(unclear(
            "the target is not one of the sources in the bucket, so it is not known whose backups it gets".to_owned(),
            several,
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::source::catalogue::Origin;
    use crate::source::tests::known;

    fn chosen(catalogue: &Catalogue, peers: &[u64], named: Option<&str>) -> Result<Option<(String, Why)>, Error> {
        let peers = peers.iter().copied().collect();
        Ok(choose(catalogue, &peers, named)?.map(|(source, why)| (source.id.to_string(), why)))
    }

    fn of(id: &str) -> Origin {
        Origin { id: Some(id.to_owned()), ..Origin::default() }
    }

    #[test]
    fn the_target_gets_its_own_and_a_stranger_only_what_is_clear() {
        let records = [known("a", "A", &[1, 2]), known("b", "B", &[7]), known("c", "C", &[9])];
        let two = Catalogue::new(&records, [of("a"), of("b")]);
        assert_eq!(chosen(&two, &[2, 3], None).unwrap(), Some(("a".to_owned(), Why::Own)));
        // Its own, though there are no backups of it: another one's are not its own.
        assert_eq!(chosen(&two, &[9], None).unwrap(), Some(("c".to_owned(), Why::Own)));
        for stranger in [&[][..], &[50]] {
            let error = chosen(&two, stranger, None).unwrap_err().to_string();
            assert!(error.contains("`A` (a), `B` (b); set QDRANT_RESTORE_SOURCE"), "{error}");
        }
        assert!(chosen(&two, &[1, 7], None).unwrap_err().to_string().contains("peers of several sources"));
        let one = Catalogue::new(&records, [of("b")]);
        assert_eq!(chosen(&one, &[50], None).unwrap(), Some(("b".to_owned(), Why::Only)));
        assert_eq!(chosen(&Catalogue::new(&[], []), &[50], None).unwrap(), None);
    }

    #[test]
    fn a_person_chooses_by_id_or_by_a_name_that_only_one_has() {
        let records = [known("a", "A", &[1]), known("b", "B", &[7]), known("c", "B", &[8])];
        let catalogue = Catalogue::new(&records, [of("a"), of("b"), of("c")]);
        assert_eq!(chosen(&catalogue, &[1], Some("c")).unwrap(), Some(("c".to_owned(), Why::Named)));
        assert_eq!(chosen(&catalogue, &[7], Some("A")).unwrap(), Some(("a".to_owned(), Why::Named)));
        assert!(chosen(&catalogue, &[7], Some("B")).unwrap_err().to_string().contains("several sources have the name"));
        assert!(chosen(&catalogue, &[7], Some("x")).unwrap_err().to_string().contains("not one of the sources"));
    }
}
