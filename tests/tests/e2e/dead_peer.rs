//! A peer that is gone for good, and of which nothing is missed.

use qdrant_backup_tests::scenarios::{Loss, a_peer_without_shards_is_gone};
use qdrant_backup_tests::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_peer_without_shards_costs_no_backup() {
    a_peer_without_shards_is_gone(&mut Site::cluster(3).await, Loss::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ids_at_one_address_cost_no_backup() {
    a_peer_without_shards_is_gone(&mut Site::cluster(3).await, Loss::NewVolume).await;
}
