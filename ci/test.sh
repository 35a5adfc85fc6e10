#!/usr/bin/env bash
# All checks and tests, as CI runs them, with WARREN_LONG=1 ten minutes of random traffic too. Installs what is missing. The last line says how many passed and failed.
set -euo pipefail
# shellcheck source=ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PASSED=0 FAILED=0

# add_results LOG CODE: tests count one each, as their harness reports them; any other step counts as one.
add_results() {
    local passed failed
    read -r passed failed < <(awk '
        /^test result:/ {sub(/.*: (ok|FAILED)\. /, ""); passed += $1; failed += $3}
        / of [0-9]+ shown, in / {passed += $1; failed += $3 - $1}
        END {print passed + 0, failed + 0}' "$1")
    if ((passed + failed == 0 && $2 == 0)); then passed=1; fi
    # A build that fails has no failed test to count.
    if ((failed == 0 && $2 != 0)); then failed=1; fi
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
}

# step NAME COMMAND...: runs it, says how it went and goes on.
step() {
    local name=$1 log code=0 start=$SECONDS
    shift
    log=$LOGS/$(tr -c '[:alnum:]\n' - <<<"$name").log
    printf '%s[%4d s]%s %s\n' "$DIM" "$SECONDS" "$PLAIN" "$name"
    "$@" >"$log" 2>&1 || code=$?
    add_results "$log" "$code"
    if ((code == 0)); then
        printf '         %sok%s, %d s\n' "$GREEN" "$PLAIN" $((SECONDS - start))
    else
        show_tail "$log" 60
        printf '         %sFAIL%s (exit code %d), %d s\n' "$RED" "$PLAIN" "$code" $((SECONDS - start))
    fi
}

# need_component COMMAND COMPONENT: a part of the toolchain that a minimal installation leaves out.
need_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    command -v rustup >/dev/null || die "no cargo $1 here: install the toolchain's $2"
    quietly rustup rustup component add "$2" || die "rustup could not add $2"
}

need_root
cd "$ROOT"
heading "preparing"
install_packages "${BUILD_PACKAGES[@]}" "${NETWORK_PACKAGES[@]}" "${TEST_PACKAGES[@]}" "${SCRIPT_PACKAGES[@]}"
need_cargo
need_component fmt rustfmt
need_component clippy clippy
export CARGO_TERM_COLOR=never
# Nothing is built twice here, and what incremental builds keep takes as much disk as the rest.
export CARGO_INCREMENTAL=0
# Link-time optimisation takes minutes, for every binary anew, and nothing here measures what it gains.
export CARGO_PROFILE_RELEASE_LTO=off

# In an order in which what one step builds, the next ones use. The two feature sets share all dependencies.
heading "checking"
step "format" cargo fmt --check
step "benchmark scripts" bench/run.sh --check
step "lint" cargo clippy --locked --all-targets -- -D warnings
# One by one: together their dependencies would have other features, and be built anew.
step "lint the plugin" cargo clippy --locked -p warren-plugin -- -D warnings
step "lint the plugin's tests" cargo clippy --locked -p warren-plugin-tests --all-targets -- -D warnings
step "lint without DPDK" cargo clippy --locked --all-targets --no-default-features -- -D warnings
step "documentation" env RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps

heading "testing"
# Some tests make network namespaces and TAP devices of their own, some allocate from hugepages: one after the other.
reserve_hugepages 1024
# With what the tests and benchmarks of a release need, so that the library, which takes minutes, is built once: without them its
# dependencies have fewer features.
step "release build" cargo build --locked --release --bin warren --test fair_share --test soak --bench '*'
export WARREN_BUILT=1
# As the tests build it, which is quicker.
export WARREN_PLUGIN=${CARGO_TARGET_DIR:-$ROOT/target}/plugin
step "plugin" ci/build-plugin.sh --debug "$WARREN_PLUGIN"
step "plugin's interface" cargo test --locked -p warren-plugin-tests
step "tests without DPDK" cargo test --locked --no-default-features
step "tests" cargo test --locked
step "measurements, a moment of each" bench/run.sh --smoke --warren "${CARGO_TARGET_DIR:-target}/release/warren"
step "fair shares" cargo test --locked --release --test fair_share
if [[ ${WARREN_LONG:-} ]]; then
    step "soak, ten minutes" env WARREN_SOAK=600 cargo test --locked --release --test soak -- --nocapture
fi
step "benchmarks, each once" cargo bench --locked --bench '*' -- --test
step "instructions" ci/instructions.sh
step "demo" ci/demo.sh
step "claims" ci/demo.sh claims

printf '\n%d s\n' "$SECONDS"
printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
((FAILED == 0))
