//! The limits of accounts in a store on the network, for one run: a thread takes what the run's
//! limiters ask to the store, and brings the answers.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::quota::directory::AccountNames;
use crate::quota::leased::{QuotaHandle, QuotaStore, ScopeKey};
use crate::quota::remote::ledger::{Ledger, LedgerError};
use crate::quota::remote::mailbox::{Mailbox, MailboxHandle, Notify, locked};
use crate::quota::remote::message::Exchange;
use crate::quota::terms::Quota;
use crate::time::now;

/// The limits of accounts in a store on the network, for one run.
#[derive(Debug, Clone)]
pub struct RemoteQuotaStore {
    session: Arc<RunSession>,
    names: Arc<dyn AccountNames>,
}

/// One run's use of a store, which ends with the last of its owners.
#[derive(Debug)]
struct RunSession {
    shared: Arc<Shared>,
}

/// What the limiters and the thread share.
#[derive(Debug)]
struct Shared {
    mailbox: Arc<Mutex<Mailbox>>,
    /// Whether something was posted, and whether the run has ended.
    state: Mutex<CourierState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct CourierState {
    has_news: bool,
    has_ended: bool,
    is_over: bool,
}

/// Is told that a store can't be reached, and that it is reached again.
pub type Announce = dyn Fn(Option<&LedgerError>) + Send;

/// The first and the longest wait before an exchange is repeated.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Time for which a run that has ended tries to tell the store what it doesn't know.
const LAST_TRIES: Duration = Duration::from_secs(3);

impl RemoteQuotaStore {
    /// Takes the limits from this store. `announce` is told when the store can't be reached, and
    /// when it is reached again.
    ///
    /// # Errors
    /// The system gives no thread, or no random number for the run's name.
    pub fn start(
        ledger: Box<dyn Ledger>,
        names: Arc<dyn AccountNames>,
        announce: Box<Announce>,
    ) -> io::Result<RemoteQuotaStore> {
        let mailbox = Arc::new(Mutex::new(Mailbox::new(run_name()?)));
        let shared = Arc::new(Shared { mailbox, state: Mutex::default(), changed: Condvar::new() });
        let courier = Courier { ledger, announce, shared: shared.clone(), is_out: false };
        thread::Builder::new().name("throng-limits".into()).spawn(move || courier.run())?;
        Ok(RemoteQuotaStore { session: Arc::new(RunSession { shared }), names })
    }

    /// The most other runs that have shared this limit with this run at a time.
    #[must_use]
    pub fn other_runs(&self, limit: &str) -> usize {
        usize::try_from(locked(&self.session.shared.mailbox).most_others(limit)).unwrap_or(0)
    }

    /// The limit whose units count longest as used since the store knows nothing of the time before
    /// its start, and for how long they do; none if none do.
    #[must_use]
    pub fn unknown_use(&self) -> Option<(String, Duration)> {
        locked(&self.session.shared.mailbox).unknown(now())
    }

    /// For how long a limit's units have counted as used since the store knew nothing of the time
    /// before.
    #[must_use]
    pub fn unknown_for(&self) -> Duration {
        locked(&self.session.shared.mailbox).unknown_for(now())
    }

    /// Number of exchanges with the store until now.
    #[must_use]
    pub fn exchanges(&self) -> u64 {
        locked(&self.session.shared.mailbox).exchanges()
    }

    /// Waits for a short time until the store knows all that the run has sent, once its limiters
    /// are closed.
    pub fn end(&self) {
        let shared = &self.session.shared;
        let mut state = shared.state();
        state.has_ended = true;
        shared.changed.notify_all();
        let begin = Instant::now();
        while !state.is_over && begin.elapsed() < LAST_TRIES {
            let waited = shared.changed.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// The store with the names of another account.
    #[must_use]
    pub fn with_names(&self, names: Arc<dyn AccountNames>) -> RemoteQuotaStore {
        RemoteQuotaStore { names, ..self.clone() }
    }
}

impl QuotaStore for RemoteQuotaStore {
    fn account(&self, quota: &Quota, key: ScopeKey<'_>) -> Option<Box<dyn QuotaHandle>> {
        let mut account = self.names.directory(key);
        if let Some(shard) = quota.shard {
            account.push_str(&format!("-shard-{}-of-{}", shard.index(), shard.count()));
        }
        let (mailbox, on_post) = (&self.session.shared.mailbox, self.session.shared.clone());
        Some(Box::new(MailboxHandle::new(mailbox, account, quota, Some(on_post))))
    }

    fn trouble(&self) -> Option<String> {
        locked(&self.session.shared.mailbox).failure().cloned()
    }
}

impl Drop for RunSession {
    fn drop(&mut self) {
        self.shared.state().has_ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, CourierState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Notify for Shared {
    fn notify(&self) {
        self.state().has_news = true;
        self.changed.notify_all();
    }
}

/// The thread that takes exchanges to the store.
struct Courier {
    ledger: Box<dyn Ledger>,
    announce: Box<Announce>,
    shared: Arc<Shared>,
    /// Whether the store could not be reached at the last try.
    is_out: bool,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl Courier {
    fn run(mut self) {
        while self.wait_until_due() {
            let is_begun = locked(&self.shared.mailbox).begin(now());
            if is_begun {
                self.carry_out();
            }
        }
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
    }

    /// Waits until an exchange is due; false once the run has ended and nothing is left to send.
    fn wait_until_due(&self) -> bool {
        loop {
            let mut state = self.shared.state();
            let (due, is_done) = {
                let mailbox = locked(&self.shared.mailbox);
                (mailbox.due(), mailbox.is_done() || mailbox.failure().is_some())
            };
            if state.has_ended && (is_done || due.is_none()) {
                return false;
            }
            let wait = match due {
                _ if state.has_ended => return true,
                Some(due) => due.since(now()),
                None => Duration::from_secs(60),
            };
            if wait.is_zero() {
                return true;
            }
            if std::mem::take(&mut state.has_news) && due.is_none() {
                continue;
            }
            drop(self.shared.changed.wait_timeout(state, wait));
        }
    }

    /// Repeats the exchange until its answer is there.
    fn carry_out(&mut self) {
        let (mut wait, mut ended) = (FIRST_WAIT, None);
        loop {
            let Some(exchange) = locked(&self.shared.mailbox).exchange(now()) else { return };
            let Some(error) = self.try_once(&exchange) else { return };
            if error.is_final {
                locked(&self.shared.mailbox).fail(error.reason);
                return;
            }
            if !std::mem::replace(&mut self.is_out, true) {
                (self.announce)(Some(&error));
            }
            let state = self.shared.state();
            if state.has_ended && ended.get_or_insert_with(Instant::now).elapsed() >= LAST_TRIES {
                locked(&self.shared.mailbox).fail(error.reason);
                return;
            }
            drop(state);
            thread::sleep(wait);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn try_once(&mut self, exchange: &Exchange) -> Option<LedgerError> {
        let answers = match self.ledger.exchange(exchange) {
            Ok(answers) if answers.len() == exchange.requests.len() => answers,
            Ok(_) => return Some(LedgerError::unreachable("its answer is not one to the request")),
            Err(error) => return Some(error),
        };
        locked(&self.shared.mailbox).receive(exchange.sequence, &answers, now());
        if std::mem::take(&mut self.is_out) {
            (self.announce)(None);
        }
        None
    }
}

/// A name that no other run has.
fn run_name() -> io::Result<String> {
    let random = crate::quota::salt::random()?;
    let hex: String = random[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{hex}", std::process::id()))
}
