//! The token of a limit server, and its source.

use std::fmt;
use std::path::PathBuf;

use crate::error::Error;
use crate::secret::{Secret, SecretSource};

/// The source of a token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum TokenSource {
    /// A variable of the environment, whose value was read when the job was.
    Variable(String, Option<Secret>),
    /// A file; the last line break of its contents is no part of the token.
    File(PathBuf),
}

impl TokenSource {
    /// Parses `env:NAME` or `file:PATH`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<TokenSource, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => {
                Ok(TokenSource::Variable(name.to_owned(), environment(name).map(Secret::new)))
            }
            Some(("file", path)) if !path.is_empty() => Ok(TokenSource::File(path.into())),
            _ => Err("write env:NAME or file:PATH, since arguments show in lists of processes"
                .to_owned()),
        }
    }

    /// Reads the token. One that is empty is an error.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub fn read(&self) -> Result<Secret, Error> {
        let secret = match self {
            TokenSource::Variable(name, None) => {
                return Err(Error::plan(format!(
                    "the variable {name} has the token of the limit server, and is not set"
                )));
            }
            TokenSource::Variable(_, Some(secret)) => secret.clone(),
            TokenSource::File(path) => SecretSource::File(path.clone())
                .read()
                .map_err(|why| Error::plan(format!("the token of the limit server: {why}")))?,
        };
        if secret.expose().trim().is_empty() {
            return Err(Error::plan(format!("the token of the limit server in {self} is empty")));
        }
        Ok(secret)
    }
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenSource::Variable(name, _) => write!(f, "env:{name}"),
            TokenSource::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
