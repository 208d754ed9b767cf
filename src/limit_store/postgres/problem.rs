//! What went wrong at a server of PostgreSQL, and what to do. Pure.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use super::address::Address;
use crate::limit::LedgerError;
use crate::send::causes;

/// The variable with the password of the server.
pub const PASSWORD: &str = "THRONG_POSTGRES_PASSWORD";

/// The code of an error: there is no such table.
pub const UNDEFINED_TABLE: SqlState = SqlState::UNDEFINED_TABLE;

/// The beginnings of the codes of errors that pass: a lost connection, a primary that became a
/// replica, a conflict of transactions, too few resources, a lock, a server that starts or ends,
/// and its system.
const MAY_PASS: [&str; 7] = ["08", "25", "40", "53", "55", "57", "58"];

/// The error as users see it.
pub fn described(address: &Address, error: &Error) -> LedgerError {
    if let Some(told) = error.as_db_error() {
        let is_final = !MAY_PASS.iter().any(|class| told.code().code().starts_with(class));
        return LedgerError {
            reason: format!("the store {address}: {}", by_server(address, told)),
            is_final,
        };
    }
    let why = error.source().map(ToString::to_string).unwrap_or_default();
    if why == "password missing" {
        return LedgerError::refused(format!(
            "the store {address} wants a password: set {PASSWORD}"
        ));
    }
    let kind = error.to_string();
    let advice = if kind.contains("TLS") {
        "; ?sslmode=require in its URL takes any certificate, ?sslmode=disable goes without TLS"
    } else {
        ""
    };
    LedgerError::unreachable(format!("the store {address}: {}{advice}", causes(error)))
}

/// What the server says, and what to do.
fn by_server(address: &Address, told: &DbError) -> String {
    let why = told.message();
    let user = address.config.get_user().unwrap_or("USER");
    match *told.code() {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            format!(
                "it refuses the user or the password: {why}; the password is that in {PASSWORD}"
            )
        }
        SqlState::INVALID_CATALOG_NAME => {
            format!(
                "{why}: the URL ends with the name of a database, which `CREATE DATABASE` makes"
            )
        }
        SqlState::INSUFFICIENT_PRIVILEGE if why.contains("for schema") => format!(
            "the user may not make the table throng_limits: {why}; have its owner run `GRANT USAGE, CREATE ON SCHEMA public TO {user}`"
        ),
        SqlState::INSUFFICIENT_PRIVILEGE if why.contains("for table") => format!(
            "{why}; have its owner run `GRANT SELECT, INSERT, UPDATE, DELETE ON throng_limits TO {user}`"
        ),
        _ => why.to_owned(),
    }
}
