#!/usr/bin/env bash
# Kills throng at its n-th write, sync or rename, for n = 1, 2, ... (needs strace), goes on
# with --resume until the run completes, and compares the file with an undisturbed one.
#
#   bench/kill-points.sh [how many n, default 40]
set -euo pipefail
cd "$(dirname "$0")/.."
most=${1:-40}
command -v strace >/dev/null || { echo "strace is needed: apt-get install strace"; exit 1; }
throng=${THRONG:-target/release/throng}
[ -x "$throng" ] || cargo build --release --quiet
throng=$(realpath "$throng")

place=$(mktemp -d)
trap 'kill $mock 2>"$place/ended" || true; rm -rf "$place"' EXIT
"$throng" mock --addr 127.0.0.1:18555 --latency 2ms >"$place/mock.log" &
mock=$!
cd "$place"
{ echo symbol; seq -f 'S%.0f' 0 199; } >rows.csv
until grep -q 'a quote API' mock.log; do sleep 0.05; done
ask() {
    "$@" run --url http://127.0.0.1:18555/v6/finance/quote/ -q 'symbols={{ symbol }}' \
        -e 'price=.quoteResponse.result[0].regularMarketPreviousClose' -i rows.csv -o "$out" \
        --workers 2 -c 2 --quiet --sync always $how
}
facts() { "$throng" convert "$1" all.jsonl --overwrite 2>said && sed 's/"_status.*//' all.jsonl | sort; }

kills=0
for out in out.jsonl out.csv out.db out.parquet; do
    how=''
    ask "$throng"
    facts "$out" >"expected.$out"
    for call in write fdatasync fsync rename ftruncate pwrite64 unlink; do
        for n in $(seq 1 "$most"); do
            rm -f "$out"*
            # The n-th call of its kind is the last thing that throng does.
            how=''
            timeout 60 strace -f -qq -o trace -e trace="$call" -e inject="$call":signal=KILL:when="$n" \
                "$throng" run --url http://127.0.0.1:18555/v6/finance/quote/ -q 'symbols={{ symbol }}' \
                -e 'price=.quoteResponse.result[0].regularMarketPreviousClose' -i rows.csv -o "$out" \
                --workers 2 -c 2 --quiet --sync always >said 2>&1 && break
            kills=$((kills + 1))
            if [ -e "$out" ] || [ -e "$out.journal" ]; then how=--resume; fi
            ask "$throng" >said 2>&1 || { echo "$out, $call $n: $(cat said)"; exit 1; }
            facts "$out" | cmp - "expected.$out" || { echo "$out, $call $n: another result"; exit 1; }
        done
    done
done
echo "$kills kills at the n-th call; every file is as it would have been"
