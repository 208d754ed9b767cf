//! Jobs whose text a stranger has written.

use std::sync::Mutex;

use throng::JobBuilder;
use throng_mock::Settings;

use crate::api::{Item, failure, server};

/// The variables that the program was asked for.
static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn foreign(text: &str) -> JobBuilder {
    JobBuilder::parse("theirs.toml", text).sandboxed()
}

#[test]
fn a_command_of_a_stranger_does_not_run_and_no_file_of_the_machine_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let command = format!("secrets.key = 'command:touch {}'\n", made.display());
    let helper = |key: &str| format!("{key} = 'touch {}'\n", made.display());
    let (process, render) = (helper("process"), helper("render"));
    let url = "request.url = 'https://api.example/{{ id }}'\n";
    for (text, key) in [
        (command.as_str(), "secrets"),
        (process.as_str(), "process"),
        (render.as_str(), "render"),
        ("secrets.key = 'file:/etc/passwd'", "secrets"),
        ("request.body-file = '/etc/passwd'", "request.body-file"),
        ("input.file = '/etc/passwd'", "input"),
        ("output.file = 'out.jsonl'", "output"),
        ("network.proxy = 'http://127.0.0.1:1'", "network"),
        ("auth = { kind = 'oauth2', refresh-token = 'file:/etc/passwd' }", "a secret"),
    ] {
        let job = foreign(&format!("{url}{text}")).rows([Item { id: 1 }]).build();
        let error = job.err().unwrap().to_string();
        assert!(error.starts_with(key) && error.contains("sandboxed"), "{error}");
    }
    assert!(!made.exists());
}

#[test]
fn the_environment_has_no_variable_for_a_stranger() {
    let job = JobBuilder::parse("theirs.toml", "request.url = 'https://h.example/{{ env.HOME }}'");
    let of_program = |name: &str| {
        ASKED.lock().unwrap().push(name.to_owned());
        Some("a value".to_owned())
    };
    let error = job.environment(of_program).sandboxed().build().err().unwrap().to_string();
    assert!(error.contains("HOME"), "{error}");
    assert!(ASKED.lock().unwrap().is_empty());
}

#[test]
fn no_private_address_is_reached_by_whatever_name() {
    let server = server(Settings::default());
    let url = server.url();
    for host in [url.clone(), url.replace("127.0.0.1", "localhost")] {
        let text = format!("request.url = '{host}/{{{{ id }}}}'\nretry.retries = 0\n");
        let allowing = "request.allow-host = ['127.0.0.1', 'localhost']";
        for text in [text.clone(), text.clone() + allowing] {
            let plan = foreign(&text).rows([Item { id: 1 }]).build().unwrap();
            let records: Vec<_> = plan.into_stream().blocking().collect();
            match &records[..] {
                [Ok(record)] => assert!(failure(record).1.contains("sandboxed"), "{record:?}"),
                [Err(error)] => assert!(error.to_string().contains("sandboxed"), "{error}"),
                _ => panic!("{records:?}"),
            }
        }
    }
    assert_eq!(server.judgement().requests, 0);
    // The program itself may allow it.
    let text = format!("request.url = '{url}/{{{{ id }}}}'");
    let open = foreign(&text).set("network.allow-private", true).rows([Item { id: 1 }]);
    assert_eq!(open.build().unwrap().into_stream().blocking().filter(|it| it.is_ok()).count(), 1);
}
