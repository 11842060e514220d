//! What `kubectl apply -k` applies.

use std::collections::BTreeSet;

use qdrant_backup_tests::manifests::{self, Manifest, Overlay};
use serde_json::json;

use crate::guide;

/// Builds a folder and checks that each result is one of the validated files, and all of `expected` are there.
fn same_as_files(overlay: &Overlay, folder: &str, expected: &[&str]) {
    let Some(built) = overlay.build(folder) else { return };
    let files = guide::manifests();
    let mut found: Vec<&str> = Vec::new();
    for Manifest { content, .. } in &built {
        let file = files.iter().find(|file| file.content == *content);
        found.push(&file.unwrap_or_else(|| panic!("{folder}: nobody wrote {content:#}")).file);
    }
    found.sort_unstable();
    assert_eq!(found, expected, "{folder}");
}

#[test]
fn kustomize_gives_the_validated_manifests() {
    let sets = ["sets-backup-cronjob.yaml", "sets-prune-cronjob.yaml", "sets-verify-cronjob.yaml"];
    same_as_files(&Overlay::new(), "backup", &["backup-cronjob.yaml"]);
    same_as_files(&Overlay::new(), "restore", &["restore-job.yaml"]);
    same_as_files(&Overlay::new(), "sets", &sets);
    same_as_files(&Overlay::new(), "shared", &["settings.yaml"]);
    let all = Overlay::new()
        .edit("backup/kustomization.yaml", "# - backup-", "- backup-")
        .turn_on("restore/kustomization.yaml", "sets-restore-job.yaml")
        .turn_on("restore/kustomization.yaml", "restore-specific-job.yaml")
        .turn_on("restore/kustomization.yaml", "configmap-snapshots.yaml")
        .turn_on("sets/kustomization.yaml", "sets-drill-cronjob.yaml");
    same_as_files(&all, "backup", &["backup-cronjob.yaml", "backup-indexed-job.yaml", "backup-job.yaml"]);
    let jobs = ["configmap-snapshots.yaml", "restore-job.yaml", "restore-specific-job.yaml", "sets-restore-job.yaml"];
    same_as_files(&all, "restore", &jobs);
    same_as_files(&all, "sets", &[sets[0], "sets-drill-cronjob.yaml", sets[1], sets[2]]);
}

/// One kustomization of a person's own, with a namespace, over several of ours.
#[test]
fn the_folders_compose() {
    let own = "namespace: search\nresources: [../shared, ../backup, ../sets, ../restore]\n";
    let overlay = Overlay::new()
        .turn_on("shared/kustomization.yaml", "../network-policy")
        .turn_on("shared/kustomization.yaml", "../monitoring")
        .turn_on("common/kustomization.yaml", "../component/configmap")
        .add("own/kustomization.yaml", own);
    let Some(built) = overlay.build("own") else { return };
    assert!(built.len() >= 8, "{}", built.len());
    assert!(built.iter().all(|manifest| manifest.content["metadata"]["namespace"] == "search"));
}

/// `kubectl delete -k` of one folder takes nothing that pods of another one need.
#[test]
fn no_folder_has_what_another_one_needs() {
    let mut overlay = Overlay::new();
    for part in ["component/configmap", "component/unpack", "component/wasmtime"] {
        overlay = overlay.turn_on("common/kustomization.yaml", &format!("../{part}"));
    }
    let mut seen = BTreeSet::new();
    for folder in ["backup", "sets", "restore"] {
        for Manifest { content, .. } in overlay.build(folder).unwrap_or_default() {
            let (kind, name) = (content["kind"].as_str().unwrap(), content["metadata"]["name"].as_str().unwrap());
            assert!(matches!(kind, "Job" | "CronJob"), "{folder}: {kind} {name}");
            assert!(
                seen.insert((kind.to_owned(), name.to_owned())),
                "{folder}: {kind} {name} is in another folder, too"
            );
        }
    }
}

#[test]
fn namespace_and_image_are_set_in_one_place() {
    let overlay = Overlay::new().edit("common/kustomization.yaml", "# namespace: pharia-ai", "namespace: search").edit(
        "common/kustomization.yaml",
        "newName: qdrant-backup",
        "newName: registry.example/tools/qdrant-backup",
    );
    let mounted = Overlay::new()
        .edit("common/kustomization.yaml", "# namespace: pharia-ai", "namespace: search")
        .edit("common/kustomization.yaml", "newName: qdrant-backup", "newName: registry.example/tools/qdrant-backup")
        .turn_on("common/kustomization.yaml", "../component/configmap");
    // Where a component is mounted, the image is the one that can compile it.
    for (overlay, name) in [(overlay, "qdrant-backup"), (mounted, "qdrant-backup-compiler")] {
        for folder in ["backup", "sets", "restore"] {
            for Manifest { content, .. } in overlay.build(folder).unwrap_or_default() {
                assert_eq!(content["metadata"]["namespace"], "search", "{content:#}");
                let image = &manifests::pod(&content)["containers"][0]["image"];
                assert_eq!(*image, format!("registry.example/tools/{name}:0.2.0"));
            }
        }
    }
}

/// Each restore is a Job of its own: the next one beside the last.
#[test]
fn a_restore_gets_a_name_of_its_own() {
    let overlay = Overlay::new().edit("restore/kustomization.yaml", "# nameSuffix", "nameSuffix");
    let Some(built) = overlay.build("restore") else { return };
    assert_eq!(built[0].content["metadata"]["name"], "qdrant-restore-2");
    // kustomize knows no `generateName`: the README's command makes it of the name.
    let text = overlay.text("restore").unwrap().unwrap();
    let generated = text.replace("\n  name: qdrant-restore-2\n", "\n  generateName: qdrant-restore-\n");
    let generated = manifests::of_text(&generated).unwrap();
    assert_eq!(generated[0].content["metadata"]["generateName"], "qdrant-restore-");
}

fn egress(parts: &[&str]) -> Option<Vec<serde_json::Value>> {
    let overlay = Overlay::new().turn_on("shared/kustomization.yaml", "../network-policy");
    let overlay =
        parts.iter().fold(overlay, |overlay, part| overlay.turn_on("network-policy/kustomization.yaml", part));
    let built = overlay.build("shared")?;
    let policy = built.into_iter().find(|manifest| manifest.content["kind"] == "NetworkPolicy").unwrap().content;
    assert_eq!((&policy["spec"]["ingress"], policy["spec"]["policyTypes"].as_array().unwrap().len()), (&json!([]), 2));
    Some(policy["spec"]["egress"].as_array().unwrap().clone())
}

#[test]
fn the_network_policy_has_a_variant_for_each_place() {
    let ports = |rule: &serde_json::Value| rule["ports"].as_array().unwrap()[0]["port"].as_u64().unwrap();
    for (parts, expected) in [
        (&[][..], &[6333, 9000, 53][..]),
        (&["s3-outside"], &[6333, 443, 53]),
        (&["openshift"], &[6333, 9000, 5353]),
        (&["s3-outside", "openshift", "pushgateway"], &[6333, 443, 5353, 9091]),
    ] {
        let Some(rules) = egress(parts) else { return };
        assert_eq!(rules.iter().map(ports).collect::<Vec<_>>(), expected, "{parts:?}");
        if parts.contains(&"s3-outside") {
            let except = rules[1].pointer("/to/0/ipBlock/except").unwrap().as_array().unwrap();
            assert!(except.contains(&json!("169.254.0.0/16")), "where nodes tell their credentials");
        }
    }
}
