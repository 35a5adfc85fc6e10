#!/usr/bin/env bash
# Builds warren as it is to be shipped, into target/release: optimised by the profile of its own benchmark, and at link time.
# Takes half an hour on two cores. Usage: ci/build-release.sh [--compare]    --compare also builds it plainly, and prints both's cycles.
set -euo pipefail
# shellcheck source=ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

COMPARE=
case "${1-}" in
'') ;;
--compare) COMPARE=1 ;;
*) die "usage: ci/build-release.sh [--compare]" ;;
esac

# What a node does most, and what it does first. A profile says which way branches go, and for that few packets are enough.
TRAINING=(--case "encap,decap,local,stateful,stateful-in,connect,move" --runs 3)
COMPARED=(--case "encap,decap,local,stateful,stateful-in" --runs 21)

need_root
cd "$ROOT"
install_packages "${BUILD_PACKAGES[@]}"
need_cargo
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
# RUSTFLAGS takes the place of those in .cargo/config.toml, which are these.
FLAGS=$(sed -n 's/^rustflags = \[\(.*\)\]$/\1/p' .cargo/config.toml | tr -d '",')

# profdata ARGUMENTS...: the toolchain's own, whose format is the compiler's.
profdata() {
    local tool
    tool=$(find "$(rustc --print sysroot)" -name llvm-profdata -type f | head -n1)
    if [[ -z $tool ]] && command -v rustup >/dev/null; then
        quietly rustup rustup component add llvm-tools || die "rustup could not add llvm-tools"
        tool=$(find "$(rustc --print sysroot)" -name llvm-profdata -type f | head -n1)
    fi
    [[ $tool ]] || die "no llvm-profdata beside this rustc: install the toolchain's llvm-tools"
    "$tool" "$@"
}

# build KIND FLAGS...: warren with more flags for the compiler, which are not for the build's own programs.
HOST=$(rustc -vV | sed -n 's/^host: //p')
build() {
    CARGO_TARGET_DIR=$TARGET/$1 RUSTFLAGS="$FLAGS ${*:2}" cargo build --locked --release --target "$HOST" --bin warren
}
built() { echo "$TARGET/$1/$HOST/release/warren"; }

heading "an instrumented build, and its profile"
PROFILE=$TARGET/profile
rm -rf "$PROFILE"
CARGO_PROFILE_RELEASE_LTO=off build instrumented "-Cprofile-generate=$PROFILE"
reserve_hugepages 1024
"$(built instrumented)" bench "${TRAINING[@]}"
profdata merge -o "$PROFILE/warren.profdata" "$PROFILE"

heading "the build"
build trained "-Cprofile-use=$PROFILE/warren.profdata"
mkdir -p "$TARGET/release"
if [[ $COMPARE ]]; then
    heading "without a profile"
    build plain
    heading "cycles a packet, in turns"
    for _ in 1 2; do
        for kind in plain trained; do
            note "$kind"
            "$(built "$kind")" bench "${COMPARED[@]}"
        done
    done
fi
cp "$(built trained)" "$TARGET/release/warren"
printf '%s: %s\n' "$TARGET/release/warren" "$("$TARGET/release/warren" --version)"
