#!/usr/bin/env bash
# Builds examples/NAME.c against the libwarren.so that ci/build-plugin.sh put into DEST, as the program OUT.
# Usage: ci/build-example.sh DEST NAME OUT
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dest=${1:?usage: ci/build-example.sh DEST NAME OUT} name=${2:?} out=${3:?}

export PKG_CONFIG_PATH=$dest/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
read -ra flags <<<"$(pkg-config --cflags libwarren)"
read -ra libs <<<"$(pkg-config --libs libwarren)"
gcc -std=gnu11 -O2 -g -Wall -Wextra -Werror -DALLOW_EXPERIMENTAL_API "${flags[@]}" -o "$out" "examples/$name.c" "${libs[@]}"
