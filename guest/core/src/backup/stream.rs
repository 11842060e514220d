//! A snapshot of a shard that Qdrant sends while it makes it, and that is stored in parts while it comes: it is never held
//! whole, neither here nor on the peer's disk. What arrives is looked at on its way, as the end of an answer proves
//! nothing; and what is stored is looked at afterwards, as a store's word proves nothing either.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::check::{Checked, NewSnapshot, Stored};
use super::parts::{NoLarger, Parts};
use super::snapshot::Subject;
use super::transfer::Transfer;
use crate::context::Context;
use crate::error::{Code, Error};
use crate::qdrant::{Client, QdrantError, Streamed};
use crate::sets::StreamedKey;
use crate::sets::quality::made_by;
use crate::settings::SnapshotCheck;
use crate::snapshot_file::{self, Passed, Passing};
use crate::store::{ObjectStore, Part, Upload};

/// How often a snapshot is begun.
const ATTEMPTS: u32 = 3;

/// How long the peer may wait while a part is stored, besides the time that its bytes need: it holds its segments
/// meanwhile, and cuts off who does not read for five minutes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A part needs a second for each so many bytes, and no more than [`SLOW`].
const SLOWEST: u64 = 1 << 20;
const SLOW: Duration = Duration::from_secs(180);

/// One snapshot that is streamed.
pub(super) struct Stream<'a> {
    pub context: &'a Context,
    pub bucket: &'a dyn ObjectStore,
    pub client: &'a Client,
    pub subject: Subject<'a>,
    pub shard: u32,
    /// Where it is stored.
    pub key: String,
    /// The id that it has to say made it.
    pub own_id: u64,
    /// In what parts.
    pub parts: Parts,
}

/// Why an attempt came to nothing.
enum Failed {
    /// The next one may do better.
    Passing(Error),
    /// The next one would end the same way.
    Lasting(Error),
    /// It has more bytes than so small parts can hold.
    Outgrown,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        // A store that refuses the keys goes on doing so.
        match error.code() {
            Code::StoreUnauthorized | Code::Changed => Self::Lasting(error),
            _ => Self::Passing(error),
        }
    }
}

impl<'a> Stream<'a> {
    /// Streams the snapshot; begins it anew where that may help. What an attempt leaves in the bucket is removed.
    ///
    /// # Errors
    /// No attempt has brought it whole.
    pub(super) async fn store(self) -> Result<(Checked, NewSnapshot<'a>), Error> {
        let &Self { context, client, .. } = &self;
        let _permit = context.limits.peer(client.host()).await;
        let expected = client.expect_peer(self.subject.collection, self.subject.peer).await;
        expected.map_err(|cause| Error::new(Code::Changed, "", cause))?;
        if self.bucket.stat(&self.key).await?.is_some() {
            return Err(self.another());
        }
        let mut size = self.parts.first();
        let mut number = 1;
        loop {
            match self.attempt(size).await {
                Ok(stored) => return Ok(stored),
                Err(Failed::Lasting(error)) => return Err(error),
                Err(Failed::Outgrown) => size = self.larger(size)?,
                Err(Failed::Passing(error)) if number == ATTEMPTS => return Err(error),
                Err(Failed::Passing(error)) => {
                    let what =
                        format!("`{}` shard {}: {error}; it is started again", self.subject.collection, self.shard);
                    context.log.warn(Some(&client.host().to_string()), &what);
                    context.ports.clock.sleep(Duration::from_secs(2 * u64::from(number))).await;
                    number += 1;
                }
            }
        }
    }

    fn another(&self) -> Error {
        let cause = "there is an object of this key already, which another run has stored";
        Error::new(Code::Changed, format!("the object `{}`", self.key), cause).advice("run one backup at a time")
    }

    /// The size of parts that is tried after `size`.
    fn larger(&self, size: usize) -> Result<usize, Error> {
        let sent = self.parts.holds(size) >> 30;
        let subject = format!("`{}` shard {}", self.subject.collection, self.shard);
        match self.parts.after(size, self.context.limits.memory().largest_of_two()) {
            Ok(next) => {
                let what = format!(
                    "{subject}: it has more than {sent} GiB; it is started again with parts of {} MiB",
                    next >> 20
                );
                self.context.log.warn(Some(&self.client.host().to_string()), &what);
                Ok(next)
            }
            Err(NoLarger::Object) => {
                Err(Error::new(Code::Unsupported, subject, format!("it has more than {sent} GiB")))
            }
            Err(NoLarger::Memory(next)) => {
                let needed = (4 * next) >> 20;
                let cause = format!(
                    "it has more than {sent} GiB, for which parts of {} MiB are needed and two of them have to fit into memory",
                    next >> 20
                );
                let advice = format!("give the program more: --memory-limit {needed}MiB (QDRANT_MEMORY_LIMIT)");
                Err(Error::new(Code::Configuration, subject, cause).advice(advice))
            }
        }
    }

    /// Streams it once, in parts of `size`.
    async fn attempt(&self, size: usize) -> Result<(Checked, NewSnapshot<'a>), Failed> {
        let context = self.context;
        let _buffers = context.limits.memory().two_of(size as u64, &context.log).await;
        context.held.upload(&self.key);
        let attempted = self.upload(size).await;
        context.held.ended(&self.key);
        attempted
    }

    /// From the beginning of the upload to its end.
    async fn upload(&self, size: usize) -> Result<(Checked, NewSnapshot<'a>), Failed> {
        let &Self { context, bucket, client, .. } = self;
        // Before the peer is asked, which waits for nothing then.
        let upload = bucket.begin_upload(&self.key).await?;
        let passed = match self.pass(&upload, size).await {
            Ok((name, parts, passed)) => {
                let stat = bucket.complete_upload(&upload, &parts).await;
                stat.map(|stat| (name, passed, stat)).map_err(Failed::from)
            }
            Err(failed) => Err(failed),
        };
        let (name, passed, stat) = match passed {
            Ok(passed) => passed,
            Err(failed) => return Err(self.aborted(&upload, failed).await),
        };
        let name = name.unwrap_or_else(|| format!("{}-shard-{}.snapshot", self.subject.collection, self.shard));
        let made = NewSnapshot::streamed(client, self.subject, name.clone(), self.key.clone(), stat.etag.clone());
        let stored = Stored { key: self.key.clone(), etag: stat.etag, checksum: passed.sha256.clone() };
        if let Err(error) = self.check(&passed).await {
            return Err(match made.remove(context).await {
                Ok(()) => error.into(),
                Err(left) => Failed::Lasting(error.advice(format!("what was stored could not be deleted: {left}"))),
            });
        }
        Ok((Checked { name, bytes: passed.bytes, note: None, stored: Some(stored) }, made))
    }

    /// What is stored has to be what has passed: a tar from its beginning to its end, made by the peer that was asked.
    async fn check(&self, passed: &Passed) -> Result<(), Error> {
        made_by(passed.peer, self.own_id)?;
        if self.context.settings.snapshot_check == SnapshotCheck::None {
            return Ok(());
        }
        let stored = snapshot_file::check_shard(self.bucket, &self.key, passed.bytes).await;
        made_by(stored.map_err(|error| Error::from(error).of(format!("the object `{}`", self.key)))?, passed.peer)
    }

    /// Ends an upload that comes to nothing.
    async fn aborted(&self, upload: &Upload, failed: Failed) -> Failed {
        let Err(left) = self.bucket.abort_upload(upload).await else { return failed };
        let advice = format!("the parts that were stored are left, and removed by the next run: {left}");
        match failed {
            Failed::Passing(error) => Failed::Passing(error.advice(advice)),
            Failed::Lasting(error) => Failed::Lasting(error.advice(advice)),
            Failed::Outgrown => Failed::Outgrown,
        }
    }

    /// Reads the snapshot and stores its parts: one is filled while the one before it is sent.
    async fn pass(&self, upload: &Upload, size: usize) -> Result<(Option<String>, Vec<Part>, Passed), Failed> {
        let &Self { bucket, client, subject, .. } = self;
        let streamed = client.stream_shard(subject.collection, self.shard).await.map_err(refused)?;
        let name = streamed.name.clone();
        let mut source = Source { streamed, passing: Passing::default(), rest: Vec::new() };
        let send = async |number: usize, part: Vec<u8>| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let stored = bucket.put_part(upload, number, &part).await;
            if stored.is_ok() {
                self.context.passed(&self.key, part.len() as u64, None);
            }
            (stored, part)
        };
        let mut parts = Vec::new();
        let (mut filled, mut more) = source.fill(Vec::with_capacity(size), size).await?;
        let mut spare = if more { Vec::with_capacity(size) } else { Vec::new() };
        while more {
            if parts.len() + 1 >= self.parts.most() {
                return Err(Failed::Outgrown);
            }
            let sending = pin!(send(parts.len() + 1, filled));
            let filling = pin!(source.fill(spare, size));
            let (next, (stored, sent)) = match select(filling, sending).await {
                // The peer waits from here on.
                Either::Left((next, sending)) => (next?, self.in_time(size, sending).await?),
                Either::Right((sent, filling)) => {
                    // What can't be stored need not be read.
                    if let Err(error) = sent.0 {
                        return Err(error.into());
                    }
                    (filling.await?, sent)
                }
            };
            parts.push(stored?);
            (filled, more) = next;
            spare = sent;
        }
        let passed = source.passing.end().map_err(|broken| self.not_whole(broken))?;
        // Nobody waits for this one.
        parts.push(send(parts.len() + 1, filled).await.0?);
        Ok((name, parts, passed))
    }

    /// What `sending` comes to, unless it takes so long that the peer must not wait for it.
    async fn in_time<T>(&self, size: usize, sending: impl Future<Output = T> + Unpin) -> Result<T, Failed> {
        let limit = PATIENCE + SLOW.min(Duration::from_secs(size as u64 / SLOWEST));
        match select(sending, self.context.ports.clock.sleep(limit)).await {
            Either::Left((sent, _)) => Ok(sent),
            Either::Right(_) => {
                let cause = format!(
                    "a part of {} MiB was not stored within {} s, and the peer must not be kept waiting",
                    size >> 20,
                    limit.as_secs()
                );
                Err(Failed::Passing(Error::new(Code::StoreUnreachable, "", cause)))
            }
        }
    }

    fn not_whole(&self, broken: snapshot_file::SnapshotFileError) -> Failed {
        let error = Error::from(broken).of("the snapshot that the peer has sent");
        Failed::Passing(error.advice("see the log of the Qdrant pod: it says there why it gave up"))
    }
}

/// Why a peer sends no snapshot: what it refuses it goes on refusing.
fn refused(error: QdrantError) -> Failed {
    let lasting = error.status().is_some_and(|status| (400..500).contains(&status) && !matches!(status, 408 | 429));
    let error = Error::from(error);
    if lasting { Failed::Lasting(error) } else { Failed::Passing(error) }
}

/// A snapshot that comes, and is looked at.
struct Source {
    streamed: Streamed,
    passing: Passing,
    /// What has come and is not in a part yet.
    rest: Vec<u8>,
}

impl Source {
    /// Fills `part` with the next `size` bytes, or with what there is up to the end; and whether anything follows.
    async fn fill(&mut self, mut part: Vec<u8>, size: usize) -> Result<(Vec<u8>, bool), Failed> {
        part.clear();
        part.append(&mut self.rest);
        while part.len() <= size {
            let Some(chunk) = self.streamed.next().await.map_err(Error::from)? else { return Ok((part, false)) };
            self.passing
                .take(&chunk)
                .map_err(|broken| Failed::Passing(Error::from(broken).of("the snapshot that the peer sends")))?;
            // A part never grows beyond the memory that was counted for it.
            let room = size.saturating_sub(part.len()).min(chunk.len());
            let (fits, rest) = chunk.split_at(room);
            part.extend_from_slice(fits);
            if !rest.is_empty() {
                self.rest.extend_from_slice(rest);
                return Ok((part, true));
            }
        }
        Ok((part, true))
    }
}

/// Aborts the uploads that were begun for this source, for the share of its collections that this run takes, and not ended:
/// those of others are never touched, and another run at work for them is kept out by its lock. To be called while this run
/// sends nothing: it may have begun one whose answer was lost. False where they can't be listed, which was told.
pub(super) async fn abort_leftovers(context: &Context, bucket: &dyn ObjectStore, transfer: &Transfer<'_>) -> bool {
    let Some(source) = transfer.known_source() else { return true };
    let mut left = Vec::new();
    let prefix = bucket.places().ours(&StreamedKey::folder(source));
    let mut note = |upload: Upload| {
        let key = StreamedKey::parse(bucket.places().bare(&upload.key));
        let takes = |key: &StreamedKey| context.settings.share.is_none_or(|share| share.takes(&key.collection));
        if key.is_some_and(|key| key.source == source && takes(&key)) {
            left.push(upload);
        }
    };
    if let Err(error) = bucket.list_uploads(&prefix, &mut note).await {
        let what = format!(
            "it is not known whether parts of uploads that were not ended are left in the bucket: {error}; a lifecycle rule \
             of the bucket (AbortIncompleteMultipartUpload) removes them as well"
        );
        context.log.warn(None, &what);
        return false;
    }
    let mut aborted = 0;
    for upload in &left {
        match bucket.abort_upload(upload).await {
            Ok(()) => aborted += 1,
            Err(error) => context.log.warn(None, &format!("an upload of `{}` is left: {error}", upload.key)),
        }
    }
    if aborted > 0 {
        context.log.info(None, &format!("{aborted} uploads that were begun and not ended were aborted"));
    }
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::rc::Rc;

    use futures_executor::block_on;
    use http::{HeaderMap, StatusCode};

    use super::super::parts::tests::SMALL;
    use super::*;
    use crate::ports::nothing::{Nothing, Passing as Clock};
    use crate::ports::{Body, Http, HttpError, LocalBoxFuture, Ports, Request, Response};
    use crate::settings::{Host, Needs, from_variables};
    use crate::store::memory::Memory;

    /// Sends a tar with one file that never ends.
    struct Endless;

    /// What comes of it: its head, and then its content.
    struct Archive(Option<Vec<u8>>);

    impl Http for Endless {
        fn send(&self, _: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
            let mut header = tar::Header::new_gnu();
            header.set_path("segments/0.tar").unwrap();
            header.set_size(1 << 50);
            header.set_cksum();
            let body = Box::new(Archive(Some(header.as_bytes().to_vec())));
            Box::pin(std::future::ready(Ok(Response { status: StatusCode::OK, headers: HeaderMap::new(), body })))
        }
    }

    impl Body for Archive {
        fn chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, HttpError>> {
            let chunk = self.0.take().unwrap_or_else(|| vec![7; 700]);
            Box::pin(std::future::ready(Ok(Some(chunk))))
        }
    }

    /// What is stored of it, upload by upload, and the error at the end.
    fn outgrown(memory_limit: u64) -> (Vec<Vec<usize>>, Error) {
        let nothing = Rc::new(Nothing);
        let ports = Ports {
            http: Rc::new(Endless),
            clock: Rc::new(Clock::default()),
            files: nothing.clone(),
            console: nothing.clone(),
        };
        let variables = [("QDRANT_MEMORY_LIMIT".to_owned(), memory_limit.to_string())];
        let context = Context::new(ports.clone(), from_variables(&variables, Needs::NOTHING).unwrap().0);
        let host = Host::parse("http://qdrant:6333", crate::settings::DefaultPort::OfScheme).unwrap();
        let client = Client::new(ports, host, None, Duration::from_secs(60));
        let bucket = Memory::default();
        let stream = Stream {
            context: &context,
            bucket: &bucket,
            client: &client,
            subject: Subject { collection: "docs", peer: 0, shard: Some(0) },
            shard: 0,
            key: "streamed/x".to_owned(),
            own_id: 0,
            parts: SMALL,
        };
        let error = block_on(stream.store()).err().unwrap();
        assert!(bucket.objects.borrow().is_empty());
        (bucket.uploads.take(), error)
    }

    #[test]
    fn what_outgrows_its_parts_is_sent_again_in_larger_ones() {
        // The last part, which would be one too many, is never sent.
        let sizes = [vec![1000; 3], vec![3000; 3]];
        let (uploads, error) = outgrown(63 << 20);
        assert_eq!(uploads, sizes);
        assert_eq!(error.code(), Code::Configuration);
        assert!(error.to_string().contains("--memory-limit 64MiB"), "{error}");
        let (uploads, error) = outgrown(64 << 20);
        assert_eq!(uploads[..2], sizes);
        assert_eq!(uploads[2], [16 << 20; 3]);
        assert_eq!(error.code(), Code::Unsupported);
    }
}
