//! Splits a command line into words, as a shell does. Pure.
//!
//! A shell variable, `$NAME` or `${NAME}`, becomes `{{ env.NAME }}` where a shell would
//! expand it. A template, `{{ id }}`, is part of one word even outside of quotes.

/// The words of a command, or the reason why a shell would refuse it.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let mut splitter =
        WordSplitter { letters: text.chars().peekable(), words: Vec::new(), word: None };
    splitter.split()?;
    Ok(splitter.words)
}

struct WordSplitter<'a> {
    letters: std::iter::Peekable<std::str::Chars<'a>>,
    words: Vec<String>,
    word: Option<String>,
}

impl WordSplitter<'_> {
    fn split(&mut self) -> Result<(), String> {
        while let Some(letter) = self.letters.next() {
            match letter {
                ' ' | '\t' | '\n' | '\r' => self.end(),
                '\'' => self.quoted()?,
                '"' => self.double_quoted()?,
                '\\' => self.escaped(),
                '$' => self.dollar()?,
                '{' if self.letters.peek() == Some(&'{') => self.template()?,
                '#' if self.word.is_none() => {
                    while self.letters.next_if(|next| *next != '\n').is_some() {}
                }
                '|' | '&' | ';' | '<' | '>' | '`' => {
                    return Err(format!(
                        "there is a {letter:?} outside of quotes, which is a shell operator: give the curl command alone"
                    ));
                }
                letter => self.push(letter),
            }
        }
        self.end();
        Ok(())
    }

    fn push(&mut self, letter: char) {
        self.word.get_or_insert_default().push(letter);
    }

    fn end(&mut self) {
        self.words.extend(self.word.take());
    }

    /// Reads a template after its first brace.
    fn template(&mut self) -> Result<(), String> {
        self.push('{');
        let mut before = ' ';
        for letter in self.letters.by_ref() {
            self.word.get_or_insert_default().push(letter);
            if (before, letter) == ('}', '}') {
                return Ok(());
            }
            before = letter;
        }
        Err("a {{ is never closed".into())
    }

    fn quoted(&mut self) -> Result<(), String> {
        self.word.get_or_insert_default();
        loop {
            match self.letters.next() {
                Some('\'') => return Ok(()),
                Some(letter) => self.push(letter),
                None => return Err("a ' is never closed".into()),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<(), String> {
        self.word.get_or_insert_default();
        loop {
            match self.letters.next() {
                Some('"') => return Ok(()),
                Some('$') => self.variable(),
                Some('\\') => match self.letters.next() {
                    Some('\n') => {}
                    Some(letter @ ('"' | '\\' | '$' | '`')) => self.push(letter),
                    Some(letter) => {
                        self.push('\\');
                        self.push(letter);
                    }
                    None => return Err("a \" is never closed".into()),
                },
                Some(letter) => self.push(letter),
                None => return Err("a \" is never closed".into()),
            }
        }
    }

    /// Reads a backslash outside of quotes: a continued line, or a literal letter.
    fn escaped(&mut self) {
        match self.letters.next() {
            None | Some('\n') => {}
            Some('\r') if self.letters.peek() == Some(&'\n') => {
                self.letters.next();
            }
            Some(letter) => self.push(letter),
        }
    }

    fn dollar(&mut self) -> Result<(), String> {
        match self.letters.next_if_eq(&'\'') {
            Some(_) => self.ansi_quoted(),
            None => {
                self.variable();
                Ok(())
            }
        }
    }

    /// `$NAME`, `${NAME}`, or a dollar.
    fn variable(&mut self) {
        let braced = self.letters.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(letter) =
            self.letters.next_if(|next| next.is_ascii_alphanumeric() || *next == '_')
        {
            name.push(letter);
        }
        let closed = !braced || self.letters.next_if_eq(&'}').is_some();
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let text = if is_name && closed {
            format!("{{{{ env.{name} }}}}")
        } else {
            format!("${}{name}", if braced { "{" } else { "" })
        };
        self.word.get_or_insert_default().push_str(&text);
    }

    /// `$'…'`, the form in which browsers copy special letters.
    fn ansi_quoted(&mut self) -> Result<(), String> {
        self.word.get_or_insert_default();
        loop {
            match self.letters.next() {
                Some('\'') => return Ok(()),
                Some('\\') => self.ansi_escape()?,
                Some(letter) => self.push(letter),
                None => return Err("a $' is never closed".into()),
            }
        }
    }

    fn ansi_escape(&mut self) -> Result<(), String> {
        let letter = self.letters.next().ok_or("a $' is never closed")?;
        let letter = match letter {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            other => other,
        };
        self.push(letter);
        Ok(())
    }

    fn code(&mut self, count: usize) -> Result<char, String> {
        let mut digits = String::new();
        while digits.len() < count {
            match self.letters.next_if(char::is_ascii_hexdigit) {
                Some(digit) => digits.push(digit),
                None => break,
            }
        }
        let code = u32::from_str_radix(&digits, 16).ok();
        code.and_then(char::from_u32).ok_or_else(|| format!("\\{digits} is not a letter"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        for (text, expected) in [
            ("curl  'a b' \"c d\" e\\ f", vec!["curl", "a b", "c d", "e f"]),
            ("curl \\\n  -X POST \\\r\n u", vec!["curl", "-X", "POST", "u"]),
            ("a'b'\"c\"''", vec!["abc"]),
            ("'' \"\"", vec!["", ""]),
            (
                "\"a \\\"b\\\" \\n $X\" '$X' \\$X $",
                vec!["a \"b\" \\n {{ env.X }}", "$X", "$X", "$"],
            ),
            ("-u \"$SID:${TOKEN}\" $1", vec!["-u", "{{ env.SID }}:{{ env.TOKEN }}", "$1"]),
            ("$'it\\'s\\n\\u00e9\\x41'", vec!["it's\né\u{41}"]),
            ("a # b\nc#d", vec!["a", "c#d"]),
            ("'{{ id }}' {{x}}", vec!["{{ id }}", "{{x}}"]),
            (
                "u/{{ id }}?a={{ b | join(',') }} {d} {",
                vec!["u/{{ id }}?a={{ b | join(',') }}", "{d}", "{"],
            ),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        for text in ["'a", "\"a", "$'a", "{{ a }", "curl x | jq .", "a > b"] {
            words(text).unwrap_err();
        }
    }
}
