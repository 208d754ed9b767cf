//! The money of a run: each attempt of a row reserves its estimate before it is sent, and is
//! billed by what its answer tells.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::price::{Bill, BillPart, Draw, SpendingAccount, Usd};
use crate::sink::{LogClosed, SpendingLog, SpendingNotes};

/// The money of a run, which all of its stages share.
pub struct Spending {
    account: Mutex<SpendingAccount>,
    /// Notified when money is settled or given back.
    changed: Notify,
    /// There while the run goes on, if its records go to a file.
    log: Mutex<Option<SpendingLog>>,
}

/// The money of one attempt. Dropped after the request was sent, it stays billed at its estimate;
/// before, it is given back.
pub struct Charge<'a> {
    spending: &'a Spending,
    estimate: Usd,
    reserved: Usd,
    state: ChargeState,
}

#[derive(PartialEq, Eq)]
enum ChargeState {
    Unsent,
    Sent,
    Closed,
}

/// Why no money can be had.
pub enum SpendingError {
    /// The budget does not allow this amount any more.
    UsedUp(Usd),
    /// The log can't be written, for which the run ends.
    Log(LogClosed),
}

impl Spending {
    /// With this budget, of which earlier runs of the same results have spent `before`.
    pub fn new(budget: Option<Usd>, before: Usd) -> Spending {
        Spending {
            account: Mutex::new(SpendingAccount::new(budget, before)),
            changed: Notify::new(),
            log: Mutex::default(),
        }
    }

    /// From now on the log notes what may be spent.
    pub fn begin(&self, log: SpendingLog) {
        let before = self.bill().before;
        self.account().note_on_disk(before);
        *lock(&self.log) = Some(log);
    }

    /// Ends the log with what was spent.
    ///
    /// # Errors
    /// What the system says.
    pub fn end(&self) -> std::io::Result<()> {
        let total = self.bill().total();
        let log = lock(&self.log).take();
        log.map_or(Ok(()), |log| log.end(total))
    }

    /// The bill so far.
    pub fn bill(&self) -> Bill {
        self.account().bill()
    }

    /// Adds what a worker of another process has spent.
    pub fn add(&self, part: &BillPart) {
        let note = self.account().add(part);
        if let Some((most, notes)) = note.zip(self.notes()) {
            // A log that can't be written ends the run by itself.
            if notes.add(most).is_ok() {
                self.account().note_on_disk(most);
            }
        }
    }

    /// Reserves the estimate of an attempt, whose answer tells the true cost if it `is_told`.
    ///
    /// # Errors
    /// There is no money for it.
    pub async fn reserve(&self, estimate: Usd, is_told: bool) -> Result<Charge<'_>, SpendingError> {
        loop {
            let changed = self.changed.notified();
            let draw = self.account().draw(estimate, is_told);
            match draw {
                Draw::Reserved { amount: reserved, note } => {
                    let state = ChargeState::Unsent;
                    let charge = Charge { spending: self, estimate, reserved, state };
                    if let Some((most, notes)) = note.zip(self.notes()) {
                        notes.note(most).await.map_err(SpendingError::Log)?;
                        self.account().note_on_disk(most);
                    }
                    return Ok(charge);
                }
                Draw::Wait => changed.await,
                Draw::Never(amount) => return Err(SpendingError::UsedUp(amount)),
            }
        }
    }

    fn notes(&self) -> Option<SpendingNotes> {
        lock(&self.log).as_ref().map(SpendingLog::notes)
    }

    fn account(&self) -> MutexGuard<'_, SpendingAccount> {
        lock(&self.account)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Charge<'_> {
    /// The request is being sent: from now on it may be billed.
    pub fn sent(&mut self) {
        self.state = ChargeState::Sent;
    }

    /// The request is not billed.
    pub fn cancel(mut self) {
        self.state = ChargeState::Unsent;
    }

    /// The request was answered, and the answer tells no cost: it is billed at its estimate.
    pub fn assume(mut self) {
        self.state = ChargeState::Closed;
        self.spending.account().assume(self.reserved, self.estimate);
        self.spending.changed.notify_waiters();
    }

    /// What it was estimated to cost.
    pub fn estimate(&self) -> Usd {
        self.estimate
    }

    /// The request has cost this, for these units by their places in the list of prices.
    pub fn settle(mut self, used: Usd, units: &[(usize, u64)]) {
        self.state = ChargeState::Closed;
        self.spending.account().settle(self.reserved, self.estimate, used, units);
        self.spending.changed.notify_waiters();
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        match self.state {
            ChargeState::Closed => return,
            ChargeState::Unsent => self.spending.account().give_back(self.reserved),
            ChargeState::Sent => self.spending.account().lose(self.reserved, self.estimate),
        }
        self.spending.changed.notify_waiters();
    }
}
