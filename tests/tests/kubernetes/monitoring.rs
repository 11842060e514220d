//! Alert rules: about metrics that the program writes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use qdrant_backup_core::metrics;
use qdrant_backup_core::report::{Item, Report};
use qdrant_backup_tests::{manifests, tools};
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

/// The chart has the same rules and the same dashboard, as files of its own: a chart takes none from outside.
#[test]
fn the_chart_has_the_rules_and_the_dashboard_of_the_manifests() {
    let Some(rule) = rules("prometheus-rule.yaml") else { return };
    let in_chart = |file: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/qdrant-backup/files");
        std::fs::read_to_string(folder.join(file)).unwrap()
    };
    let alerts = in_chart("alerts.yaml");
    for rule in rule["spec"]["groups"][0]["rules"].as_array().unwrap() {
        let (name, expression) = (rule["alert"].as_str().unwrap(), rule["expr"].as_str().unwrap());
        assert!(
            alerts.contains(&format!("alert: {name}\n")) && alerts.contains(&format!("expr: {expression}\n")),
            "{name}"
        );
    }
    let ours = std::fs::read_to_string(manifests::folder().join("monitoring/dashboard.json")).unwrap();
    assert_eq!(in_chart("dashboard.json"), ours);
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(manifests::folder().join("monitoring/dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

/// A panel over a metric that nobody writes stays empty for ever.
#[test]
fn every_panel_shows_a_metric_that_is_written() {
    let (dashboard, written) = (dashboard(), written());
    let mut shown = BTreeSet::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let names = asked(expression);
            assert!(!names.is_empty(), "{expression}");
            for name in names {
                assert!(written.contains(name), "{name}");
                shown.insert(name.to_owned());
            }
        }
    }
    assert_eq!(shown, written, "what is written and not shown");
}

/// What of a dashboard Grafana's own model does not know: the paths, a line each.
fn unknown_to_grafana(dashboard: &Path) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes/dashboard.py");
    Some(tools::output(Command::new(tools::python()?).arg(script).arg(dashboard)).trim().to_owned())
}

#[test]
fn grafana_s_model_knows_every_field_of_the_dashboard() {
    let file = manifests::folder().join("monitoring/dashboard.json");
    let Some(unknown) = unknown_to_grafana(&file) else { return };
    assert_eq!(unknown, "");
    let wrong = tempfile::NamedTempFile::new().unwrap();
    let text = std::fs::read_to_string(file).unwrap().replacen("\"targets\"", "\"target\"", 1);
    std::fs::write(wrong.path(), text).unwrap();
    assert_eq!(unknown_to_grafana(wrong.path()).unwrap(), "/panels/0/target");
}

/// What the model does not hold: panels with ids of their own that do not overlap in 24 columns, variables that are defined, a
/// data source.
#[test]
fn the_panels_of_the_dashboard_fit_together() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    for text in ["uid", "title", "timezone", "refresh"] {
        assert!(dashboard[text].as_str().is_some_and(|text| !text.is_empty() && text.len() <= 40), "{text}");
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    let kinds = ["query", "adhoc", "constant", "datasource", "interval", "textbox", "custom", "system"];
    assert!(variables.iter().all(|variable| kinds.contains(&variable["type"].as_str().unwrap())));
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels of one id");
        assert!(["stat", "timeseries", "bargauge"].contains(&panel["type"].as_str().unwrap()));
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{panel}");
        for cell in (place("x")..place("x") + place("w"))
            .flat_map(|x| (place("y")..place("y") + place("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert(cell), "two panels overlap at {cell:?}");
        }
        let mut references = BTreeSet::new();
        for target in panel["targets"].as_array().unwrap() {
            assert!(references.insert(target["refId"].as_str().unwrap()));
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            let expression = target["expr"].as_str().unwrap();
            for variable in expression.split('$').skip(1) {
                let name: String = variable.chars().take_while(char::is_ascii_alphanumeric).collect();
                assert!(names.contains(&name.as_str()), "{name}");
            }
            assert_eq!(expression.matches('(').count(), expression.matches(')').count(), "{expression}");
        }
        let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array().unwrap();
        assert!(steps[0]["value"].is_null(), "the first step has no lower bound");
    }
}
