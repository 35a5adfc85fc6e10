#!/usr/bin/env bash
# Shows Warren at work: two hosts and three instances on this machine, each in a network namespace of its own.
#
#   host-a: eni-a1 in subnet-a, eni-b1 in subnet-b       host-b: eni-a2 in subnet-a
#        └──────────── underlay 192.0.2.0/24, a veth pair ────────────┘
#
# `claims` shows instead, on three more instances, what instances can and cannot do in a VPC: claims.sh.
#
# Installs what is missing, builds, shows, and removes all that it made. The exit code is 0 only if every line is ok.
set -euo pipefail
# shellcheck source=ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CONFIGS=$ROOT/configs/demo
INSTANCES=(a1 b1 a2)
# What is outside.
OUTSIDE=()
declare -A DAEMONS=()
PASSED=0 FAILED=0

usage() { die "usage: $0 [demo|claims]"; }

# in_ns NAME COMMAND...
in_ns() { ip netns exec "warren-$1" "${@:2}"; }

# --- Lines of the report ---

# check TEXT COMMAND...: one line that says whether the command succeeded. What the command leaves in DETAIL is shown.
check() {
    local text=$1 log=$LOGS/check.log
    shift
    DETAIL=''
    if "$@" >"$log" 2>&1; then
        PASSED=$((PASSED + 1))
        printf '%sok%s    %-*s %s\n' "$GREEN" "$PLAIN" "${WIDTH:-62}" "$text" "$DETAIL"
    else
        FAILED=$((FAILED + 1))
        printf '%sFAIL%s  %-*s %s\n' "$RED" "$PLAIN" "${WIDTH:-62}" "$text" "$DETAIL"
        { echo "# $*" && cat "$log"; } >>"$LOGS/failed.log"
    fi
}

# pings INSTANCE ADDRESS [ARGUMENT...]: three pings, all answered.
pings() {
    local report
    report=$(in_ns "$1" ping -n -c 3 -i 0.2 -W 2 "${@:3}" "$2") || { echo "$report" && return 1; }
    echo "$report"
    DETAIL=$(awk -F/ '/^rtt/ {print $5 " ms"}' <<<"$report")
    [[ $report == *" 0% packet loss"* ]]
}

# A whole packet of so many bytes, which nothing on the way may take apart: 28 bytes are IP's and ICMP's.
pings_whole() { pings "$1" "$2" -M "do" -s $(($3 - 28)); }

is_silent() { ! in_ns "$1" ping -n -c 2 -i 0.2 -W 1 "$2"; }

# has_mac INSTANCE ADDRESS MAC: what the instance's neighbour cache says.
has_mac() {
    DETAIL="$2 is at $3"
    in_ns "$1" ip neighbour show "$2"
    [[ $(in_ns "$1" ip neighbour show "$2") == *" lladdr $3 "* ]]
}

# traces ENI ADDRESS TO: warren trace follows a packet to another ENI.
traces() {
    local report
    report=$("$WARREN" trace --host host-a --eni "$1" --dst "$2" --proto tcp --dport 443) || return 1
    echo "$report"
    DETAIL="$(grep -c '^  [a-z]' <<<"$report") steps"
    grep -q "DELIVERED to $3" <<<"$report"
}

# tcp CLIENT SERVER ADDRESS: three seconds of a TCP connection.
tcp() {
    local report
    in_ns "$2" iperf3 --server --one-off >/dev/null &
    until in_ns "$2" ss -Hltn 'sport = :5201' | grep -q .; do sleep 0.1; done
    report=$(timeout 20 ip netns exec "warren-$1" iperf3 --client "$3" --time 3 --format m) || { echo "$report" && return 1; }
    echo "$report"
    DETAIL=$(awk '/receiver$/ {print $(NF-2) " Mbit/s"}' <<<"$report")
    [[ -n $DETAIL && $DETAIL != 0.00* ]]
}

# --- The lab ---

namespaces() { printf 'warren-%s\n' host-a host-b "${INSTANCES[@]}" ${OUTSIDE[@]+"${OUTSIDE[@]}"}; }

remove_namespaces() {
    local name pid
    for name in $(namespaces); do
        [[ -e /run/netns/$name ]] || continue
        # Only what runs in a namespace of ours. SIGKILL, because what ends well has ended by now.
        for pid in $(ip netns pids "$name"); do kill -KILL "$pid" 2>/dev/null || true; done
        ip netns delete "$name"
    done
}

make_underlay() {
    local name link
    for name in $(namespaces); do
        ip netns add "$name"
        ip -n "$name" link set lo up
    done
    ip -n warren-host-a link add up0 mtu 9100 type veth peer name up0 mtu 9100 netns warren-host-b
    for name in warren-host-a warren-host-b; do
        # The hosts' kernels have no business on these links: the daemons do.
        for link in all default; do
            ip netns exec "$name" tee "/proc/sys/net/ipv6/conf/$link/disable_ipv6" <<<1 >/dev/null || true
        done
        # A veth leaves checksums to the other end's kernel, which here is Warren, and hands over segments of 64 KiB.
        ip netns exec "$name" ethtool -K up0 tx off tso off gso off >/dev/null
        ip -n "$name" link set up0 up
    done
}

# start_daemon HOST
start_daemon() {
    local host=$1 try
    ip netns exec "warren-$host" "$WARREN" run --config "$CONFIGS/$host.toml" >"$LOGS/$host.log" 2>&1 &
    DAEMONS[$host]=$!
    for ((try = 0; try < 100; try++)); do
        "$WARREN" show hosts --host "$host" >/dev/null 2>&1 && return
        kill -0 "${DAEMONS[$host]}" 2>/dev/null || break
        sleep 0.1
    done
    show_tail "$LOGS/$host.log"
    die "the daemon of $host does not run"
}

# plug INSTANCE HOST PORT MAC IPV4 IPV6: the port's TAP becomes the instance's eth0, set up as a guest sets up its own.
plug() {
    local name=warren-$1
    ip -n "warren-$2" link set "$3" netns "$name" name eth0
    ip -n "$name" link set eth0 address "$4" mtu 1500 up
    ip -n "$name" address add "$5/24" dev eth0
    ip -n "$name" -6 address add "$6/64" dev eth0
    # The subnet's router has the base address plus one.
    ip -n "$name" route add default via "${5%.*}.1"
    # The kernel may have taken the same from an advertisement.
    ip -n "$name" -6 route replace default via fe80:ec2::1 dev eth0
}

is_ready() {
    local host name
    for host in host-a host-b; do
        "$WARREN" show hosts --host "$host" | grep -q ' reachable ' || return 1
    done
    # Duplicate address detection takes a second or so.
    for name in "${INSTANCES[@]}"; do
        [[ -z $(in_ns "$name" ip -6 address show dev eth0 tentative) ]] || return 1
    done
}

wait_ready() {
    local try
    for ((try = 0; try < 100; try++)); do
        if is_ready; then return; fi
        sleep 0.1
    done
    for host in host-a host-b; do "$WARREN" show hosts --host "$host"; done
    return 1
}

# stop_daemon HOST: SIGTERM ends it, with exit code 0 and nothing left behind.
stop_daemon() {
    local pid=${DAEMONS[$1]} code=0 watchdog
    kill -TERM "$pid"
    (sleep 10 && kill -KILL "$pid") &
    watchdog=$!
    wait "$pid" || code=$?
    kill "$watchdog" 2>/dev/null || true
    echo "exit code $code"
    ((code == 0)) && [[ ! -e /run/warren/$1.sock ]]
}

# --- What is shown ---

show_pings() {
    check "ping within a subnet, across hosts: eni-a1 > eni-a2" pings a1 10.0.1.11
    check "ping across subnets, on one host: eni-a1 > eni-b1" pings a1 10.0.2.10
    check "ping across subnets and hosts: eni-b1 > eni-a2" pings b1 10.0.1.11
    check "IPv6 ping within a subnet, across hosts: eni-a1 > eni-a2" pings a1 2001:db8:b1:1::b
    check "1400-byte packets, across hosts" pings_whole a1 10.0.1.11 1400
    check "1500-byte packets, across hosts, not fragmented" pings_whole a1 10.0.1.11 1500
    check "1500-byte packets, across subnets and hosts, not fragmented" pings_whole b1 10.0.1.11 1500
}

router_mac() { "$WARREN" show subnets --host host-a | awk -v subnet="$1" '$1 == subnet {print $(NF-1)}'; }

show_macs() {
    local router
    router=$(router_mac subnet-a)
    check "ARP is answered with the true MAC of the ENI on the other host" has_mac a1 10.0.1.11 02:00:00:00:01:0b
    check "ARP is answered with the MAC of the subnet's router" has_mac a1 10.0.1.1 "$router"
    check "warren trace follows a packet over both hosts: eni-a1 > eni-a2" traces eni-a1 10.0.1.11 eni-a2
}

# apply STATE...
apply() {
    local host
    for host in host-a host-b; do "$WARREN" apply --host "$host" "$@" | tee "$LOGS/$host.apply" || return 1; done
}

has_changed() {
    apply "$1" || return 1
    grep -q eni-a2 "$LOGS/host-a.apply" && grep -q eni-a2 "$LOGS/host-b.apply"
}

# lost_none LOG: answers came to all pings up to the last answered one. The one after it may have been on its way.
lost_none() {
    local answered last
    read -r answered last < <(awk -F 'icmp_seq=' '/^64 bytes/ {n++; last = $2 + 0} END {print n + 0, last + 0}' "$1")
    tail -n 3 "$1"
    DETAIL="$answered pings"
    ((answered > 0 && answered == last))
}

# eni-a2 gets a secondary address and loses it again, while eni-a1 talks to its first one all the time.
show_update() {
    local pinger
    # The same state with one more line.
    sed 's/^  - {PrivateIpAddress: 10.0.1.11, Primary: true}/&\n  - {PrivateIpAddress: 10.0.1.21, Primary: false}/' \
        "$CONFIGS/state.yaml" >"$LOGS/update.yaml"
    in_ns a2 ip address add 10.0.1.21/24 dev eth0
    ip netns exec warren-a1 ping -n -i 0.01 10.0.1.11 >"$LOGS/meanwhile.log" &
    pinger=$!
    check "10.0.1.21, which is no ENI's, does not answer" is_silent a1 10.0.1.21
    check "live update: eni-a2 is given 10.0.1.21 too" has_changed "$LOGS/update.yaml"
    sed 's/^/        /' "$LOGS/host-a.apply"
    # eni-a1's kernel would wait a second before it asks again for an address that did not answer.
    in_ns a1 ip neighbour flush to 10.0.1.21
    check "10.0.1.21 answers" pings a1 10.0.1.21
    check "live update: 10.0.1.21 is taken away" has_changed "$CONFIGS/state.yaml"
    sed 's/^/        /' "$LOGS/host-a.apply"
    check "10.0.1.21 does not answer any more" is_silent a1 10.0.1.21
    # SIGINT makes it print its summary.
    kill -INT "$pinger"
    wait "$pinger" || true
    check "no ping lost meanwhile between eni-a1 and eni-a2" lost_none "$LOGS/meanwhile.log"
}

show_counters() {
    local what host
    for what in "$@"; do
        for host in host-a host-b; do
            printf '\n%s$ warren show %s --host %s%s\n' "$DIM" "$what" "$host" "$PLAIN"
            "$WARREN" show "$what" --host "$host" || true
        done
    done
    echo
}

demo() {
    heading "two hosts, one VPC"
    make_underlay
    start_daemon host-a
    start_daemon host-b
    plug a1 host-a vm0 02:00:00:00:01:0a 10.0.1.10 2001:db8:b1:1::a
    plug b1 host-a vm1 02:00:00:00:02:0a 10.0.2.10 2001:db8:b1:2::a
    plug a2 host-b vm0 02:00:00:00:01:0b 10.0.1.11 2001:db8:b1:1::b
    check "two daemons run, and reach each other over the underlay" wait_ready
    show_pings
    show_macs
    check "TCP across hosts: eni-a1 > eni-a2" tcp a1 a2 10.0.1.11
    show_update
    show_counters hosts enis stats drops
    local host
    for host in host-a host-b; do
        check "$host stops on SIGTERM: exit code 0, control socket gone" stop_daemon "$host"
    done
}

# prepare PACKAGE...: what it takes beside the usual.
prepare() {
    need_root
    heading "preparing"
    install_packages "${BUILD_PACKAGES[@]}" "${NETWORK_PACKAGES[@]}" "$@"
    need_cargo
    # Leftovers of a run that was killed.
    remove_namespaces
    # ci/test.sh has built it by then.
    if [[ -z ${WARREN_BUILT:-} ]]; then
        note "building (minutes, the first time)"
        (cd "$ROOT" && quietly build cargo build --release --locked) || die "the build failed"
    fi
    # Both daemons' buffers: they start without, but then every packet costs more.
    reserve_hugepages 768
    at_exit remove_namespaces
}

finish() {
    if ((FAILED)); then
        show_tail "$LOGS/failed.log" 40
        for host in host-a host-b; do show_tail "$LOGS/$host.log"; done
    fi
    printf '%d of %d shown, in %d s\n' "$PASSED" $((PASSED + FAILED)) "$SECONDS"
    ((FAILED == 0))
}

(($# <= 1)) || usage
case ${1:-demo} in
demo) prepare && demo && finish ;;
claims)
    # shellcheck source=ci/claims.sh
    source "$ROOT/ci/claims.sh"
    prepare "${CLAIMS_PACKAGES[@]}" && claims && finish
    ;;
*) usage ;;
esac
