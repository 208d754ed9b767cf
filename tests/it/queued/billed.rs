//! The bill of a run whose rows are done by workers of other processes.

use super::{Machines, end};
use crate::bill::{bill, billed, prompts};
use crate::harness::{run, throng};

#[test]
fn the_bill_has_what_all_workers_have_spent() {
    let machines = Machines::new(0, "200/1s", "5ms");
    let job = prompts(&machines.place, &machines.mock, 120);
    let url = machines.redis.url();
    let ask = || run().operand(&job).arg("--rate", "200/1s").arg("--on", &url);
    let refused = ask().flags("--budget 1usd").exits(2);
    refused.says("a budget is kept on one machine, or by shards (--shard)");
    let workers = machines.workers(2);
    ask().arg("--summary-json", &machines.place.path("summary.json")).exits(0);
    let is_billed = |usd: f64| (usd - billed(&machines.mock)).abs() < 1e-9;
    let said = bill(&machines.place);
    assert!(is_billed(said["usd"].as_f64().unwrap()), "{said}");
    assert_eq!(said["unsettled_requests"], 0);
    assert_eq!(
        machines.mock.judgement().usage.prompt_tokens,
        said["units"]["input_tokens"]["units"]
    );
    // A command that collects has the prices from the store.
    let submit = throng("submit").operand(&job).arg("--rate", "200/1s").arg("--on", &url);
    submit.flags("--name again").exits(0);
    let before = billed(&machines.mock);
    let collect = throng("collect").operand(&url).operand("again").flags("--overwrite");
    collect.arg("-o", &machines.place.path("again.jsonl")).exits(0).says("bill: ");
    assert!(billed(&machines.mock) > 1.9 * before);
    end(workers);
}
