//! Answers as files: whole, under the names of their rows, and never outside of their folder.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};
use throng_mock::{Fault, Faults, Mock, Settings};

use crate::disks::with_room;
use crate::harness::{
    Place, Throng, mock, plain_mock, raw_server, repetitions, run, throng, until,
};

/// The SHA-256 of some bytes, in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names in a folder, in order.
fn names(place: &Place, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(place.path(folder)) else {
        return Vec::new();
    };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The answers of a server whose bytes are written by hand.
fn answer(path: &str) -> Vec<u8> {
    let head = |more: &str| {
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/csv\r\n{more}\r\n\r\n")
    };
    match path {
        "dl_1" => {
            let path = format!("{}/tests/cases/answers/dl_1.http", env!("CARGO_MANIFEST_DIR"));
            fs::read(path).unwrap()
        }
        "gzipped" => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            gzip.write_all(b"id,price\n1,2.5\n").unwrap();
            [head("Content-Encoding: gzip").as_bytes(), &gzip.finish().unwrap()].concat()
        }
        "half_gzip" => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            gzip.write_all(b"id,price\n1,2.5\n").unwrap();
            let half = &gzip.finish().unwrap()[..20];
            [head("Content-Encoding: gzip").as_bytes(), half].concat()
        }
        "file.gz" => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            gzip.write_all(b"packed by its author").unwrap();
            let packed = gzip.finish().unwrap();
            let length = format!("Content-Length: {}", packed.len());
            [head(&length).as_bytes(), &packed].concat()
        }
        "cut" => {
            format!("{}5\r\nhello\r\n5\r\nwo", head("Transfer-Encoding: chunked")).into_bytes()
        }
        "short" => format!("{}hello", head("Content-Length: 9")).into_bytes(),
        "chunked" => {
            let head = head("Transfer-Encoding: chunked");
            format!("{head}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").into_bytes()
        }
        "empty" => head("Content-Length: 0").into_bytes(),
        "nothing" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "named" => {
            let evil = "Content-Disposition: attachment; filename=\"../evil\"\r\nContent-Length: 2";
            format!("{}ok", head(evil)).into_bytes()
        }
        other => panic!("no answer {other}"),
    }
}

fn converse(path: &str, mut stream: TcpStream) -> Option<()> {
    stream.write_all(&answer(path)).ok()
}

/// Saves one answer, by hand, to a file with its name; gives its record.
fn save(place: &Place, name: &str, code: i32) -> Value {
    let addr = raw_server(converse);
    let ended = run()
        .arg("--url", &format!("http://{addr}/{name}"))
        .arg("--input", &place.file("rows.csv", &format!("id\n{name}\n")))
        .arg("--save", &place.path("out/{{ id }}.bin"))
        .flags("--retries 0 --progress none")
        .exits(code);
    ended.records().remove(0)
}

/// A run that saves files of the mock, by their `id`.
fn files(place: &Place, mock: &Mock, rows: &str, query: &str) -> Throng {
    run()
        .arg("--url", &format!("{}/file/{{{{ id }}}}?{query}", mock.url()))
        .arg("--input", &place.file("rows.csv", rows))
        .arg("--save", &place.path("out/{{ id }}.bin"))
        .flags("--progress none")
}

#[test]
fn bytes_are_saved_as_they_are_and_told_in_the_record() {
    let place = Place::new();
    let record = save(&place, "dl_1", 0);
    let expected: Vec<u8> = (0..=255).cycle().take(1_024).collect();
    let path = place.path("out/dl_1.bin");
    assert_eq!(fs::read(&path).unwrap(), expected);
    let told = ["_file", "_size", "_sha256", "_content_type"].map(|name| record[name].clone());
    let expected = json!([path, 1_024, sha256(&expected), "application/octet-stream"]);
    assert_eq!(json!(told), expected);
    assert!(record.get("_body").is_none(), "{record}");
    assert_eq!(names(&place, "out"), ["dl_1.bin"]);
}

#[test]
fn a_file_is_what_the_answer_is_without_its_transport() {
    let place = Place::new();
    for (name, content) in [
        ("gzipped", "id,price\n1,2.5\n"),
        ("chunked", "hello world"),
        ("empty", ""),
        ("nothing", ""),
        ("named", "ok"),
    ] {
        let record = save(&place, name, 0);
        let file = place.read(&format!("out/{name}.bin"));
        assert_eq!(file, content, "{name}");
        assert_eq!(
            (&record["_size"], &record["_sha256"]),
            (&json!(content.len()), &json!(sha256(content.as_bytes())))
        );
    }
    // What its author has compressed stays so.
    save(&place, "file.gz", 0);
    assert!(fs::read(place.path("out/file.gz.bin")).unwrap().starts_with(&[0x1f, 0x8b]));
    assert_eq!(names(&place, "").len(), 2, "no file is named by the server");
}

#[test]
fn what_is_not_whole_leaves_no_file() {
    let place = Place::new();
    for (name, error) in
        [("cut", "connection lost"), ("short", "connection lost"), ("half_gzip", "bad encoding")]
    {
        let record = save(&place, name, 1);
        assert_eq!((&record["_ok"], &record["_error"]), (&json!(false), &json!(error)), "{name}");
        assert_eq!(record["_file"], Value::Null);
        assert!(names(&place, "out").is_empty(), "{name}: {:?}", names(&place, "out"));
    }
}

#[test]
fn every_encoding_is_undone_and_a_cut_transfer_begins_anew() {
    let place = Place::new();
    let cut = mock(Settings {
        faults: Faults { rates: vec![(Fault::DropMiddle, 0.4)] },
        ..Settings::default()
    });
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        let ended =
            files(&place, &cut, "id\na\nb\nc\n", &format!("size=300000&encoding={encoding}"))
                .flags("--retries 20 --overwrite")
                .exits(0);
        for record in ended.records() {
            let id = record["id"].as_str().unwrap();
            let expected = throng_mock::file(id, 300_000);
            assert!(fs::read(place.path(&format!("out/{id}.bin"))).unwrap() == expected);
            assert_eq!(record["_sha256"], sha256(&expected), "{encoding} {id}");
        }
    }
    assert_eq!(names(&place, "out"), ["a.bin", "b.bin", "c.bin"]);
}

#[test]
fn an_answer_that_is_no_success_is_no_file() {
    let (place, mock) = (Place::new(), plain_mock());
    let rows =
        "path\nstatus/404?body=gone\necho/x\nfile/a?size=20\nstatus/200?body=%7B%22error%22:1%7D\n";
    let ended = run()
        .arg("--url", &format!("{}/{{{{ path | safe }}}}", mock.url()))
        .arg("--input", &place.file("rows.csv", rows))
        .arg("--save", &place.path("out/{{ path | replace('/', '_') }}"))
        .arg("--answer", "200 .error = fail no such file")
        .flags("--progress none")
        .exits(1);
    let records = ended.records();
    let errors: Vec<&Value> = records.iter().map(|record| &record["_error"]).collect();
    assert_eq!(json!(errors), json!(["status 404", null, null, "rule no such file"]));
    assert_eq!(records[0]["_body"], "gone");
    assert_eq!(records[3]["_body"], "{\"error\":1}");
    assert_eq!(names(&place, "out"), ["echo_x", "file_a?size=20"]);
    assert_eq!(records[2]["_size"], 20);
}

#[test]
fn a_value_that_is_no_name_fails_its_row_before_it_is_asked_for() {
    let (place, mock) = (Place::new(), plain_mock());
    let long = "x".repeat(300);
    let rows =
        format!("id,note\n../evil,1\n/etc/evil,2\n,3\n..,4\n.ssh,5\n{long},6\na\\b,7\nfine,8\n");
    let ended = files(&place, &mock, &rows, "size=10").exits(1);
    let records = ended.records();
    for record in &records[..7] {
        assert_eq!(record["_error"], "input", "{record}");
    }
    let detail = records[0]["_detail"].as_str().unwrap();
    assert!(
        detail.contains(
            "save: the field \"id\" is \"../evil\": the name of a file can't contain '/'"
        ),
        "{detail}"
    );
    assert_eq!(mock.judgement().requests, 1);
    assert_eq!(names(&place, "out"), ["fine.bin"]);
    assert_eq!(names(&place, ""), ["out", "rows.csv"]);
}

#[test]
fn no_link_leads_a_file_out_of_the_folder() {
    let (place, mock) = (Place::new(), plain_mock());
    fs::create_dir_all(place.path("out")).unwrap();
    fs::create_dir_all(place.path("elsewhere")).unwrap();
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(place.path(to), place.path(name));
    link("elsewhere", "out/away").unwrap();
    fs::write(place.path("elsewhere/kept"), "mine").unwrap();
    fs::create_dir_all(place.path("out/near")).unwrap();
    link("elsewhere/kept", "out/near/x.bin").unwrap();
    run()
        .arg("--url", &format!("{}/file/{{{{ id }}}}", mock.url()))
        .arg("--input", &place.file("rows.csv", "folder,id\naway,x\nnear,x\nnew,x\n"))
        .arg("--save", &place.path("out/{{ folder }}/{{ id }}.bin"))
        .arg("--output", &place.path("out.jsonl"))
        .flags("--progress none --overwrite")
        .exits(1);
    let records = place.records("out.jsonl");
    assert!(records[0]["_detail"].as_str().unwrap().contains("a link leads out of the folder"));
    assert_eq!(names(&place, "elsewhere"), ["kept"]);
    assert_eq!(place.read("elsewhere/kept"), "mine");
    let near = fs::symlink_metadata(place.path("out/near/x.bin")).unwrap();
    assert!(near.is_file(), "the link itself was replaced");
    assert_eq!(names(&place, "out/new"), ["x.bin"]);
}

#[test]
fn two_rows_with_one_file_are_told_also_across_a_resume() {
    let (place, mock) = (Place::new(), plain_mock());
    let output = place.path("results.csv");
    let rows = "id,n\na,1\nb,2\na,3\nb,4\n";
    let saves = |how: &str| {
        files(&place, &mock, rows, "n={{ n }}").arg("--output", &output).flags("-w 1").flags(how)
    };
    saves("--take 2").exits(0);
    let first = fs::read(place.path("out/a.bin")).unwrap();
    saves("--resume").exits(1).says("file exists");
    assert_eq!(mock.judgement().requests, 2);
    let records = converted(&place, "results.csv");
    assert_eq!(records.len(), 4);
    for record in &records[2..] {
        assert_eq!(record["_error"], "file exists");
        assert!(record["_detail"].as_str().unwrap().contains("is the file of another row"));
    }
    assert_eq!(fs::read(place.path("out/a.bin")).unwrap(), first);
    assert_eq!(names(&place, "out"), ["a.bin", "b.bin"]);
}

/// The records of a results file of any format.
fn converted(place: &Place, name: &str) -> Vec<Value> {
    let path = place.path("converted.jsonl");
    let _ = fs::remove_file(&path);
    throng("convert").flags(&place.path(name)).flags(&path).exits(0);
    place.records("converted.jsonl")
}

#[test]
fn a_file_that_was_there_stays_unless_the_run_starts_again() {
    let (place, mock) = (Place::new(), plain_mock());
    fs::create_dir(place.path("out")).unwrap();
    fs::write(place.path("out/a.bin"), "mine").unwrap();
    let ended = files(&place, &mock, "id\na\nb\n", "size=5").exits(1);
    assert_eq!(ended.records()[0]["_error"], "file exists");
    assert_eq!((place.read("out/a.bin"), mock.judgement().requests), ("mine".to_owned(), 1));
    files(&place, &mock, "id\na\nb\n", "size=5").flags("--overwrite").exits(0);
    assert_eq!(fs::read(place.path("out/a.bin")).unwrap(), throng_mock::file("a", 5));
}

#[test]
fn every_format_has_the_columns_of_the_file() {
    let mock = plain_mock();
    for name in ["r.jsonl", "r.csv", "r.parquet", "r.db"] {
        let place = Place::new();
        files(&place, &mock, "id\na\nb\n", "size=70").arg("--output", &place.path(name)).exits(0);
        for record in converted(&place, name) {
            let id = record["id"].as_str().unwrap();
            let told = ["_file", "_size", "_sha256", "_content_type"].map(|it| record[it].clone());
            let (path, bytes) = (place.path(&format!("out/{id}.bin")), throng_mock::file(id, 70));
            let expected = json!([path, 70, sha256(&bytes), "application/octet-stream"]);
            assert_eq!(json!(told), expected, "{name}");
        }
        // Results are the next input: the files are among its fields.
        let again = run()
            .arg("--url", &format!("{}/echo?{{{{ _size }}}}", mock.url()))
            .arg("--input", &place.path(name))
            .arg("--extract", "q=.query")
            .flags("--progress none")
            .exits(0);
        assert_eq!(again.records()[0]["q"], "70", "{name}");
    }
}

#[test]
fn values_of_headers_need_no_body_and_others_hold_it_in_memory() {
    let (place, mock) = (Place::new(), plain_mock());
    let big = || files(&place, &mock, "id\na\n", "size=12000000").flags("--retries 0 --overwrite");
    let ended = big().arg("--extract", "kind=$headers[\"content-type\"]").exits(0);
    assert_eq!(ended.records()[0]["kind"], "application/octet-stream");
    assert_eq!(ended.records()[0]["_size"], 12_000_000);
    let ended = big().arg("--extract", "kind?=.kind").exits(1);
    assert_eq!(ended.records()[0]["_error"], "body too large");
    let ended = big().flags("--max-body 1MiB").exits(1);
    assert_eq!(ended.records()[0]["_error"], "body too large");
    let ended = run()
        .arg("--url", &format!("{}/echo/{{{{ id }}}}", mock.url()))
        .arg("--input", &place.file("rows.csv", "id\nb\n"))
        .arg("--save", &place.path("out/{{ id }}.json"))
        .arg("--extract", "path=.path")
        .flags("--progress none")
        .exits(0);
    assert_eq!(ended.records()[0]["path"], "/echo/b");
    let saved: Value = serde_json::from_str(&place.read("out/b.json")).unwrap();
    assert_eq!(saved["path"], "/echo/b");
}

#[test]
fn the_last_step_of_a_chain_saves_and_pages_and_batches_say_why_not() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = format!(
        "save = '{}'\n[input]\nlist = [{{ total = \"3\" }}]\n[request]\nurl = \"{url}/list/{{{{ total }}}}\"\n[items]\neach = \".items[]\"\n[extract]\nitem = \".id\"\n[[step]]\n[step.request]\nurl = \"{url}/file/{{{{ item }}}}?size=9\"\n",
        place.path("out/{{ total }}-{{ item }}.bin"),
        url = mock.url()
    );
    let ended = run().flags(&place.file("job.toml", &job)).flags("--progress none").exits(0);
    let records = ended.records();
    assert_eq!((records.len(), names(&place, "out").len()), (3, 3));
    for record in records {
        let item =
            record["item"].as_str().map_or_else(|| record["item"].to_string(), str::to_owned);
        assert_eq!(record["_sha256"], sha256(&throng_mock::file(&item, 9)), "{record}");
    }
    let one = "id\na\n";
    for (flags, why) in [
        ("--next .next --extract x=.x", "save (--save) writes the one answer of a row"),
        ("--each .items[]", "save (--save) writes the one answer of a row"),
        ("--batch 2 --each .items[] --match id=.id", "asks for many rows at once"),
        ("--keep-body all", "leave one of them out"),
    ] {
        files(&place, &mock, one, "").flags(flags).exits(2).says(why);
    }
    let only = |template: &str| {
        run()
            .arg("--url", &format!("{}/file/{{{{ id }}}}", mock.url()))
            .arg("--input", &place.file("rows.csv", "id\na\nb\n"))
            .arg("--save", template)
            .exits(2)
    };
    only("out/all.bin").says("names one file for all rows");
    only("out/{{ idd }}.bin").says("did you mean \"id\"?");
    only("out/").says("names no file");
}

#[test]
fn a_plan_and_a_trial_say_where_files_go_and_write_none() {
    let (place, mock) = (Place::new(), plain_mock());
    let with = |command: &str| {
        throng(command)
            .arg("--url", &format!("{}/file/{{{{ id }}}}?size=30", mock.url()))
            .arg("--input", &place.file("rows.csv", "id\na\n"))
            .arg("--save", "out/{{ id }}.bin")
            .in_directory(&place.path(""))
    };
    let plan = with("plan").exits(0);
    assert!(
        plan.stdout.contains("files     row 0 to out/a.bin; each answer goes there as it comes"),
        "{}",
        plan.stdout
    );
    let tried = with("try").exits(0);
    assert!(
        tried.stdout.contains("a run saves the 30 bytes of the answer to out/a.bin"),
        "{}",
        tried.stdout
    );
    with("simulate").exits(0);
    assert!(names(&place, "out").is_empty());
}

#[test]
fn a_disk_that_takes_no_file_ends_the_run_and_leaves_nothing() {
    let (place, mock) = (Place::new(), plain_mock());
    let saves = |how: &str| {
        files(&place, &mock, "id\na\nb\n", "size=300000")
            .arg("--output", &place.path("r.jsonl"))
            .flags(how)
    };
    let ended = with_room(saves(""), 100_000);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    ended.says("out/").says("can't be written: File too large");
    assert!(names(&place, "out").is_empty());
    saves("").exits(0);
    assert_eq!((place.records("r.jsonl").len(), names(&place, "out").len()), (2, 2));
    run()
        .arg("--url", &format!("{}/file/{{{{ id }}}}", mock.url()))
        .arg("--input", &place.file("rows.csv", "id\na\n"))
        .arg("--save", "/proc/nowhere/{{ id }}/x")
        .exits(3)
        .says("/proc/nowhere/a/x can't be written: No such file or directory");
}

#[test]
fn killed_again_and_again_a_run_saves_every_file_once_and_whole() {
    const ROWS: usize = 60;
    const SIZE: u64 = 300_000;
    let (place, mock) = (Place::new(), plain_mock());
    let rows = (0..ROWS).fold("id\n".to_owned(), |text, n| text + &format!("f{n}\n"));
    let saves = |how: &str| {
        files(&place, &mock, &rows, &format!("size={SIZE}"))
            .arg("--output", &place.path("r.jsonl"))
            .flags("--workers 2 --concurrency 2 --rate 300/1s")
            .flags(how)
    };
    let mut how = "";
    for kill in 0..repetitions(3, 20) {
        let running = saves(how).start();
        let before = mock.judgement().requests;
        until("files", || mock.judgement().requests > before + 8 + kill as u64 % 5);
        running.signal("-KILL");
        running.ends();
        how = if fs::exists(place.path("r.jsonl")).unwrap() { "--resume" } else { "--overwrite" };
        // A record tells of a whole file.
        for record in place.records("r.jsonl").iter().filter(|record| record["_ok"] == true) {
            assert_whole(record, SIZE);
        }
    }
    saves(how).exits(0);
    let records = place.records("r.jsonl");
    assert_eq!(records.len(), ROWS);
    records.iter().for_each(|record| assert_whole(record, SIZE));
    let mut expected: Vec<String> = (0..ROWS).map(|n| format!("f{n}.bin")).collect();
    expected.sort();
    assert_eq!(names(&place, "out"), expected);
}

#[track_caller]
fn assert_whole(record: &Value, size: u64) {
    let expected = throng_mock::file(record["id"].as_str().unwrap(), size);
    assert_eq!(record["_sha256"], sha256(&expected), "{record}");
    assert!(fs::read(record["_file"].as_str().unwrap()).unwrap() == expected, "{record}");
}
