//! Gives the keys that a request or a link is signed with, good ones at any time of a run.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use async_lock::Mutex;

use super::Lent;
use super::error::{CredentialsError, Kind};
use super::renewal::{self, Need};
use super::source::Source;
use crate::log::Log;
use crate::ports::{Clock, Ports};
use crate::redact::Redactor;
use crate::retry::Retries;
use crate::settings::{CredentialSource, Secret};

/// The least time for which a link has to be good: Qdrant begins to read as soon as it has it, and what has begun goes on.
const LEAST: Duration = Duration::from_secs(60);

/// How many of the last secrets are masked: those of the keys at hand and of some before them.
const REMEMBERED: usize = 24;

/// Keys of one run.
pub(crate) struct Provider {
    source: Source,
    is_lent: bool,
    clock: Rc<dyn Clock>,
    log: Log,
    retries: Retries,
    held: RefCell<Option<Rc<Lent>>>,
    /// When the next attempt to renew keys that still do may be made.
    next: Cell<Option<Duration>>,
    /// One asks at a time.
    turn: Mutex<()>,
    secrets: Rc<RefCell<Vec<Secret>>>,
    /// What was told once.
    told: Cell<bool>,
}

impl Provider {
    /// Keys from `source`. Where they are lent, `retries` says how long the service is waited for.
    pub(crate) fn new(ports: &Ports, log: &Log, retries: &Retries, source: &CredentialSource) -> Self {
        let secrets: Rc<RefCell<Vec<Secret>>> = Rc::default();
        let (learnt, known) = (Rc::clone(&secrets), Rc::clone(&secrets));
        let asked = Source::new(
            ports,
            source,
            move |secret| {
                let mut secrets = learnt.borrow_mut();
                if !secrets.contains(secret) {
                    secrets.push(secret.clone());
                }
                let too_many = secrets.len().saturating_sub(REMEMBERED);
                secrets.drain(..too_many);
            },
            move |text| Redactor::new(known.borrow().iter()).clean(text).into_owned(),
        );
        Self {
            retries: retries.for_server(asked.name()),
            source: asked,
            is_lent: !matches!(source, CredentialSource::Keys(_)),
            clock: Rc::clone(&ports.clock),
            log: log.clone(),
            held: RefCell::default(),
            next: Cell::default(),
            turn: Mutex::new(()),
            secrets,
            told: Cell::default(),
        }
    }

    /// Keys for a signature now.
    ///
    /// # Errors
    /// There are none.
    pub(crate) async fn keys(&self) -> Result<Rc<Lent>, CredentialsError> {
        self.lasting(Duration::ZERO).await
    }

    /// Keys for a link that should be good for `wanted`, and for how long it can be: no longer than they are.
    ///
    /// # Errors
    /// There are none, or they end at once.
    pub(crate) async fn keys_for_link(&self, wanted: Duration) -> Result<(Rc<Lent>, Duration), CredentialsError> {
        let lent = self.lasting(wanted).await?;
        let Some(left) = lent.left(self.clock.now()) else {
            if lent.keys.session_token.is_some() && !self.told.replace(true) {
                let what =
                    "the bucket's keys have a session token, whose end is not known here: links end with it, too";
                self.log.info(None, what);
            }
            return Ok((lent, wanted));
        };
        if left >= wanted {
            return Ok((lent, wanted));
        }
        if left < LEAST {
            return Err(self.source.too_soon(left));
        }
        if !self.told.replace(true) {
            let what = format!(
                "links to snapshots are valid for {} s and not for {} s (QDRANT_S3_LINK_EXPIRY_DURATION), as the keys they \
                 are signed with end then; Qdrant has to begin reading by then",
                left.as_secs(),
                wanted.as_secs()
            );
            self.log.warn(None, &what);
        }
        Ok((lent, Duration::from_secs(left.as_secs())))
    }

    /// True where others can be had in place of keys that have ended.
    pub(crate) fn is_lent(&self) -> bool {
        self.is_lent
    }

    /// The store says that `used` have ended. True where others are asked for next.
    pub(crate) fn refused(&self, used: &Rc<Lent>) -> bool {
        let mut held = self.held.borrow_mut();
        if self.is_lent && held.as_ref().is_some_and(|held| Rc::ptr_eq(held, used)) {
            *held = None;
        }
        self.is_lent
    }

    /// `text`, which may be a server's, without the secrets that were lent.
    pub(crate) fn clean(&self, text: &str) -> String {
        Redactor::new(self.secrets.borrow().iter()).clean(text).into_owned()
    }

    async fn lasting(&self, wanted: Duration) -> Result<Rc<Lent>, CredentialsError> {
        let (need, held) = self.look(wanted);
        let _turn = match (need, held) {
            (Need::None, Some(held)) => return Ok(held),
            // Others go on with what is there while one asks.
            (Need::Soon, Some(held)) => match self.turn.try_lock() {
                Some(turn) => turn,
                None => return Ok(held),
            },
            _ => self.turn.lock().await,
        };
        // Somebody may have asked meanwhile.
        match self.look(wanted) {
            (Need::None, Some(held)) => Ok(held),
            (Need::Soon, Some(held)) => Ok(self.renew(held).await),
            _ => {
                let lent = self.retries.run(async || self.source.ask().await).await?;
                Ok(self.take(lent))
            }
        }
    }

    /// The keys at hand and what is to be done about them.
    fn look(&self, wanted: Duration) -> (Need, Option<Rc<Lent>>) {
        let held = self.held.borrow().clone();
        let Some(lent) = &held else { return (Need::Now, None) };
        let (Some(left), Some(whole)) = (lent.left(self.clock.now()), lent.whole()) else { return (Need::None, held) };
        let waits = self.next.get().is_some_and(|next| self.clock.monotonic() < next);
        match renewal::need(left, whole, wanted) {
            Need::Soon if waits => (Need::None, held),
            need => (need, held),
        }
    }

    /// Tries once to have keys in place of `old`, which still do.
    async fn renew(&self, old: Rc<Lent>) -> Rc<Lent> {
        let asked = self.source.ask().await;
        let left = old.left(self.clock.now()).unwrap_or_default();
        self.next.set(Some(self.clock.monotonic() + renewal::pause(left)));
        match asked {
            // A service may give the same ones for a while.
            Ok(new) if new.until > old.until => self.take(new),
            Ok(_) => old,
            Err(error) => {
                let left = left.as_secs();
                self.log.warn(
                    None,
                    &format!("{error}; the current keys are valid for {left} s more and are used until then"),
                );
                old
            }
        }
    }

    fn take(&self, lent: Lent) -> Rc<Lent> {
        let lent = Rc::new(lent);
        if let Some(left) = lent.left(self.clock.now()) {
            let from = self.source.name();
            self.log.info(None, &format!("the bucket's keys are from {from}, valid for {} s", left.as_secs()));
        }
        self.next.set(None);
        *self.held.borrow_mut() = Some(Rc::clone(&lent));
        lent
    }
}

impl Source {
    fn too_soon(&self, left: Duration) -> CredentialsError {
        CredentialsError { server: self.name(), kind: Kind::TooSoon(left), advice: "" }
    }
}
