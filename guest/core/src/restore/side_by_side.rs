//! The collection that another one was restored beside.

use std::rc::Rc;

use super::backup::Backup;
use crate::qdrant::{Cluster, QdrantError};
use crate::report::{Item, Outcome};

/// Deletes the collection that `backup` was restored beside: only where no alias leads to it any more.
pub(crate) async fn drop_replaced(cluster: &Cluster, backups: &[Rc<Backup>], backup: &Backup) -> Option<Item> {
    let old = backup.was();
    if backups.iter().any(|other| other.collection() == old) {
        return None;
    }
    let item = |outcome, cause| Item {
        host: Some(cluster.host.to_string()),
        collection: Some(old.to_owned()),
        cause: Some(cause),
        ..Item::new("collection", outcome)
    };
    let client = &cluster.peers.first()?.client;
    let there = async { Ok::<_, QdrantError>((client.collections().await?, client.aliases().await?)) };
    let (collections, aliases) = match there.await {
        Ok(there) => there,
        Err(error) => return Some(item(Outcome::Failed, error.to_string())),
    };
    if !collections.iter().any(|there| there == old) {
        return None;
    }
    let leading: Vec<String> = aliases.into_iter().filter(|(_, to)| to == old).map(|(alias, _)| alias).collect();
    if !leading.is_empty() {
        let cause = format!("not deleted: the aliases {} lead to it", leading.join(", "));
        return Some(item(Outcome::Failed, cause));
    }
    Some(match client.delete_collection(old).await {
        Ok(()) => item(Outcome::Done, format!("deleted: `{}` takes its place", backup.collection())),
        Err(error) => item(Outcome::Failed, error.to_string()),
    })
}
