#!/usr/bin/env bash
# Peak memory must not grow with the pages of a row, nor with the rows of a later
# step: 100 and 1,000 pages, 10,000 and 100,000 details, without a limit against
# the mock.
set -euo pipefail
cd "$(dirname "$0")/.."
throng=${THRONG:-target/release/throng}
work=$(mktemp -d)
trap 'kill $mock; rm -rf "$work"' EXIT
"$throng" mock --addr 127.0.0.1:18301 >/dev/null &
mock=$!
sleep 1
measure() {
    /usr/bin/env time -f "| $1 | %M | %e | %U + %S |" "$throng" run --quiet "${@:2}" \
        -o "$work/out.jsonl" --overwrite 2>&1
}
echo "| job | peak memory (KiB) | seconds | CPU seconds |"
echo "|---|---|---|---|"
for items in 10000 100000; do
    measure "a row with $((items / 100)) pages" --url "http://127.0.0.1:18301/list/$items" \
        --each '.items[]' -e id=.id --next link
    measure "the same, in parallel" --url "http://127.0.0.1:18301/list/$items" \
        --each '.items[]' -e id=.id --page page --page-count .pages
    cat >"$work/chain.toml" <<JOB
[request]
url = "http://127.0.0.1:18301/list/$items"
[items]
each = ".items[]"
[pages]
next = "link"
[extract]
id = ".id"
[[step]]
[step.request]
url = "http://127.0.0.1:18301/detail/{{ id }}"
[step.extract]
price = ".price"
JOB
    measure "a list of $items, then each detail" "$work/chain.toml"
done
