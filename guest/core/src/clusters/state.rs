//! What a cluster has agreed on besides its collections, and what is in no snapshot: its quotas and its metadata. A run
//! that backs up everything notes it in its record, and a restore tells what is another on the target, or sets it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::Context;
use crate::error::{Code, Error};
use crate::qdrant::{Client, Cluster, quotas_alone, version};
use crate::report::Item;

/// The most entries of a cluster's metadata that are noted.
const MOST_KEYS: usize = 1000;

/// The kind of its items in a report.
pub(crate) const KIND: &str = "cluster state";

/// The state of a cluster, as far as it could be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// `GET /quotas`; none before Qdrant 1.19.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Value>,
    /// `GET /cluster/metadata/keys`, each with its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
    /// What could not be asked, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// One part of a state that a target has not.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Missing {
    Quotas(Value),
    Metadata(String, Value),
}

impl Missing {
    fn name(&self) -> String {
        match self {
            Self::Quotas(_) => "quotas".to_owned(),
            Self::Metadata(key, _) => format!("metadata `{key}`"),
        }
    }
}

impl ClusterState {
    /// Asks a cluster. What it does not tell is noted as unknown, and never taken for none.
    pub async fn read(cluster: &Cluster) -> Self {
        let mut state = Self::default();
        let Some(peer) = cluster.peers.first() else {
            state.unknown.push("no peer answers".to_owned());
            return state;
        };
        if has_quotas(&peer.version) {
            match peer.client.quotas().await {
                Ok(quotas) => state.quotas = quotas,
                Err(error) => state.unknown.push(format!("its quotas: {error}")),
            }
        }
        // A server without clustering has no metadata.
        if cluster.distributed
            && let Err(error) = state.read_metadata(&peer.client).await
        {
            state.unknown.push(format!("its metadata: {error}"));
        }
        state
    }

    async fn read_metadata(&mut self, client: &Client) -> Result<(), Error> {
        let keys = client.metadata_keys().await?;
        if keys.len() > MOST_KEYS {
            let cause = format!("it has {} entries, and no more than {MOST_KEYS} are read", keys.len());
            return Err(Error::new(Code::Unsupported, "", cause));
        }
        for key in keys {
            let value = client.metadata(&key).await?;
            // One that was removed meanwhile reads as null.
            if !value.is_null() {
                self.metadata.insert(key, value);
            }
        }
        Ok(())
    }

    /// What of this state `there` has not, or has another of. What it has besides is its own.
    fn missing_in(&self, there: &Self) -> Vec<Missing> {
        // Some records have what was used as well.
        let quotas = self.quotas.iter().map(|quotas| quotas_alone(quotas.clone()));
        let quotas = quotas.filter(|quotas| there.quotas.as_ref() != Some(quotas));
        let metadata = self.metadata.iter().filter(|(key, value)| there.metadata.get(*key) != Some(value));
        quotas
            .map(Missing::Quotas)
            .chain(metadata.map(|(key, value)| Missing::Metadata(key.clone(), value.clone())))
            .collect()
    }
}

/// Qdrant has quotas since 1.19. One whose version can't be read is asked.
fn has_quotas(version: &str) -> bool {
    version::parse(version).is_none() || version::is_at_least(version, (1, 19))
}

/// Tells what of the `recorded` state is another on `cluster`; sets it where that is wanted
/// (`QDRANT_RESTORE_CLUSTER_STATE`), and looks again.
pub(crate) async fn restore(context: &Context, cluster: &Cluster, recorded: &ClusterState) {
    let wanted = context.settings.restore_cluster_state;
    let report = |item: Item| context.reporter.report(item.host(&cluster.host));
    for unknown in &recorded.unknown {
        report(Item::skipped(
            KIND,
            format!("what the source had is not known, as it could not be asked during the backup: {unknown}"),
        ));
    }
    let before = ClusterState::read(cluster).await;
    for missing in recorded.missing_in(&before) {
        let name = missing.name();
        if context.settings.dry_run || !wanted {
            let text = "it is in no snapshot, and the target has a different one or none";
            let how = if wanted { "would be set" } else { "QDRANT_RESTORE_CLUSTER_STATE=true sets it" };
            if wanted {
                context.plan(&["set", &name, &cluster.host.to_string()]);
            }
            report(Item::skipped(KIND, format!("{text}: {how}")).name(name));
            continue;
        }
        let item = match set(context, cluster, &missing).await {
            Ok(()) => Item::done(KIND).cause("set as it was at the backup"),
            Err(error) => Item::failed(KIND, error),
        };
        report(item.name(name));
    }
    if wanted {
        for unknown in before.unknown {
            report(Item::failed(KIND, Error::new(Code::QdrantRefused, "the target does not report it", unknown)));
        }
    }
}

/// How often it is looked for what was set, each time a second after the last: consensus brings it to the peer that is asked.
const LOOKS: u32 = 10;

/// Sets a part of a state, and checks whether it is there.
async fn set(context: &Context, cluster: &Cluster, missing: &Missing) -> Result<(), Error> {
    let peer = cluster.peers.first();
    let client = &peer.ok_or_else(|| Error::new(Code::NoPeer, "", "the target has no peer that answers"))?.client;
    match missing {
        Missing::Quotas(quotas) => client.set_quotas(quotas).await?,
        Missing::Metadata(..) if !cluster.distributed => {
            let cause = "a server without clustering keeps no metadata of a cluster";
            return Err(Error::new(Code::Unsupported, "", cause));
        }
        Missing::Metadata(key, value) => client.set_metadata(key, value).await?,
    }
    for look in 0..LOOKS {
        if look > 0 {
            context.ports.clock.sleep(Duration::from_secs(1)).await;
        }
        let there = match missing {
            Missing::Quotas(quotas) => client.quotas().await?.as_ref() == Some(quotas),
            Missing::Metadata(key, value) => client.metadata(key).await? == *value,
        };
        if there {
            return Ok(());
        }
    }
    Err(Error::new(Code::VerificationFailed, "", "Qdrant answered ok, but the value is unchanged"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn older_servers_are_not_asked_for_quotas() {
        assert_eq!(["1.18.3", "1.19.0", "2.0.0", "0.11.7", "dev"].map(has_quotas), [false, true, true, false, true]);
    }

    #[test]
    fn what_the_target_has_not_is_told_and_its_own_is_left() {
        let state = |quotas: Option<Value>, entries: &[(&str, i32)]| ClusterState {
            quotas,
            metadata: entries.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect(),
            unknown: Vec::new(),
        };
        let on = json!({"enabled": true});
        let was = state(Some(on.clone()), &[("a", 1), ("b", 2)]);
        assert_eq!(was.missing_in(&was), []);
        let is = state(Some(json!({"enabled": false})), &[("a", 1), ("b", 3), ("c", 4)]);
        let missing = [Missing::Quotas(on.clone()), Missing::Metadata("b".to_owned(), json!(2))];
        assert_eq!(was.missing_in(&is), missing);
        assert_eq!(state(None, &[]).missing_in(&is), []);
        let used = json!({"config": {"enabled": true}, "usage": {"disk_usage_percent": 90}, "peers": {}});
        assert_eq!(state(Some(used), &[]).missing_in(&state(Some(on.clone()), &[])), []);
        assert_eq!(state(Some(on.clone()), &[]).missing_in(&state(None, &[])), [Missing::Quotas(on)]);
    }
}
