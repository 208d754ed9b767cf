//! The flags of curl that throng translates, as one table. Pure.

/// The value of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// One word.
    Word,
}

/// The meaning of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// A part of the request or of its sending.
    Part,
    /// Only curl's output, which throng's own flags control.
    Shown,
}

/// A flag: its long name, its letter, its value and its meaning.
pub struct Flag {
    pub name: &'static str,
    pub letter: Option<char>,
    pub takes: Takes,
    pub means: Means,
}

const fn part(name: &'static str, letter: Option<char>, takes: Takes) -> Flag {
    Flag { name, letter, takes, means: Means::Part }
}

const fn shown(name: &'static str, letter: Option<char>, takes: Takes) -> Flag {
    Flag { name, letter, takes, means: Means::Shown }
}

use Takes::{Nothing, Word};

#[rustfmt::skip]
static FLAGS: [Flag; 64] = [
    part("request", Some('X'), Word),
    part("url", None, Word),
    part("header", Some('H'), Word),
    part("data", Some('d'), Word),
    part("data-ascii", None, Word),
    part("data-raw", None, Word),
    part("data-binary", None, Word),
    part("data-urlencode", None, Word),
    part("json", None, Word),
    part("form", Some('F'), Word),
    part("form-string", None, Word),
    part("upload-file", Some('T'), Word),
    part("url-query", None, Word),
    part("get", Some('G'), Nothing),
    part("head", Some('I'), Nothing),
    part("user", Some('u'), Word),
    part("basic", None, Nothing),
    part("oauth2-bearer", None, Word),
    part("aws-sigv4", None, Word),
    part("user-agent", Some('A'), Word),
    part("referer", Some('e'), Word),
    part("cookie", Some('b'), Word),
    part("range", Some('r'), Word),
    part("compressed", None, Nothing),
    part("location", Some('L'), Nothing),
    part("max-redirs", None, Word),
    part("max-time", Some('m'), Word),
    part("connect-timeout", None, Word),
    part("retry", None, Word),
    part("insecure", Some('k'), Nothing),
    part("cacert", None, Word),
    part("cert", Some('E'), Word),
    part("key", None, Word),
    part("tlsv1.2", None, Nothing),
    part("tlsv1.3", None, Nothing),
    part("proxy", Some('x'), Word),
    part("socks5", None, Word),
    part("socks5-hostname", None, Word),
    part("noproxy", None, Word),
    part("resolve", None, Word),
    part("interface", None, Word),
    part("unix-socket", None, Word),
    part("http1.1", None, Nothing),
    part("http2", None, Nothing),
    part("http2-prior-knowledge", None, Nothing),
    shown("silent", Some('s'), Nothing),
    shown("show-error", Some('S'), Nothing),
    shown("verbose", Some('v'), Nothing),
    shown("include", Some('i'), Nothing),
    shown("fail", Some('f'), Nothing),
    shown("fail-with-body", None, Nothing),
    shown("no-buffer", Some('N'), Nothing),
    shown("progress-bar", Some('#'), Nothing),
    shown("no-progress-meter", None, Nothing),
    shown("output", Some('o'), Word),
    shown("remote-name", Some('O'), Nothing),
    shown("write-out", Some('w'), Word),
    shown("dump-header", Some('D'), Word),
    shown("globoff", Some('g'), Nothing),
    shown("path-as-is", None, Nothing),
    shown("no-keepalive", None, Nothing),
    shown("tcp-nodelay", None, Nothing),
    shown("disable", Some('q'), Nothing),
    shown("stderr", None, Word),
];

/// The flag of this long name.
pub fn by_name(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The flag of this letter.
pub fn by_letter(letter: char) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.letter == Some(letter))
}

/// The names of all flags, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().map(|flag| flag.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_flags_are_alike() {
        for (at, flag) in FLAGS.iter().enumerate() {
            let others = &FLAGS[at + 1..];
            let same = |other: &Flag| {
                other.name == flag.name || (flag.letter.is_some() && other.letter == flag.letter)
            };
            assert!(!others.iter().any(same), "{}", flag.name);
        }
    }
}
