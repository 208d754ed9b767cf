//! The results files of the shards of one job, as one: `throng merge`.
//!
//! The sidecar file beside each says which shard it is, of which job and of which input. The
//! union is complete if each shard is there, and each of its rows has a record in its file and
//! in no other.

use std::path::Path;

use roaring::RoaringTreemap;

use crate::convert;
use crate::error::Error;
use crate::format::Format;
use crate::fs::placed;
use crate::sink::{self, RunFacts, ShardFacts};
use crate::source::{Rows, Settings, Source};
use crate::verify;

/// The results files of one job's shards, in the order of their numbers.
#[derive(Debug)]
pub struct Shards {
    files: Vec<ShardFile>,
    /// Number of shards, those included that have no file.
    count: u64,
}

/// The results file of one shard.
#[derive(Debug)]
struct ShardFile {
    name: String,
    source: Source,
    facts: RunFacts,
    shard: ShardFacts,
}

/// The rows of shards.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Union {
    /// Number of rows that have a record.
    pub rows: u64,
    /// Number of records; more than rows where rows have several.
    pub records: u64,
    /// Number of records that are failures.
    pub failed: u64,
    /// What is missing or double, a sentence each.
    pub gaps: Vec<String>,
}

impl Shards {
    /// Opens results files, and checks that they are shards of one job with one input.
    ///
    /// # Errors
    /// A file is not a shard, or is one of another job, or two are the same shard.
    pub fn open(files: &[String]) -> Result<Shards, Error> {
        let mut opened =
            files.iter().map(|file| ShardFile::open(file)).collect::<Result<Vec<_>, _>>()?;
        opened.sort_by_key(|file| file.shard.index);
        for pair in opened.windows(2) {
            pair[0].check_beside(&pair[1])?;
        }
        let count = opened.first().map_or(0, |file| file.shard.count);
        Ok(Shards { files: opened, count })
    }

    /// The names of the files, in the order of their shards.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.files.iter().map(|file| file.name.clone()).collect()
    }

    /// Whether no shard had a limit.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.files.iter().all(|file| file.facts.limits_text.is_empty())
    }

    /// Number of shards, those included that have no file.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Reads all records once.
    ///
    /// # Errors
    /// A file can't be read, or its records have no numbers of rows.
    pub fn union(&self) -> Result<Union, Error> {
        let mut union = Union { gaps: self.missing(), ..Union::default() };
        let mut all = RoaringTreemap::new();
        for file in &self.files {
            let rows = file.rows(&mut union)?;
            let double = &rows & &all;
            if let Some(row) = double.min() {
                union.gaps.push(format!(
                    "{}: {} of its rows have records in another file too, row {row} first",
                    file.name,
                    double.len()
                ));
            }
            union.gaps.extend(file.gap(rows.len()));
            all |= rows;
        }
        union.rows = all.len();
        let of_all = self.files.iter().find_map(|file| file.shard.rows_of_all);
        if let Some(of_all) = of_all.filter(|of_all| union.gaps.is_empty() && *of_all != union.rows)
        {
            union
                .gaps
                .push(format!("{} rows have a record, and the input has {of_all}", union.rows));
        }
        Ok(union)
    }

    /// The shards that have no file.
    fn missing(&self) -> Vec<String> {
        let is_there = |index: &u64| self.files.iter().any(|file| file.shard.index == *index);
        let missing = (1..=self.count).filter(|index| !is_there(index));
        missing.map(|index| format!("shard {index}/{} is missing", self.count)).collect()
    }

    /// Writes all records to a new file, those of a shard after those of the one before; gives
    /// their number.
    ///
    /// # Errors
    /// A file can't be read, or the new one can't be written.
    pub fn write(&self, to: &Path, format: Format) -> Result<u64, Error> {
        let rows = || -> Result<Rows, Error> {
            let each = self.files.iter().map(|file| file.source.rows());
            let each = each.collect::<Result<Vec<_>, _>>()?;
            Ok(Box::new(each.into_iter().flatten()))
        };
        placed(to, |new| convert::write_rows(&rows, format, new))
    }
}

impl ShardFile {
    fn open(name: &str) -> Result<ShardFile, Error> {
        let settings = Settings { file: Some(name.to_owned()), ..Settings::default() };
        let source = Source::new(&settings)?;
        let facts = sink::facts_of(Path::new(name)).ok_or_else(|| {
            Error::plan(format!(
                "{name} is the results file of no shard, or lost the file beside it that says so ({name}.throng): give the files of runs with --shard"
            ))
        })?;
        let shard = facts.shard.clone().ok_or_else(|| {
            Error::plan(format!(
                "{name} is of a run without --shard: its records are whole by themselves"
            ))
        })?;
        Ok(ShardFile { name: name.to_owned(), source, facts, shard })
    }

    /// Checks that another file, whose number is not lower, is another shard of this one's job.
    fn check_beside(&self, other: &ShardFile) -> Result<(), Error> {
        let (a, b) = (&self.name, &other.name);
        let ShardFacts { index, count, .. } = self.shard;
        if count != other.shard.count {
            return Err(Error::plan(format!(
                "{a} is shard {index}/{count}, and {b} is shard {}/{}: they divide their rows otherwise",
                other.shard.index, other.shard.count
            )));
        }
        if index == other.shard.index {
            return Err(Error::plan(format!(
                "{a} and {b} are both shard {index}/{count}: leave one of them out"
            )));
        }
        let is_other = |part: &&(String, String)| {
            part.0 != "shard" && !other.facts.fingerprints.contains(part)
        };
        if let Some((part, _)) = self.facts.fingerprints.iter().find(is_other) {
            return Err(Error::plan(format!(
                "{a} and {b} are shards of different jobs: {part} is not the same"
            )));
        }
        Ok(())
    }

    /// The numbers of the rows that have a record.
    fn rows(&self, union: &mut Union) -> Result<RoaringTreemap, Error> {
        let mut rows = RoaringTreemap::new();
        for row in self.source.rows()? {
            let row = row?;
            let ends_row = verify::ends_row(&row.fields);
            let record = sink::record(row.fields).map_err(|why| {
                Error::plan(format!(
                    "{}, record {}: {why}; a shard is merged with all of throng's own columns, so run it without --no-meta and --columns",
                    self.name,
                    row.number + 1
                ))
            })?;
            if ends_row {
                rows.insert(record.row.number);
            }
            union.records += 1;
            union.failed += u64::from(!record.is_ok());
        }
        Ok(rows)
    }

    /// The rows of this file that have no record, of which `with_record` have one.
    fn gap(&self, with_record: u64) -> Option<String> {
        let ShardFacts { index, count, .. } = self.shard;
        let go_on = format!("the same command with --shard {index}/{count} --resume asks for them");
        match self.facts.rows {
            Some(rows) if with_record < rows => Some(format!(
                "{}: {} of the {rows} rows of shard {index}/{count} have no record; {go_on}",
                self.name,
                rows - with_record
            )),
            None if !self.facts.complete => Some(format!(
                "{}: the run of shard {index}/{count} has not ended, so some of its rows may have no record; {go_on}",
                self.name
            )),
            _ => None,
        }
    }
}
