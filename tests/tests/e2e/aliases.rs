//! `get_colla` and `recover_colla`.

use std::collections::BTreeMap;

use qdrant_backup_tests::site::Site;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn aliases_go_to_file_and_bucket_and_come_back_from_both() {
    let site = Site::cluster(2).await;
    let client = site.source.client();
    for collection in ["docs", "ge ün%,odd"] {
        client.create(collection, json!({})).await;
    }
    client.alias("prod", "docs").await;
    client.alias("odd, too", "ge ün%,odd").await;
    let before = client.aliases().await;
    let run = site.run(&["get_colla"]).await.expect(0);
    assert_eq!(run.stdout, "\"ge ün%,odd\",\"odd, too\"\ndocs,prod\n");
    client.drop_aliases(&["prod", "odd, too"]).await;
    site.run_with(&["recover_colla"], &[("BACKUP_COLLECTION_ALIASES_ON_S3", "false")])
        .await
        .expect(0)
        .says(&["2 done"]);
    assert_eq!(client.aliases().await, before);
    site.run(&["recover_collection_alias"]).await.expect(0).says(&["it exists already", "2 skipped"]);

    client.drop_aliases(&["prod", "odd, too"]).await;
    site.run(&["reset"]).await.expect(0);
    site.run(&["recover_colla"]).await.expect(0);
    assert_eq!(client.aliases().await, before);
    assert_eq!(site.file("alias_recovery_history").lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_of_somebody_else_is_not_taken_and_others_are_set() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    for collection in ["a", "b"] {
        client.create(collection, json!({})).await;
    }
    client.alias("prod", "a").await;
    client.alias("other", "a").await;
    site.run(&["get_colla"]).await.expect(0);
    client.alias("prod", "b").await;
    client.drop_aliases(&["other"]).await;
    site.run(&["recover_colla"]).await.expect(3).says(&["it belongs to `b`"]);
    let aliases =
        |prod: &str| BTreeMap::from([("other".to_owned(), "a".to_owned()), ("prod".to_owned(), prod.to_owned())]);
    assert_eq!(client.aliases().await, aliases("b"));
    site.run_with(&["recover_colla"], &[("QDRANT_RESTORE_FORCE", "true")]).await.expect(0);
    assert_eq!(client.aliases().await, aliases("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_that_cannot_be_set_fail_alone() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("a", json!({})).await;
    std::fs::write(site.work.path().join("collection_aliases"), "a,good\ngone,lost\na,a\n").unwrap();
    let run = site.run_with(&["recover_colla"], &[("BACKUP_COLLECTION_ALIASES_ON_S3", "false")]).await;
    run.expect(3).says(&["there is no such collection on the target", "has a collection of this name"]);
    assert_eq!(client.aliases().await, BTreeMap::from([("good".to_owned(), "a".to_owned())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_object_of_the_store_can_be_named() {
    let site = Site::cluster(1).await;
    let client = site.source.client();
    client.create("a", json!({})).await;
    site.s3.put("collection_aliases_store/collection_aliases-2026-01-29_11-44-22", b"a,old\n".to_vec());
    let named = [("QDRANT_COLLECTION_ALIASES_STABLE_FILE", "collection_aliases-2026-01-29_11-44-22")];
    site.run_with(&["recover_colla"], &named).await.expect(0);
    assert!(client.aliases().await.contains_key("old"));
    let named = [("QDRANT_COLLECTION_ALIASES_STABLE_FILE", "nothing")];
    site.run_with(&["recover_colla"], &named).await.expect(1).says(&["nothing"]);
}
