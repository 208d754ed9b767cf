//! Names of files and columns: neither rows nor servers give any.

use crate::harness::{Place, run, throng};
use crate::recorder::{Recorder, answer};

#[test]
fn row_16_no_file_is_named_by_a_row_or_a_server() {
    let place = Place::new();
    let headers = [
        ("content-disposition", "attachment; filename=\"../evil\""),
        ("content-location", "/tmp/../evil"),
        ("content-type", "application/octet-stream; name=evil"),
    ];
    let server = Recorder::answering(move |_| answer("200 OK", &headers, "evil"));
    std::fs::create_dir(place.path("within")).unwrap();
    let input = place.file("within/rows.csv", "id,../evil,CON\n../evil,/etc/evil,NUL\nevil,b,c\n");
    run()
        .arg("--url", &format!("{}/{{{{ id }}}}", server.url()))
        .arg("--input", &input)
        .arg("--output", &place.path("within/out.jsonl"))
        .in_directory(&place.path("within"))
        .exits(0);
    assert_eq!(server.came().len(), 2);
    let names = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(place.path(folder)).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> =
            entries.map(|entry| name(entry).into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["within"]);
    let within = names("within");
    let is_known = |name: &String| name == "rows.csv" || name.contains("out.jsonl");
    assert!(within.iter().all(is_known), "{within:?}");
}

#[test]
fn row_21_a_column_is_a_name_and_nothing_else() {
    let (place, server) = (Place::new(), Recorder::start());
    let evil = "a\"; drop table results; --";
    let row = serde_json::json!({ evil: "x'); drop table results; --", "id": 1 });
    let input = place.file("rows.jsonl", &format!("{row}\n"));
    let (table, back) = (place.path("out.db"), place.path("back.jsonl"));
    run()
        .arg("--url", &format!("{}/{{{{ id }}}}", server.url()))
        .arg("--input", &input)
        .arg("--output", &table)
        .exits(0);
    throng("convert").flags(&table).flags(&back).exits(0);
    let records = place.records("back.jsonl");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0][evil], "x'); drop table results; --");
}
