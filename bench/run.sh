#!/usr/bin/env bash
# Measures everything that docs/performance.md shows, and makes its tables and plots. On Debian 12, as root; installs what is missing. Under an hour.
# Usage: bench/run.sh [--quick | --smoke | --check] [--only STEP,...] [--results FOLDER] [--warren FILE] [--report | --no-report]
#   --quick      fewer sizes and runs, some minutes; the document stays as it is unless --report says otherwise
#   --smoke      a moment of some, for CI: that everything still runs; the figures say nothing, and are thrown away
#   --check      no measurement: tests the scripts themselves, in seconds
#   --only       some of: entries flows size burst rules routes api moves latency updates scaling start peers memif criterion
#   --results    where the lines of JSON go (default: bench/results)
#   --warren     a binary to measure, instead of building one
#   --report     tables and plots of what is there, also with --quick;  --no-report  none
set -euo pipefail
# shellcheck source=ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../ci/lib.sh"
cd "$ROOT"

STEPS=(entries flows size burst rules routes api moves latency updates scaling start peers memif criterion)
RESULTS=$ROOT/bench/results
QUICK='' SMOKE='' REPORT='' BUILD=1

check() {
    # What peers print is read right, captures are what they say, tables and plots come out of a committed sample.
    /usr/bin/python3 -m unittest discover -s bench/tests
    /usr/bin/python3 -m compileall -q bench
    if command -v luac5.3 >/dev/null; then luac5.3 -p bench/pktgen/*.lua; else note "no luac5.3: pktgen's scripts are not looked at"; fi
    if command -v shellcheck >/dev/null; then shellcheck -x bench/run.sh; else note "no shellcheck"; fi
}

while (($#)); do
    case $1 in
    --quick) QUICK=1 ;;
    --check) check; exit ;;
    --smoke) SMOKE=1 QUICK=1 STEPS=(entries latency scaling memif peers) RESULTS=$LOGS/results ;;
    --only) IFS=, read -ra STEPS <<<"$2" && shift ;;
    --results) RESULTS=$(realpath -m "$2") && shift ;;
    --warren) WARREN=$(realpath "$2") && BUILD='' && shift ;;
    --report) REPORT=1 ;;
    --no-report) REPORT=0 ;;
    *) sed -n '3,10s/^# //p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
    esac
    shift
done
REPORT=${REPORT:-$((!QUICK))}

# either FULL QUICK: a value by the mode.
either() { if [[ $QUICK ]]; then echo "$2"; else echo "$1"; fi; }
RUNS=$(either 21 5)
if [[ $SMOKE ]]; then RUNS=1; fi

# bench STEP ARGUMENTS...: adds the lines of `warren bench`.
bench() {
    local step=$1
    shift
    note "[$SECONDS s] $*"
    nice -n -15 "$WARREN" bench "$@" --json 2>>"$LOGS/bench.log" >>"$RESULTS/$step.jsonl" || {
        show_tail "$LOGS/bench.log"
        die "warren bench $* failed"
    }
}

step_entries() {
    local entries
    for entries in $(either "1000 10000 100000 1000000" "1000 100000"); do
        bench entries --case encap,decap,local,bare --entries "$entries" --runs "$RUNS"
    done
}
step_flows() {
    local flows
    for flows in $(either "256 4096 16384 65536 100000 262144 1000000" "4096 100000"); do
        bench flows --case stateful,stateful-in,peering --flows "$flows" --runs "$RUNS"
    done
}
step_size() {
    local size
    for size in $(either "64 128 256 512 1024 1400" "64 1400"); do
        bench size --case encap,decap,stateful,stateful-in,bare --size "$size" --runs "$RUNS"
    done
}
step_burst() {
    local burst
    for burst in $(either "1 4 8 16 32 64" "8 32"); do
        bench burst --case encap,decap,stateful --burst "$burst" --runs "$RUNS"
    done
}
step_rules() {
    local rules
    for rules in $(either "64 250 1000 4000 8000" "64 1000"); do
        bench rules --case stateful,connect --rules "$rules" --runs "$(either 9 3)"
    done
}
step_routes() {
    local routes
    for routes in $(either "0 100 1000 10000 50000" "100 10000"); do
        bench routes --case stateful,connect --routes "$routes" --runs "$(either 9 3)"
    done
}
step_api() { bench api --case encap,encap-api,decap,decap-api --runs "$RUNS"; }
step_moves() {
    local entries
    for entries in $(either "1000 100000 1000000" "1000"); do
        bench moves --case move --entries "$entries" --runs "$(either 300 100)"
    done
}
step_latency() {
    local load
    for load in $(either "10 25 50 75 90 95" "50 90"); do bench latency --case paced --load "$load" --runs "$RUNS"; done
}
step_updates() {
    local rate entries
    for entries in $(either "1000 1000000" "1000"); do
        for rate in $(either "0 10 100 1000 10000" "0 1000"); do
            bench updates --case paced --load 75 --entries "$entries" --updates "$rate" --runs "$(either 11 5)"
        done
    done
}
step_scaling() {
    local share
    for share in 0 50 100; do bench scaling --case scale --workers 2 --handoff "$share" --runs "$RUNS"; done
    /usr/bin/python3 bench/scaling.py "$RESULTS/scaling.jsonl" >"$RESULTS/simulated.jsonl"
}
step_start() { /usr/bin/python3 bench/start.py --warren "$WARREN" --enis "$(either 1000,100000,1000000 1000,10000)" >"$RESULTS/start.jsonl"; }
step_peers() {
    local options=(--size "64,1400")
    if [[ $QUICK ]]; then options=(--flows 256 --rounds 1); fi
    if [[ $SMOKE ]]; then options+=(--peer warren --samples 2 --window 0.1); fi
    bench/peers/peers.py --warren "$WARREN" --json "${options[@]}" >"$RESULTS/peers.jsonl"
}
step_memif() {
    local options=()
    if [[ $QUICK ]]; then options=(--seconds 0.3); fi
    if [[ $SMOKE ]]; then options=(--seconds 0.1 --tries 1 --traffic 64 --through "encap,decap" --loss 5); fi
    bench/pktgen/memif.py --warren "$WARREN" --json "${options[@]}" >"$RESULTS/memif.jsonl"
}
step_criterion() {
    local bench
    for bench in $(either "packet flow routes multicast" "packet"); do
        note "[$SECONDS s] cargo bench --bench $bench"
        cargo bench --locked -q --bench "$bench" -- --noplot >"$LOGS/criterion.txt" 2>&1 || { show_tail "$LOGS/criterion.txt" && die "cargo bench --bench $bench failed"; }
        /usr/bin/python3 bench/report/criterion.py <"$LOGS/criterion.txt" >>"$RESULTS/criterion.jsonl"
    done
}

need_root
heading "preparing"
install_packages "${BUILD_PACKAGES[@]}" python3
# DPDK's testpmd, Open vSwitch, and what l3fwd is fetched and built with.
if [[ ! $SMOKE ]]; then install_packages dpdk-dev openvswitch-switch-dpdk make xz-utils; fi
need_cargo
if [[ $BUILD ]]; then
    note "building"
    quietly build cargo build --locked --release --bin warren || die "cargo build failed"
fi
reserve_hugepages 1536
mkdir -p "$RESULTS"
# What the figures have to be quoted with; also how busy others keep the machine.
PYTHONPATH=bench /usr/bin/python3 -m tools.machine "${QUICK:+quick}" >"$RESULTS/machine.jsonl"

for step in "${STEPS[@]}"; do
    declare -F "step_$step" >/dev/null || die "no step is called $step"
    heading "[$SECONDS s] $step"
    rm -f "$RESULTS/$step.jsonl"
    "step_$step"
done
if ((REPORT)); then
    heading "tables and plots"
    bench/report/report.py "$RESULTS"
fi
printf 'results are in %s; %d s\n' "$RESULTS" "$SECONDS"
