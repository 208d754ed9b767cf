//! Finds and opens what holds the bytes of a source.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::format::compress::Packing;
use crate::format::parquet_files::parquet_files;
use crate::format::rows::{OpenedText, shown};
use crate::format::{Format, names};

/// Makes sure that there is a readable file at `path`, and tells its format:
/// the one given, or else the one of its extension.
pub(super) fn check(path: &str, format: Option<Format>) -> Result<Format, String> {
    let at = Path::new(path);
    let about = fs::metadata(at).map_err(|error| cannot_open(at, &error))?;
    if about.is_dir() {
        return match parquet_files(at) {
            Ok(parts) if !parts.is_empty() => Ok(Format::PARQUET),
            _ => Err(format!(
                "{path} is a directory, and not one of Parquet files: name a file in it"
            )),
        };
    }
    // To open a named pipe would be to wait for its writer.
    if about.is_file() {
        open(at)?;
    }
    format.or_else(|| Format::of_path(at)).ok_or_else(|| unknown_extension(at))
}

/// The text of a file or named pipe from its beginning, unpacked.
pub(super) fn open(path: &Path) -> Result<OpenedText, String> {
    let open = || -> io::Result<OpenedText> {
        let bytes = buffered(File::open(path)?);
        match Packing::of(path) {
            (Some(packing), _) => packing.unpack(bytes),
            (None, _) => unpacked_by_start(bytes),
        }
    };
    open().map_err(|error| cannot_open(path, &error))
}

/// The content of bytes that begin as compressed ones do, whatever the name of their file.
fn unpacked_by_start(mut bytes: OpenedText) -> io::Result<OpenedText> {
    match Packing::of_start(bytes.fill_buf()?) {
        Some(packing) => packing.unpack(bytes),
        None => Ok(bytes),
    }
}

/// The bytes of a file from this one on, as they are.
pub(super) fn open_from(path: &Path, byte: u64) -> Result<OpenedText, String> {
    let open = || -> io::Result<OpenedText> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(byte))?;
        Ok(buffered(file))
    };
    open().map_err(|error| cannot_open(path, &error))
}

/// Whether a file's bytes are its text: it is not compressed, and in UTF-8 by its mark.
pub(super) fn is_plain(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut start));
    let is_wide = matches!(start[..], [0 | 0xFE | 0xFF, ..] | [_, 0, ..]);
    path.is_file()
        && read.is_ok()
        && !is_wide
        && Packing::of(path).0.is_none()
        && Packing::of_start(&start).is_none()
}

/// What tells this version of a file from others: its size, and when it was changed.
pub(super) fn version(path: &Path) -> Result<Option<String>, String> {
    let about = fs::metadata(path).map_err(|error| cannot_open(path, &error))?;
    let changed = about.modified().ok().and_then(|it| it.duration_since(UNIX_EPOCH).ok());
    Ok(changed.map(|it| format!("{} bytes, {} ns", about.len(), it.as_nanos())))
}

/// The bytes that are left on standard input.
pub(super) fn stdin() -> OpenedText {
    buffered(io::stdin())
}

/// The hash of the first `most` of these bytes, and how many there were.
pub(super) fn fingerprint_of(bytes: &[u8], most: u64) -> (u64, String) {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    let hash = blake3::hash(&bytes[..most]);
    (most as u64, hash.to_hex().to_string())
}

/// The hash of the first `most` bytes of a file or of the Parquet files of a directory,
/// and how many there were.
pub(super) fn fingerprint(path: &Path, most: u64) -> Result<(u64, String), String> {
    let read = |path: &Path| -> io::Result<(u64, String)> {
        let files = if path.is_dir() { parquet_files(path)? } else { vec![path.to_owned()] };
        let (mut bytes, mut hash) = (0, blake3::Hasher::new());
        for file in files {
            bytes += io::copy(&mut File::open(file)?.take(most - bytes), &mut hash)?;
        }
        Ok((bytes, hash.finalize().to_hex().to_string()))
    };
    read(path).map_err(|error| cannot_open(path, &error))
}

/// In bytes.
const BUFFER: usize = 128 * 1024;

fn buffered(bytes: impl Read + Send + 'static) -> OpenedText {
    Box::new(BufReader::with_capacity(BUFFER, bytes))
}

fn cannot_open(path: &Path, error: &io::Error) -> String {
    let hint = match (nearest(path), error.kind()) {
        (Some(name), io::ErrorKind::NotFound) => format!(": is it {name}?"),
        (None, io::ErrorKind::NotFound) => ": check its name".to_owned(),
        _ => String::new(),
    };
    format!("cannot open {}: {error}{hint}", path.display())
}

/// The path of the file beside `path` whose name is most like it.
fn nearest(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_string_lossy();
    let likeness = |name: &str| strsim::jaro_winkler(&wanted, name);
    let best = names_beside(path)
        .filter(|name| likeness(name) > ALIKE)
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    Some(path.with_file_name(best).display().to_string())
}

/// From 0, nothing in common, to 1, the same.
const ALIKE: f64 = 0.85;

fn names_beside(path: &Path) -> impl Iterator<Item = String> {
    let folder = path.parent().unwrap_or(path);
    // The parent of a bare name is no path at all.
    let entries = fs::read_dir(Path::new(".").join(folder));
    let entries = entries.into_iter().flatten().flatten();
    let files = entries.filter(|entry| !entry.path().is_dir());
    files.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Extensions of spreadsheets that are not read.
const SPREADSHEETS: [&str; 3] = ["xls", "xlsb", "ods"];

fn unknown_extension(path: &Path) -> String {
    let extension = path.extension().map(|it| it.to_string_lossy().to_ascii_lowercase());
    if extension.is_some_and(|it| SPREADSHEETS.contains(&it.as_str())) {
        return format!(
            "{} is a spreadsheet of a kind that is not read: save it as .xlsx, or its sheet as CSV",
            path.display()
        );
    }
    let flaw = match path.extension() {
        Some(it) => format!("the extension {} is unknown", shown(&it.to_string_lossy())),
        None => "it has no extension".into(),
    };
    let (path, names) = (path.display(), names(Format::all(), "|"));
    format!("{path}: {flaw}: say what it holds with --format {names} (input.format)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn folder_with(names: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| fs::write(folder.path().join(name), "a\n").unwrap());
        folder
    }

    fn check_in(folder: &TempDir, name: &str, format: Option<Format>) -> Result<Format, String> {
        let root = format!("{}/", folder.path().display());
        check(&format!("{root}{name}"), format).map_err(|error| error.replace(&root, ""))
    }

    #[test]
    fn the_extension_tells_the_format_unless_it_is_given() {
        let folder = folder_with(&["a.csv", "a.xls", "a"]);
        assert_eq!(check_in(&folder, "a.csv", None), Ok(Format::CSV));
        assert_eq!(check_in(&folder, "a.csv", Some(Format::LINES)), Ok(Format::LINES));
        assert_eq!(check_in(&folder, "a", Some(Format::JSON)), Ok(Format::JSON));
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        let folder = folder_with(&["tickers.csv", "other.csv", "a.xls", "a.xyz", "a"]);
        fs::create_dir(folder.path().join("b.csv")).unwrap();
        #[rustfmt::skip]
        let cases = [
            ("zzzz", "cannot open zzzz: No such file", ": check its name"),
            ("tickrs.csv", "cannot open tickrs.csv: No such file", ": is it tickers.csv?"),
            ("b.csv", "b.csv is a directory, and not one of Parquet files: name", "a file in it"),
            ("a.xls", "a.xls is a spreadsheet of a kind that is not read", "its sheet as CSV"),
            ("a.xyz", "a.xyz: the extension \"xyz\" is unknown: say", "(input.format)"),
            ("a", "a: it has no extension: say", "(input.format)"),
        ];
        for (name, start, end) in cases {
            let error = check_in(&folder, name, None).unwrap_err();
            assert!(error.starts_with(start) && error.ends_with(end), "{error}");
        }
    }
}
