//! The names of a record's values, each of them once.

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::Error;
use crate::row::Fields;

/// throng's own names. No extracted value may have one; an input field that
/// has one comes from an earlier results file and gives way.
pub const RESERVED: [&str; 18] = [
    "_row",
    "_item",
    "_last",
    "_ok",
    "_status",
    "_error",
    "_detail",
    "_attempts",
    "_ms",
    "_arrived",
    "_stored",
    "_same_as",
    "_target",
    "_file",
    "_size",
    "_sha256",
    "_content_type",
    "_body",
];

/// Those of them that are throng's only where answers are saved as files.
const OF_FILES: [&str; 4] = ["_file", "_size", "_sha256", "_content_type"];

/// The answers whose body is kept in the record, as `_body`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum KeepBody {
    /// None.
    None,
    /// Those of rows that failed.
    #[default]
    Failed,
    /// All.
    All,
}

impl From<bool> for KeepBody {
    fn from(all: bool) -> KeepBody {
        if all { KeepBody::All } else { KeepBody::None }
    }
}

impl<'de> Deserialize<'de> for KeepBody {
    /// One of the names, or whether all are kept, as older jobs write it.
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<KeepBody, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "write none, failed or all")]
        enum Written {
            Flag(bool),
            Name(Name),
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Name {
            None,
            Failed,
            All,
        }
        Ok(match Written::deserialize(text)? {
            Written::Flag(all) => all.into(),
            Written::Name(Name::None) => KeepBody::None,
            Written::Name(Name::Failed) => KeepBody::Failed,
            Written::Name(Name::All) => KeepBody::All,
        })
    }
}

/// Which names a record has, in order: the row's fields, the extracted
/// values, throng's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// The input's fields; none if only its rows tell.
    pub fields: Option<Vec<String>>,
    /// The extracted values, in the order of a record's outcome.
    pub values: Vec<String>,
    /// The answers whose body stands in `_body`.
    pub body: KeepBody,
    /// Whether a record is one of its row's items: `_item` and `_last`.
    pub items: bool,
    /// Whether there is an `_arrived`: where something is limited.
    pub arrived: bool,
    /// Whether a record tells if its answer was in the job's store.
    pub stored: bool,
    /// Whether a record tells which other row has asked for its answer.
    pub same_as: bool,
    /// Whether a record tells which target has answered.
    pub target: bool,
    /// Whether a record tells of the file that has the answer's body.
    pub files: bool,
}

impl Columns {
    /// The columns of a run whose rows have these `fields`, as far as known.
    ///
    /// # Errors
    /// A plan error if an extracted value has the name of a field or one of
    /// throng's own.
    pub fn new(
        fields: Option<Vec<String>>,
        values: Vec<String>,
        body: impl Into<KeepBody>,
    ) -> Result<Columns, Error> {
        let body = body.into();
        for name in &values {
            check(name, fields.as_deref().unwrap_or_default())?;
        }
        let mut columns = Columns {
            fields: None,
            values,
            body,
            items: false,
            arrived: false,
            stored: false,
            same_as: false,
            target: false,
            files: false,
        };
        columns.fields = fields.map(|names| {
            let own = names.into_iter().filter(|name| columns.is_input(name));
            own.collect()
        });
        Ok(columns)
    }

    /// Whether a row's field of this name stands in the record; else a value
    /// of this run stands there.
    pub(crate) fn is_input(&self, name: &str) -> bool {
        let reserved = name.starts_with('_')
            && RESERVED.contains(&name)
            && (self.files || !OF_FILES.contains(&name));
        !reserved && !self.values.iter().any(|value| value == name)
    }

    /// Those names of a row that stand in its record.
    pub(crate) fn fields_of(&self, fields: &Fields) -> Vec<String> {
        let names = fields.keys().filter(|name| self.is_input(name));
        names.cloned().collect()
    }

    /// The names that follow the input's fields.
    pub(crate) fn after_fields(&self) -> impl Iterator<Item = &str> {
        let own = RESERVED.into_iter().filter(|name| self.has(name));
        self.values.iter().map(String::as_str).chain(own)
    }

    /// All names, as far as they are known.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().flatten().map(String::as_str);
        fields.chain(self.after_fields())
    }

    fn has(&self, own: &str) -> bool {
        match own {
            "_body" => self.body != KeepBody::None,
            "_item" | "_last" => self.items,
            "_arrived" => self.arrived,
            "_stored" => self.stored,
            "_same_as" => self.same_as,
            "_target" => self.target,
            own if OF_FILES.contains(&own) => self.files,
            _ => true,
        }
    }
}

fn check(name: &str, fields: &[String]) -> Result<(), Error> {
    let whose = if RESERVED.contains(&name) {
        "that name is throng's own"
    } else if fields.iter().any(|field| field == name) {
        "the rows have a field of that name already (--replace-fields, output.replace-fields, lets the value replace it)"
    } else {
        return Ok(());
    };
    Err(Error::plan(format!("the extracted value {name:?} needs another name: {whose}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_name_stands_once() {
        for (value, reason) in [
            ("symbol", "the rows have a field"),
            ("_ms", "throng's own"),
            ("_body", "throng's own"),
        ] {
            let error = Columns::new(Some(names(&["symbol"])), names(&["price", value]), false);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn a_results_file_can_be_an_input() {
        let fields = names(&["symbol", "_row", "_ok", "_mine"]);
        let columns = Columns::new(Some(fields), names(&["price"]), false).unwrap();
        assert_eq!(columns.fields, Some(names(&["symbol", "_mine"])));
    }

    #[test]
    fn throngs_own_names_come_last() {
        let with = Columns::new(None, names(&["price"]), true).unwrap();
        let all: Vec<&str> = with.after_fields().collect();
        assert_eq!((all[0], all[1], all[8]), ("price", "_row", "_body"));
        let without = Columns::new(None, vec![], false).unwrap();
        assert_eq!(without.after_fields().last(), Some("_ms"));
    }
}
