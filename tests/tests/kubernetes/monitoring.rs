//! Alert rules: about metrics that the program writes.

use std::collections::BTreeSet;
use std::time::Duration;

use qdrant_backup_core::metrics;
use qdrant_backup_core::report::{Item, Report};
use serde_json::Value;

use crate::guide;

/// The names of all metrics that a run can write.
pub fn written() -> BTreeSet<String> {
    let item = Item { verified: Some(true), ..Item::done("snapshot").collection("docs") };
    let report = Report { items: vec![item] };
    let labels = metrics::Labels { task: "create_snap", source: None };
    let now = std::time::SystemTime::now().into();
    let text = metrics::write(&labels, &report, now, Duration::ZERO, &metrics::begun("create_snap", now, ""));
    let names = text.lines().filter_map(|line| line.split_once('{')).map(|(name, _)| name.to_owned());
    names.filter(|name| name.starts_with("qdrant_backup_")).collect()
}

/// The metrics that an expression is about.
pub fn asked(expression: &str) -> Vec<&str> {
    let words = expression.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    words.filter(|word| word.starts_with("qdrant_backup_")).collect()
}

fn rules(file: &str) -> Option<Value> {
    let manifests = guide::manifests();
    Some(manifests.into_iter().find(|manifest| manifest.file == file)?.content)
}

/// A rule over a metric that nobody writes never fires.
#[test]
fn every_alert_is_about_a_metric_that_is_written() {
    let Some(alerts) = rules("configmap-alerts.yaml") else { return };
    let written = written();
    let rules = alerts["data"]["qdrant-backup.rules.yaml"].as_str().unwrap();
    let mut expressions = 0;
    for expression in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        let names = asked(expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            assert!(written.contains(name), "{name}");
        }
        expressions += 1;
    }
    assert_eq!(expressions, rules.matches("alert: ").count());
}

#[test]
fn the_operator_gets_the_rules_of_the_config_map() {
    let (Some(alerts), Some(rule)) = (rules("configmap-alerts.yaml"), rules("prometheus-rule.yaml")) else { return };
    let text = alerts["data"]["qdrant-backup.rules.yaml"].as_str().unwrap();
    for rule in rule["spec"]["groups"][0]["rules"].as_array().unwrap() {
        let (name, expression) = (rule["alert"].as_str().unwrap(), rule["expr"].as_str().unwrap());
        assert!(
            text.contains(&format!("alert: {name}\n")) && text.contains(&format!("expr: {expression}\n")),
            "{name}"
        );
    }
    let rules = rule["spec"]["groups"][0]["rules"].as_array().unwrap().len();
    assert_eq!(rules, text.matches("alert: ").count());
}
