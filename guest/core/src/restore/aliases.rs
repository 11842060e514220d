//! The aliases that the manifests of backups name, and where each leads.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use super::backup::Backup;

/// Of each alias the collection that it leads to, and when the backup was begun that says so.
#[derive(Default)]
pub struct Aliases(BTreeMap<String, (Option<OffsetDateTime>, String)>);

impl Aliases {
    /// Takes note of what the manifest of a backup names. Where two name an alias it was moved between them: the later one
    /// has it, and of two of one moment the last by name, in whichever order they come.
    pub(crate) fn note(&mut self, backup: &Backup) {
        for alias in backup.aliases() {
            let leads = self.0.entry(alias.clone()).or_default();
            *leads = std::mem::take(leads).max((backup.started(), backup.collection().to_owned()));
        }
    }

    /// Where an alias leads.
    pub(crate) fn leads_to(&self, alias: &str) -> Option<&str> {
        self.0.get(alias).map(|(_, collection)| collection.as_str())
    }

    /// Alias to collection, of those that lead to one of `collections`.
    pub(crate) fn of(self, collections: &BTreeSet<String>) -> BTreeMap<String, String> {
        let all = self.0.into_iter().map(|(alias, (_, collection))| (alias, collection));
        all.filter(|(_, collection)| collections.contains(collection)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::SetSelection;
    use super::*;
    use crate::sets::{RecordedContent, SetManifest};

    fn backup(name: &str, set: &str) -> Backup {
        let manifest = SetManifest {
            backup_set_id: set.to_owned(),
            aliases: vec!["live".to_owned(), format!("{name}-own")],
            ..SetManifest::example(serde_json::Value::Null, Vec::new())
        };
        let content = RecordedContent::default();
        Backup::Set(SetSelection {
            manifest,
            name: name.to_owned(),
            replication_factor: None,
            free: true,
            drill: false,
            content,
        })
    }

    #[test]
    fn the_later_backup_says_where_an_alias_leads() {
        for (a, b, leads) in [
            ("2026-03-02T00-00-00Z-p", "2026-03-01T00-00-00Z-p", "a"),
            ("2026-03-01T00-00-00Z-p", "2026-03-02T00-00-00Z-p", "b"),
            ("2026-03-01T00-00-00Z-p", "2026-03-01T00-00-00Z-p", "b"),
            ("2026-03-01T00-00-00Z-p", "by-hand", "a"),
        ] {
            for order in [[0, 1], [1, 0]] {
                let mut aliases = Aliases::default();
                let backups = [backup("a", a), backup("b", b)];
                order.iter().filter_map(|place| backups.get(*place)).for_each(|backup| aliases.note(backup));
                assert_eq!(aliases.leads_to("live"), Some(leads), "{a}, {b}");
                let own = format!("{leads}-own");
                let of_one = [("live", leads), (&own, leads)].map(|(alias, to)| (alias.to_owned(), to.to_owned()));
                assert_eq!(aliases.of(&[leads.to_owned()].into()), of_one.into());
            }
        }
    }
}
