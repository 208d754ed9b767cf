//! Inputs at URLs: `https://`, and the object stores of clouds. Texts are streamed; a format
//! that reads its bytes in any order is first written to a temporary file. Does I/O: the
//! network, files.
//!
//! - `object`: an object and its version
//! - `http`, `cloud`: objects by their schemes; `exchange`: one request and its answer
//! - `reader`: the bytes of an object, in spite of lost connections

use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use percent_encoding::percent_decode_str;
use tempfile::NamedTempFile;
use url::Url;

use crate::format::Format;
use crate::format::compress::Packing;
use crate::format::rows::{OpenedText, shown};

#[cfg_attr(not(feature = "object-store"), path = "cloud/disabled.rs")]
mod cloud;
mod exchange;
mod http;
mod object;
mod reader;

use object::{ObjectVersion, OpenError, OpenedObject, RemoteObject};
use reader::ObjectReader;

/// In bytes.
const BUFFER: usize = 128 * 1024;

/// Types of contents that stand for a format, where the name of a file does not.
const TYPES: [(&str, &str); 11] = [
    ("text/csv", "csv"),
    ("application/csv", "csv"),
    ("text/tab-separated-values", "tsv"),
    ("application/json", "json"),
    ("application/geo+json", "json"),
    ("application/x-ndjson", "jsonl"),
    ("application/jsonl", "jsonl"),
    ("application/vnd.apache.parquet", "parquet"),
    ("application/vnd.apache.arrow.file", "arrow"),
    ("application/vnd.sqlite3", "sqlite"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
];

/// A file at a URL, which was there when it was checked.
#[derive(Debug)]
pub struct RemoteFile {
    /// The URL for messages: without what may be secret in it.
    pub name: String,
    /// The last part of the path.
    file_name: PathBuf,
    object: Arc<dyn RemoteObject>,
    version: ObjectVersion,
    content_type: Option<String>,
    packing: Option<Packing>,
    /// The object as it was opened for the check, for its first reader.
    first: Mutex<Option<OpenedObject>>,
    /// A copy of it, once one is needed.
    copy: OnceLock<NamedTempFile>,
}

/// The URL that the name of an input is, if it is one.
pub fn url_of(input: &str) -> Option<Url> {
    let (scheme, _) = input.split_once("://")?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (!scheme.is_empty() && scheme.bytes().all(is_scheme)).then(|| Url::parse(input).ok()).flatten()
}

impl RemoteFile {
    /// Makes sure that there is an object at a URL that can be read.
    ///
    /// # Errors
    /// Why it can't be, and what to do.
    pub fn new(url: Url) -> Result<RemoteFile, String> {
        let name = shown_url(&url);
        let wrong = |why: String| format!("{name}: {why}");
        let path = percent_decode_str(url.path()).decode_utf8_lossy().into_owned();
        let file_name = Path::new(&path).file_name().map(PathBuf::from).unwrap_or_default();
        let object: Arc<dyn RemoteObject> = match url.scheme() {
            "http" | "https" => Arc::new(http::HttpObject::new(url).map_err(wrong)?),
            _ => cloud::object(&url).map_err(wrong)?,
        };
        let opened = object.open(0).map_err(OpenError::why).map_err(wrong)?;
        let packing = packing(&file_name, opened.encoding.as_deref()).map_err(wrong)?;
        if let Some(why) = packing.and_then(Packing::missing) {
            return Err(wrong(why.to_owned()));
        }
        Ok(RemoteFile {
            file_name,
            object,
            version: opened.version.clone(),
            content_type: opened.content_type.clone(),
            packing,
            first: Mutex::new(Some(opened)),
            copy: OnceLock::new(),
            name,
        })
    }

    /// The format that its name or else its type stands for; none if its first bytes tell it.
    ///
    /// # Errors
    /// That it is a page for people.
    pub fn format(&self) -> Result<Option<Format>, String> {
        if let Some(format) = Format::of_path(&self.file_name) {
            return Ok(Some(format));
        }
        let essence = self.content_type.as_deref().unwrap_or_default();
        let essence = essence.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence == "text/html" {
            return Err(format!(
                "{}: the server answers with a web page (text/html), not with rows: check the URL, or say what it holds with --format (input.format)",
                self.name
            ));
        }
        let known = TYPES.iter().find(|(name, _)| *name == essence);
        Ok(known.and_then(|(_, format)| format.parse().ok()))
    }

    /// Its text from the beginning, unpacked.
    ///
    /// # Errors
    /// Why it can't be read.
    pub fn text(&self) -> Result<OpenedText, String> {
        let bytes: OpenedText = if self.version.is_known() {
            Box::new(BufReader::with_capacity(BUFFER, self.reader()?))
        } else {
            // Nothing would tell whether a second reading finds the same bytes.
            let file = File::open(self.copied()?).map_err(|error| self.wrong(&error))?;
            Box::new(BufReader::with_capacity(BUFFER, file))
        };
        match self.packing {
            Some(packing) => packing.unpack(bytes).map_err(|error| self.wrong(&error)),
            None => Ok(bytes),
        }
    }

    /// What tells this version of it from others; none if the server gives nothing of the kind.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.version.is_known().then(|| self.version.text())
    }

    /// Whether its bytes are its text: it is not compressed.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.packing.is_none()
    }

    /// Its bytes from this one on, as they are.
    ///
    /// # Errors
    /// Why it can't be read.
    pub fn text_from(&self, byte: u64) -> Result<OpenedText, String> {
        let reader = ObjectReader::new(self.object.clone(), self.version.clone(), byte)
            .map_err(|why| format!("{}: {why}", self.name))?;
        Ok(Box::new(BufReader::with_capacity(BUFFER, reader)))
    }

    /// The path of a copy of it on this machine, which goes when this value does.
    ///
    /// # Errors
    /// Why it can't be read, or written there.
    pub fn copied(&self) -> Result<&Path, String> {
        if self.copy.get().is_none() {
            let copy = self.download()?;
            // Another thread may have made one meanwhile.
            let _ = self.copy.set(copy);
        }
        self.copy.get().map(NamedTempFile::path).ok_or_else(|| self.name.clone())
    }

    /// A number of bytes and a hash that tell this version from others; none if the server
    /// gives nothing of the kind.
    #[must_use]
    pub fn fingerprint(&self) -> Option<(u64, String)> {
        let text = self.version.is_known().then(|| self.version.text())?;
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        Some((self.version.size.unwrap_or(0), hash))
    }

    fn download(&self) -> Result<NamedTempFile, String> {
        let mut reader = self.reader()?;
        let name = self.file_name.to_string_lossy();
        let file =
            tempfile::Builder::new().prefix("throng-").suffix(&format!("-{name}")).tempfile();
        let copied = file.and_then(|mut file| {
            io::copy(&mut reader, &mut file)?;
            file.flush()?;
            file.rewind()?;
            Ok(file)
        });
        copied.map_err(|error| {
            let directory = std::env::temp_dir();
            format!(
                "{}: it can't be copied to {} (TMPDIR): {error}",
                self.name,
                directory.display()
            )
        })
    }

    fn reader(&self) -> Result<ObjectReader, String> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first {
            Some(opened) => Ok(ObjectReader::of(self.object.clone(), opened)),
            None => ObjectReader::new(self.object.clone(), self.version.clone(), 0)
                .map_err(|why| format!("{}: {why}", self.name)),
        }
    }

    fn wrong(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.name)
    }
}

/// A URL without user, password and query, which may be secret.
fn shown_url(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let query = if url.query().is_some() { "?…" } else { "" };
    let path = percent_decode_str(url.path()).decode_utf8_lossy();
    let path = shown_path(&path);
    format!("{}://{host}{port}{path}{query}", url.scheme())
}

/// A path, with escapes if it has what cannot be seen.
fn shown_path(path: &str) -> String {
    if path.chars().any(char::is_control) { shown(path) } else { path.to_owned() }
}

/// How the object is compressed: as its name says, or else as the server says of it.
fn packing(file_name: &Path, encoding: Option<&str>) -> Result<Option<Packing>, String> {
    if let (Some(packing), _) = Packing::of(file_name) {
        return Ok(Some(packing));
    }
    match encoding.map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "identity" | "aws-chunked" | "utf-8") => Ok(None),
        Some("gzip" | "x-gzip") => Ok(Some(Packing::Gzip)),
        Some("zstd") => Ok(Some(Packing::Zstd)),
        Some(other) => Err(format!(
            "the server says that it is encoded as {}, which is not read: gzip and zstd are",
            shown(other)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for (url, name) in [
            (
                "https://me:pw@h.example:8443/a%20b.csv?X-Amz-Signature=1#x",
                "https://h.example:8443/a b.csv?…",
            ),
            ("s3://bucket/dir/rows.csv.gz", "s3://bucket/dir/rows.csv.gz"),
            ("http://h/a%1Bb", "http://h\"/a\\u{1b}b\""),
        ] {
            assert_eq!(shown_url(&url_of(url).unwrap()), name);
        }
        for file in ["rows.csv", "a/b://c", "-", "://x", "C:\\rows.csv"] {
            assert_eq!(url_of(file), None, "{file}");
        }
    }

    #[test]
    fn a_name_or_a_header_says_how_an_object_is_compressed() {
        let packing = |name: &str, encoding| packing(Path::new(name), encoding);
        assert_eq!(packing("a.csv", None), Ok(None));
        assert_eq!(packing("a.csv.gz", Some("gzip")), Ok(Some(Packing::Gzip)));
        assert_eq!(packing("a.csv", Some("GZIP")), Ok(Some(Packing::Gzip)));
        assert_eq!(packing("a.csv.zst", None), Ok(Some(Packing::Zstd)));
        assert!(packing("a.csv", Some("br")).is_err());
    }
}
