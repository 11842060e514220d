//! Collections that bear the mark of a restore are no backup's subject.

use http::Method;
use qdrant_backup_tests::faults::{Chosen, Wrong};
use serde_json::json;

use crate::{failed, fault, filled, manifest_keys};

const BACKUPS: [(&str, &str); 2] = [("create_snap", "recover_snap"), ("create_snap_shards", "recover_snap_shards")];

#[tokio::test(start_paused = true)]
async fn what_drills_have_left_is_not_backed_up() {
    for (backup, restore) in BACKUPS {
        let site = filled(1).await;
        let client = site.source.client();
        let mark = json!({"qdrant_backup_restore": {"restore": "r", "backup": "docs/s", "drill": true}});
        client.create("qdrant-backup-drill-docs", json!({ "metadata": mark })).await;
        // A user's own of such a name is.
        client.create("qdrant-backup-drill-x", json!({})).await;
        let run = site.run(&[backup]).await.expect(0).says(&["a drill has made it"]);
        assert!(run.stderr.contains("qdrant-backup-drill-x"), "{}", run.stderr);
        let made = |name: &str| site.s3.keys(&format!("snapshots/{name}/")).len();
        assert_eq!(made("qdrant-backup-drill-docs"), 0, "{backup}");
        assert!(made("qdrant-backup-drill-x") > 0, "{backup}");
        // And nobody misses it when everything is restored.
        client.wipe().await;
        site.run(&[restore]).await.expect(0);
        assert_eq!(client.collections().await.len(), 2, "{restore}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_restored_collection_pushes_out_no_backup() {
    for (backup, restore) in BACKUPS {
        let site = filled(1).await;
        let client = site.source.client();
        site.run(&[backup]).await.expect(0);
        client.wipe().await;
        let full = Wrong::Status(507, json!({"status": {"error": "disk full"}}).to_string());
        site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/snapshots/recover", 1, full));
        failed(site.run(&[restore]).await);
        tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
        let before = site.s3.keys("snapshots/");
        let one = [("QDRANT_BACKUP_RETENTION_SETS", "1")];
        failed(site.run_with(&[backup], &one).await).says(&["it may be half restored", "qdrant_backup_restore"]);
        assert_eq!(site.s3.keys("snapshots/"), before, "{backup}");
        // It is backed up again once the restore has ended.
        site.run(&[restore]).await.expect(0);
        site.run_with(&[backup], &one).await.expect(0);
        assert_ne!(site.s3.keys("snapshots/"), before, "{backup}");
        assert!(backup == "create_snap" || manifest_keys(&site).len() == 1);
    }
}
