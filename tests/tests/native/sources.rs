//! What is shown end to end, in memory.

use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::scenarios;
use qdrant_backup_tests::site::Site;

fn two() -> Options {
    Options { peers: 2, ..Options::default() }
}

#[tokio::test(start_paused = true)]
async fn two_sources_have_their_own_through_everything() {
    let site = Site::native(two()).await;
    let other = site.more(two()).await;
    scenarios::two_sources(&site, &other).await;
}

#[tokio::test(start_paused = true)]
async fn what_one_dead_peer_can_t_break_is_saved() {
    scenarios::a_peer_with_the_only_replica_is_down(&mut Site::native(Options::default()).await).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_filled_by_hand_is_not_overwritten() {
    scenarios::a_collection_filled_by_hand_after_a_failed_restore(&Site::native(two()).await).await;
}
