//! Mistakes in the rows, and in what is asked of them.

use super::Good;
use crate::harness::run;

#[test]
fn a_file_that_is_not_there() {
    let good = Good::new();
    let none = good.place.path("none.toml");
    good.refuses(run().flags(&none), &["none.toml", "can't be read"]);
    let row = good.place.path("row.csv");
    let throng = run().quotes(&good.mock.url()).arg("--input", &row);
    let nearby = format!("is it {}?", good.place.path("rows.csv"));
    good.refuses(throng, &["cannot open", "row.csv", &nearby]);
}

#[test]
fn a_bad_line_of_the_input_is_told_with_its_number() {
    let good = Good::new();
    for (name, text, line) in [
        ("bad.csv", "symbol,b\nA,1\nB,2\nC\nD,4\n", "bad.csv, line 4:"),
        ("bad.jsonl", "{\"symbol\":1}\n{\"symbol\":\n", "bad.jsonl, line 2"),
        ("bad.json", "[{\"symbol\":1},\n{\"symbol\" 2}]", "bad.json, line 2"),
        ("empty.csv", "", "empty.csv is empty"),
    ] {
        let input = good.place.file(name, text);
        let throng = run().quotes(&good.mock.url()).arg("--input", &input);
        good.refuses(throng, &[line]);
    }
}

#[test]
fn a_bad_line_of_a_pipe_stops_the_run_and_keeps_what_is_done() {
    let good = Good::new();
    let throng = run().quotes(&good.mock.url()).flags("--input - --format csv");
    let ended = throng.with_stdin("symbol,b\nA,1\nB,2\nC\nD,4\n").ends().with_code(3);
    ended.says("standard input, line 4:");
    assert!(ended.records().len() <= 2);
}

#[test]
fn a_field_that_the_input_has_not() {
    let good = Good::new();
    let throng = good.run().arg("--query", "symbols={{ symbl }}");
    good.refuses(throng, &["symbl", "rows.csv", "did you mean \"symbol\"?"]);
    let throng = good.run().arg("--header", "x-id: {{ quite_other }}");
    good.refuses(throng, &["quite_other", "there are: symbol"]);
    let throng = good.run().arg("--header", "x-id: {{ Symbol }}");
    good.refuses(throng, &["did you mean \"symbol\"?"]);
    let other = good.place.file("other.csv", "id;symbol\n1;A\n");
    let throng = run().quotes(&good.mock.url()).arg("--input", &other).flags("--delimiter ,");
    good.refuses(throng, &["there is only \"id;symbol\"", "with --delimiter"]);
}
