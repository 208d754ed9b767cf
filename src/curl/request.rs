//! A command's flags as parts of a job.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::limit::duration;
use crate::render::percent_encode;

/// The parts of a job that a command stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Translated {
    /// Parts of a job, to be overlaid on one: `request`, `auth`, `send`, and so on.
    pub job: Value,
    /// Notes for the user, a sentence each.
    pub notes: Vec<String>,
}

/// A flag of a command with its value, in order.
pub(crate) struct CommandPart {
    pub name: &'static str,
    pub value: String,
}

/// An unfinished job.
#[derive(Default)]
struct JobDraft {
    url: Option<String>,
    method: Option<String>,
    headers: Map<String, Value>,
    data: Vec<String>,
    json: bool,
    multipart: Map<String, Value>,
    upload: Option<String>,
    query: Vec<String>,
    as_query: bool,
    /// Whether brackets and braces in the URL stand for themselves.
    globoff: bool,
    head: bool,
    rest: Map<String, Value>,
}

/// The job of a command's flags.
pub fn job(parts: &[CommandPart]) -> Result<Translated, String> {
    let mut job = JobDraft::default();
    for part in parts {
        job.add(part)?;
    }
    job.finish()
}

impl JobDraft {
    fn add(&mut self, part: &CommandPart) -> Result<(), String> {
        let value = part.value.as_str();
        match part.name {
            "url" if self.url.is_some() => return Err("it has two URLs: give one".into()),
            "url" => self.url = Some(with_scheme(value)),
            "request" => self.method = Some(value.into()),
            "header" => self.header(value)?,
            "user-agent" => self.set_header("User-Agent", value),
            "referer" => self.set_header("Referer", value),
            "cookie" if !value.contains('=') => {
                return Err(format!("-b {value} is a file of cookies: give them as NAME=VALUE"));
            }
            "cookie" => {
                // Several become one header, as curl writes it.
                let before = self.headers.get("Cookie").and_then(Value::as_str);
                let all = before.map_or_else(|| value.to_owned(), |all| format!("{all};{value}"));
                self.set_header("Cookie", &all);
            }
            "range" => self.set_header("Range", &format!("bytes={value}")),
            "data" | "data-ascii" => self.data.push(read(value, LineEnds::Dropped)?),
            "data-binary" => self.data.push(read(value, LineEnds::Kept)?),
            "data-raw" => self.data.push(value.into()),
            "data-urlencode" => self.data.push(encoded(value)?),
            "json" => {
                self.json = true;
                self.data.push(read(value, LineEnds::Kept)?);
            }
            "form" | "form-string" => self.form_part(part.name, value)?,
            "upload-file" => self.upload = Some(value.into()),
            "url-query" => self.query.push(encoded(value)?),
            "get" => self.as_query = true,
            "globoff" => self.globoff = true,
            "head" => self.head = true,
            name => self.rest_of(name, value)?,
        }
        Ok(())
    }

    /// Flags of other parts of a job than the request.
    fn rest_of(&mut self, name: &str, value: &str) -> Result<(), String> {
        let duration = || {
            let seconds = value.parse().ok();
            seconds
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .map(duration::exact)
                .ok_or_else(|| format!("--{name} {value} is not a number of seconds"))
        };
        let number =
            || value.parse::<u32>().map_err(|_| format!("--{name} {value} is not a number"));
        let (part, key, value) = match name {
            "user" => return self.user(value),
            "oauth2-bearer" => {
                self.set("auth", "kind", "bearer".into());
                ("auth", "token", value.into())
            }
            "aws-sigv4" => return self.sigv4(value),
            "compressed" => {
                self.rest.insert(name.into(), true.into());
                return Ok(());
            }
            "location" => ("send", "follow", json!(10)),
            "max-redirs" => ("send", "follow", json!(number()?)),
            "max-time" => ("send", "timeout", duration()?.into()),
            "connect-timeout" => ("send", "connect-timeout", duration()?.into()),
            "retry" => ("retry", "retries", json!(number()?)),
            "insecure" => ("tls", "insecure", true.into()),
            "cacert" => ("tls", "ca-cert", value.into()),
            "cert" => ("tls", "cert", value.into()),
            "key" => ("tls", "key", value.into()),
            "tlsv1.2" => ("tls", "min-version", "1.2".into()),
            "tlsv1.3" => ("tls", "min-version", "1.3".into()),
            "proxy" => ("network", "proxy", proxy("http", value)),
            "socks5" => ("network", "proxy", proxy("socks5", value)),
            "socks5-hostname" => ("network", "proxy", proxy("socks5h", value)),
            "noproxy" if value == "*" => ("network", "proxy", "none".into()),
            "noproxy" => {
                return Err("--noproxy with names is the variable NO_PROXY for throng".into());
            }
            "resolve" => ("network", "resolve", json!([value])),
            "interface" => ("network", "interface", value.into()),
            "unix-socket" => ("network", "unix-socket", value.into()),
            "http1.1" => ("network", "http", "1.1".into()),
            "http2-prior-knowledge" => ("network", "http", "2".into()),
            // Flags that describe throng's own behaviour.
            _ => return Ok(()),
        };
        self.set(part, key, value);
        Ok(())
    }

    fn set(&mut self, part: &str, key: &str, value: Value) {
        let part = self.rest.entry(part).or_insert_with(|| json!({}));
        part[key] = value;
    }

    /// `USER:PASSWORD`, or the keys of a signature if a flag before asked for one.
    fn user(&mut self, value: &str) -> Result<(), String> {
        let (user, password) = value.split_once(':').unwrap_or((value, ""));
        let signs = self.rest.get("auth").is_some_and(|auth| auth["kind"] == "sigv4");
        let (kind, names) = if signs {
            ("sigv4", ["access-key", "secret-key"])
        } else {
            ("basic", ["user", "password"])
        };
        self.set("auth", "kind", kind.into());
        self.set("auth", names[0], user.into());
        self.set("auth", names[1], password.into());
        Ok(())
    }

    /// `aws:amz:REGION:SERVICE`, with the keys as the user.
    fn sigv4(&mut self, value: &str) -> Result<(), String> {
        let parts: Vec<&str> = value.split(':').collect();
        let ["aws", "amz", region, service] = parts[..] else {
            return Err(format!("--aws-sigv4 {value} is not aws:amz:REGION:SERVICE"));
        };
        let user = self.rest.remove("auth").unwrap_or_default();
        let mut auth = json!({"kind": "sigv4", "region": region, "service": service});
        if let (Some(user), Some(password)) = (user.get("user"), user.get("password")) {
            auth["access-key"] = user.clone();
            auth["secret-key"] = password.clone();
        }
        self.rest.insert("auth".into(), auth);
        Ok(())
    }

    fn set_header(&mut self, name: &str, value: &str) {
        self.headers.retain(|other, _| !other.eq_ignore_ascii_case(name));
        self.headers.insert(name.into(), value.into());
    }

    /// `Name: value`, `Name:` to remove a header, `Name;` for an empty one.
    fn header(&mut self, text: &str) -> Result<(), String> {
        if text.starts_with('@') {
            return Err(format!("-H {text} reads headers from a file: write them out"));
        }
        match text.split_once(':') {
            Some((name, value)) if value.trim().is_empty() => {
                self.headers.retain(|other, _| !other.eq_ignore_ascii_case(name));
                self.headers.insert(name.trim().into(), Value::Bool(false));
            }
            Some((name, value)) => {
                let name = name.trim();
                let before =
                    self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
                match before.map(|(other, value)| (other.clone(), value.clone())) {
                    Some((other, Value::String(before))) => {
                        self.headers.insert(other, json!([before, value.trim()]));
                    }
                    _ => self.set_header(name, value.trim()),
                }
            }
            None => match text.strip_suffix(';') {
                Some(name) => self.set_header(name, ""),
                None => return Err(format!("-H {text:?} is not Name: value")),
            },
        }
        Ok(())
    }

    /// `name=text`, `name=@file;type=…;filename=…`, `name=<file`.
    fn form_part(&mut self, flag: &str, text: &str) -> Result<(), String> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| format!("-F {text:?} is not NAME=VALUE"))?;
        let mut pieces = value.split(';');
        let first = pieces.next().unwrap_or_default();
        let mut part = match first.chars().next() {
            _ if flag == "form-string" => json!(value),
            Some('@') => json!({ "file": &first[1..] }),
            Some('<') => json!({ "text": read(&format!("@{}", &first[1..]), LineEnds::Kept)? }),
            _ => json!({ "text": first }),
        };
        for piece in pieces.filter(|_| flag != "form-string") {
            match piece.trim().split_once('=') {
                Some(("type", kind)) => part["type"] = kind.into(),
                Some(("filename", file)) => part["name"] = file.trim_matches('"').into(),
                _ => return Err(format!("-F {text:?}: {piece:?} is not known")),
            }
        }
        let part = match part.as_object() {
            Some(only) if only.len() == 1 && only.contains_key("text") => only["text"].clone(),
            _ => part,
        };
        match self.multipart.get_mut(name) {
            None => drop(self.multipart.insert(name.into(), part)),
            Some(Value::Array(parts)) => parts.push(part),
            Some(before) => *before = json!([before.clone(), part]),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Translated, String> {
        let mut url = self.url.take().ok_or("it has no URL")?;
        if let Some(part) = glob(&url).filter(|_| !self.globoff) {
            return Err(format!(
                "its URL has {part}, of which curl makes several requests: write {{{{ value }}}} there, and give a row for each value (--input); with -g (--globoff) it is sent as it is"
            ));
        }
        let mut query = std::mem::take(&mut self.query);
        if self.as_query {
            query.append(&mut self.data);
        }
        for pair in query {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&pair);
        }
        let method = match self.method.take() {
            None if self.head => Some("HEAD".into()),
            None if self.upload.is_some() => Some("PUT".into()),
            method => method,
        };
        self.defaults();
        let mut request = json!({ "url": url, "method": method });
        let separator = if self.json { "" } else { "&" };
        if !self.data.is_empty() {
            request["data"] = self.data.join(separator).into();
        }
        if !self.multipart.is_empty() {
            request["multipart"] = self.multipart.into();
        }
        if let Some(path) = self.upload {
            request["body-file"] = path.into();
        }
        request["headers"] = self.headers.into();
        self.rest.insert("request".into(), request);
        Ok(Translated { job: self.rest.into(), notes: Vec::new() })
    }

    /// Headers that only one of curl and throng sends by default.
    fn defaults(&mut self) {
        let accept = if self.json { "application/json" } else { "*/*" };
        let kind = match (self.json, self.data.is_empty(), self.upload.is_some()) {
            (true, _, _) => Some(Value::from("application/json")),
            (_, false, _) => Some("application/x-www-form-urlencoded".into()),
            (_, _, true) => Some(Value::Bool(false)),
            _ => None,
        };
        let mut defaults = vec![("Accept", accept.into())];
        defaults.extend(kind.map(|kind| ("Content-Type", kind)));
        let encodings = match self.rest.remove("compressed") {
            Some(_) => "deflate, gzip, br, zstd".into(),
            None => Value::Bool(false),
        };
        defaults.push(("Accept-Encoding", encodings));
        for (name, value) in defaults {
            if !self.headers.keys().any(|other| other.eq_ignore_ascii_case(name)) {
                self.headers.insert(name.into(), value);
            }
        }
    }
}

/// The first part of a URL of which curl makes several requests: `[1-3]`, `[a-z:2]`, `{a,b}`.
fn glob(url: &str) -> Option<&str> {
    let mut rest = url;
    while let Some(at) = rest.find(['[', '{']) {
        let part = &rest[at..];
        if part.starts_with("{{") {
            rest = part.split_once("}}")?.1;
            continue;
        }
        let is_range = part.starts_with('[');
        let end = part.find(if is_range { ']' } else { '}' });
        let inside = end.map_or("", |end| &part[1..end]);
        let is_glob = if is_range { is_curl_range(inside) } else { inside.contains(',') };
        if is_glob {
            return end.map(|end| &part[..=end]);
        }
        rest = &part[1..];
    }
    None
}

/// Whether a text is a range as curl writes it: `1-3`, `001-100`, `a-z`, each with `:STEP`.
fn is_curl_range(text: &str) -> bool {
    let Some((from, to)) = text.split_once('-') else {
        return false;
    };
    let to = to.split(':').next().unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let is_letter = |text: &str| text.len() == 1 && text.bytes().all(|it| it.is_ascii_alphabetic());
    (is_number(from) && is_number(to)) || (is_letter(from) && is_letter(to))
}

fn with_scheme(url: &str) -> String {
    if url.contains("://") || url.starts_with("{{") { url.into() } else { format!("http://{url}") }
}

fn proxy(scheme: &str, value: &str) -> Value {
    if value.contains("://") { value.into() } else { format!("{scheme}://{value}").into() }
}

#[derive(PartialEq)]
enum LineEnds {
    Kept,
    Dropped,
}

/// The text, or the content of the file after an `@`.
fn read(value: &str, lines: LineEnds) -> Result<String, String> {
    let Some(path) = value.strip_prefix('@') else {
        return Ok(value.into());
    };
    let text = match path {
        "-" => return Err("@- reads standard input: name a file".into()),
        path => std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?,
    };
    Ok(match lines {
        LineEnds::Kept => text,
        LineEnds::Dropped => text.replace(['\n', '\r', '\0'], ""),
    })
}

/// Encodes the content of `content`, `=content`, `name=content`, `@file` or `name@file`.
/// Templates in `{{ }}` are encoded later, for each row.
fn encoded(value: &str) -> Result<String, String> {
    let at = value.find(['=', '@']);
    let (name, content) = match at {
        None => (None, value.to_owned()),
        Some(at) => {
            let (name, content) = value.split_at(at);
            let content = match content.strip_prefix('=') {
                Some(content) => content.to_owned(),
                None => read(content, LineEnds::Kept)?,
            };
            (Some(name).filter(|name| !name.is_empty()), content)
        }
    };
    let plus = |text: &str| percent_encode(text).replace("%20", "+");
    let content = crate::render::map_fixed(&content, plus);
    Ok(match name {
        Some(name) => format!("{name}={content}"),
        None => content,
    })
}
