//! The failure of a row, and its kind. Pure.

use std::borrow::Cow;
use std::fmt;

macro_rules! failure_kinds {
    ($($(#[$doc:meta])+ $name:ident = $text:literal;)+) => {
        /// The reason of a failure, in short, so that failures can be counted by it.
        ///
        /// ```
        /// use throng::FailureKind;
        ///
        /// assert_eq!(FailureKind::Timeout.text(), "timeout");
        /// assert_eq!(FailureKind::parse("status 503"), FailureKind::Status(503));
        /// ```
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum FailureKind {
            $($(#[$doc])+ $name,)+
            /// The answer has this status.
            Status(u16),
            /// The answer has no value of this name.
            MissingValue(String),
            /// The answer is a failure by the job's rule of this name.
            Rule(String),
            /// A kind that another version wrote into a results file.
            Other(String),
        }

        /// The text of each kind that has always the same one.
        const FIXED_KINDS: &[(FailureKind, &str)] = &[$((FailureKind::$name, $text),)+];

        impl FailureKind {
            /// The text as records carry it: `timeout`, `status 500`, `missing price`.
            #[must_use]
            pub fn text(&self) -> Cow<'_, str> {
                match self {
                    $(FailureKind::$name => $text.into(),)+
                    FailureKind::Status(code) => format!("status {code}").into(),
                    FailureKind::MissingValue(name) => format!("missing {name}").into(),
                    FailureKind::Rule(name) => format!("rule {name}").into(),
                    FailureKind::Other(text) => text.into(),
                }
            }
        }
    };
}

failure_kinds! {
    /// The row makes no request: a template or a value is wrong.
    Input = "input";
    /// The store has no answer to the request, and nothing is to be sent.
    NotStored = "not stored";
    /// No connection could be made.
    Connect = "connect";
    /// A connection was made, and TLS failed on it.
    Tls = "tls";
    /// The process or the system has no file descriptor or thread left. It never ends a
    /// row, as others will be given back.
    NoDescriptor = "no descriptor left";
    /// The connection ended before the answer was whole.
    ConnectionLost = "connection lost";
    /// The answer took too long.
    Timeout = "timeout";
    /// The head of the answer is too large.
    HeadersTooLarge = "headers too large";
    /// The body of the answer is too large.
    BodyTooLarge = "body too large";
    /// The answer is not as HTTP wants it.
    BadAnswer = "bad answer";
    /// The body of the answer can't be decompressed.
    BadEncoding = "bad encoding";
    /// The server may have done it, and it was not sent again.
    OutcomeUnknown = "outcome unknown";
    /// The run ended before the answer was read.
    Interrupted = "interrupted";
    /// The body of the answer is not text.
    NotText = "not text";
    /// The body of the answer is not JSON.
    NotJson = "not json";
    /// The body of the answer holds more than one JSON document.
    SeveralDocuments = "several documents";
    /// The body of the answer has no events of a server.
    NotSse = "not sse";
    /// The body of the answer is no table in CSV.
    NotCsv = "not csv";
    /// The body of the answer is no document in XML.
    NotXml = "not xml";
    /// The body of the answer is no page in HTML.
    NotHtml = "not html";
    /// The values of the answer fail the job's check.
    Schema = "schema";
    /// A jq program took too long or too much memory.
    JqTooLong = "jq too long";
    /// The answer has no list of items.
    MissingItems = "missing items";
    /// The answer to a batch has no item for the row.
    MissingItem = "missing item";
    /// The answer to a batch has more than one item for the row.
    SeveralItems = "several items";
    /// An item of an answer to a batch is at no row's place.
    UnmatchedItems = "unmatched items";
    /// The page does not say where the next one is.
    MissingNextPage = "missing next page";
    /// The file of the row's answer is there already.
    FileExists = "file exists";
    /// The job that the request submitted has failed.
    JobFailed = "job failed";
    /// The job that the request submitted was not done in time.
    PollTimeout = "poll timeout";
    /// The answer to a poll does not tell whether the job is done.
    MissingJobStatus = "missing job status";
    /// The answer to a submission does not tell what is to be polled.
    NothingToPoll = "nothing to poll";
    /// The server has nothing for the row, by a rule of the job: the row is done, and no failure.
    Missing = "missing";
    /// The program's hook has no values of the answer.
    Hook = "hook failed";
    /// The list of pages ended before this answer, by a rule of the job. No record has it.
    EndOfPages = "end of pages";
    /// The workers that took the row from a queue have all ended before they had its record.
    WorkerLost = "worker lost";
}

impl FailureKind {
    /// The kind with this text, which a results file has.
    #[must_use]
    pub fn parse(text: &str) -> FailureKind {
        if let Some((kind, _)) = FIXED_KINDS.iter().find(|(_, fixed)| *fixed == text) {
            return kind.clone();
        }
        if let Some(name) = text.strip_prefix("missing ") {
            return FailureKind::MissingValue(name.to_owned());
        }
        if let Some(name) = text.strip_prefix("rule ") {
            return FailureKind::Rule(name.to_owned());
        }
        let code = text.strip_prefix("status ").and_then(|it| it.parse().ok());
        let status = code.map(FailureKind::Status);
        let status = status.filter(|status| status.text() == text);
        status.unwrap_or_else(|| FailureKind::Other(text.to_owned()))
    }
}

impl FailureKind {
    /// Whether the same request may be answered otherwise at another time.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            FailureKind::Status(code) => matches!(code, 408 | 425 | 429 | 500..),
            FailureKind::Connect
            | FailureKind::Tls
            | FailureKind::NoDescriptor
            | FailureKind::ConnectionLost
            | FailureKind::Timeout
            | FailureKind::Interrupted
            | FailureKind::WorkerLost => true,
            _ => false,
        }
    }

    /// Whether an answer came that is of no use, and that would be so at another time.
    pub(crate) fn is_of_answer(&self) -> bool {
        !self.may_pass()
            && !matches!(
                self,
                FailureKind::Input
                    | FailureKind::NotStored
                    | FailureKind::FileExists
                    | FailureKind::OutcomeUnknown
                    | FailureKind::Other(_)
            )
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

/// The reason why a row has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind, by which failures are counted.
    pub kind: FailureKind,
    /// The details of this one, for people.
    pub detail: String,
}

impl Failure {
    /// A failure of this kind, with these details.
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Failure {
        Failure { kind, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_failure_is_read_back_from_its_text() {
        let own = [
            FailureKind::Status(500),
            FailureKind::MissingValue("price".into()),
            FailureKind::Rule("no such item".into()),
            FailureKind::Other("eaten".into()),
        ];
        let fixed = FIXED_KINDS.iter().map(|(kind, _)| kind.clone());
        for kind in fixed.chain(own) {
            assert_eq!(FailureKind::parse(&kind.text()), kind);
        }
        // What can't be a status is kept as it is written.
        assert_eq!(FailureKind::parse("status 0500").text(), "status 0500");
    }
}
