//! Where a secret is read. [door: files, commands]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Secret;

/// More than this is no secret, in bytes.
const LONGEST: usize = 64 * 1024;

/// A place that has the current value.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// A file's contents, without the last line break.
    File(PathBuf),
    /// What a shell command prints, without the last line break.
    Command(String),
}

impl Source {
    /// `file:PATH` or `command:TEXT`.
    pub fn parse(text: &str) -> Result<Source, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Source::File(path.into())),
            Some(("command", command)) if !command.trim().is_empty() => {
                Ok(Source::Command(command.into()))
            }
            _ => Err("write \"file:PATH\" or \"command:TEXT\"; a variable of the environment is {{ env.NAME }}".into()),
        }
    }

    /// The value that it has now.
    pub fn read(&self) -> Result<Secret, String> {
        let text = match self {
            Source::File(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("{} can't be read: {error}", path.display()))?,
            Source::Command(command) => printed_by(command)?,
        };
        let text = text.trim_end_matches(['\n', '\r']);
        match text.len() {
            0 => Err(format!("{} gives nothing", self.name())),
            LONGEST.. => Err(format!("{} gives more than 64 KiB", self.name())),
            _ => Ok(Secret::new(text)),
        }
    }

    fn name(&self) -> String {
        match self {
            Source::File(path) => path.display().to_string(),
            Source::Command(command) => format!("the command {command:?}"),
        }
    }
}

/// Its complaints go to the terminal: it may have to ask for something.
fn printed_by(command: &str) -> Result<String, String> {
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("the command {command:?} can't be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("the command {command:?} failed: {}", output.status));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| format!("the command {command:?} printed what is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        Ok(Source::parse(text)?.read()?.expose().to_owned())
    }

    #[test]
    fn commands_and_files_are_read_without_their_last_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "of a file\r\n").unwrap();
        assert_eq!(
            read(&format!("file:{}", path.display())).unwrap(),
            "of a file"
        );
        assert_eq!(read("command:echo a; echo b").unwrap(), "a\nb");
    }

    #[test]
    fn what_gives_none_says_why() {
        for (text, why) in [
            ("XAPIKEY", "write \"file:PATH\" or \"command:TEXT\""),
            ("file:/no/such/file", "can't be read"),
            ("command:exit 3", "failed: exit status: 3"),
            ("command:true", "gives nothing"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
