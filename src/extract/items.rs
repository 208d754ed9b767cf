//! The items of an answer, each of which is a body of its own. Pure.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::AnswerContext;
use super::css;
use super::document::Document;
use super::jq::{self, JqError, JqInput, Program};
use super::paths::Path;
use crate::error::Error;
use crate::record::{Failure, FailureKind};

/// The `[items]` part of a job: one record for each item of an answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ItemSettings {
    /// A jq program that gives the items, such as `.items[]`.
    pub each: Option<String>,
    /// In a batch, `FIELD=JQ`: an item belongs to the row whose FIELD has its value of JQ.
    pub r#match: Option<String>,
}

/// Extracts the items of an answer.
pub struct Items {
    program: Program,
    is_path: bool,
    /// What to do where a list is null, if the program is a path to one.
    of_null: Option<String>,
    /// Whether the list of the path is there, and null.
    is_null: Option<Program>,
}

impl Items {
    /// Compiles the program; none if the job has no items.
    ///
    /// # Errors
    /// Where the program is wrong.
    pub fn new(settings: &ItemSettings) -> Result<Option<Items>, Error> {
        let Some(code) = &settings.each else {
            return Ok(None);
        };
        let of_selector = css::of_items(code);
        let program = Program::of_answer(of_selector.as_deref().unwrap_or(code))
            .map_err(|why| Error::plan(format!("items.each (--each): {why}")))?;
        let is_path = leads_to_a_list(code);
        let may_be_null = is_path && !code.trim().ends_with('?');
        let of_null = may_be_null.then(|| format!("{}? takes null for no items", code.trim()));
        let is_null = code.trim().strip_suffix("[]").filter(|_| is_path).map(|list| {
            format!("({list}) == null and (path({list}) as $p | getpath($p[:-1]) | type == \"object\" and has($p[-1]))")
        });
        let is_null = is_null.and_then(|code| Program::of_answer(&code).ok());
        Ok(Some(Items { program, is_path, of_null, is_null }))
    }

    /// Whether the program gives all items of one list unchanged, such as `.items[]`.
    #[must_use]
    pub fn is_path(&self) -> bool {
        self.is_path
    }

    /// The items of a page after the first one, where a list that is null has ended.
    ///
    /// # Errors
    /// Those of [`Items::items`].
    pub fn items_of_later_page(
        &self,
        answer: &Document,
        context: &AnswerContext<'_>,
    ) -> Result<Vec<Bytes>, Failure> {
        let items = self.items(answer, context);
        let is_null = |program: &Program| program.run_in(&answer.input, context);
        match (&items, &self.is_null) {
            (Err(_), Some(program)) if is_null(program).is_ok_and(|it| it == true) => {
                Ok(Vec::new())
            }
            _ => items,
        }
    }

    /// The items in their order, as JSON texts.
    ///
    /// # Errors
    /// A failure `missing items` if the program fails, `jq too long` if it takes too much, and
    /// that of the answer if it is a text only for want of anything better.
    pub fn items(
        &self,
        answer: &Document,
        context: &AnswerContext<'_>,
    ) -> Result<Vec<Bytes>, Failure> {
        if answer.is_absent {
            return Ok(Vec::new());
        }
        let text = |item: &JqInput| jq::json(item).map(Bytes::from);
        let items = self.program.run_all(&answer.input, context);
        let texts = items.and_then(|items| items.iter().map(text).collect());
        let failed = texts.map_err(|error| self.missing(error, answer));
        failed.map_err(|failure| match &answer.not_json {
            Some(not_json)
                if failure.kind == FailureKind::MissingItems && !self.program.selects() =>
            {
                not_json.clone()
            }
            _ => failure,
        })
    }
}

impl Items {
    /// The failure of an answer of which the program takes no items.
    fn missing(&self, error: JqError, answer: &Document) -> Failure {
        let failure = missing_items("items.each", error);
        let is_null = failure.detail.contains("cannot use null as iterable");
        match (&answer.input, &self.of_null) {
            _ if !is_null => failure,
            (JqInput::Null, _) => {
                let detail = format!("{}: the answer is empty", failure.detail);
                Failure { detail, ..failure }
            }
            (_, Some(hint)) => Failure { detail: format!("{}; {hint}", failure.detail), ..failure },
            (_, None) => failure,
        }
    }
}

fn leads_to_a_list(code: &str) -> bool {
    let code = code.trim();
    let list = code.strip_suffix('?').unwrap_or(code).strip_suffix("[]");
    list.is_some_and(|list| Path::parse(list).is_some())
}

/// The failure of a row whose items can't be extracted.
pub fn missing_items(key: &str, error: JqError) -> Failure {
    match error.or_failure(key) {
        Ok(why) => Failure::new(FailureKind::MissingItems, format!("{key}: {why}")),
        Err(failure) => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(program: &str, body: &str) -> Result<Vec<Bytes>, Failure> {
        let each = Some(program.to_owned());
        let settings = ItemSettings { each, ..ItemSettings::default() };
        let context = AnswerContext::default();
        let answer = Document::new(body.as_bytes(), &context)?;
        Items::new(&settings).unwrap().unwrap().items(&answer, &context)
    }

    #[test]
    fn each_item_is_a_json_text() {
        let found = items(".a[]", r#"{"a": [{"b": 1}, "x", null]}"#).unwrap();
        assert_eq!(found, [r#"{"b":1}"#, r#""x""#, "null"]);
        assert!(items(".a[]", r#"{"a": []}"#).unwrap().is_empty());
    }

    #[test]
    fn a_path_to_one_list_gives_all_of_its_items() {
        for code in [".[]", ".a[]", " .a.b[0].c[]? "] {
            assert!(leads_to_a_list(code), "{code}");
        }
        for code in [".a[].b", ".a[].b[]", ".a[] | select(.b)", ".a[], .b[]", "[.a][]"] {
            assert!(!leads_to_a_list(code), "{code}");
        }
    }

    #[test]
    fn an_answer_without_the_list_of_items_fails() {
        assert_eq!(items(".a[]", r#"{"b": 1}"#).unwrap_err().kind, FailureKind::MissingItems);
        assert_eq!(items(".a[]", "<html>").unwrap_err().kind, FailureKind::NotJson);
    }
}
