//! Help, completions and the manual, which have the same flags; and what is said of a flag
//! that there is not.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Place, plain_mock, run, throng};

fn help(words: &str) -> String {
    let mut words = words.split_whitespace();
    let command = throng(words.next().unwrap());
    words.fold(command, |command, word| command.flags(word)).exits(0).stdout
}

/// Names of the flags that a page of help has.
fn flags(page: &str) -> Vec<&str> {
    let flags = page.lines().filter_map(|line| {
        let flag = line.trim_start();
        let flag =
            flag.split_once(", ").filter(|(short, _)| short.len() == 2).map_or(flag, |it| it.1);
        flag.strip_prefix("--")?.split([' ', '[', '=']).next()
    });
    flags.collect()
}

#[test]
fn the_commonest_flags_fill_a_screen_or_two_and_the_rest_has_topics() {
    let (common, all) = (help("run --help"), help("run --help all"));
    assert!(common.lines().count() <= 80, "{} lines", common.lines().count());
    for flag in flags(&common) {
        assert!(flags(&all).contains(&flag), "{flag}");
    }
    for flag in ["rate", "input", "output", "extract", "resume"] {
        assert!(flags(&common).contains(&flag), "{flag}");
    }
    assert!(flags(&all).len() > 80 && !flags(&common).contains(&"skew"));
    let of_topics = ["input", "request", "authentication", "limits", "workers", "network", "tls"]
        .into_iter()
        .chain(["retries", "values", "helpers", "items", "ask once", "output", "machines", "show"])
        .map(|topic| help(&format!("help run {topic}")))
        .collect::<String>();
    for flag in flags(&all) {
        assert!(flags(&of_topics).contains(&flag) || flag == "help", "{flag} has no topic");
    }
    assert!(help("help limits").contains("-r bucket:10/1s --burst 40"));
    assert_eq!(flags(&help("run --help skew")), ["skew"]);
    let ended = throng("run").flags("--help nothing").exits(2);
    ended.says("there is no help on \"nothing\"").says("limit");
}

#[test]
fn a_command_without_a_run_takes_every_flag_of_one() {
    let (place, mock) = (Place::new(), plain_mock());
    for (command, own) in [("plan", ""), ("simulate", "--latency 1ms"), ("try", "--row 1")] {
        let ended = throng(command)
            .quotes(&mock.url())
            .files(&place, 3, "out.jsonl")
            .flags("--rate 9/1s --progress none --workers 1 --take 2")
            .arg("--summary-json", &place.path("summary.json"))
            .flags(own)
            .exits(0);
        assert!(!ended.stdout.is_empty(), "{command}");
        assert!(!std::fs::exists(place.path("summary.json")).unwrap(), "{command}");
        assert!(!help(&format!("{command} --help all")).contains("--summary-json"), "{command}");
    }
    let quiet = throng("plan").quotes(&mock.url()).files(&place, 3, "o.jsonl").flags("--quiet");
    assert_eq!(quiet.exits(0).stdout, "");
}

#[test]
fn a_flag_of_another_tool_is_answered_with_throng_s_own() {
    for (typed, said) in [
        ("run --limit 5/1s", "there is no --limit: --rate (-r) states a limit"),
        ("run job.toml --dry-run", "there is no --dry-run: `throng plan` takes the same flags"),
        ("run --output-file x.csv", "--output x.csv (-o) is the file of the records"),
        ("run --qps=10", "--rate 10/1s states a limit for each second"),
        ("run --threads 4", "--workers 4 (-w) is the number of threads"),
        ("run --token abc", "--auth kind=bearer --auth token='{{ env.TOKEN }}'"),
        ("run -L", "there is no -L: --follow 5 follows redirects"),
        ("run -k", "there is no -k: it is --insecure"),
        ("run --concurency 4", "did you mean --concurrency?"),
        ("plan --progres none", "did you mean --progress?"),
        ("run --compare", "--compare is a flag of `throng simulate`"),
        ("run ids.csv", "throng run -i ids.csv --url"),
        ("run job.toml ids.csv", "ids.csv is a file of rows, which --input (-i) takes"),
        ("run https://h.example/x", "throng run --url 'https://h.example/x'"),
        ("job.toml", "throng run job.toml"),
        ("runn", "did you mean run?"),
        ("run -r 300/1M", "did you mean minutes, \"1m\"?"),
    ] {
        let mut words = typed.split(' ');
        let command = throng(words.next().unwrap());
        words.fold(command, |command, word| command.flags(word)).exits(2).says(said);
    }
}

/// Runs a shell with this script. Returns its output.
fn shell(name: &str, script: &str) -> String {
    let mut shell = Command::new(name);
    // Without the files of whoever runs the tests.
    shell.env_clear().env("HOME", "/nonexistent").env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn bash_completes_commands_flags_values_and_files() {
    let script = help("completions bash");
    let place = Place::new();
    place.file("rows.csv", "id\n1\n");
    let complete = |words: &str, place: &Place| {
        let last = words.split(' ').count() - 1;
        let words: Vec<String> = words.split(' ').map(|word| format!("'{word}'")).collect();
        let go = format!(
            "{script}\ncd {}\nCOMP_WORDS=({})\nCOMP_CWORD={last}\n_throng throng \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{}]}}\" 2>/dev/null\necho \"${{COMPREPLY[*]}}\"\n",
            place.path(""),
            words.join(" "),
            last - 1,
        );
        shell("bash", &go)
    };
    for (words, offered) in [
        ("throng sim", "simulate"),
        ("throng run --conc", "--concurrency"),
        ("throng plan --progress n", "none"),
        ("throng run --api github:", "github:anonymous"),
        ("throng run --input ro", "rows.csv"),
        ("throng run --guard a", "acked"),
    ] {
        let completed = complete(words, &place);
        assert!(completed.contains(offered), "{words}: {completed:?}");
    }
}

#[test]
fn fish_and_zsh_read_their_completions() {
    let place = Place::new();
    let fish = place.file("throng.fish", &help("completions fish"));
    let said = shell("fish", &format!("source {fish}\ncomplete -C 'throng run --progress '\n"));
    assert!(said.lines().any(|line| line.starts_with("none")), "{said}");
    place.file("_throng", &help("completions zsh"));
    let script = format!(
        "fpath=({} $fpath)\nautoload -Uz compinit && compinit -D -u\nprint ${{_comps[throng]}}\nautoload +X _throng && print read\n",
        place.path("")
    );
    assert_eq!(shell("zsh", &script), "_throng\nread\n");
    assert!(help("completions powershell").contains("'--concurrency'"));
}

#[test]
fn each_command_has_a_page_of_the_manual_with_its_flags() {
    let place = Place::new();
    throng("man").arg("--dir", &place.path("man1")).exits(0);
    let page = std::fs::read_to_string(place.path("man1/throng-run.1")).unwrap();
    assert_eq!(page, help("man run"));
    for flag in flags(&help("run --help all")) {
        assert!(page.contains(&format!("\\-\\-{}", flag.replace('-', "\\-"))), "{flag}");
    }
    for command in ["", "-plan", "-report", "-mock", "-completions"] {
        assert!(std::fs::exists(place.path(&format!("man1/throng{command}.1"))).unwrap());
    }
    throng("man").flags("nothing").exits(2).says("the commands are run, plan");
}

#[test]
fn the_mock_lists_its_routes() {
    let mock = plain_mock();
    let listed = run()
        .arg("--url", &format!("{}/", mock.url()))
        .flags("--answer-format text --extract all=.")
        .exits(0)
        .records();
    let listed = listed[0]["all"].as_str().unwrap();
    assert!(listed.contains("/v6/finance/quote/?symbols=A,B") && listed.contains("/list/{total}"));
    assert!(help("mock --help").contains("/list/{total}"));
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn a_demo_writes_where_its_user_can_and_says_that_its_failures_are_planted() {
    let place = Place::new();
    let ended = throng("demo").flags("--progress none").env("TMPDIR", &place.path("")).exits(0);
    ended.says("failed rows are planted").says("--failed");
    let mut folders = std::fs::read_dir(place.path("")).unwrap();
    let folder = folders.next().unwrap().unwrap().file_name().into_string().unwrap();
    assert!(folder.starts_with("throng-demo-"), "{folder}");
    assert!(place.records(&format!("{folder}/quotes.jsonl")).len() == 500);
}
