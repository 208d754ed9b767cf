//! The flags of curl that throng translates, as one table. Pure.

/// What throng does with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It is translated: a part of the request or of its sending.
    Translated,
    /// It is ignored: curl's output, which throng's own flags control.
    Ignored,
}

/// The number of words that follow a flag as its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagValue {
    None,
    Word,
}

/// A flag of curl.
pub struct Flag {
    pub name: &'static str,
    pub letter: Option<char>,
    pub value: FlagValue,
    pub treatment: Treatment,
}

const fn translated(name: &'static str, letter: Option<char>, value: FlagValue) -> Flag {
    Flag { name, letter, value, treatment: Treatment::Translated }
}

const fn ignored(name: &'static str, letter: Option<char>, value: FlagValue) -> Flag {
    Flag { name, letter, value, treatment: Treatment::Ignored }
}

#[rustfmt::skip]
static FLAGS: [Flag; 64] = [
    translated("request", Some('X'), FlagValue::Word),
    translated("url", None, FlagValue::Word),
    translated("header", Some('H'), FlagValue::Word),
    translated("data", Some('d'), FlagValue::Word),
    translated("data-ascii", None, FlagValue::Word),
    translated("data-raw", None, FlagValue::Word),
    translated("data-binary", None, FlagValue::Word),
    translated("data-urlencode", None, FlagValue::Word),
    translated("json", None, FlagValue::Word),
    translated("form", Some('F'), FlagValue::Word),
    translated("form-string", None, FlagValue::Word),
    translated("upload-file", Some('T'), FlagValue::Word),
    translated("url-query", None, FlagValue::Word),
    translated("globoff", Some('g'), FlagValue::None),
    translated("get", Some('G'), FlagValue::None),
    translated("head", Some('I'), FlagValue::None),
    translated("user", Some('u'), FlagValue::Word),
    translated("basic", None, FlagValue::None),
    translated("oauth2-bearer", None, FlagValue::Word),
    translated("aws-sigv4", None, FlagValue::Word),
    translated("user-agent", Some('A'), FlagValue::Word),
    translated("referer", Some('e'), FlagValue::Word),
    translated("cookie", Some('b'), FlagValue::Word),
    translated("range", Some('r'), FlagValue::Word),
    translated("compressed", None, FlagValue::None),
    translated("location", Some('L'), FlagValue::None),
    translated("max-redirs", None, FlagValue::Word),
    translated("max-time", Some('m'), FlagValue::Word),
    translated("connect-timeout", None, FlagValue::Word),
    translated("retry", None, FlagValue::Word),
    translated("insecure", Some('k'), FlagValue::None),
    translated("cacert", None, FlagValue::Word),
    translated("cert", Some('E'), FlagValue::Word),
    translated("key", None, FlagValue::Word),
    translated("tlsv1.2", None, FlagValue::None),
    translated("tlsv1.3", None, FlagValue::None),
    translated("proxy", Some('x'), FlagValue::Word),
    translated("socks5", None, FlagValue::Word),
    translated("socks5-hostname", None, FlagValue::Word),
    translated("noproxy", None, FlagValue::Word),
    translated("resolve", None, FlagValue::Word),
    translated("interface", None, FlagValue::Word),
    translated("unix-socket", None, FlagValue::Word),
    translated("http1.1", None, FlagValue::None),
    translated("http2", None, FlagValue::None),
    translated("http2-prior-knowledge", None, FlagValue::None),
    ignored("silent", Some('s'), FlagValue::None),
    ignored("show-error", Some('S'), FlagValue::None),
    ignored("verbose", Some('v'), FlagValue::None),
    ignored("include", Some('i'), FlagValue::None),
    ignored("fail", Some('f'), FlagValue::None),
    ignored("fail-with-body", None, FlagValue::None),
    ignored("no-buffer", Some('N'), FlagValue::None),
    ignored("progress-bar", Some('#'), FlagValue::None),
    ignored("no-progress-meter", None, FlagValue::None),
    ignored("output", Some('o'), FlagValue::Word),
    ignored("remote-name", Some('O'), FlagValue::None),
    ignored("write-out", Some('w'), FlagValue::Word),
    ignored("dump-header", Some('D'), FlagValue::Word),
    ignored("path-as-is", None, FlagValue::None),
    ignored("no-keepalive", None, FlagValue::None),
    ignored("tcp-nodelay", None, FlagValue::None),
    ignored("disable", Some('q'), FlagValue::None),
    ignored("stderr", None, FlagValue::Word),
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
