#!/usr/bin/env bash
# Peak memory must not grow with the number of rows: 20,000 and 200,000 rows
# without a limit against the mock.
set -euo pipefail
cd "$(dirname "$0")/.."
throng=${THRONG:-target/release/throng}
work=$(mktemp -d)
trap 'kill $mock; rm -rf "$work"' EXIT
"$throng" mock --addr 127.0.0.1:18300 >/dev/null &
mock=$!
sleep 1
echo "| rows | peak memory (KiB) | seconds | CPU seconds |"
echo "|---|---|---|---|"
for rows in 20000 200000 20000 200000; do
    { echo symbol; seq -f 'S%.0f' "$rows"; } >"$work/rows.csv"
    /usr/bin/env time -f "| $rows | %M | %e | %U + %S |" "$throng" run --quiet \
        --url 'http://127.0.0.1:18300/v6/finance/quote/?symbols={{ symbol }}' -i "$work/rows.csv" \
        -e price=.quoteResponse.result[0].regularMarketPreviousClose -s 'mean(price)' \
        -o "$work/out.jsonl" --overwrite 2>&1
done
