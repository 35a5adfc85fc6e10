# Helpers for the scripts of this folder, which source it. They run as root on Debian 12 and its relatives.
# shellcheck shell=bash disable=SC2034 # The variables are for the scripts that source it.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WARREN=${CARGO_TARGET_DIR:-$ROOT/target}/release/warren

# Colours only where a person looks.
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    GREEN=$'\e[32m' RED=$'\e[31m' BOLD=$'\e[1m' DIM=$'\e[2m' PLAIN=$'\e[0m'
else
    GREEN='' RED='' BOLD='' DIM='' PLAIN=''
fi

heading() { printf '%s== %s%s\n' "$BOLD" "$*" "$PLAIN"; }
note() { printf '%s   %s%s\n' "$DIM" "$*" "$PLAIN"; }
die() {
    printf '%s%s%s\n' "$RED" "$*" "$PLAIN" >&2
    exit 1
}

# Commands to run when the script ends, whichever way it does; the last added runs first.
CLEANUPS=()
at_exit() { CLEANUPS=("$*" ${CLEANUPS[@]+"${CLEANUPS[@]}"}); }
run_cleanups() {
    local code=$? command
    # A second Ctrl-C must not leave namespaces or hugepages behind.
    trap '' INT TERM
    set +e
    for command in ${CLEANUPS[@]+"${CLEANUPS[@]}"}; do eval "$command"; done
    exit "$code"
}
trap run_cleanups EXIT
trap 'echo "interrupted" >&2 && exit 130' INT
trap 'echo "ended by SIGTERM" >&2 && exit 143' TERM

# A folder for logs, which goes when the script succeeds.
LOGS=$(mktemp -d "${TMPDIR:-/tmp}/warren-ci.XXXXXX")
keep_or_remove_logs() {
    if ((code == 0)); then rm -rf "$LOGS"; else printf 'logs are in %s\n' "$LOGS"; fi
}
at_exit keep_or_remove_logs

# The end of a log, for a person who has to find out what went wrong.
show_tail() { printf -- '--- the end of %s:\n' "$1" && tail -n "${2:-25}" "$1"; }

# quietly LOG COMMAND...: what it prints matters only if it fails.
quietly() {
    local log=$LOGS/$1.log
    shift
    "$@" >>"$log" 2>&1 || {
        local code=$?
        show_tail "$log"
        return "$code"
    }
}

need_root() { ((EUID == 0)) || die "run it as root: it makes network namespaces and TAP devices (sudo $0)"; }

# What the build needs (libdpdk-dev brings all of DPDK's drivers and libpcap along; libclang and C compiler serve bindgen and the
# shim), and what makes and looks at networks.
BUILD_PACKAGES=(gcc libc6-dev pkg-config libdpdk-dev libclang-dev)
NETWORK_PACKAGES=(iproute2 ethtool iputils-ping iperf3)
# What the end-to-end tests look at packets with.
TEST_PACKAGES=(bird2 busybox-static curl dpdk-dev frr iperf iputils-arping iputils-tracepath isc-dhcp-client nmap procps python3-minimal
    python3-venv qemu-system-x86 smcroute socat tcpdump tshark udhcpc valgrind)

# What looks at scripts.
SCRIPT_PACKAGES=(lua5.3 python3 shellcheck)

# What the claims are shown with: daemons for routing and failover, clients, listeners.
CLAIMS_PACKAGES=(bird2 curl frr iputils-arping isc-dhcp-client keepalived python3-minimal tcpdump udhcpc)

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# Installs those of the packages that are missing.
install_packages() {
    local package missing=()
    command -v apt-get >/dev/null || die "no apt-get here; install by hand what corresponds to: $*"
    for package; do is_installed "$package" || missing+=("$package"); done
    ((${#missing[@]})) || return 0
    note "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # No daemon may start because its package comes (the policy-rc.d of Debian): ours run in namespaces.
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then
        at_exit "rm -f /usr/sbin/policy-rc.d"
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
    fi
    quietly apt apt-get update -q || die "apt-get update failed; is this machine online?"
    quietly apt apt-get install -qy --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" ||
        die "apt-get could not install ${missing[*]}"
}

# A cargo that is new enough. rustup puts it where root's PATH may not look.
need_cargo() {
    local wanted have
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
    command -v cargo >/dev/null || die "no cargo in PATH: install Rust $wanted or newer (https://rustup.rs)"
    have=$(cd "$ROOT" && cargo --version | cut -d' ' -f2)
    [[ $(printf '%s\n' "$wanted" "${have%%-*}" | sort -V | head -n1) == "$wanted" ]] ||
        die "cargo is $have, but $wanted or newer is needed: rustup update stable"
}

# Tries to have so many MiB in free hugepages, at most a quarter of the memory; everything also runs with none. The
# earlier number comes back at the end.
reserve_hugepages() {
    local knob=/proc/sys/vm/nr_hugepages size available before free wanted
    [[ -w $knob ]] || { note "no hugepages here; running on ordinary pages" && return; }
    size=$(awk '/^Hugepagesize:/ {print $2}' /proc/meminfo)
    available=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
    free=$(awk '/^HugePages_Free:/ {print $2}' /proc/meminfo)
    before=$(<"$knob")
    wanted=$(($1 * 1024 / size))
    ((wanted * size <= available / 4)) || wanted=$((available / 4 / size))
    if ((free < wanted)); then
        at_exit "echo $before 2>/dev/null >$knob"
        # The kernel gives what it finds in one piece, which can be less; a read-only /proc gives none.
        { echo $((before + wanted - free)) >"$knob"; } 2>/dev/null || true
    fi
    note "$(awk '/^HugePages_Free:/ {print $2}' /proc/meminfo) hugepages of $size KiB free (there were $free)"
}
