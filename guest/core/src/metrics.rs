//! Metrics of a run for Prometheus, as text (Prometheus, "Exposition formats"). Names and labels are an
//! interface; docs/monitoring.md lists them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use time::OffsetDateTime;

use qdrant_backup_contract::exit::Status;

use crate::report::Report;
use crate::source::Source;

/// Where the time of the last success stands: it outlives runs that fail.
const LAST_SUCCESS: [&str; 2] =
    ["qdrant_backup_last_success_timestamp_seconds", "qdrant_backup_collection_last_success_timestamp_seconds"];

/// Whether the last run was a success: 0 from the moment it begins.
const SUCCESS: &str = "qdrant_backup_last_run_success";

/// When the last run began. Later than its end, it is at work, or was killed.
const STARTED: &str = "qdrant_backup_last_run_started_timestamp_seconds";

const SUCCESS_HELP: &str = "1 when nothing failed, 0 from the moment a run begins.";
const STARTED_HELP: &str = "When the task last began.";

/// What the lines of a run are told from others by.
pub struct Labels<'a> {
    /// The task.
    pub task: &'a str,
    /// The source that the run is about, where it is about one.
    pub source: Option<Source>,
}

impl Labels<'_> {
    fn task(&self) -> String {
        format!("task=\"{}\"", escaped(self.task))
    }

    fn source(&self) -> String {
        let source = self.source.as_ref();
        let labels = |source: &Source| {
            format!(",source_id=\"{}\",source_name=\"{}\"", escaped(source.id.as_str()), escaped(&source.name))
        };
        source.map(labels).unwrap_or_default()
    }

    fn of_run(&self) -> String {
        format!("{}{}", self.task(), self.source())
    }

    /// The labels of an earlier run of this task that named no source, with that of this one.
    fn with_source(&self, old: &str) -> String {
        match old.strip_prefix(&self.task()) {
            Some(rest) if !rest.starts_with(",source_id=") => format!("{}{rest}", self.of_run()),
            _ => old.to_owned(),
        }
    }
}

/// The metrics of a run that begins at `now`: those of the run before it, but that nothing is a success yet. Whose source
/// it is about is not known now.
pub fn begun(task: &str, now: OffsetDateTime, before: &str) -> String {
    let labels = Labels { task, source: None }.of_run();
    let is_of = |line: &str, name: &str| {
        line.split(['{', ' ']).find(|part| part.starts_with("qdrant_")).is_some_and(|found| found == name)
    };
    let mut text = String::new();
    for line in before.lines().filter(|line| !is_of(line, SUCCESS) && !is_of(line, STARTED)) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "# HELP {SUCCESS} {SUCCESS_HELP}\n# TYPE {SUCCESS} gauge");
    // The same labels as before, so that the line goes on.
    let mut old: Vec<&str> = before.lines().filter_map(|line| labels_of(line, SUCCESS)).collect();
    old.retain(|old| *old == labels || old.starts_with(&format!("{labels},")));
    if old.is_empty() {
        old.push(&labels);
    }
    for labels in &old {
        let _ = writeln!(text, "{SUCCESS}{{{labels}}} 0");
    }
    let _ = writeln!(text, "# HELP {STARTED} {STARTED_HELP}\n# TYPE {STARTED} gauge");
    for labels in &old {
        let _ = writeln!(text, "{STARTED}{{{labels}}} {}", now.unix_timestamp());
    }
    text
}

/// The labels of a line of the metric `name`.
fn labels_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    Some(line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} ")?.0)
}

/// The metrics of a run, which ended at `now` after `elapsed`. `before`: the text of an earlier run, whose times of
/// success are kept where this run has none.
pub fn write(labels: &Labels<'_>, report: &Report, now: OffsetDateTime, elapsed: Duration, before: &str) -> String {
    let mut text = String::new();
    let started = (now - elapsed).unix_timestamp();
    let now = now.unix_timestamp();
    let run = labels.of_run();
    let success = report.status() == Status::Done;
    let mut metric = |name: &str, help: &str, lines: Vec<(String, String)>| {
        let kept = before.lines().filter(|_| LAST_SUCCESS.contains(&name)).filter_map(|line| {
            let (old, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} ")?;
            Some((old.to_owned(), value.to_owned()))
        });
        // Of an earlier version, which did not name the source: it would stand still for ever beside its successor.
        let kept = kept.map(|(old, value)| (labels.with_source(&old), value));
        let lines: BTreeMap<String, String> = kept.chain(lines).collect();
        if !lines.is_empty() {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        }
        for (labels, value) in &lines {
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    };
    let of_run = |value: String| vec![(run.clone(), value)];
    metric("qdrant_backup_last_run_timestamp_seconds", "When the task last ended.", of_run(now.to_string()));
    metric(STARTED, STARTED_HELP, of_run(started.to_string()));
    metric(SUCCESS, SUCCESS_HELP, of_run(u8::from(success).to_string()));
    metric(
        LAST_SUCCESS[0],
        "When the task last ended without a failure.",
        if success { of_run(now.to_string()) } else { Vec::new() },
    );
    metric("qdrant_backup_last_run_duration_seconds", "How long the task took.", of_run(seconds(elapsed)));
    let bytes = report.bytes();
    metric("qdrant_backup_last_run_bytes", "The snapshots of the run, in bytes.", of_run(bytes.to_string()));
    let count = |(name, count): (&str, usize)| (format!("{run},outcome=\"{name}\""), count.to_string());
    let outcomes = [("done", report.done()), ("failed", report.failed()), ("skipped", report.skipped())];
    metric("qdrant_backup_last_run_items", "How the parts of the run ended.", outcomes.map(count).to_vec());

    let content: Vec<&str> = report.items.iter().filter_map(|item| item.content).collect();
    if !content.is_empty() {
        metric(
            "qdrant_backup_last_content_verified",
            "1 when the content of every collection was compared with its backup's, or with another cluster's, and is equal.",
            of_run(
                u8::from(report.failed() == 0 && content.iter().all(|content| *content != "replicas-equal"))
                    .to_string(),
            ),
        );
    }
    let verified: Vec<bool> = report.items.iter().filter_map(|item| item.verified).collect();
    if !verified.is_empty() {
        metric(
            "qdrant_backup_last_restore_verified",
            "1 when every collection that was restored was verified.",
            of_run(u8::from(verified.iter().all(|verified| *verified)).to_string()),
        );
    }

    let mut collections: BTreeMap<&str, (u64, bool, bool)> = BTreeMap::new();
    for item in &report.items {
        let Some(collection) = &item.collection else { continue };
        let (bytes, done, failed) = collections.entry(collection.as_str()).or_default();
        // A set has the bytes of its snapshots again.
        *bytes = bytes.saturating_add(item.bytes.filter(|_| item.kind == "snapshot").unwrap_or_default());
        *done |= item.is_done();
        *failed |= item.is_failed();
    }
    let of_collection = |collection: &str| format!("{run},collection=\"{}\"", escaped(collection));
    let succeeded = collections.iter().filter(|(_, (_, done, failed))| *done && !*failed);
    metric(
        LAST_SUCCESS[1],
        "When the task last succeeded for the collection.",
        succeeded.map(|(name, _)| (of_collection(name), now.to_string())).collect(),
    );
    let each = |value: &dyn Fn(&(u64, bool, bool)) -> u64| {
        collections.iter().map(|(name, found)| (of_collection(name), value(found).to_string())).collect::<Vec<_>>()
    };
    metric(
        "qdrant_backup_collection_bytes",
        "The collection's snapshots in the run, in bytes.",
        each(&|found| found.0),
    );
    metric("qdrant_backup_collection_failed", "1 when something of it failed.", each(&|found| u64::from(found.2)));
    text
}

/// Seconds and tenths. Printing floating point would be 10 KB of the component.
fn seconds(elapsed: Duration) -> String {
    format!("{}.{}", elapsed.as_secs(), elapsed.subsec_millis() / 100)
}

/// The value of a label between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::report::{Item, Outcome};
    use time::macros::datetime;

    const FAILED: Outcome = Outcome::Failed(Code::Incomplete);

    fn report(items: &[(&str, Outcome, u64)]) -> Report {
        let item = |(collection, outcome, bytes): &(&str, Outcome, u64)| Item {
            outcome: *outcome,
            ..Item::done("snapshot").collection(*collection).bytes(*bytes)
        };
        Report { items: items.iter().map(item).collect() }
    }

    fn of(task: &str) -> Labels<'_> {
        Labels { task, source: None }
    }

    /// A line that only an earlier version wrote would stand still, and an alert on its age go off.
    #[test]
    fn what_named_no_source_is_taken_over_with_the_source() {
        let (first, second) = (datetime!(2026-01-01 00:00:00 UTC), datetime!(2026-01-02 00:00:00 UTC));
        let good = report(&[("a", Outcome::Done, 5)]);
        let before = write(&of("create_snap"), &good, first, Duration::ZERO, "");
        let source = Source { id: crate::source::SourceId::from_text("0a"), name: "prod \"1\"".to_owned() };
        let labels = Labels { task: "create_snap", source: Some(source) };
        let bad = report(&[("a", FAILED, 0)]);
        let text = write(&labels, &bad, second, Duration::ZERO, &before);
        let run = "task=\"create_snap\",source_id=\"0a\",source_name=\"prod \\\"1\\\"\"";
        assert!(has(&text, &format!("qdrant_backup_last_success_timestamp_seconds{{{run}}} 1767225600")), "{text}");
        let of_collection =
            format!("qdrant_backup_collection_last_success_timestamp_seconds{{{run},collection=\"a\"}}");
        assert!(has(&text, &format!("{of_collection} 1767225600")), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#') || line.contains("source_id=")), "{text}");
    }

    fn has(text: &str, line: &str) -> bool {
        text.lines().any(|found| found == line)
    }

    #[test]
    fn a_failure_does_not_wipe_out_the_time_of_the_last_success() {
        let (first, second) = (datetime!(2026-01-01 00:00:00 UTC), datetime!(2026-01-02 00:00:00 UTC));
        let good = report(&[("a", Outcome::Done, 5), ("b", Outcome::Done, 7), ("a", Outcome::Done, 6)]);
        let text = write(&of("create_snap_shards"), &good, first, Duration::from_millis(1260), "");
        for line in [
            "qdrant_backup_last_run_success{task=\"create_snap_shards\"} 1",
            "qdrant_backup_last_success_timestamp_seconds{task=\"create_snap_shards\"} 1767225600",
            "qdrant_backup_last_run_duration_seconds{task=\"create_snap_shards\"} 1.2",
            "qdrant_backup_last_run_bytes{task=\"create_snap_shards\"} 18",
            "qdrant_backup_last_run_items{task=\"create_snap_shards\",outcome=\"done\"} 3",
            "qdrant_backup_collection_bytes{task=\"create_snap_shards\",collection=\"a\"} 11",
        ] {
            assert!(has(&text, line), "{line}\n{text}");
        }
        let bad = report(&[("a", FAILED, 0), ("b", Outcome::Done, 8)]);
        let text = write(&of("create_snap_shards"), &bad, second, Duration::from_secs(1), &text);
        for line in [
            "qdrant_backup_last_run_success{task=\"create_snap_shards\"} 0",
            "qdrant_backup_last_run_timestamp_seconds{task=\"create_snap_shards\"} 1767312000",
            "qdrant_backup_last_success_timestamp_seconds{task=\"create_snap_shards\"} 1767225600",
            "qdrant_backup_collection_last_success_timestamp_seconds{task=\"create_snap_shards\",collection=\"a\"} 1767225600",
            "qdrant_backup_collection_last_success_timestamp_seconds{task=\"create_snap_shards\",collection=\"b\"} 1767312000",
            "qdrant_backup_collection_failed{task=\"create_snap_shards\",collection=\"a\"} 1",
        ] {
            assert!(has(&text, line), "{line}\n{text}");
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE qdrant_backup_last_success")).count();
        assert_eq!(types, 1);
    }

    #[test]
    fn one_collection_that_was_not_verified_is_told() {
        let text = |verified: &[bool]| {
            let items = verified.iter().map(|verified| Item::done("collection").verified(*verified)).collect();
            write(&of("t"), &Report { items }, datetime!(2026-01-01 00:00:00 UTC), Duration::ZERO, "")
        };
        assert!(has(&text(&[true, true]), "qdrant_backup_last_restore_verified{task=\"t\"} 1"));
        assert!(has(&text(&[true, false]), "qdrant_backup_last_restore_verified{task=\"t\"} 0"));
        assert!(!text(&[]).contains("last_restore_verified"));
    }

    #[test]
    fn content_that_was_compared_with_itself_only_is_told() {
        let text = |content: &[Option<&'static str>], failed: bool| {
            let items = content.iter().map(|content| Item::done("collection").content(*content));
            let error = crate::error::Error::new(crate::error::Code::VerificationFailed, "", "x");
            let failed = failed.then(|| Item::failed("collection", error).content(Some("different")));
            let report = Report { items: items.chain(failed).collect() };
            write(&of("t"), &report, datetime!(2026-01-01 00:00:00 UTC), Duration::ZERO, "")
        };
        let name = "qdrant_backup_last_content_verified{task=\"t\"}";
        assert!(has(&text(&[Some("verified"), Some("equal")], false), &format!("{name} 1")));
        assert!(has(&text(&[Some("verified"), Some("replicas-equal")], false), &format!("{name} 0")));
        assert!(has(&text(&[Some("equal")], true), &format!("{name} 0")));
        assert!(!text(&[None], false).contains("content_verified"));
    }

    #[test]
    fn a_run_that_has_begun_is_no_success_yet() {
        let (first, second) = (datetime!(2026-01-01 00:00:00 UTC), datetime!(2026-01-02 00:00:00 UTC));
        let begun_first = begun("create_snap", first, "");
        assert!(has(&begun_first, "qdrant_backup_last_run_success{task=\"create_snap\"} 0"), "{begun_first}");
        let labels = Labels { task: "create_snap", source: None };
        let ended = write(&labels, &report(&[("a", Outcome::Done, 5)]), first, Duration::from_secs(60), &begun_first);
        assert!(has(&ended, "qdrant_backup_last_run_success{task=\"create_snap\"} 1"), "{ended}");
        let text = begun("create_snap", second, &ended);
        for line in [
            "qdrant_backup_last_run_success{task=\"create_snap\"} 0",
            "qdrant_backup_last_run_started_timestamp_seconds{task=\"create_snap\"} 1767312000",
            "qdrant_backup_last_run_timestamp_seconds{task=\"create_snap\"} 1767225600",
            "qdrant_backup_last_success_timestamp_seconds{task=\"create_snap\"} 1767225600",
        ] {
            assert!(has(&text, line), "{line}\n{text}");
        }
        let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let names: std::collections::BTreeSet<&&str> = types.iter().collect();
        assert_eq!(types.len(), names.len(), "each metric is told once\n{text}");
    }

    #[test]
    fn names_are_escaped() {
        let text = write(
            &of("t"),
            &report(&[("a\"b\\c", Outcome::Done, 0)]),
            datetime!(2026-01-01 00:00:00 UTC),
            Duration::ZERO,
            "",
        );
        assert!(text.contains("collection=\"a\\\"b\\\\c\""));
    }
}
