//! The names by which sentences call settings: flags where the command runs, settings of a job
//! where a program uses the library, keywords in Python. Sentences are written with flags, and
//! this is the only place that knows the other names.

use std::sync::atomic::{AtomicU8, Ordering};

use Words::{Flags, Keywords, Settings};

/// Whose names sentences use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Words {
    /// Those of a job file, such as `limit.rate`.
    Settings,
    /// Those of a job file and of the command, such as `limit.rate (--rate)`.
    Flags,
    /// Those of the Python package, such as `rate`.
    Keywords,
}

/// What one thing is called.
struct Name {
    flag: &'static str,
    setting: &'static str,
    keyword: &'static str,
}

impl Name {
    fn of(&self, words: Words) -> &'static str {
        match words {
            Flags => self.flag,
            Settings => self.setting,
            Keywords => self.keyword,
        }
    }
}

const fn name(flag: &'static str, setting: &'static str, keyword: &'static str) -> Name {
    Name { flag, setting, keyword }
}

/// The flags that sentences name, and what they set. A flag that begins as another one does
/// stands before it.
const NAMES: &[Name] = &[
    name("--account", "limit.account", "account"),
    name("--against", "against", "against"),
    name("--allow-host", "request.allow-host", "allow_host"),
    name("--allow-plain", "network.allow-plain", "allow_plain"),
    name("--allow-private", "network.allow-private", "allow_private"),
    name("--answer-encoding", "answer-encoding", "answer_encoding"),
    name("--answer-format", "answer-format", "answer_format"),
    name("--answer", "answer", "answer"),
    name("--api", "api", "api"),
    name("--auth", "auth", "auth"),
    name("--batch-api", "batch-api", "batch_api"),
    name("--batch-bytes", "batch.bytes", "batch.bytes"),
    name("--batch-tokens", "batch.tokens", "batch.tokens"),
    name("--batch", "batch.size", "batch.size"),
    name("--body-file", "request.body-file", "body_file"),
    name("--budget", "budget", "budget"),
    name("--burst", "limit.burst", "burst"),
    name("--cacert", "tls.ca-cert", "ca_cert"),
    name("--cert-key", "tls.key", "tls.key"),
    name("--cert", "tls.cert", "cert"),
    name("--check", "check", "check"),
    name("--columns", "output.columns", "columns"),
    name("--comment", "input.comment", "input.comment"),
    name("--concurrency", "workers.concurrency", "concurrency"),
    name("--connect-timeout", "send.connect-timeout", "connect_timeout"),
    name("--cookies", "cookies", "cookies"),
    name("--cost", "limit.cost", "cost"),
    name("--cursor", "pages.cursor", "pages.cursor"),
    name("--data", "request.data", "data"),
    name("--deadline", "workers.deadline", "deadline"),
    name("--dedupe", "dedupe", "dedupe"),
    name("--delimiter", "input.delimiter", "input.delimiter"),
    name("--each", "items.each", "items.each"),
    name("--encoding", "input.encoding", "input.encoding"),
    name("--env-public", "env.public", "env.public"),
    name("--env-secret", "env.secret", "env.secret"),
    name("--escape", "input.escape", "input.escape"),
    name("--extract", "extract", "extract"),
    name("--follow", "send.follow", "follow"),
    name("--format", "input.format", "input.format"),
    name("--form", "request.form", "form"),
    name("--grace", "workers.grace", "grace"),
    name("--guard", "limit.guard", "guard"),
    name("--header", "request.headers", "headers"),
    name("--helper-timeout", "process.timeout", "process.timeout"),
    name("--http", "network.http", "http"),
    name("--idempotency-key", "retry.idempotency-key", "idempotency_key"),
    name("--idempotency-ttl", "retry.idempotency-ttl", "idempotency_ttl"),
    name("--idle-timeout", "send.idle-timeout", "idle_timeout"),
    name("--in-flight", "limit.in-flight", "in_flight"),
    name("--input", "input.file", "input.file"),
    name("--insecure", "tls.insecure", "insecure"),
    name("--interface", "network.interface", "interface"),
    name("--jq", "request.jq", "jq"),
    name("--json", "request.json", "json"),
    name("--keep-body", "output.keep-body", "keep_body"),
    name("--keys", "limit.keys", "keys"),
    name("--key", "output.key", "output.key"),
    name("--linger", "limit.linger", "linger"),
    name("--loosen", "limit.loosen", "loosen"),
    name("--match", "items.match", "items.match"),
    name("--max-body", "send.max-body", "max_body"),
    name("--max-failures", "retry.max-failures", "max_failures"),
    name("--max-pages", "pages.max", "pages.max"),
    name("--max-refusals", "retry.max-refusals", "max_refusals"),
    name("--max-wait", "retry.max-wait", "max_wait"),
    name("--method", "request.method", "method"),
    name("--mode", "workers.mode", "mode"),
    name("--multipart", "request.multipart", "multipart"),
    name("--next", "pages.next", "pages.next"),
    name("--no-brake", "retry.brake = false", "brake=False"),
    name("--no-headers", "no-headers", "no_headers"),
    name("--no-meta", "output.no-meta", "no_meta"),
    name("--offline", "store.offline", "offline"),
    name("--offset", "pages.offset", "pages.offset"),
    name("--only", "only", "only"),
    name("--order", "output.order", "order"),
    name("--outage-after", "retry.outage-after", "retry.outage-after"),
    name("--outage-failures", "retry.outage-failures", "retry.outage-failures"),
    name("--output-format", "output.format", "output.format"),
    name("--output", "output.file", "output.file"),
    name("--overwrite", "output.existing = \"overwrite\"", "overwrite=True"),
    name("--page-count", "pages.count", "pages.count"),
    name("--page", "pages.page", "pages.page"),
    name("--parts", "output.parts", "parts"),
    name("--per", "limit.per", "per"),
    name("--price", "price", "price"),
    name("--process", "process", "process"),
    name("--proxy", "network.proxy", "proxy"),
    name("--query", "request.query", "query"),
    name("--quote", "input.quote", "input.quote"),
    name("--rate", "limit.rate", "rate"),
    name("--reask", "reask", "reask"),
    name("--refusals", "answer", "answer"),
    name("--render", "render", "render"),
    name("--replace-fields", "output.replace-fields", "replace_fields"),
    name("--resend-unknown", "retry.unknown = \"resend\"", "unknown=\"resend\""),
    name("--resolve", "network.resolve", "resolve"),
    name("--resume=changed", "output.existing = \"resume-changed\"", "resume=\"changed\""),
    name("--resume=damaged", "output.existing = \"resume-damaged\"", "resume=\"damaged\""),
    name("--resume", "output.existing = \"resume\"", "resume=True"),
    name("--retries", "retry.retries", "retries"),
    name("--retry-failed", "output.retry-failed", "retry_failed=True"),
    name("--route", "limit.route", "route"),
    name("--rows", "input.rows", "input.rows"),
    name("--save", "save", "save"),
    name("--secret", "secrets", "secrets"),
    name("--settle", "limit.settle", "settle"),
    name("--shape", "limit.shape", "shape"),
    name("--shard", "shard", "shard"),
    name("--shared-input", "shared-input", "shared_input"),
    name("--share-cacert", "limit.share-cacert", "share_cacert"),
    name("--share-token", "limit.share-token", "share_token"),
    name("--share", "limit.share", "share"),
    name("--skew", "limit.skew", "skew"),
    name("--skip-lines", "input.skip-lines", "input.skip-lines"),
    name("--spacing", "limit.spacing", "spacing"),
    name("--store-age", "store.age", "store.age"),
    name("--store-size", "store.size", "store.size"),
    name("--store", "store.dir", "store"),
    name("--summarize", "summary", "summary"),
    name("--summary-json", "the report", "run.summary"),
    name("--sync", "output.sync", "sync"),
    name("--table", "input.table", "input.table"),
    name("--take", "input.take", "take"),
    name("--timeout", "send.timeout", "timeout"),
    name("--tls-min", "tls.min-version", "tls.min-version"),
    name("--uncounted", "limit.uncounted", "uncounted"),
    name("--unix-socket", "network.unix-socket", "unix_socket"),
    name("--until", "pages.until", "pages.until"),
    name("--url", "request.url", "url"),
    name("--use", "limit.use", "use"),
    name("--workers", "workers.count", "workers"),
];

/// What a person types and a program does not.
const PHRASES: &[Name] = &[
    name("the same command", "the same job", "the same call"),
    name("request.url in the job file, or --url", "request.url, such as", "url, such as"),
    name(
        "name a file with input.file (--input), or give the rows in input.list",
        "name a file with input.file, or give the rows in input.list",
        "give rows, or a file as input",
    ),
    name("--price requests=0.002", "price.requests = 0.002", "price={\"requests\": 0.002}"),
    name("a text in quotes", "a text in quotes", "a text"),
    name("expected a table", "expected a table", "expected a dict"),
    name("a list in brackets, [ ]", "a list in brackets, [ ]", "a list"),
    name(
        "write its name in two brackets, [[ ]]",
        "write its name in two brackets, [[ ]]",
        "give a list of dicts",
    ),
    name(
        "a duration in quotes, such as \"30s\"",
        "a duration in quotes, such as \"30s\"",
        "a number of seconds, or a text such as \"30s\"",
    ),
    name("a size in quotes, such as", "a size in quotes, such as", "a text such as"),
];

/// The names that sentences of this process use.
static WORDS: AtomicU8 = AtomicU8::new(if cfg!(test) { Flags as u8 } else { Settings as u8 });

/// From now on, sentences of this process use these names.
pub fn use_words(words: Words) {
    WORDS.store(words as u8, Ordering::Relaxed);
}

/// A sentence with the names of this process.
pub fn worded(sentence: impl Into<String>) -> String {
    let sentence = sentence.into();
    match WORDS.load(Ordering::Relaxed) {
        words if words == Flags as u8 => sentence,
        words if words == Keywords as u8 => in_words(&sentence, Keywords),
        _ => in_words(&sentence, Settings),
    }
}

/// A sentence that was written with flags, with these names.
pub fn in_words(sentence: &str, words: Words) -> String {
    if words == Flags {
        return sentence.to_owned();
    }
    let mut phrased = sentence.to_owned();
    for phrase in PHRASES {
        phrased = phrased.replace(phrase.flag, phrase.of(words));
    }
    let mut text = String::with_capacity(phrased.len());
    let mut rest = phrased.as_str();
    while let Some((start, name)) = first_name(rest) {
        text.push_str(&rest[..start]);
        rest = &rest[start + name.flag.len()..];
        let before_or = [" or ", ", "].iter().find_map(|or| text.strip_suffix(or));
        let before_or = before_or.filter(|text| ends_with_its_setting(text, name)).map(str::len);
        if let Some(end) = text.strip_suffix(" (").filter(|text| ends_with_setting(text, name)) {
            // `limit.rate (--rate)`
            text.truncate(end.len());
            rest = rest.split_once(')').map_or("", |(_, after)| after);
        } else if let Some(end) = before_or {
            // `retry.max-wait or --max-wait`
            text.truncate(end);
            rest = rest.trim_start_matches(" NAME").trim_start_matches(" N");
        } else {
            text.push_str(name.of(words));
            // `--format csv (input.format)`
            let setting = format!(" ({})", name.setting);
            if let Some((value, after)) = rest.split_once(&setting)
                && value.len() <= LONGEST_VALUE
            {
                text.push_str(value);
                rest = after;
            }
        }
    }
    text.push_str(rest);
    if words == Keywords { with_keywords(&text) } else { text }
}

/// The setting that a sentence names first, as in a job file: its section, and its key if the
/// sentence names one.
pub fn setting_in(sentence: &str) -> Option<String> {
    let is_of_word = |it: char| !it.is_alphanumeric() && !"-_.".contains(it);
    let words = sentence.split(is_of_word).map(|word| word.trim_matches('.'));
    let mut settings = words.filter(|word| {
        let section = word.split('.').next().unwrap_or_default();
        let is_key = word.contains('.') && is_section(section);
        is_key || NAMES.iter().any(|it| it.setting == *word && sentence.contains(it.flag))
    });
    settings.next().map(str::to_owned)
}

/// Whether a job has a section of this name.
fn is_section(name: &str) -> bool {
    const OTHERS: [&str; 5] = ["before", "fallback", "poll", "refusal", "step"];
    NAMES.iter().any(|it| it.setting.split('.').next() == Some(name)) || OTHERS.contains(&name)
}

/// Maximum length of the value of a flag that its setting follows, in bytes.
const LONGEST_VALUE: usize = 24;

/// The first of the names in a text, and where it begins.
fn first_name(text: &str) -> Option<(usize, &'static Name)> {
    let mut from = 0;
    while let Some(found) = text[from..].find("--") {
        let start = from + found;
        let before = &text[..start];
        let is_word = !before.ends_with(|it: char| it.is_alphanumeric() || it == '-');
        // A command in `$(…)` has flags of its own.
        let is_own = before.rsplit_once("$(").is_none_or(|(_, command)| command.contains(')'));
        let name = NAMES.iter().find(|name| starts_with_word(&text[start..], name.flag));
        if let Some(name) = name.filter(|_| is_word && is_own) {
            return Some((start, name));
        }
        from = start + 2;
    }
    None
}

fn starts_with_word(text: &str, word: &str) -> bool {
    let after = text.strip_prefix(word).map(|after| after.chars().next());
    after.is_some_and(|next| next.is_none_or(|it| !it.is_alphanumeric() && it != '-'))
}

/// Whether a text ends with a setting, or with one and its value, that the name's flag may be.
fn ends_with_setting(text: &str, name: &Name) -> bool {
    let section = last_word(text).split_once('.').map(|(section, _)| section);
    let has_value = text.ends_with(['"', ']']) && text.contains(" = ");
    has_value || section.is_some_and(is_section) || ends_with_its_setting(text, name)
}

/// Whether a text ends with the setting of this name, or with a part of it.
fn ends_with_its_setting(text: &str, name: &Name) -> bool {
    let part = last_word(text).strip_prefix(name.setting);
    part.is_some_and(|part| part.is_empty() || part.starts_with('.'))
        || text.ends_with(name.setting)
}

fn last_word(text: &str) -> &str {
    text.rsplit([' ', '(']).next().unwrap_or_default()
}

/// A text with Python's keywords in the place of settings.
fn with_keywords(text: &str) -> String {
    let keyword = |word: &str| {
        let bare = word.trim_matches(['(', ')', ',', ';', ':']);
        // The keyword of a whole section does not say which of its keys is meant.
        let is_meant = |name: &&Name| {
            let after = bare.strip_prefix(name.setting);
            after.is_some_and(|after| after.is_empty() || after.starts_with('.'))
                && name.setting.contains('.')
                && !bare.starts_with(name.keyword)
        };
        let name = NAMES.iter().find(is_meant);
        name.map_or_else(|| word.to_owned(), |name| word.replace(name.setting, name.keyword))
    };
    text.split(' ').map(keyword).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_reads_the_names_of_settings() {
        for (flags, settings, keywords) in [
            ("request.url (--url): no host", "request.url: no host", "url: no host"),
            (
                "within 30s (send.timeout or --timeout)",
                "within 30s (send.timeout)",
                "within 30s (timeout)",
            ),
            (
                "hosts (request.allow-host, --allow-host)",
                "hosts (request.allow-host)",
                "hosts (allow_host)",
            ),
            (
                "say what it holds with --format csv (input.format)",
                "say what it holds with input.format csv",
                "say what it holds with input.format csv",
            ),
            (
                "x has 2 rows already: --resume goes on with it, --overwrite starts again",
                "x has 2 rows already: output.existing = \"resume\" goes on with it, output.existing = \"overwrite\" starts again",
                "x has 2 rows already: resume=True goes on with it, overwrite=True starts again",
            ),
            (
                "(retry.unknown = \"resend\" or --resend-unknown would)",
                "(retry.unknown = \"resend\" would)",
                "(retry.unknown = \"resend\" would)",
            ),
            ("send.follow or --follow N follows it", "send.follow follows it", "follow follows it"),
            ("auth.kind (--auth kind=…) is \"x\"", "auth.kind is \"x\"", "auth.kind is \"x\""),
            (
                "pages (--next, --page)",
                "pages (pages.next, pages.page)",
                "pages (pages.next, pages.page)",
            ),
            (
                "answer = \"xml\" (--answer-format xml) reads",
                "answer = \"xml\" reads",
                "answer = \"xml\" reads",
            ),
            ("$(aws --format env)", "$(aws --format env)", "$(aws --format env)"),
            (
                "the job, limit.cost.tokens: invalid type: integer `5`, expected a text in quotes",
                "the job, limit.cost.tokens: invalid type: integer `5`, expected a text in quotes",
                "the job, cost.tokens: invalid type: integer `5`, expected a text",
            ),
            (
                "give price (--price), such as --price requests=0.002",
                "give price, such as price.requests = 0.002",
                "give price, such as price={\"requests\": 0.002}",
            ),
            (
                "no URL: give request.url in the job file, or --url 'x'",
                "no URL: give request.url, such as 'x'",
                "no URL: give url, such as 'x'",
            ),
            ("a--rate --rates --no", "a--rate --rates --no", "a--rate --rates --no"),
            (
                "the same command with --resume=changed",
                "the same job with output.existing = \"resume-changed\"",
                "the same call with resume=\"changed\"",
            ),
        ] {
            assert_eq!(in_words(flags, Flags), flags);
            assert_eq!(in_words(flags, Settings), settings);
            assert_eq!(in_words(flags, Keywords), keywords);
        }
    }

    #[test]
    fn a_flag_that_begins_as_another_one_does_is_found_by_its_whole_name() {
        for name in NAMES {
            let text = format!("give {} now", name.flag);
            assert_eq!(in_words(&text, Settings), format!("give {} now", name.setting));
        }
    }
}
