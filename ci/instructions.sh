#!/usr/bin/env bash
# Counts the instructions of the main cases by callgrind, and fails where one takes 3 % more than bench/instructions.txt says.
# Usage: ci/instructions.sh [--bless]    --bless writes that file anew.
set -euo pipefail
# shellcheck source=ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
BASELINE=bench/instructions.txt
CASES=(encap decap local stateful stateful-in peering syn syn-ack)

# What is compared is made alike: no link-time optimisation, the vector instructions of x86-64-v3.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_INCREMENTAL=0
compiler=$(rustc --version | cut -d' ' -f1,2)
grep -qw avx2 /proc/cpuinfo || die "this CPU has no AVX2, for which $BASELINE counts"
install_packages "${BUILD_PACKAGES[@]}" valgrind
cargo bench --locked -q --bench instructions --no-run

# instructions CASE: those of a packet.
instructions() {
    local counts packets out
    out=$(CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        --collect-atstart=no --toggle-collect=*instructions::counted*" \
        cargo bench --locked -q --bench instructions -- "$1" 2>&1) || die "$1: $out"
    packets=$(sed -n "s/^$1: \([0-9]*\) packets$/\1/p" <<<"$out")
    counts=$(sed -n 's/.*Collected : \([0-9]*\)$/\1/p' <<<"$out")
    ((counts > 0 && packets > 0)) || die "$1: nothing was counted: $out"
    awk -v n="$counts" -v p="$packets" 'BEGIN {printf "%.1f", n / p}'
}

declare -A counted
for case in "${CASES[@]}"; do counted[$case]=$(instructions "$case"); done

if [[ ${1-} == --bless ]]; then
    {
        echo "# Instructions of a packet by case, as ci/instructions.sh --bless writes them: $compiler."
        for case in "${CASES[@]}"; do echo "$case ${counted[$case]}"; done
    } >"$BASELINE"
    cat "$BASELINE"
    exit
fi

failed=0
for case in "${CASES[@]}"; do
    before=$(sed -n "s/^$case //p" "$BASELINE")
    [[ $before ]] || die "$BASELINE has no $case: ci/instructions.sh --bless"
    more=$(awk -v now="${counted[$case]}" -v before="$before" 'BEGIN {printf "%.1f", (now / before - 1) * 100}')
    printf '%-12s %8s, before %8s: %+.1f %%\n' "$case" "${counted[$case]}" "$before" "$more"
    if awk -v more="$more" 'BEGIN {exit !(more > 3)}'; then failed=1; fi
done
if ((failed)) && ! grep -qF ": $compiler." "$BASELINE"; then
    echo "$BASELINE is of another compiler than $compiler, which may be why: ci/instructions.sh --bless"
    exit
fi
((failed == 0)) || die "more than 3 % more instructions: find out why, or bless them (ci/instructions.sh --bless)"
