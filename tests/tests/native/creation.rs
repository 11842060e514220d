//! A restore makes the collection: what Qdrant refuses, what is lost on the way, and what others make meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use qdrant_backup_tests::client::path;
use qdrant_backup_tests::faults::{Chosen, Event, Wrong};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{failed, fault, filled, said_and_not_done};

fn refused() -> Wrong {
    Wrong::Status(400, json!({"status": {"error": "Wrong input: no"}}).to_string())
}

/// A set of `tenants`, whose shards are 1 and 4: those between them were another key's.
async fn with_a_gap() -> Site {
    let site = Site::native(Options { peers: 2, ..Options::default() }).await;
    let client = site.source.client();
    client.create("tenants", json!({"sharding_method": "custom", "shard_number": 1})).await;
    let keys = format!("{}/shards?timeout=60", path("tenants"));
    for (key, shards) in [("acme", 1), ("gone", 2), ("zeta", 1)] {
        client.ok(Method::PUT, &keys, Some(&json!({"shard_key": key, "shards_number": shards}))).await;
    }
    let drop = format!("{}/shards/delete?timeout=60", path("tenants"));
    client.ok(Method::POST, &drop, Some(&json!({"shard_key": "gone"}))).await;
    for (key, from) in [("acme", 0), ("zeta", 100)] {
        client.fill_key("tenants", from, from + 10, Some(&json!(key))).await;
    }
    site.run(&["create_snap_shards"]).await.expect(0);
    client.wipe().await;
    site
}

/// Shard to its key.
async fn keys(site: &Site) -> BTreeMap<u64, Value> {
    let told = site.source.client().ok(Method::GET, &format!("{}/cluster", path("tenants")), None).await;
    let shards = ["local_shards", "remote_shards"].map(|part| told[part].as_array().unwrap().clone()).concat();
    shards.into_iter().map(|shard| (shard["shard_id"].as_u64().unwrap(), shard["shard_key"].clone())).collect()
}

/// How many such requests have come from the program.
fn asked(site: &Site, method: &Method, part: &str) -> usize {
    let requests = site.s3.faults().requests();
    requests.iter().filter(|one| one.method == *method && one.uri.to_string().contains(part)).count()
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_shard_ids_is_filled_and_cleared_once() {
    let site = with_a_gap().await;
    site.s3.faults().clear();
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["20 points, verified"]);
    assert_eq!(keys(&site).await, BTreeMap::from([(1, json!("acme")), (4, json!("zeta"))]));
    assert_eq!(asked(&site, &Method::POST, "/tenants/shards/delete"), 1);
    // A run that goes on with it finds the gap as it has to be.
    let client = site.source.client();
    client.wipe().await;
    let never = Wrong::Before(Event::new(std::future::pending));
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/snapshots/recover", 9, never));
    let folder = TempDir::new().unwrap();
    let killed = site.run_in(folder.path(), &["recover_snap_shards"], &[]);
    tokio::time::timeout(Duration::from_secs(30), killed).await.unwrap_err();
    site.s3.faults().clear();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    site.run_in(folder.path(), &["recover_snap_shards"], &[]).await.expect(0).says(&["20 points, verified"]);
    assert_eq!(asked(&site, &Method::PUT, "/tenants/shards?"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_about_a_shard_key_is_looked_up() {
    for (method, uri) in [(Method::PUT, "/tenants/shards?"), (Method::POST, "/tenants/shards/delete")] {
        for wrong in [Wrong::Lost, Wrong::Reset] {
            let site = with_a_gap().await;
            site.s3.faults().add(Chosen::Qdrant, fault(method.clone(), uri, 1, wrong));
            site.run(&["recover_snap_shards"]).await.expect(0).says(&["checking whether the shard key was"]);
            assert_eq!(keys(&site).await, BTreeMap::from([(1, json!("acme")), (4, json!("zeta"))]));
        }
        // What is refused is no lost answer: told as it is, in Qdrant's words.
        let site = with_a_gap().await;
        site.s3.faults().add(Chosen::Qdrant, fault(method, uri, 99, refused()));
        failed(site.run(&["recover_snap_shards"]).await).says(&["Wrong input: no"]);
        assert_eq!(site.s3.faults().hits(), 1);
    }
}

/// On a server that keeps no mark it can't be told from the restore's own.
#[tokio::test(start_paused = true)]
async fn a_collection_made_by_others_meanwhile_is_left() {
    for version in ["1.15.5", "1.18.3"] {
        let options = Options { peers: 1, version: version.to_owned(), ..Options::default() };
        let site = Site::native(options).await;
        let client = site.source.client();
        client.create("docs", json!({"shard_number": 1})).await;
        client.fill("docs", 0, 40).await;
        site.run(&["create_snap_shards"]).await.expect(0);
        client.wipe().await;
        let user = client.clone();
        let made = Event::new(move || {
            let user = user.clone();
            async move {
                user.create("docs", json!({"shard_number": 1})).await;
                user.fill("docs", 100, 103).await;
            }
        });
        site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/collections/docs?", 1, Wrong::Before(made)));
        failed(site.run(&["recover_snap_shards"]).await).says(&["already exists"]);
        assert_eq!(client.count(0, "docs").await, 3, "{version}");
    }
}

/// Accepted is what the target is, and not that it could not be asked.
#[tokio::test(start_paused = true)]
async fn a_configuration_is_accepted_where_it_is_refused() {
    let accept = ("QDRANT_RESTORE_ACCEPT_CONFIG", "true");
    for (wrong, code) in [
        (refused(), 0),
        (Wrong::Status(422, "no".to_owned()), 0),
        (Wrong::Status(403, json!({"status": {"error": "Forbidden: no"}}).to_string()), 1),
    ] {
        let site = filled(1).await;
        site.run(&["create_snap_shards"]).await.expect(0);
        let service = json!({"quantization_config": {"scalar": {"type": "int8"}}});
        let mut target = site.more(Options { peers: 1, service, ..Options::default() }).await;
        let host = target.hosts().remove(0);
        // When it is created, and in the end.
        target.stand_in().fail(fault(Method::PATCH, "/docs?", 2, wrong));
        let folder = TempDir::new().unwrap();
        let settings = [("QDRANT_RESTORE_HOSTS", host.as_str()), accept];
        let run = site.run_in(folder.path(), &["recover_snap_shards"], &settings).await.expect(code);
        let differs = "its configuration differs from the backup's: `quantization_config`";
        assert_eq!(run.stderr.contains(differs), code == 0, "{}", run.stderr);
    }
}

/// A collection of 40 points with strict mode, which is set last.
async fn strict() -> Site {
    let site = Site::native(Options { peers: 1, ..Options::default() }).await;
    let client = site.source.client();
    client.create("docs", json!({"strict_mode_config": {"enabled": true, "max_query_limit": 500}})).await;
    client.fill("docs", 0, 40).await;
    site
}

/// What is set last is compared last, when the points were verified already.
#[tokio::test(start_paused = true)]
async fn what_is_accepted_in_the_end_is_not_called_verified() {
    let site = strict().await;
    let client = site.source.client();
    site.run(&["create_snap_shards"]).await.expect(0);
    let accept = ("QDRANT_RESTORE_ACCEPT_CONFIG", "true");
    for (more, code) in [(&[accept][..], 0), (&[accept, ("QDRANT_REQUIRE_VERIFIED", "true")], 3), (&[], 3)] {
        client.wipe().await;
        // That it is set, and that it is set once more.
        site.s3.faults().add(Chosen::Qdrant, fault(Method::PATCH, "/collections/docs?", 2, said_and_not_done()));
        let differs = "its configuration differs from the backup's: `strict_mode_config`";
        let run = site.run_with(&["recover_snap_shards"], more).await.expect(code).says(&[differs]);
        assert_eq!(run.stderr.contains("restored and not verified"), code == 0, "{}", run.stderr);
        assert!(!run.stderr.contains("verified on every replica"), "{}", run.stderr);
        // The next run ends it.
        if code != 0 {
            site.run(&["recover_snap_shards"]).await.expect(0).says(&["verified on every replica"]);
        }
    }
}

/// Whoever asks for the old collection to be replaced, asks for it to be replaced by a verified one.
#[tokio::test(start_paused = true)]
async fn an_alias_is_not_moved_to_what_is_not_verified() {
    let site = strict().await;
    let client = site.source.client();
    client.alias("live", "docs").await;
    site.run(&["create_snap_shards"]).await.expect(0);
    let beside = [
        ("QDRANT_RESTORE_RENAME", "docs=docs-2"),
        ("QDRANT_RESTORE_SWITCH_ALIASES", "true"),
        ("QDRANT_RESTORE_DROP_OLD", "true"),
    ];
    let accept = [&beside[..], &[("QDRANT_RESTORE_ACCEPT_CONFIG", "true")]].concat();
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PATCH, "/collections/docs-2?", 2, said_and_not_done()));
    // Nor by a run that finds it restored, whether it is the same restore or another one.
    let same = [&accept[..], &[("QDRANT_RESTORE_ID", "one")]].concat();
    for (settings, code) in [(&same, 3), (&same, 1), (&accept, 1)] {
        let run = site.run_with(&["recover_snap_shards"], settings).await.expect(code);
        run.says(&["left on `docs`: `docs-2` was restored and not verified", "not deleted"]);
        assert_eq!(client.aliases().await["live"], "docs");
        assert_eq!(client.count(0, "docs").await, 40);
    }
    let force = [&beside[..], &[("QDRANT_RESTORE_FORCE", "true")]].concat();
    site.run_with(&["recover_snap_shards"], &force).await.expect(0);
    assert_eq!(client.aliases().await["live"], "docs-2");
    assert_eq!(client.collections().await.into_iter().collect::<Vec<_>>(), ["docs-2"]);
}

/// Nothing is as it has to be before its last setting is.
#[tokio::test(start_paused = true)]
async fn a_replacement_stays_until_all_is_set() {
    let site = strict().await;
    let client = site.source.client();
    site.run(&["create_snap_shards"]).await.expect(0);
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PATCH, "/collections/docs?", 2, said_and_not_done()));
    let settings = [("QDRANT_RESTORE_FORCE", "true"), ("QDRANT_RESTORE_BESIDE", "true")];
    let run = site.run_with(&["recover_snap_shards"], &settings).await.expect(3);
    let there: Vec<String> = client.collections().await.into_iter().filter(|name| name != "docs").collect();
    let [replacement] = &there[..] else { panic!("{there:?}: {}", run.stderr) };
    assert_eq!(client.content(replacement).await.points.len(), 40);
    run.says(&[&format!("a verified replacement stays as `{replacement}` until")]);
    site.run(&["recover_snap_shards"]).await.expect(0).says(&["verified on every replica"]);
    assert_eq!(client.collections().await.into_iter().collect::<Vec<_>>(), ["docs"]);
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_leads_elsewhere_by_now_is_left() {
    let site = filled(1).await;
    let client = site.source.client();
    site.run(&["create_snap_shards"]).await.expect(0);
    for alias in ["back", "elsewhere", "gone"] {
        client.alias(alias, "docs").await;
    }
    site.s3.faults().add(Chosen::Qdrant, fault(Method::PUT, "/snapshots/recover", 9, refused()));
    failed(site.run_with(&["recover_snap_shards"], &[("QDRANT_RESTORE_FORCE", "true")]).await);
    site.s3.heal();
    client.create("other", json!({})).await;
    client.alias("back", "docs").await;
    client.alias("elsewhere", "other").await;
    let folder = TempDir::new().unwrap();
    let settings = [("QDRANT_COLLECTIONS", "docs")];
    let run = site.run_in(folder.path(), &["recover_snap_shards"], &settings).await.expect(0);
    let run = run.says(&["the alias `elsewhere` pointed to it before, and points to `other` now: left there"]);
    assert!(!run.stderr.contains("the alias `back`"), "{}", run.stderr);
    let leads = [("back", "docs"), ("elsewhere", "other"), ("gone", "docs")];
    assert_eq!(client.aliases().await, leads.map(|(alias, to)| (alias.to_owned(), to.to_owned())).into());
}
