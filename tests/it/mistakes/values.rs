//! Mistakes in what a job or a flag says.

use super::Good;
use crate::harness::{run, throng};

#[test]
fn a_key_that_no_job_has() {
    let good = Good::new();
    let toml = good.job("job.toml", "[limit]\nraet = \"1/1s\"\n");
    good.refuses(toml, &["job.toml, line 6:", "`raet`", "did you mean `rate`?"]);
    let json = good.place.file("job.json", "{\n\"inputs\": {}}");
    let said = ["job.json, line 2", "`inputs`", "did you mean `input`?"];
    good.refuses(run().flags(&json), &said);
}

#[test]
fn a_rate_that_is_none() {
    let good = Good::new();
    for (rate, why) in [
        ("0/5s", "would never send"),
        ("often", "N/PERIOD"),
        ("22/5 parsecs", "not a period"),
        ("22/0s", "between 1ms and 400d"),
    ] {
        good.refuses(good.run().arg("--rate", rate), &[rate, why]);
        let file = format!("[limit]\nrate = \"{rate}\"\n");
        good.refuses(good.job("job.toml", &file), &["line 6", rate, why]);
    }
    for flags in ["--workers 0", "--concurrency 0"] {
        good.refuses(good.run().flags(flags), &["nothing would be sent"]);
    }
}

#[test]
fn a_variable_that_is_not_set() {
    let good = Good::new();
    let throng = good.run().arg("--header", "x-api-key: {{ env.XAPIKEY }}");
    good.refuses(throng, &["XAPIKEY is not set", "export XAPIKEY="]);
}

#[test]
fn a_template_that_does_not_parse() {
    let good = Good::new();
    let throng = good.run().arg("--query", "symbols={{ symbol }");
    good.refuses(throng, &["{{ symbol }", "does not parse"]);
}

#[test]
fn a_template_that_no_row_can_fill_in() {
    let good = Good::new();
    for (text, why) in [
        ("{{ symbol | uper }}", "filter uper is unknown"),
        ("{{ env }}", "write {{ env.NAME }}"),
        ("{{ key }}", "a field of the rows that is called key needs another name"),
    ] {
        good.refuses(good.run().arg("--header", &format!("x: {text}")), &[why]);
    }
}

#[test]
fn a_program_that_is_not_jq() {
    let good = Good::new();
    let throng = good.run().arg("--extract", "bid=.a[");
    good.refuses(throng, &["extract.bid (--extract)", "it ends where"]);
    let throng = good.run().arg("--extract", "bid=path");
    good.refuses(throng, &["extract.bid (--extract)", "the value of a key is .path"]);
    let throng = good.run().flags("--extract bid=.a --extract bid=.b");
    good.refuses(throng, &["extract.bid (--extract)", "more than once"]);
    let throng = good.run().arg("--extract", "bid=.a | no_such");
    good.refuses(throng, &["extract.bid (--extract)", "no_such"]);
    let throng = good.run().arg("--extract", "symbol=.a");
    good.refuses(throng, &["symbol", "the rows have a field of that name already"]);
}

#[test]
fn a_summary_of_nothing() {
    let good = Good::new();
    let throng = good.run().arg("--summarize", "mean(prise)");
    good.refuses(throng, &["\"prise\"", "did you mean \"price\"?"]);
    let throng = good.run().arg("--summarize", "avg(price)");
    good.refuses(throng, &["avg", "did you mean mean?"]);
}

#[test]
fn a_url_that_is_none() {
    let good = Good::new();
    let input = good.place.path("rows.csv");
    for (url, why) in [
        ("ftp://h/", "must begin with https:// or http://"),
        ("http:///{{ symbol }}", "names no host"),
        ("http://me:pw@h/", "use a header instead"),
        ("http://h/{symbol}", "the row's value is {{ symbol }}"),
        ("http://h/{ symbol }", "in two braces, {{ id }}"),
        ("http://h/a b", "is not a URL: invalid uri character"),
    ] {
        good.refuses(run().arg("--url", url).arg("--input", &input), &[why]);
    }
    good.refuses(run().arg("--input", &input), &["no URL", "--url"]);
    good.refuses(run().flags("--url http://127.0.0.1:1/{{symbol}}"), &["no input", "--input"]);
}

#[test]
fn flags_that_are_none_or_not_for_each_other() {
    let good = Good::new();
    good.refuses(good.run().flags("--rates 1/1s"), &["--rates", "--rate"]);
    good.refuses(good.run().flags("--resume --overwrite"), &["--overwrite"]);
    good.refuses(good.run().flags("--header nothing"), &["Name: value"]);
    good.refuses(good.run().flags("--mode fast"), &["fast", "sync"]);
    good.refuses(throng("runn"), &["runn", "run"]);
}

#[test]
fn a_name_that_nothing_has_where_there_are_no_rows() {
    let good = Good::new();
    let list = || {
        run()
            .arg("--url", &format!("{}/list/9", good.mock.url()))
            .flags("--each .items[] --extract id=.id")
    };
    good.refuses(list().flags("--summarize count(ids)"), &["\"ids\"", "did you mean \"id\"?"]);
    let job = format!(
        "[request]\nurl = \"{0}/list/9\"\n[items]\neach = \".items[]\"\n[extract]\nid = \".id\"\n\
         [[step]]\nrequest.url = \"{0}/detail/{{{{ idd }}}}\"\n",
        good.mock.url()
    );
    let job = good.place.file("chain.toml", &job);
    let said = ["step 2 uses {{ idd }}", "did you mean \"id\"?"];
    good.refuses(run().flags(&job), &said);
}
