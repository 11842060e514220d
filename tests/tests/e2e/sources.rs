//! Whose backup it is, on servers.

use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::scenarios;
use qdrant_backup_tests::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_have_their_own_through_everything() {
    let site = Site::cluster(2).await;
    let other = site.more(Options { peers: 2, ..Options::default() }).await;
    scenarios::two_sources(&site, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_dead_peer_can_t_break_is_saved() {
    scenarios::a_peer_with_the_only_replica_is_down(&mut Site::cluster(3).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_filled_by_hand_is_not_overwritten() {
    scenarios::a_collection_filled_by_hand_after_a_failed_restore(&Site::cluster(2).await).await;
}
