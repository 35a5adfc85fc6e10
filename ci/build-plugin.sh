#!/usr/bin/env bash
# Builds libwarren.so.0, and libwarren_graph.so.0 on top of it, into DEST/lib, with headers in DEST/include and a pkg-config file.
# Usage: ci/build-plugin.sh [--debug] DEST
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=release flags=(--release)
if [[ ${1-} == --debug ]]; then
    profile=debug flags=()
    shift
fi
dest=${1:?usage: ci/build-plugin.sh [--debug] DEST}

cargo build --locked -q -p warren-plugin ${flags[@]+"${flags[@]}"}
archive=${CARGO_TARGET_DIR:-target}/$profile/libwarren_plugin.a
version=$(sed -n 's/^version = "\(.*\)"/\1/p' src/plugin/Cargo.toml | head -n1)
mkdir -p "$dest/lib/pkgconfig" "$dest/include"

# DPDK's libraries are the program's: the loader takes those that it has anyway. Threads of control clients may outlive the last
# host, so that the library is never unloaded.
read -ra dpdk <<<"$(pkg-config --libs-only-L libdpdk) -lrte_ethdev -lrte_mbuf -lrte_mempool -lrte_eal"
gcc -shared -o "$dest/lib/libwarren.so.$version" \
    -Wl,-soname,libwarren.so.0 -Wl,--version-script=src/plugin/warren.map -Wl,--gc-sections -Wl,-z,defs -Wl,-z,now -Wl,-z,nodelete \
    -Wl,--whole-archive "$archive" -Wl,--no-whole-archive \
    "${dpdk[@]}" -lpcap -lgcc_s -lm -lc
ln -sf "libwarren.so.$version" "$dest/lib/libwarren.so.0"
ln -sf libwarren.so.0 "$dest/lib/libwarren.so"
cp src/plugin/warren.h src/plugin/warren_graph.h "$dest/include/"

read -ra flags <<<"$(pkg-config --cflags libdpdk)"
gcc -std=gnu11 -O2 -g -fPIC -Wall -Wextra -Werror -DALLOW_EXPERIMENTAL_API "${flags[@]}" -I"$dest/include" \
    -shared -o "$dest/lib/libwarren_graph.so.$version" src/plugin/graph.c \
    -Wl,-soname,libwarren_graph.so.0 -Wl,-z,defs -Wl,-rpath,'$ORIGIN' \
    -L"$dest/lib" -lwarren "${dpdk[@]}" -lrte_graph
ln -sf "libwarren_graph.so.$version" "$dest/lib/libwarren_graph.so.0"
ln -sf libwarren_graph.so.0 "$dest/lib/libwarren_graph.so"
prefix=$(realpath "$dest")
cat >"$dest/lib/pkgconfig/libwarren.pc" <<PC
Name: libwarren
Description: A VPC host inside a DPDK program
Version: $version
Requires: libdpdk
Cflags: -I$prefix/include
Libs: -L$prefix/lib -lwarren
PC
