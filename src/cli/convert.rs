//! `throng convert`: a table in another format.

use std::path::Path;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::format::{Format, endings};
use crate::{Error, convert, sink, source};

use super::exit::Exit;
use super::flags::TextFlags;
use super::say;

#[derive(Args)]
#[group(skip)]
pub struct ConvertArgs {
    #[arg(help = format!("The file to read: {}, or a directory of Parquet files", endings(Format::all())))]
    from: String,
    #[arg(help = format!("The file to write: {}", endings(Format::outputs())))]
    to: String,
    /// The format of FROM [default: by its name]
    #[arg(long)]
    format: Option<Format>,
    /// The format of TO [default: by its name]
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(Format::outputs().map(Format::name)))]
    output_format: Option<String>,
    /// The table of a SQLite database to read [default: results, or the only one], or the sheet
    /// of a workbook [default: the only one]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[command(flatten)]
    text: TextFlags,
    /// Only these columns, in this order: a,b
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// Leave out throng's own columns: _row, _ok, _status, …
    #[arg(long)]
    no_meta: bool,
    /// Numbers and truth values where all texts of a column are such
    #[arg(long)]
    types: bool,
    /// Replace an existing file
    #[arg(long)]
    overwrite: bool,
}

pub fn main(arguments: &ConvertArgs) -> Result<Exit, Error> {
    crate::plan::check_apart("FROM", Some(&arguments.from), "TO", Some(&arguments.to))?;
    let from = source::Settings {
        file: Some(arguments.from.clone()),
        format: arguments.format,
        table: arguments.table.clone(),
        ..arguments.text.settings()?
    };
    let selection = convert::Selection {
        columns: arguments.columns.clone(),
        no_meta: arguments.no_meta,
        types: arguments.types,
    };
    if let Some(note) = sink::unfinished(Path::new(&arguments.from)) {
        say::note(&format!("throng: {note}"));
    }
    let (to, replace) = (Path::new(&arguments.to), arguments.overwrite);
    let rows = match &arguments.output_format {
        Some(format) => convert::convert_as(format.parse()?, &from, to, &selection, replace)?,
        None => convert::convert(&from, to, &selection, replace)?,
    };
    let noun = if rows == 1 { "row" } else { "rows" };
    say::note(&format!("{rows} {noun}: {}", arguments.to));
    Ok(Exit::Ok)
}
