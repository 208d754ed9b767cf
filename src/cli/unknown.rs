//! Flags and arguments that throng does not have: what was meant by them.

use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use crate::format::Format;
use crate::plan::closest;

/// What people type, and throng's own words for it. `{}` is the value that was typed.
const MEANT: [(&[&str], &str); 41] = [
    (
        &["limit", "rate-limit", "ratelimit", "max-rate", "throttle", "limits"],
        "--rate (-r) states a limit, such as --rate 300/1m",
    ),
    (
        &["qps", "rps", "tps", "requests-per-second", "per-second", "rate-per-second"],
        "--rate {}/1s states a limit for each second",
    ),
    (&["rpm", "requests-per-minute", "per-minute"], "--rate {}/1m states a limit for each minute"),
    (&["rph", "per-hour"], "--rate {}/1h states a limit for each hour"),
    (&["rpd", "per-day"], "--rate {}/1d states a limit for each day"),
    (
        &["tpm", "tokens-per-minute"],
        "--rate '{} tokens/1m' --cost tokens=… states a limit of tokens",
    ),
    (
        &["period", "window", "interval"],
        "--rate N/PERIOD has the period of a limit, such as --rate 22/5s",
    ),
    (&["delay", "sleep", "wait", "pause"], "--spacing {} is the least time between two requests"),
    (
        &["dry-run", "dryrun", "validate", "preview", "no-send", "explain"],
        "`throng plan` takes the same flags, shows the first requests, and sends nothing",
    ),
    (
        &[
            "output-file",
            "out",
            "outfile",
            "out-file",
            "output-path",
            "results",
            "destination",
            "dest",
            "save-to",
        ],
        "--output {} (-o) is the file of the records",
    ),
    (
        &[
            "input-file",
            "in",
            "infile",
            "file",
            "csv",
            "list",
            "ids",
            "rows-file",
            "urls",
            "data-file",
            "input-path",
        ],
        "--input {} (-i) is the file of the rows",
    ),
    (
        &["threads", "jobs", "processes", "num-threads", "cpus", "thread"],
        "--workers {} (-w) is the number of threads; --concurrency (-c) that of requests in flight for each",
    ),
    (
        &[
            "parallel",
            "parallelism",
            "max-concurrency",
            "max-concurrent",
            "connections",
            "simultaneous",
            "parallel-max",
            "inflight",
            "max-in-flight",
        ],
        "--concurrency {} (-c) is the number of requests in flight for each worker, --in-flight {} that of all",
    ),
    (
        &["token", "bearer", "auth-token", "api-token", "oauth2-bearer", "access-token"],
        "--auth kind=bearer --auth token='{{ env.TOKEN }}' sends a token, which stays in the environment, where no list of processes shows it",
    ),
    (
        &["api-key", "apikey", "key-header", "x-api-key"],
        "-H 'x-api-key: {{ env.API_KEY }}' sends a key, which stays in the environment, where no list of processes shows it",
    ),
    (
        &["user", "username", "password", "basic", "basic-auth"],
        "--auth kind=basic --auth user=NAME --auth password='{{ env.PASSWORD }}' signs in",
    ),
    (&["request", "verb"], "--method {} (-X) is the method"),
    (
        &["location", "follow-redirects", "redirects", "max-redirs"],
        "--follow 5 follows redirects, each of which counts as a request",
    ),
    (&["compressed", "gzip"], "nothing is needed for it: answers are asked for compressed"),
    (
        &["data-raw", "data-binary", "data-ascii", "body", "post-data", "payload"],
        "--data (-d) is a body, --json one in JSON, --body-file one from a file",
    ),
    (&["data-urlencode", "form-string", "fields"], "--form NAME=T is a field of a form"),
    (
        &["get", "params", "param", "url-query", "query-string", "parameter"],
        "--query NAME=T (-q) is a parameter of the URL",
    ),
    (&["headers", "http-header"], "--header 'Name: T' (-H) is a header"),
    (&["user-agent", "useragent", "agent"], "-H 'user-agent: {}' sets it"),
    (&["referer", "referrer"], "-H 'referer: {}' sets it"),
    (&["cookie"], "-H 'cookie: {}' sends one; --cookies run keeps those of answers"),
    (&["cookie-jar"], "--cookies run keeps the cookies of answers for the run"),
    (
        &["head", "include"],
        "--method HEAD asks for headers alone; `throng try` shows those of an answer",
    ),
    (
        &["http2", "http2-prior-knowledge"],
        "--http 2 asks for HTTP/2; a server with TLS is asked for it anyway",
    ),
    (&["http1.1"], "--http 1.1 asks for it"),
    (
        &["max-time", "read-timeout", "request-timeout", "timeout-sec"],
        "--timeout {} is the time for each answer, such as 30s",
    ),
    (
        &["retry", "max-retries", "attempts", "tries", "max-attempts", "retry-count"],
        "--retries {} is the number of further attempts",
    ),
    (
        &["retry-delay", "backoff", "retry-max-time"],
        "nothing is needed for it: pauses before retries grow by themselves, and the server's own are kept",
    ),
    (
        &["silent", "no-progress", "no-progress-bar", "no-progress-meter"],
        "--quiet shows nothing but errors, --progress none no progress",
    ),
    (
        &[
            "count",
            "number",
            "max-rows",
            "first",
            "sample",
            "num-rows",
            "num-requests",
            "limit-rows",
        ],
        "--take {} takes only the first rows",
    ),
    (
        &["jq-filter", "select", "field", "values", "filter", "value", "path"],
        "--extract NAME=JQ (-e) takes a value out of each answer",
    ),
    (
        &["aggregate", "mean", "stats", "statistics", "avg"],
        "--summarize 'mean(NAME)' (-s) computes over all rows",
    ),
    (&["continue", "restart", "append"], "--resume asks for the rows that have no record yet"),
    (&["force", "clobber", "replace"], "--overwrite starts again, and loses the existing records"),
    (&["config", "job", "config-file", "job-file"], "a job file needs no flag: `throng run {}`"),
    (
        &["endpoint", "uri", "base-url", "host", "address", "target"],
        "--url {} (-u) is the address, with {{ field }} for a value of the row",
    ),
];

/// The short flags of other tools that throng does not have, and the long ones.
const SHORT: [(&str, &str); 14] = [
    ("-n", "count"),
    ("-j", "threads"),
    ("-f", "input-file"),
    ("-L", "location"),
    ("-k", "insecure"),
    ("-F", "form-string"),
    ("-G", "get"),
    ("-A", "user-agent"),
    ("-b", "cookie"),
    ("-I", "head"),
    ("-m", "max-time"),
    ("-t", "threads"),
    ("-p", "parallel"),
    ("-x", "proxy"),
];

/// What to say of a flag or an argument that throng does not have; none if clap's own message
/// is as good.
pub fn answer(error: &clap::Error, root: &Command, words: &[String]) -> Option<String> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let wrong = context(ContextKind::InvalidArg)?;
            let command = words.iter().find_map(|word| root.find_subcommand(word));
            if wrong.starts_with('-') {
                Some(of_flag(wrong, command.unwrap_or(root), root, words))
            } else {
                argument(wrong)
            }
        }
        ErrorKind::InvalidSubcommand => {
            let wrong = context(ContextKind::InvalidSubcommand)?;
            let is_job = wrong.ends_with(".toml") || wrong.ends_with(".json");
            if is_job {
                return Some(format!("{wrong} is a job file: throng run {wrong}"));
            }
            argument(wrong).or_else(|| {
                let names = root.get_subcommands().map(Command::get_name);
                let meant = closest(wrong, names);
                let meant = meant.map_or_else(String::new, |it| format!("; did you mean {it}?"));
                Some(format!("there is no command {wrong}{meant} (throng --help lists them)"))
            })
        }
        _ => None,
    }
}

/// What an argument is that stands where none or a job file is expected.
pub fn argument(wrong: &str) -> Option<String> {
    if wrong.starts_with("http://") || wrong.starts_with("https://") {
        return Some(format!(
            "{wrong} is an address, which --url (-u) takes: throng run --url '{wrong}'"
        ));
    }
    let is_job = wrong.ends_with(".toml") || wrong.ends_with(".json");
    let is_table = !is_job && Format::of_path(Path::new(wrong)).is_some();
    is_table.then(|| {
        format!("{wrong} is a file of rows, which --input (-i) takes: throng run -i {wrong} --url 'https://api.example/{{{{ id }}}}'")
    })
}

/// What to say of a flag that this command does not have.
fn of_flag(wrong: &str, command: &Command, root: &Command, words: &[String]) -> String {
    let long = match SHORT.iter().find(|(short, _)| *short == wrong) {
        Some((_, long)) => long,
        None => wrong.trim_start_matches('-'),
    };
    let name = command.get_name();
    let begin = format!("there is no {wrong}");
    if has(command, long) {
        return format!("{begin}: it is --{long}");
    }
    // A slip of the finger is likelier than the word of another tool that is hardly like it.
    let close = longs(command).find(|known| strsim::damerau_levenshtein(known, long) == 1);
    let meant = MEANT.iter().find(|(typed, _)| typed.contains(&long)).map(|(_, meant)| *meant);
    if let Some(meant) = meant.filter(|_| close.is_none()) {
        return format!("{begin}: {}", meant.replace("{}", &value(wrong, words)));
    }
    let of_other = root.get_subcommands().find(|other| has(other, long));
    if let Some(other) = of_other.filter(|_| close.is_none()) {
        return format!("--{long} is a flag of `throng {}`", other.get_name());
    }
    match closest(long, longs(command)) {
        Some(known) => {
            let help = command.get_arguments().find(|arg| arg.get_long() == Some(known));
            let help = help.and_then(Arg::get_help).map(ToString::to_string).unwrap_or_default();
            format!("{begin}; did you mean --{known}? It is: {help}")
        }
        None if name == root.get_name() => format!("{begin}: throng --help lists the commands"),
        None => format!("{begin}: throng {name} --help all lists every flag"),
    }
}

fn has(command: &Command, long: &str) -> bool {
    longs(command).any(|known| known == long)
}

/// The names of a command's flags, also of those that are not in its help.
fn longs(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter_map(Arg::get_long)
}

/// The value that was typed for a flag, in quotes if a shell needs them.
fn value(flag: &str, words: &[String]) -> String {
    let joined = words.iter().find_map(|word| word.strip_prefix(&format!("{flag}=")));
    let place = words.iter().position(|word| word == flag);
    let next = place.and_then(|place| words.get(place + 1)).map(String::as_str);
    match joined.or(next.filter(|next| !next.starts_with('-'))) {
        Some(value) if value.chars().all(|it| it.is_alphanumeric() || "./_-%:".contains(it)) => {
            value.to_owned()
        }
        Some(value) => format!("'{value}'"),
        None => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_in_two_rows_and_none_is_a_flag_of_run() {
        let root = crate::cli::command();
        let run = root.find_subcommand("run").unwrap();
        let mut typed: Vec<&str> = MEANT.iter().flat_map(|(typed, _)| *typed).copied().collect();
        let all = typed.len();
        for word in &typed {
            assert!(!has(run, word), "{word}");
        }
        for (_, long) in SHORT {
            assert!(typed.contains(&long) || has(run, long), "{long}");
        }
        typed.sort_unstable();
        typed.dedup();
        assert_eq!(typed.len(), all);
    }

    #[test]
    fn each_flag_that_a_row_recommends_is_one_of_run() {
        let root = crate::cli::command();
        let run = root.find_subcommand("run").unwrap();
        for (_, meant) in MEANT {
            for flag in meant.split("--").skip(1) {
                let end = flag.find(|it: char| !it.is_ascii_alphanumeric() && it != '-');
                let flag = &flag[..end.unwrap_or(flag.len())];
                assert!(has(run, flag) || flag == "curl", "--{flag}: {meant}");
            }
        }
    }
}
