#!/usr/bin/env bash
# Fuzzes each target (all of them, or those that are named) for FUZZ_SECONDS, led by coverage, and prints what came of
# it. What was found before is where it begins; an input that fails is kept in target/fuzz/<target>, and fails the run.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-20}
host=$(rustc --version --verbose | sed -n 's/^host: //p')

# What `cargo fuzz` builds with, but for the sanitizers, which need a nightly compiler. An overflow is a finding.
counters="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-pc-table"
counters="$counters -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS="--cfg fuzzing $counters -Cdebug-assertions -Coverflow-checks" CARGO_PROFILE_RELEASE_LTO=off \
    "${CARGO:-cargo}" build --locked --release --target "$host" --target-dir target/fuzz -p qdrant-backup-fuzz --features libfuzzer
fuzz=target/fuzz/$host/release/fuzz

[ $# -gt 0 ] || mapfile -t names < <("$fuzz" 2>/dev/null)
[ $# -eq 0 ] || names=("$@")
all=0 found=0
printf '%-16s %12s %10s %9s  %s\n' target executions 'a second' branches findings
for name in "${names[@]}"; do
    folder=target/fuzz/$name
    mkdir -p "$folder/examples" "$folder/corpus"
    FUZZ_TARGET=$name FUZZ_EXAMPLES=$folder/examples "$fuzz" 2>/dev/null
    rm -f "$folder"/{crash,timeout,oom,leak}-*
    FUZZ_TARGET=$name RUST_BACKTRACE=0 "$fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 \
        -print_final_stats=1 -artifact_prefix="$folder/" "$folder/corpus" "$folder/examples" >"$folder/log" 2>&1 || true
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/log")
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$folder/log")
    branches=$(grep -o 'cov: [0-9]*' "$folder/log" | tail -1 | cut -c6-)
    findings=$(find "$folder" -maxdepth 1 -type f -name '*-*' | tr '\n' ' ')
    printf '%-16s %12s %10s %9s  %s\n' "$name" "${executions:-0}" "${rate:-0}" "${branches:-0}" "${findings:-none}"
    all=$((all + ${executions:-0}))
    # A run that ended without its statistics is no proof of anything.
    if [ -n "$findings" ] || [ -z "$executions" ]; then
        found=$((found + 1))
        sed -n '/panicked at/,/^note/p' "$folder/log"
    fi
done
echo "$all executions, $found targets with findings"
[ "$found" = 0 ]
