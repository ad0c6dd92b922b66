#!/bin/sh
# Instructions of one pass of all rules over a fixed input, by callgrind: the same on a machine under load.
set -eu
cd "$(dirname "$0")/../.."
input=fixtures/docs/web-000.jsonl.zst
command -v valgrind > /dev/null || { echo "instructions: valgrind is not installed"; exit 0; }
program=$(cargo bench --profile dev --workspace --bench rules --no-run --message-format=json 2> /dev/null |
  sed -n 's/.*"executable":"\([^"]*\/rules-[^"]*\)".*/\1/p')
log=$(mktemp)
valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='rules::once' "$program" --once "$input" 2> "$log"
sed -n 's/.*Collected : \([0-9]*\).*/instructions: \1/p' "$log"
rm -f "$log"
