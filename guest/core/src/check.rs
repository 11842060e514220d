//! What a backup and a restore need, asked without doing either, by the functions by which they ask themselves.
//!
//! Nothing is left behind: objects are made below the tool's own folders in the bucket, by names that no list takes for
//! anything else, and removed at once. Those of a check that was killed go with the next one.

mod bucket;
mod clock;
mod qdrant;
mod row;

use std::time::Duration;

use crate::context::Context;
use crate::error::Error;
use crate::settings::{ReportTo, Settings};
use crate::state_files;
use row::Verdict;

pub use row::{Row, json, text};

/// How long a server is waited for that does not answer: who asks wants to know it now.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the link may be fetched.
const LINK: Duration = Duration::from_secs(300);

/// A check waits for nobody, and its report does not take the place of a backup's.
pub fn adjust(settings: &mut Settings) {
    settings.retry_limit = settings.retry_limit.min(PATIENCE);
    settings.report = ReportTo::default();
}

/// Everything that can be asked. `notes` is what is to be said of the settings.
pub async fn look(context: &Context, notes: &[String]) -> Vec<Row> {
    let mut rows = vec![Row::ok("settings", "values", "all can be used")];
    rows.extend(notes.iter().map(|note| Row::warning("settings", "note", note)));
    rows.extend(work_directory(context));
    let bucket = match &context.settings.s3 {
        Some(s3) => bucket::open(context, s3, &mut rows).await,
        None => {
            let finding = "none is configured (QDRANT_S3_...): nothing is known of it";
            rows.push(Row::unknown("bucket", "settings", finding));
            None
        }
    };
    let bucket = bucket.as_deref();
    let probe = match bucket {
        Some(bucket) => bucket::try_all(context, bucket, &mut rows).await,
        None => None,
    };
    let mut of_qdrant = Vec::new();
    let versions = qdrant::source(context, bucket, &mut of_qdrant).await;
    let link = match (bucket, &probe) {
        (Some(bucket), Some(probe)) => Some((probe, bucket.presigned_get(&probe.key, LINK).await)),
        _ => None,
    };
    qdrant::target(context, link, &versions, &mut of_qdrant).await;
    if let (Some(bucket), Some(probe)) = (bucket, &probe) {
        rows.push(bucket::remove(bucket, probe).await);
    }
    rows.extend(of_qdrant);
    rows.into_iter().map(|row| row.map_text(|text| context.log.clean(text))).collect()
}

/// What is in the work directory by which people choose, and whether it can be written.
fn work_directory(context: &Context) -> Vec<Row> {
    const AREA: &str = "work directory";
    let files = context.ports.files.as_ref();
    let written = files.check_writable().map_err(Error::from);
    let mut rows = vec![Row::of(AREA, "write", written.map(|()| "a file was written and removed"))];
    match state_files::chosen_collections(files) {
        Err(error) => rows.push(Row::failed(AREA, state_files::COLLECTIONS, error)),
        Ok(lines) if lines.is_empty() => {}
        Ok(lines) => rows.push(
            Row::warning(
                AREA,
                state_files::COLLECTIONS,
                format!("the file chooses {} collections, and no others", lines.len()),
            )
            .advice("`reset` removes it, and all are taken"),
        ),
    }
    match state_files::read_snapshots(files) {
        Err(error) => rows.push(Row::failed(AREA, state_files::SNAPSHOTS, error)),
        Ok(lines) if lines.is_empty() => {}
        Ok(lines) => rows.push(
            Row::warning(
                AREA,
                state_files::SNAPSHOTS,
                format!("`recover_snap` restores the {} snapshots in it", lines.len()),
            )
            .advice("`reset` removes it, and the newest complete backup is taken"),
        ),
    }
    let finding = "a component in a sandbox is not told how much room is left";
    rows.push(Row::unknown(AREA, "free space", finding));
    rows
}
