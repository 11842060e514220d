//! Objects that are stored in parts: whole, or not at all, and no part is left behind.

use std::rc::Rc;

use http::Method;
use qdrant_backup_core::error::Code;
use qdrant_backup_core::ports::LocalBoxFuture;
use qdrant_backup_core::s3::Bucket;
use qdrant_backup_core::store::{ObjectStore, Upload};
use qdrant_backup_tests::faults::{Chosen, Wrong};
use qdrant_backup_tests::native;
use qdrant_backup_tests::qdrant::Options;
use qdrant_backup_tests::site::Site;

use crate::fault;

const KEY: &str = "streamed/x/a b/0.snapshot";
const COMPLETED: &str = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>";
const PART: usize = 5 << 20;

async fn site() -> Site {
    Site::native(Options { peers: 1, ..Options::default() }).await
}

/// Does `work` with the bucket of `site`, as the program does.
async fn with<T: 'static>(site: &Site, work: impl FnOnce(Rc<Bucket>) -> LocalBoxFuture<'static, T> + 'static) -> T {
    let settings = site.access().settings();
    native::run_here(move |ports| {
        Box::pin(async move { work(Rc::new(Bucket::open(&ports, &settings).await.unwrap())).await })
    })
    .await
}

/// Stores an object in two parts; the error's code where that fails.
async fn store(site: &Site) -> Result<u64, Code> {
    with(site, |bucket| {
        Box::pin(async move {
            let upload = bucket.begin_upload(KEY).await.map_err(|error| error.code())?;
            let mut parts = Vec::new();
            for (number, byte) in [(1, b'a'), (2, b'b')] {
                let part = bucket.put_part(&upload, number, &vec![byte; PART]).await;
                match part {
                    Ok(part) => parts.push(part),
                    Err(error) => {
                        bucket.abort_upload(&upload).await.unwrap();
                        return Err(error.code());
                    }
                }
            }
            let stat = bucket.complete_upload(&upload, &parts).await.map_err(|error| error.code())?;
            Ok(stat.bytes)
        })
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn parts_become_one_object() {
    let site = site().await;
    assert_eq!(store(&site).await, Ok(2 * PART as u64));
    let stored = site.s3.get(KEY).unwrap();
    assert!(stored.len() == 2 * PART && stored[PART - 1] == b'a' && stored[PART] == b'b');
    assert!(site.s3.uploads().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whatever_answer_is_lost_the_object_is_whole() {
    for (method, uri) in [(Method::POST, "uploads="), (Method::PUT, "partNumber=2"), (Method::POST, "uploadId=")] {
        for wrong in [Wrong::Lost, Wrong::Reset, Wrong::Status(503, String::new()), Wrong::ResetWithin] {
            let site = site().await;
            site.s3.faults().add(Chosen::S3, fault(method.clone(), uri, 1, wrong.clone()));
            assert_eq!(store(&site).await, Ok(2 * PART as u64), "{method} {uri} {wrong:?}");
            assert_eq!(site.s3.get(KEY).unwrap().len(), 2 * PART);
            assert!(site.s3.uploads().is_empty(), "{method} {uri} {wrong:?}: {:?}", site.s3.uploads());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_behind_a_200_is_no_success() {
    let error = |code: &str| Wrong::Status(200, format!("<Error><Code>{code}</Code><Message>no</Message></Error>"));
    // One that passes, one that does not, and a page of something else.
    for (wrong, ended) in [
        (error("InternalError"), Ok(2 * PART as u64)),
        (error("InvalidPart"), Err(Code::StoreRefused)),
        (Wrong::Status(200, "<html>done</html>".to_owned()), Err(Code::StoreAnswer)),
        // Said, and not done.
        (Wrong::Status(200, COMPLETED.to_owned()), Err(Code::StoreAnswer)),
    ] {
        let site = site().await;
        site.s3.faults().add(Chosen::S3, fault(Method::POST, "uploadId=", 1, wrong));
        assert_eq!(store(&site).await, ended);
        assert_eq!(site.s3.get(KEY).is_some(), ended.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_there_is_not_replaced() {
    let site = site().await;
    site.s3.put(KEY, b"of another run".to_vec());
    assert_eq!(store(&site).await, Err(Code::Changed));
    assert_eq!(site.s3.get(KEY).unwrap(), b"of another run");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_gone_is_aborted_already() {
    let site = site().await;
    let gone = Upload { key: KEY.to_owned(), id: "gone".to_owned(), begun: None, crc32: false };
    with(&site, move |bucket| Box::pin(async move { bucket.abort_upload(&gone).await })).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_page_of_the_uploads_is_listed() {
    let site = site().await;
    let mut begun: Vec<String> = (0..2500).map(|number| format!("streamed/{number:04}")).collect();
    begun.iter().for_each(|key| drop(site.s3.store().begin_upload(key)));
    site.s3.store().begin_upload("other/x");
    let listed = with(&site, |bucket| {
        Box::pin(async move {
            let mut keys = Vec::new();
            bucket.list_uploads("streamed/", &mut |upload| keys.push(upload.key)).await.unwrap();
            keys
        })
    });
    begun.sort();
    assert_eq!(listed.await, begun);
}
