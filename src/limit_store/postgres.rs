//! Limits in PostgreSQL: a row for each account, which changes while its version is the one that
//! was read.
//!
//! - `address`: where the server is, and how much TLS there is
//! - `tls`: handshakes
//! - `connection`: a connection that is made anew after an error
//! - `problem`: what went wrong, and what to do
//! - `start`: whether the server can have forgotten something

mod address;
mod connection;
mod problem;
mod start;
mod tls;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::error::Error;
use crate::limit::{ChangedValue, LedgerError, StoreStart, StoredValue, ValueStore};
use crate::send::{any_certificate, tls_connector};
use address::{Address, WrongAddress};
use connection::{Connection, Failure};
use problem::PASSWORD;
use start::{MemoryStart, ServerFacts, Standing};
use tls::Tls;

/// A server of PostgreSQL that keeps limits.
#[derive(Clone)]
pub(crate) struct PostgresLimits {
    address: Box<Address>,
    tls: Tls,
}

const FACTS: &str = include_str!("postgres/facts.sql");
const CREATE: &str = include_str!("postgres/create.sql");
const BEGIN: &str = include_str!("postgres/begin.sql");
const READ: &str = include_str!("postgres/read.sql");
const COMMIT: &str = include_str!("postgres/commit.sql");

/// Time between two removals of values that are no longer needed.
const TIDY: Duration = Duration::from_secs(60);

/// Number of times that a reading is tried, while others begin memories.
const TRIES: u32 = 5;

impl PostgresLimits {
    /// The server at this URL, which is trusted by this certificate or by the platform's, with
    /// the password that the environment has.
    ///
    /// # Errors
    /// The URL is wrong or has a password, or the certificate can't be used.
    pub fn parse(
        url: &str,
        cacert: Option<&Path>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<PostgresLimits, Error> {
        let wrong = |why| match why {
            WrongAddress::Password => Error::plan(format!(
                "limit.share (--share) has a password, which others can see there: leave it out, and set {PASSWORD}"
            )),
            WrongAddress::Other(why) => Error::plan(format!("limit.share (--share): {why}")),
        };
        let mut address = Address::parse(url).map_err(wrong)?;
        if let Some(password) = environment(PASSWORD).or_else(|| environment("PGPASSWORD")) {
            address.config.password(password);
        }
        let is_checked = address.is_checked || cacert.is_some();
        let tls = if is_checked { tls_connector(cacert)? } else { any_certificate()? };
        Ok(PostgresLimits { address: Box::new(address), tls: Tls::new(&tls) })
    }

    /// The values of accounts, over a connection of their own.
    pub fn values(&self) -> Box<dyn ValueStore> {
        let connection = Connection::new(&self.address, &self.tls);
        Box::new(PostgresValues {
            connection,
            distrusted: String::new(),
            has_read: false,
            tidied: Instant::now(),
        })
    }
}

impl fmt::Display for PostgresLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

struct PostgresValues {
    connection: Connection,
    /// The id of a memory whose clock was set forward.
    distrusted: String,
    /// Whether there was a table: one that is missing later was removed.
    has_read: bool,
    /// When values that are no longer needed were removed.
    tidied: Instant,
}

/// A row of the table: the account, the version and the value.
type Stored = (String, String, Vec<u8>);

impl PostgresValues {
    /// Reads the rows of these accounts and that of the start.
    fn rows(&mut self, accounts: &[&str]) -> Result<(ServerFacts, Vec<Stored>), Failure> {
        let read = READ.replace("{facts}", FACTS);
        let rows = self.connection.call(async |client| {
            client.query_typed(&read, &[(&accounts, Type::TEXT_ARRAY)]).await
        })?;
        self.has_read = true;
        let parsed = facts_of(&rows).zip(rows.iter().map(stored).collect::<Option<Vec<_>>>());
        let (facts, rows) = parsed.ok_or_else(|| self.connection.unexpected())?;
        if facts.server.is_empty() {
            return Err(self.connection.is_replica().into());
        }
        Ok((facts, rows.into_iter().flatten().collect()))
    }

    /// Reads the rows of these accounts, and what the server knows since when. Gives none if
    /// the table or the memory was only made now.
    fn try_read(
        &mut self,
        accounts: &[&str],
    ) -> Result<Option<(StoreStart, Vec<Stored>)>, Failure> {
        let (facts, rows) = match self.rows(accounts) {
            Err(Failure::NoTable) => {
                self.create()?;
                return Ok(None);
            }
            rows => rows?,
        };
        let Some((_, memory, start)) = rows.iter().find(|(account, ..)| account.is_empty()) else {
            self.begin("")?;
            return Ok(None);
        };
        let start: MemoryStart =
            serde_json::from_slice(start).map_err(|_| self.connection.unexpected())?;
        let standing = start.standing(&facts);
        if standing == Standing::Forgotten || *memory == self.distrusted {
            self.begin(memory)?;
            return Ok(None);
        }
        if let Standing::Noted(start) = standing {
            self.note(memory, &start)?;
        }
        let known = StoreStart { memory: memory.clone(), since: start.since, now: facts.now };
        Ok(Some((known, rows)))
    }

    fn create(&mut self) -> Result<(), Failure> {
        // What was removed may have been known to runs that go on.
        let since = if self.has_read { "now" } else { "0" };
        let create = format!("BEGIN; {CREATE}; {}; COMMIT", begin("", since));
        match self.connection.call(async |client| {
            match client.batch_execute(&create).await {
                // Another run was quicker.
                Err(error) if error.code().is_some_and(is_there) => {
                    client.batch_execute("ROLLBACK").await
                }
                done => done,
            }
        }) {
            Err(Failure::NoTable) => Err(self.connection.unexpected().into()),
            done => done,
        }
    }

    /// Begins another memory in the place of the one with this id.
    fn begin(&mut self, before: &str) -> Result<(), Failure> {
        let lock = "LOCK TABLE throng_limits IN EXCLUSIVE MODE";
        let begin = format!("BEGIN; {lock}; {}; COMMIT", begin(before, "now"));
        self.connection.call(async |client| client.batch_execute(&begin).await)
    }

    /// Notes what is known of a memory.
    fn note(&mut self, memory: &str, start: &MemoryStart) -> Result<(), Failure> {
        // Numbers and texts can always be written.
        let start = serde_json::to_vec(start).unwrap_or_default();
        let note = "UPDATE throng_limits SET value = $1 WHERE account = '' AND version = $2";
        self.connection.call(async |client| {
            let arguments: [(&(dyn ToSql + Sync), Type); 2] =
                [(&start, Type::BYTEA), (&memory, Type::TEXT)];
            client.execute_typed(note, &arguments).await.map(drop)
        })
    }

    /// Removes values that are no longer needed, now and then.
    fn tidy(&mut self) -> Result<(), Failure> {
        if self.tidied.elapsed() < TIDY {
            return Ok(());
        }
        self.tidied = Instant::now();
        let tidy = "DELETE FROM throng_limits WHERE account IN (SELECT account FROM throng_limits WHERE kept < clock_timestamp() FOR UPDATE SKIP LOCKED)";
        self.connection.call(async |client| client.batch_execute(tidy).await)
    }

    fn error(&self, failure: Failure) -> LedgerError {
        match failure {
            Failure::NoTable => LedgerError::unreachable(format!(
                "{}: the table was removed",
                self.connection.unexpected()
            )),
            Failure::Other(error) => error,
        }
    }
}

/// Whether an error says that a table is there already.
fn is_there(code: &SqlState) -> bool {
    // Which of these it is depends on the moment at which the other run's table was committed.
    let codes = [SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT, SqlState::UNIQUE_VIOLATION];
    codes.contains(code)
}

/// The statement that begins a memory in the place of the one with this id.
fn begin(before: &str, since: &str) -> String {
    let id = format!("{:016x}", rand::random::<u64>());
    let begin = BEGIN.replace("{id}", &id).replace("{since}", since).replace("{facts}", FACTS);
    // The last one, and quoted: who may write the table must not write statements.
    begin.replace("{before}", &before.replace('\'', "''"))
}

fn facts_of(rows: &[Row]) -> Option<ServerFacts> {
    serde_json::from_str(rows.first()?.try_get(0).ok()?).ok()
}

/// The row; none inside if there is none for the accounts, which is told by nulls.
fn stored(row: &Row) -> Option<Option<Stored>> {
    let account: Option<String> = row.try_get(1).ok()?;
    let Some(account) = account else { return Some(None) };
    Some(Some((account, row.try_get(2).ok()?, row.try_get(3).ok()?)))
}

impl ValueStore for PostgresValues {
    fn check(&mut self) -> Result<(), LedgerError> {
        self.read(&[]).map(drop)
    }

    fn read(&mut self, accounts: &[&str]) -> Result<(StoreStart, Vec<StoredValue>), LedgerError> {
        for _ in 0..TRIES {
            let read = self.try_read(accounts).map_err(|failure| self.error(failure))?;
            let Some((start, rows)) = read else { continue };
            let of = |account: &&str| {
                let row = rows.iter().find(|(it, ..)| it == account);
                row.map(|(_, version, value)| (version.clone(), value.clone())).unwrap_or_default()
            };
            return Ok((start, accounts.iter().map(of).collect()));
        }
        Err(LedgerError::unreachable("others have begun the memory of the store anew meanwhile"))
    }

    fn commit(&mut self, memory: &str, values: &[ChangedValue]) -> Result<Vec<bool>, LedgerError> {
        fn of<'a, T>(values: &'a [ChangedValue], field: impl Fn(&'a ChangedValue) -> T) -> Vec<T> {
            values.iter().map(field).collect()
        }
        let accounts = of(values, |it| it.account.as_str());
        let before = of(values, |it| it.before.as_str());
        let versions = of(values, |it| it.version.as_str());
        let texts = of(values, |it| it.text.as_slice());
        let kept = of(values, |it| i64::try_from(it.kept.as_millis()).unwrap_or(i64::MAX));
        let changed = self.connection.call(async |client| {
            let arguments: [(&(dyn ToSql + Sync), Type); 6] = [
                (&memory, Type::TEXT),
                (&accounts, Type::TEXT_ARRAY),
                (&before, Type::TEXT_ARRAY),
                (&versions, Type::TEXT_ARRAY),
                (&texts, Type::BYTEA_ARRAY),
                (&kept, Type::INT8_ARRAY),
            ];
            client.query_typed(COMMIT, &arguments).await
        });
        let changed = changed.map_err(|failure| self.error(failure))?;
        let changed: Vec<String> = changed.iter().filter_map(|row| row.try_get(0).ok()).collect();
        if before.contains(&"") {
            self.tidy().map_err(|failure| self.error(failure))?;
        }
        Ok(accounts.iter().map(|account| changed.iter().any(|it| it == account)).collect())
    }

    fn distrust(&mut self, memory: &str) {
        memory.clone_into(&mut self.distrusted);
    }

    fn accounts(&mut self) -> Result<Vec<String>, LedgerError> {
        let accounts = "SELECT account FROM throng_limits WHERE account <> '' AND kept > clock_timestamp() ORDER BY account";
        let rows = self.connection.call(async |client| client.query_typed(accounts, &[]).await);
        let rows = rows.map_err(|failure| self.error(failure))?;
        Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
    }
}
