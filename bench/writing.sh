#!/usr/bin/env bash
# What writing costs: the same job to each kind of output, in rows per second and
# in CPU per row; and how long `--resume` takes to begin after very many rows.
#
#   bench/writing.sh [rows, default 100000] [finished rows to resume, default 10000000]
set -euo pipefail
cd "$(dirname "$0")/.."
rows=${1:-100000}
many=${2:-10000000}
cargo build --release --quiet
throng=$(realpath target/release/throng)

place=$(mktemp -d)
trap 'kill $mock 2>"$place/ended" || true; rm -rf "$place"' EXIT
"$throng" mock --addr 127.0.0.1:18556 >"$place/mock.log" &
mock=$!
cd "$place"
{ echo symbol; seq -f 'S%.0f' 0 $((rows - 1)); } >rows.csv
until grep -q 'a quote API' mock.log; do sleep 0.05; done
job=(--url http://127.0.0.1:18556/v6/finance/quote/ -q 'symbols={{ symbol }}' --quiet
    -e 'price=.quoteResponse.result[0].regularMarketPreviousClose' -e 'name=.quoteResponse.result[0].longName')

echo "output             rows/s   CPU us/row   peak KB      bytes"
for out in /dev/null out.jsonl out.csv out.jsonl.zst out.csv.gz out.parquet parts out.db; do
    format=()
    [ "$out" = /dev/null ] && format=(--output-format jsonl)
    [ "$out" = parts ] && format=(--parts=30000)
    /usr/bin/time -o time -f '%e %U %S %M' "$throng" run "${job[@]}" -i rows.csv -o "$out" "${format[@]}"
    read -r seconds user system peak <time
    bytes=$(du -bc "$out" | tail -n 1 | cut -f 1)
    awk -v n="$rows" -v e="$seconds" -v u="$user" -v s="$system" -v m="$peak" -v o="$out" -v b="$bytes" \
        'BEGIN { printf "%-16s %8.0f %12.1f %9d %10d\n", o, n / e, (u + s) / n * 1e6, m, b }'
done

{ echo symbol; seq -f 'S%.0f' 0 $((many + 999)); } >rows.csv
head -n $((many + 1)) rows.csv | tail -n "$many" | awk '{ printf "{\"symbol\":\"%s\",\"price\":1.5,\"name\":\"x\",\"_row\":%d,\"_ok\":true,\"_status\":200,\"_error\":null,\"_detail\":null,\"_attempts\":1,\"_ms\":0.4}\n", $1, NR - 1 }' >many.jsonl
"$throng" run "${job[@]}" -i rows.csv -o many.jsonl --resume 2>said
"$throng" convert many.jsonl many.parquet 2>said
for end in 2000 3000; do
    seq -f 'S%.0f' $((many + end - 1000)) $((many + end - 1)) >>rows.csv
done
/usr/bin/time -o time -f '%e %M' "$throng" run "${job[@]}" -i rows.csv -o many.jsonl --resume --summary-json summary.json
read -r seconds peak <time
echo "resume after $many rows: $seconds s from start to end, 2000 rows asked; peak $peak KB"

# The same job had these records, so they need not be compared with the input.
mkdir many && mv many.parquet many/part-000000.parquet && cp many.jsonl.throng many.throng
/usr/bin/time -o time -f '%e %M' "$throng" run "${job[@]}" -i rows.csv -o many --parts --resume 2>said
read -r seconds peak <time
echo "the same after parts: $seconds s; peak $peak KB"
