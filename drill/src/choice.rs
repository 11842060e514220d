//! Which sets are opened, and which of them a cluster is compared with: the newest of each collection of each source, as two
//! clusters may have collections of one name in one bucket.

use std::collections::{BTreeMap, BTreeSet};

use qdrant_backup_core::context::Context;
use qdrant_backup_core::error::Error;
use qdrant_backup_core::qdrant::Cluster;
use qdrant_backup_core::report::Item;
use qdrant_backup_core::restore::{Whose, sets_of_target};
use qdrant_backup_core::sets::{self, Headed};
use qdrant_backup_core::source::catalogue::{Catalogue, Origin};
use qdrant_backup_core::source::choice;
use qdrant_backup_core::source::place::Here;
use qdrant_backup_core::source::{self, Source};
use qdrant_backup_core::store::ObjectStore;

/// The sets of a bucket, and whose they are.
pub(super) struct Sets {
    /// Of each collection the oldest first.
    all: Vec<Headed>,
    catalogue: Catalogue,
    here: Here,
}

impl Sets {
    /// Lists them, whoever made them.
    ///
    /// # Errors
    /// The bucket can't be read.
    pub async fn list(context: &Context, bucket: &dyn ObjectStore) -> Result<Self, Error> {
        let all = sets::headers(bucket, &sets::list(bucket).await?).await;
        let records = source::list_allowed(context, bucket).await?;
        let here = Here::new(&records, &all, bucket.key_prefix());
        let origins = all.iter().filter_map(|set| set.header.as_ref()).map(Origin::of_set);
        Ok(Self { catalogue: Catalogue::new(&records, origins), here, all })
    }

    /// The source whose sets a person has named by `QDRANT_RESTORE_SOURCE`; `None` where nobody has.
    ///
    /// # Errors
    /// There is no such source, or there are several.
    pub fn named(&self, context: &Context) -> Result<Option<Source>, Error> {
        let Some(named) = context.settings.restore_source.as_deref() else { return Ok(None) };
        Ok(choice::choose(&self.catalogue, &BTreeSet::new(), Some(named))?.map(|(source, _)| source))
    }

    /// Whose sets are compared with what `cluster` holds: those that a restore into it would take.
    ///
    /// # Errors
    /// The bucket or the cluster can't be asked, or it can't be told whose.
    pub async fn of_cluster(
        &self,
        context: &Context,
        bucket: &dyn ObjectStore,
        cluster: &Cluster,
    ) -> Result<Whose, Error> {
        sets_of_target(context, bucket, cluster, &self.all).await
    }

    /// True for a set of `source`, where one is named, and for one of which nothing is known.
    pub fn is_of(&self, set: &Headed, source: Option<&Source>) -> bool {
        source.is_none() || set.header.is_none() || self.whose(set) == source
    }

    /// Whose a set is; `None` where it does not tell, or can't be read.
    fn whose(&self, set: &Headed) -> Option<&Source> {
        let header = set.header.as_ref()?;
        self.catalogue.whose(header.source_id.as_deref(), &header.peers)
    }

    /// The sets that are opened: of each collection and source those that are `meant`; the newest, or `every` one. Items name
    /// those of other sources that lie elsewhere.
    pub fn chosen(&self, context: &Context, meant: impl Fn(&Headed) -> bool, every: bool) -> (Vec<&Headed>, Vec<Item>) {
        let settings = &context.settings;
        let mut of: BTreeMap<(&str, Option<&str>), Vec<&Headed>> = BTreeMap::new();
        for set in &self.all {
            let whose = self.whose(set);
            if meant(set) && set.passes(settings) && settings.collections.takes(&set.collection) {
                of.entry((&set.collection, whose.map(|source| source.id.as_str()))).or_default().push(set);
            }
        }
        let chosen = of.into_values().flat_map(|sets| {
            let skipped = if every { 0 } else { sets.len().saturating_sub(1) };
            sets.into_iter().skip(skipped)
        });
        let (mut sets, mut elsewhere) = (Vec::new(), Vec::new());
        for set in chosen {
            let other = set.header.as_ref().and_then(|header| Some((self.here.other(header)?, header)));
            match other {
                None => sets.push(set),
                Some((source, header)) => {
                    let prefix = header.key_prefix.as_deref().unwrap_or_default();
                    let why = format!(
                        "another source's, {source}, whose snapshots lie below `{prefix}`: not opened \
                         (set QDRANT_S3_KEY_PREFIX={prefix} to open it)"
                    );
                    elsewhere.push(Item::skipped("set", why).collection(&set.collection).name(set.found.id.as_str()));
                }
            }
        }
        (sets, elsewhere)
    }
}
