//! Splits a command for Windows' cmd into words, as browsers copy it. Pure.
//!
//! cmd reads the `^` first, and curl splits the rest into words. Browsers double each
//! backslash, so two become one.

/// Whether a command is one for cmd: it has a `^` before a quote or at the end of a line.
pub fn is_for_cmd(text: &str) -> bool {
    let signs = [" ^\"", " ^\n", " ^\r\n"];
    let first = signs.iter().filter_map(|sign| text.find(sign)).min();
    first.is_some_and(|at| !text[..at].contains('\''))
}

/// The words of a command, or the reason why cmd would not run it alone.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    split(&without_carets(text)?)
}

fn without_carets(text: &str) -> Result<String, String> {
    let mut letters = text.chars().filter(|letter| *letter != '\r').peekable();
    let (mut plain, mut is_quoted) = (String::new(), false);
    while let Some(letter) = letters.next() {
        match letter {
            '^' if !is_quoted => match letters.next() {
                // The line goes on; another line end after it is a part of the word.
                Some('\n') => plain.extend(letters.next_if_eq(&'\n')),
                next => plain.extend(next),
            },
            '|' | '&' | '<' | '>' if !is_quoted => {
                return Err(format!(
                    "there is a {letter:?} outside of quotes, which is an operator of cmd: give the curl command alone"
                ));
            }
            letter => {
                is_quoted ^= letter == '"';
                plain.push(letter);
            }
        }
    }
    Ok(plain)
}

fn split(text: &str) -> Result<Vec<String>, String> {
    let mut letters = text.chars().peekable();
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' if !is_quoted => words.extend(word.take()),
            '\\' => {
                let next = letters.next_if(|next| matches!(next, '\\' | '"'));
                word.get_or_insert_default().push(next.unwrap_or('\\'));
            }
            '"' => {
                let word = word.get_or_insert_default();
                if is_quoted && letters.next_if_eq(&'"').is_some() {
                    word.push('"');
                } else {
                    is_quoted = !is_quoted;
                }
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if is_quoted { Err("a \" is never closed".into()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_the_browser_copied() {
        for (text, expected) in [
            (
                "curl ^\"https://h/a?x=1^&y=^%^20^\" ^\r\n  -H ^\"accept: */*^\" ^\n  --compressed",
                vec!["curl", "https://h/a?x=1&y=%20", "-H", "accept: */*", "--compressed"],
            ),
            (
                "curl ^\"u^\" --data-raw ^\"^{^\\^\"a^\\^\": ^\\^\"it's ^\\^\\n^\\^\\^\\^\"^\\^\"^}^\"",
                vec!["curl", "u", "--data-raw", r#"{"a": "it's \n\""}"#],
            ),
            ("curl ^\"u^\" -d ^\"a^\n\nb^\"", vec!["curl", "u", "-d", "a\nb"]),
            (
                "curl \"u?a=1&b=2\" ^\n -H \"x: \"\"y\"\"\"",
                vec!["curl", "u?a=1&b=2", "-H", "x: \"y\""],
            ),
        ] {
            assert!(is_for_cmd(text), "{text}");
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        for text in ["curl u -d 'a ^\" b'", "curl \"u\" \\\n -H \"a: ^b\"", "curl u"] {
            assert!(!is_for_cmd(text), "{text}");
        }
        for (text, why) in [("curl ^\"u", "never closed"), ("curl ^\"u^\" | more", "operator")] {
            assert!(words(text).unwrap_err().contains(why), "{text}");
        }
    }
}
