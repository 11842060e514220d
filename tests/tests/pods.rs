//! The Jobs of `k8s/` as pods: the images that `make image` and its like build, run by runc with what the manifests say.
//!
//! Needs root, runc, buildah, a static busybox, a C compiler for musl and `QDRANT_BACKUP_PYTHON`; without them the
//! tests say that they were skipped, or fail with `QDRANT_BACKUP_SKIP_NOTHING=1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use qdrant_backup_tests::client::assert_same;
use qdrant_backup_tests::manifests::{self, Manifest, Overlay};
use qdrant_backup_tests::pod::{Image, Images, Objects, Pod};
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::s3;
use qdrant_backup_tests::site::{API_KEY, Site};
use qdrant_backup_tests::tools;
use serde_json::{Value, json};

/// The images, built once for all tests here.
static IMAGES: LazyLock<Result<Images, String>> = LazyLock::new(|| {
    let images = Images::new(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("images"))?;
    // One after another: the component is written by the program of the first one.
    ["image", "compiler-image", "component-image"].iter().for_each(|target| images.make(target));
    Ok(images)
});

/// The images; none where they can't be built, and the test is skipped.
fn images() -> Option<&'static Images> {
    IMAGES.as_ref().map_err(|why| tools::skipped(why)).ok()
}

const IMAGE: &str = "qdrant-backup:0.2.0";
const COMPILER_IMAGE: &str = "qdrant-backup-compiler:0.2.0";
const COMPONENT_IMAGE: &str = "qdrant-backup-component:0.2.0";

/// The component's in its ConfigMap.
const KEY: &str = "qdrant-backup.wasm.xz";

/// How long a pod may take to end after SIGTERM; its manifest grants 10 s.
const GRACE: Duration = Duration::from_secs(5);

/// A cluster's objects: the images, the settings and the Secret filled in for this place as the guide says.
fn objects(images: &Images, site: &Site) -> Objects {
    let image = |name: &str| -> (String, Image) { (name.to_owned(), images.unpack(name)) };
    let keys = [
        ("QDRANT_API_KEY", API_KEY),
        ("QDRANT_S3_ACCESS_KEY_ID", s3::ACCESS_KEY),
        ("QDRANT_S3_SECRET_ACCESS_KEY", s3::SECRET_KEY),
        ("QDRANT_S3_BUCKET_NAME", s3::BUCKET),
    ];
    let shared = manifests::all(&manifests::folder().join("shared")).expect("the tests have asked for Python");
    let settings = named(&shared, "settings.yaml")["data"].as_object().unwrap().iter();
    let mut settings: BTreeMap<String, Vec<u8>> =
        settings.map(|(key, value)| (key.clone(), value.as_str().unwrap().into())).collect();
    let host = &site.source.hosts()[0];
    for (name, value) in [
        ("QDRANT_SOURCE_HOSTS", host.as_str()),
        ("QDRANT_RESTORE_HOSTS", host),
        ("QDRANT_S3_ENDPOINT_URL", &site.s3.endpoint()),
        // The peers on one machine have no common name as the pods behind a headless Service have.
        ("QDRANT_ALLOW_HOSTS", "127.0.0.0/8"),
    ] {
        settings.insert(name.to_owned(), value.into());
    }
    Objects {
        images: [image(IMAGE), image(COMPILER_IMAGE), image(COMPONENT_IMAGE)].into(),
        secrets: [(
            "qdrant-credentials".to_owned(),
            keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect(),
        )]
        .into(),
        config_maps: [("qdrant-backup-settings".to_owned(), settings)].into(),
    }
}

fn named<'a>(manifests: &'a [Manifest], file: &str) -> &'a Value {
    &manifests.iter().find(|manifest| manifest.file == file).unwrap_or_else(|| panic!("no {file}")).content
}

async fn filled(options: Options) -> Site {
    let site = Site::start(options).await;
    let client = site.source.client();
    client.create("docs", json!({"shard_number": 4, "replication_factor": 2})).await;
    client.index("docs").await;
    client.fill("docs", 0, 300).await;
    client.create("midlib", json!({"shard_number": 1})).await;
    client.fill("midlib", 0, 60).await;
    client.alias("docs-live", "docs").await;
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_back_up_restore_and_restore_what_a_file_names() {
    let (Some(images), Some(manifests)) = (images(), manifests::all(&manifests::folder())) else { return };
    let site = filled(Options::default()).await;
    let client = site.source.client();
    let before = client.contents().await;
    let mut objects = objects(images, &site);

    let mut backup = Pod::new(manifests::pod(named(&manifests, "backup-job.yaml")), &objects);
    backup.run(&objects).await.expect(0).says(&["all done"]);
    assert!(backup.termination_message().contains("all done"), "{}", backup.termination_message());
    let snapshots = backup.file("scripts", "snapshots");
    assert_eq!(snapshots.lines().count(), 4, "{snapshots}");
    assert_eq!(site.s3.keys("snapshot_manifests/").len(), 2);

    client.wipe().await;
    let mut restore = Pod::new(manifests::pod(named(&manifests, "restore-job.yaml")), &objects);
    restore.run(&objects).await.expect(0).says(&["all done"]);
    assert_same(&client.contents().await, &before);
    assert_eq!(client.aliases().await["docs-live"], "docs");

    // The ConfigMap as a person fills it in: the lines of one collection, without hosts.
    let lines: String = snapshots
        .lines()
        .filter(|line| line.contains(",docs,"))
        .map(|line| format!("{}\n", &line[line.find(',').unwrap()..]))
        .collect();
    objects.config_maps.insert("qdrant-snapshots-file".to_owned(), [("snapshots".to_owned(), lines.into())].into());
    let expected = before.into_iter().filter(|(name, _)| name == "docs").collect();
    let as_file = manifests::pod(named(&manifests, "restore-specific-job.yaml")).clone();
    let mut as_directory = as_file.clone();
    let container = &mut as_directory["containers"][0];
    let mounts = container["volumeMounts"].as_array_mut().unwrap();
    let mount = mounts.iter_mut().find(|mount| mount["name"] == "qdrant-snapshots-file").unwrap();
    *mount = json!({"name": "qdrant-snapshots-file", "mountPath": "/config", "readOnly": true});
    let file = json!({"name": "QDRANT_SNAPSHOTS_FILE", "value": "/config/snapshots"});
    container["env"].as_array_mut().unwrap().push(file);
    for spec in [as_file, as_directory] {
        client.wipe().await;
        Pod::new(&spec, &objects).run(&objects).await.expect(0).says(&["all done"]);
        assert_same(&client.contents().await, &expected);
    }
}

/// What `qdrant-backup configmap` writes into the ConfigMap.
fn filled_config_map() -> BTreeMap<String, Vec<u8>> {
    let overlay = Overlay::new();
    let file = overlay.path("component/configmap/configmap-component.yaml");
    let arguments = ["configmap".to_owned(), file.display().to_string()];
    let (io, captured) = qdrant_backup::Io::capture();
    let code = qdrant_backup::command_line(&arguments, &qdrant_backup::Environment::default(), &io);
    assert_eq!(code, 0, "{}", captured.stderr());
    let filled = manifests::all(&overlay.path("component/configmap")).unwrap().remove(0).content;
    let values = filled["binaryData"].as_object().unwrap().iter();
    values.map(|(key, value)| (key.clone(), STANDARD.decode(value.as_str().unwrap()).unwrap())).collect()
}

/// For a program that knows no compressed component. Ours takes either, and stands in for it here.
#[tokio::test(flavor = "multi_thread")]
async fn an_init_container_unpacks_the_component() {
    let Some(images) = images() else { return };
    if let Some(why) = tools::missing(&["busybox"]) {
        return tools::skipped(&why);
    }
    let overlay = Overlay::new()
        .turn_on("backup/kustomization.yaml", "backup-job.yaml")
        .turn_on("common/kustomization.yaml", "../component/configmap")
        .turn_on("common/kustomization.yaml", "../component/unpack");
    let Some(built) = overlay.build("backup") else { return };
    let job = built.iter().find(|manifest| manifest.content["kind"] == "Job").unwrap();
    let site = filled(Options::default()).await;
    let spec = manifests::pod(&job.content).clone();
    let mut objects = objects(images, &site);
    images.busybox("busybox:1.37.0");
    objects.images.insert("busybox:1.37.0".to_owned(), images.unpack("busybox:1.37.0"));

    let mut cut_off = filled_config_map();
    cut_off.get_mut(KEY).unwrap().truncate(100_000);
    objects.config_maps.insert("qdrant-backup-component".to_owned(), cut_off);
    let run = Pod::new(&spec, &objects).run(&objects).await.expect(1);
    assert!(run.stderr.contains("unxz"), "{}", run.stderr);
    assert!(site.s3.keys("snapshots/").is_empty());

    objects.config_maps.insert("qdrant-backup-component".to_owned(), filled_config_map());
    let mut pod = Pod::new(&spec, &objects);
    pod.run(&objects).await.expect(0).says(&["all done"]);
    assert_eq!(pod.bytes("component", "qdrant-backup.wasm"), qdrant_backup::COMPONENT);
    assert_eq!(site.s3.keys("snapshot_manifests/").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_component_is_the_one_that_runs() {
    let Some(images) = images() else { return };
    for component in ["configmap", "image-volume"] {
        let overlay = Overlay::new()
            .turn_on("backup/kustomization.yaml", "backup-job.yaml")
            .turn_on("common/kustomization.yaml", &format!("../component/{component}"));
        let Some(built) = overlay.build("backup") else { return };
        let job = built.iter().find(|manifest| manifest.content["kind"] == "Job").unwrap();
        let site = filled(Options::default()).await;
        let mut objects = objects(images, &site);
        let spec = manifests::pod(&job.content).clone();
        if component == "configmap" {
            // One that is not a component: had the built-in one run, this would be a backup.
            objects
                .config_maps
                .insert("qdrant-backup-component".to_owned(), [(KEY.to_owned(), b"#!/bin/bash".into())].into());
            let run = Pod::new(&spec, &objects).run(&objects).await.expect(1);
            assert!(run.stderr.contains("/component/qdrant-backup.wasm.xz"), "{}", run.stderr);
            assert!(site.s3.keys("snapshots/").is_empty());
            objects.config_maps.insert("qdrant-backup-component".to_owned(), filled_config_map());
        }
        Pod::new(&spec, &objects).run(&objects).await.expect(0).says(&["all done"]);
        assert_eq!(site.s3.keys("snapshot_manifests/").len(), 2, "{component}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_the_indexed_job_make_one_backup_together() {
    let (Some(images), Some(manifests)) = (images(), manifests::all(&manifests::folder())) else { return };
    let site = Site::cluster(2).await;
    let client = site.source.client();
    for number in 0..9 {
        let name = format!("tenant-{number}");
        client.create(&name, json!({"shard_number": 2})).await;
        client.fill(&name, 0, 20).await;
    }
    let before = client.contents().await;
    let objects = objects(images, &site);
    let job = named(&manifests, "backup-indexed-job.yaml");
    for index in 0..job["spec"]["completions"].as_u64().unwrap() {
        let mut spec = manifests::pod(job).clone();
        let number = json!({"name": "JOB_COMPLETION_INDEX", "value": index.to_string()});
        spec["containers"][0]["env"].as_array_mut().unwrap().push(number);
        Pod::new(&spec, &objects).run(&objects).await.expect(0);
    }
    client.wipe().await;
    Pod::new(manifests::pod(named(&manifests, "restore-job.yaml")), &objects).run(&objects).await.expect(0);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_backup_pod_ends_in_time_and_the_next_one_goes_on() {
    let (Some(images), Some(manifests)) = (images(), manifests::all(&manifests::folder())) else { return };
    let site = filled(Options { work: Duration::from_secs(2), ..Options::default() }).await;
    let objects = objects(images, &site);
    let mut pod = Pod::new(manifests::pod(named(&manifests, "backup-job.yaml")), &objects);
    let mut running = pod.start(&objects);
    running.says("1 of 2 collections").await;
    running.signal("TERM");
    running.end_within(GRACE).await.expect(143);
    pod.run(&objects).await.expect(0).says(&["all done"]);
    let client = site.source.client();
    let before = client.contents().await;
    client.wipe().await;
    site.run(&["recover_snap"]).await.expect(0);
    assert_same(&client.contents().await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_restore_pod_ends_in_time_and_its_successor_goes_on() {
    let (Some(images), Some(manifests)) = (images(), manifests::all(&manifests::folder())) else { return };
    let site = filled(Options::default()).await;
    let client = site.source.client();
    let before = client.contents().await;
    site.run(&["create_snap"]).await.expect(0);
    client.wipe().await;
    // Qdrant reads its second snapshot for longer than the pod lives.
    site.s3.fail(s3::Fault {
        method: Some(http::Method::GET),
        uri: "X-Amz-Signature".to_owned(),
        skip: 1,
        times: 1,
        wrong: s3::Wrong::Stall(Duration::from_secs(20)),
    });
    let objects = objects(images, &site);
    let mut pod = Pod::new(manifests::pod(named(&manifests, "restore-job.yaml")), &objects);
    let mut running = pod.start(&objects);
    running.says("1 of 2 collections").await;
    running.signal("TERM");
    running.end_within(GRACE).await.expect(143);
    assert!(pod.termination_message().contains("stopped by SIGTERM"), "{}", pod.termination_message());
    // An empty work directory: what it goes on with is in the bucket and in Qdrant.
    let run = pod.successor(&objects).run(&objects).await.expect(0).says(&["all done"]);
    assert_same(&client.contents().await, &before);
    assert_eq!(client.aliases().await["docs-live"], "docs", "{}", run.stderr);
}

/// A Job that gets a second pod, as by a node that was lost after the end, or whose pod is made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_with_force_is_done_once() {
    let (Some(images), Some(manifests)) = (images(), manifests::all(&manifests::folder())) else { return };
    let site = filled(Options::default()).await;
    let client = site.source.client();
    site.run(&["create_snap_shards"]).await.expect(0);
    let objects = objects(images, &site);
    let mut spec = manifests::pod(named(&manifests, "sets-restore-job.yaml")).clone();
    let force = json!({"name": "QDRANT_RESTORE_FORCE", "value": "true"});
    spec["containers"][0]["env"].as_array_mut().unwrap().push(force);
    let mut pod = Pod::new(&spec, &objects);
    pod.run(&objects).await.expect(0).says(&["all done"]);
    assert!(pod.termination_message().contains("all done"), "{}", pod.termination_message());
    client.fill("midlib", 60, 40).await;
    let after = client.contents().await;
    pod.successor(&objects).run(&objects).await.expect(0);
    assert_same(&client.contents().await, &after);
}

/// Nothing of a restore that failed is lost: the pod stays, and its status says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_restore_says_why_in_the_pod_s_status() {
    let (Some(images), Some(manifests)) = (images(), manifests::all(&manifests::folder())) else { return };
    let site = Site::cluster(2).await;
    site.source.client().create("docs", json!({"shard_number": 2})).await;
    site.source.client().fill("docs", 0, 20).await;
    site.run(&["create_snap"]).await.expect(0);
    let objects = objects(images, &site);
    let mut pod = Pod::new(manifests::pod(named(&manifests, "restore-job.yaml")), &objects);
    let run = pod.run(&objects).await.expect(1);
    let message = pod.termination_message();
    assert!(run.stderr.trim_end().ends_with(&message) && message.contains("failed"), "{message}\n{}", run.stderr);
}

/// runc applies the limit; the request has to be what a pod uses, or its node is overbooked.
#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_pod_is_what_its_manifest_requests() {
    let (Some(images), Some(manifests)) = (images(), manifests::all(&manifests::folder())) else { return };
    let site = filled(Options { work: Duration::from_secs(2), ..Options::default() }).await;
    let objects = objects(images, &site);
    let mut pod = Pod::new(manifests::pod(named(&manifests, "backup-job.yaml")), &objects);
    let mut running = pod.start(&objects);
    running.says("1 of 2 collections").await;
    let peak = running.peak_memory().expect("a memory cgroup");
    running.end().await.expect(0);
    let request =
        named(&manifests, "backup-job.yaml").pointer("/spec/template/spec/containers/0/resources/requests/memory");
    assert_eq!(request.unwrap(), "64Mi");
    assert!(peak < 64 << 20, "{peak} bytes");
}

#[test]
fn images_are_the_same_from_build_to_build() {
    let Some(images) = images() else { return };
    let again = Images::new(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("images-again")).unwrap();
    again.make("component-image");
    assert_eq!(images.digest(COMPONENT_IMAGE), again.digest(COMPONENT_IMAGE));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_for_sets_back_up_prune_verify_drill_and_restore() {
    let (Some(images), Some(manifests)) = (images(), manifests::all(&manifests::folder())) else { return };
    let site = filled(Options::default()).await;
    let client = site.source.client();
    let before = client.contents().await;
    let objects = objects(images, &site);
    let run = async |file: &str, says: &str| {
        // Every run is a new pod with an empty directory.
        Pod::new(manifests::pod(named(&manifests, file)), &objects).run(&objects).await.expect(0).says(&[says]);
    };
    run("sets-backup-cronjob.yaml", "all done").await;
    assert_eq!(site.s3.keys("backup_manifests/").len(), 2);
    assert_eq!(site.s3.keys("snapshots/").len(), 5, "one snapshot of each shard");
    run("sets-prune-cronjob.yaml", "kept: last 1").await;
    run("sets-verify-cronjob.yaml", "snapshots complete").await;
    run("sets-drill-cronjob.yaml", "`qdrant-backup-drill-docs` deleted").await;
    assert_same(&client.contents().await, &before);
    client.wipe().await;
    run("sets-restore-job.yaml", "all done").await;
    assert_same(&client.contents().await, &before);
    assert_eq!(client.aliases().await["docs-live"], "docs");
}
