//! The report of a run for programs: JSON and metrics, into files, the bucket, and a push gateway. What can't be
//! published is told and does not change how the run ended.

use crate::error::{Code, Error};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::context::Context;
use crate::metrics;
use crate::places;
use crate::ports::{Request, Timeouts};
use crate::report::{Item, Report};
use crate::settings::ReportFormat;
use crate::summary;
use crate::timestamp;

/// The version of the report's form; fields may be added to it.
const REPORT_VERSION: u32 = 1;

/// Says that `task` has begun, before anything is done: a run that is killed writes no report any more, and the one of the
/// run before must not pass for its own.
pub async fn begin(context: &Context, task: &str) {
    let now = context.ports.clock.now();
    let report = as_json(context, task, &Report::default(), "running", None);
    let metrics = |before: &str| metrics::begun(task, now, before);
    publish_as(context, task, &report, &metrics).await;
}

/// Publishes the report of `task`, as the settings say.
pub async fn publish(context: &Context, task: &str, report: &Report) {
    let labels = metrics::Labels { task, source: context.source() };
    let (now, elapsed) = (context.ports.clock.now(), context.reporter.elapsed());
    let json = as_json(context, task, report, report.status().name(), Some(now));
    let metrics = |before: &str| metrics::write(&labels, report, now, elapsed, before);
    publish_as(context, task, &json, &metrics).await;
}

/// Writes the report, and the metrics, which go on from those of an earlier run.
async fn publish_as(context: &Context, task: &str, report: &Value, metrics: &dyn Fn(&str) -> String) {
    let to = &context.settings.report;
    let files = context.ports.files.as_ref();
    let failed = |what: &str, why: String| context.log.warn(None, &format!("{what} is not published: {why}"));
    let text = format!("{report:#}\n");
    let in_file = match to.format {
        ReportFormat::Json => text.clone(),
        ReportFormat::Markdown => summary::markdown(report),
    };
    if let Some(Err(error)) = to.file.as_ref().map(|name| files.replace(name, in_file.as_bytes())) {
        failed("the report", error.to_string());
    }
    if let Some(bucket) = context.store.as_deref().filter(|_| to.s3) {
        let key = bucket.places().ours(&format!("{}/{task}.json", places::REPORTS));
        if let Err(error) = bucket.put(&key, "application/json", text.into_bytes()).await {
            failed("the report", error.to_string());
        }
    }
    if let Some(name) = &to.metrics_file {
        let before = files.read(name).ok().flatten().unwrap_or_default();
        let text = metrics(&String::from_utf8_lossy(&before));
        if let Err(error) = files.replace(name, text.as_bytes()) {
            failed("the metrics file", error.to_string());
        }
    }
    if let Some(url) = &to.push_url {
        // Every task has a group of its own, as a POST replaces all metrics of a name in its group; those that are not in
        // it, such as the time of the last success after a failure, stay.
        let url = &format!("{}/task/{task}", url.trim_end_matches('/'));
        if let Err(error) = push(context, url, metrics("")).await {
            failed("what goes to QDRANT_METRICS_PUSH_URL", error.to_string());
        }
    }
}

async fn push(context: &Context, url: &str, text: String) -> Result<(), Error> {
    const LIMIT: usize = 64 << 10;
    let refused = |cause: String| Error::new(Code::Configuration, "", cause);
    let uri = url.parse().map_err(|_| refused("it is not a URL".to_owned()))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    let seconds = Duration::from_secs(30);
    let timeouts = Timeouts { connect: seconds, first_byte: seconds, between_bytes: seconds };
    let request = Request { method: Method::POST, uri, headers, body: text.into_bytes(), timeouts };
    let response = context.ports.http.send(request).await.map_err(|error| refused(error.to_string()))?;
    let status = response.status;
    let body = response.read_all(LIMIT, context.ports.clock.as_ref()).await.unwrap_or_default();
    if status.is_success() {
        return Ok(());
    }
    Err(refused(format!("status {}: {}", status.as_u16(), String::from_utf8_lossy(&body).trim())))
}

/// The report; its fields are documented in docs/monitoring.md.
fn as_json(context: &Context, task: &str, report: &Report, status: &str, ended: Option<OffsetDateTime>) -> Value {
    let source = context.source();
    let elapsed = context.reporter.elapsed();
    let started = context.ports.clock.now() - elapsed;
    json!({
        "report_version": REPORT_VERSION,
        "created_by": crate::CREATED_BY,
        "task": task,
        "run_id": context.run.as_str(),
        "source_id": source.as_ref().map(|source| source.id.as_str()),
        "source_name": source.as_ref().map(|source| source.name.as_str()),
        "status": status,
        "started_at": timestamp::RFC3339.write(started),
        "ended_at": ended.map(|ended| timestamp::RFC3339.write(ended)),
        "seconds": elapsed.as_secs(),
        "done": report.done(),
        "failed": report.failed(),
        "skipped": report.skipped(),
        "items": report.items.iter().map(item_as_json).collect::<Vec<_>>(),
    })
}

fn item_as_json(item: &Item) -> Value {
    json!({
        "outcome": item.outcome.name(),
        "kind": item.kind,
        "host": item.host,
        "collection": item.collection,
        "name": item.name,
        "bytes": item.bytes,
        "milliseconds": u64::try_from(item.elapsed.as_millis()).unwrap_or(u64::MAX),
        "cause": item.cause,
        "code": item.code().map(Code::name),
        "verified": item.verified,
        "content": item.content,
    })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_has_a_code_and_what_was_done_has_none() {
        let error = Error::new(Code::SnapshotMissing, "`docs`", "it is gone");
        let failed = item_as_json(&Item::failed("snapshot", error));
        assert_eq!((&failed["code"], &failed["cause"]), (&"snapshot-missing".into(), &"`docs`: it is gone".into()));
        assert!(item_as_json(&Item::done("snapshot"))["code"].is_null());
    }
}
