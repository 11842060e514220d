//! Collections that are restored beside others: their names, and the ones that they replace.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::backup::Backup;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::qdrant::{Client, Cluster};
use crate::report::Item;

/// Makes sure that no two of the `selected` collections end in one name on the target.
///
/// # Errors
/// Names the two, and the name.
pub(crate) fn no_two_in_one<'a>(
    selected: impl IntoIterator<Item = &'a String>,
    rename: &[(String, String)],
) -> Result<(), Error> {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for collection in selected {
        let renamed = rename.iter().find(|(old, _)| old == collection).map(|(_, new)| new);
        let name = renamed.unwrap_or(collection);
        if let Some(other) = taken.insert(name, collection) {
            let cause = format!("`{other}` and `{collection}` would both be restored into `{name}`");
            return Err(Error::new(Code::Configuration, "QDRANT_RESTORE_RENAME", cause)
                .advice("choose one of them with QDRANT_COLLECTIONS, or another name"));
        }
    }
    Ok(())
}

/// The collections that others were restored beside, as they were before: by what it is seen that they are written to.
pub(crate) struct Replaced {
    counts: BTreeMap<String, u64>,
}

/// Looks at the collections that `backups` are restored beside.
///
/// # Errors
/// The target can't be asked.
pub(crate) async fn look(cluster: &Cluster, backups: &[Rc<Backup>]) -> Result<Replaced, Error> {
    let client = client(cluster)?;
    let there: BTreeSet<String> = client.collections().await?.into_iter().collect();
    let mut counts = BTreeMap::new();
    for old in backups.iter().filter(|backup| backup.was() != backup.collection()).map(|backup| backup.was()) {
        if there.contains(old) {
            counts.insert(old.to_owned(), client.count(old).await?);
        }
    }
    Ok(Replaced { counts })
}

/// Deletes the collection that `backup` was restored beside: only where this run has `moved` its aliases away from it, no
/// other leads to it, and nothing was written to it since this run `looked` at it.
pub(crate) async fn drop_replaced(
    context: &Context,
    cluster: &Cluster,
    backups: &[Rc<Backup>],
    backup: &Backup,
    moved: &BTreeMap<String, String>,
    looked: &Replaced,
) -> Option<Item> {
    let old = backup.was();
    // Another one was restored under its name, or it was not there.
    if backups.iter().any(|other| other.collection() == old) || !looked.counts.contains_key(old) {
        return None;
    }
    if context.settings.dry_run {
        let what = format!(
            "would be deleted if its aliases point to `{}` by then and nothing writes to it",
            backup.collection()
        );
        context.plan(&["drop", old, &cluster.host.to_string(), &what]);
        return Some(Item::skipped("collection", what).host(&cluster.host).collection(old));
    }
    let item = match delete(cluster, old, moved, looked).await {
        Ok(()) => Item::done("collection").cause(format!("deleted: `{}` takes its place", backup.collection())),
        Err(error) => Item::failed("collection", error),
    };
    Some(item.host(&cluster.host).collection(old))
}

async fn delete(
    cluster: &Cluster,
    old: &str,
    moved: &BTreeMap<String, String>,
    looked: &Replaced,
) -> Result<(), Error> {
    let refused =
        |cause: String, advice: &str| Err(Error::new(Code::TargetOccupied, "not deleted", cause).advice(advice));
    if !moved.values().any(|before| before == old) {
        return refused(
            "this run has moved no alias away from it, so it may still be in use".to_owned(),
            "delete it yourself",
        );
    }
    let client = client(cluster)?;
    let leading: Vec<String> =
        client.aliases().await?.into_iter().filter(|(_, to)| to == old).map(|(alias, _)| alias).collect();
    if !leading.is_empty() {
        return refused(format!("the aliases {} point to it", leading.join(", ")), "move them, and delete it yourself");
    }
    let (before, now) = (looked.counts.get(old).copied().unwrap_or_default(), client.count(old).await?);
    if before != now {
        let cause = format!("it was written to since this run began: it had {before} points and has {now}");
        return refused(cause, "find out who writes to it by its own name");
    }
    Ok(client.delete_collection(old).await?)
}

fn client(cluster: &Cluster) -> Result<&Client, Error> {
    let peer = cluster.peers.first();
    peer.map(|peer| &peer.client).ok_or_else(|| Error::new(Code::NoPeer, "", "the target has no peer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_end_in_one_name_are_refused() {
        let rename = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect()
        };
        let selected = ["a".to_owned(), "b".to_owned()];
        assert!(no_two_in_one(&selected, &rename(&[("a", "b")])).is_err());
        assert!(no_two_in_one(&selected, &rename(&[("a", "x"), ("b", "x")])).is_err());
        assert!(no_two_in_one(&selected, &rename(&[("a", "b"), ("b", "a")])).is_ok());
        assert!(no_two_in_one(&selected[..1], &rename(&[("a", "b")])).is_ok());
    }
}
