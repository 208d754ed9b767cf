//! The pages of docs/: they are a book, their links lead somewhere, and their commands are right.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Place, plain_mock, throng};
use crate::recipes::{blocks, shell, with_address};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages of the book, and the README.
fn pages() -> Vec<(PathBuf, String)> {
    let files = std::fs::read_dir(root().join("docs")).unwrap();
    let files = files.map(|file| file.unwrap().path()).chain([root().join("README.md")]);
    let pages = files.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The places that a page links to.
fn links(page: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut is_code = false;
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        let parts = line.split("](").skip(1).filter(|_| !is_code);
        links.extend(parts.filter_map(|part| Some(part.split_once(')')?.0)));
    }
    links
}

/// The anchors of a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| Some(line.split_once("# ")?.1));
    let is_kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
    headings
        .map(|it| it.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-"))
        .collect()
}

#[test]
fn each_link_leads_to_a_page_and_a_heading() {
    for (path, page) in pages() {
        for link in links(&page).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            assert!(file.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let anchors = anchors(&std::fs::read_to_string(file).unwrap());
                assert!(anchors.contains(anchor), "{}: {link} of {anchors:?}", path.display());
            }
        }
    }
}

#[test]
fn each_page_is_in_the_book_which_is_built() {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed = links(&summary);
    for (path, _) in pages() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_one = listed.contains(&name) || ["README.md", "SUMMARY.md"].contains(&name);
        assert!(is_one, "docs/{name} is not in docs/SUMMARY.md");
    }
    let place = Place::new();
    // tests/servers/install has made it.
    let output = Command::new(root().join("target/servers/bin/mdbook"))
        .args(["build", "--dest-dir", &place.path("book")])
        .arg(root().join("docs"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("WARN"), "{said}");
    assert!(place.read("book/start.html").contains("One way through all of it"));
}

/// The files that the commands of the pages name.
fn files(place: &Place, address: &str) {
    let rows = "id,symbol,repo\n1,S1,a/b\n2,S2,c/d\n";
    for name in ["ids.csv", "tickers.csv", "repos.csv", "reports.csv"] {
        place.file(name, rows);
    }
    let url = format!("{address}/detail/{{{{ id }}}}");
    let job = format!(
        "[input]\nfile = 'ids.csv'\n[request]\nurl = '{url}'\n[extract]\nprice = '.price'\n"
    );
    place.file("job.toml", &job);
    // The job after its program was mended.
    let mended = job.replace("'.price'", "'.quote.price'");
    place.file("quotes.toml", &format!("{mended}[output]\nfile = 'quotes.jsonl'\n"));
    let chain = std::fs::read_to_string(root().join("examples/chain.toml")).unwrap();
    std::fs::create_dir(place.path("examples")).unwrap();
    place.file("examples/chain.toml", &with_address(&chain, address));
    place.file("batch.jsonl", "{\"method\": \"GET\", \"url\": \"/detail/1\"}\n");
    place.file("command.sh", "curl https://api.example/v1/items/1");
    place.file(
        "api.yaml",
        "openapi: 3.0.0\npaths:\n  /items:\n    get:\n      operationId: listItems\n",
    );
    place.file(
        "config.json",
        &format!(
            "{{\"base_url\": \"{address}/v6/finance/quote/\", \"params_for_api_request\": {{\"region\": \"US\"}}, \"list_of_api_requests\": [\"S1\", \"S2\"]}}"
        ),
    );
}

/// What an earlier run has written, for commands that go on from there.
fn results(place: &Place) {
    for name in ["quotes.jsonl", "quotes.db"] {
        let run = throng("run").in_directory(&place.path("")).arg("--output", name);
        run.arg("--keep-body", "all").flags("job.toml --allow-private").exits(0);
    }
}

/// A run that begins anew has no results.
fn forget_results(place: &Place) {
    for file in std::fs::read_dir(place.path("")).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("quotes.jsonl") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

fn is_new_run(command: &str) -> bool {
    command.starts_with("throng run ") && !command.contains("--resume")
}

/// Each line with one command; a line that ends in a backslash goes on in the next one. A line
/// with `…` is no whole command.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().filter(|line| line.starts_with("throng ") && !line.contains('…'));
    lines.map(str::to_owned).collect()
}

#[test]
fn no_command_of_a_page_is_wrong() {
    let mock = plain_mock();
    let mut seen = 0;
    for (path, page) in pages() {
        let name = path.file_name().unwrap().to_str().unwrap();
        // These are run as a whole, and their output is compared.
        if ["recipes.md", "README.md", "SUMMARY.md"].contains(&name) {
            continue;
        }
        for block in blocks(&page).iter().filter(|block| block.language == "sh") {
            let place = Place::new();
            files(&place, &mock.url());
            let commands = commands(block.text);
            if commands.first().is_some_and(|first| !is_new_run(first)) {
                results(&place);
            }
            for command in commands {
                if is_new_run(&command) {
                    forget_results(&place);
                }
                let command = with_address(&command, &mock.url());
                let command = command.replace("throng init job.toml", "throng init new.toml");
                let command = command.replace("-o quotes.jsonl", "-o new.jsonl");
                let (_, said) =
                    shell(&place, &format!("timeout 5 {command}\necho \"ends with $?\" >&2"));
                let code = said.trim_end().rsplit(' ').next().unwrap();
                // 2: the command or its job is wrong.
                assert_ne!(code, "2", "docs/{name}: {command}: {said}");
                if command.contains(" init ") {
                    std::fs::remove_file(place.path("new.toml")).unwrap();
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 25, "{seen}");
}
