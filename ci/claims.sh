# shellcheck shell=bash disable=SC2034,SC2154 # It shares demo.sh's variables.
# `ci/demo.sh claims`: what "AWS Networking 101" (Ivan Pepelnjak, blog.ipspace.net, 2020-05-06) says of a VPC, each claim
# as a line: claim → what was tried → what was seen. demo.sh sources it.
#
#   host-a: eni-a1, eni-a3, eni-s1 in subnet-a        host-b: eni-a2 in subnet-a, with a second, free port
#           eni-b2 in subnet-b                                eni-b1 in subnet-b
#
# and for what is beyond: claims/exits.sh.
#
# The claims are in the files of the folder claims/, which use what is here.

CONFIGS=$ROOT/configs/demo/claims
INSTANCES=(a1 a2 a3 s1 b1 b2 c1 g1 r1)
OUTSIDE=(internet office frr)
# The state as the orchestrator has it now.
STATE=$LOGS/state.yaml
declare -A MAC=([a1]=02:00:00:00:01:0a [a2]=02:00:00:00:01:0b [a3]=02:00:00:00:01:0c [s1]=02:00:00:00:01:14
    [b1]=02:00:00:00:02:0a [b2]=02:00:00:00:02:0b)
declare -A IP4=([a1]=10.0.1.10 [a2]=10.0.1.11 [a3]=10.0.1.12 [s1]=10.0.1.20 [b1]=10.0.2.10 [b2]=10.0.2.11)
declare -A IP6=([a1]=2001:db8:b1:1::a [a2]=2001:db8:b1:1::b [a3]=2001:db8:b1:1::c [s1]=2001:db8:b1:1::14
    [b1]=2001:db8:b1:2::a [b2]=2001:db8:b1:2::b)
declare -A JOBS=()

for part in addresses failover routing groups security exits; do
    # shellcheck disable=SC1090
    source "$ROOT/ci/claims/$part.sh"
done

# --- What claims are made of ---

# claim CLAIM TRIED COMMAND...: a line of the report. The command says with `saw` what is seen.
claim() { WIDTH=0 check "$1 → $2 →" "${@:3}"; }
saw() {
    # What ends with a colon goes on.
    case $DETAIL in
    '') DETAIL=$* ;;
    *:) DETAIL+=" $*" ;;
    *) DETAIL+="; $*" ;;
    esac
}

# within SECONDS COMMAND...: waits until it succeeds.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS <= deadline)) || { echo "waited in vain: $*" && return 1; }
        sleep 0.05
    done
}

# drops HOST REASON: how many packets the host has dropped for it.
drops() {
    "$WARREN" show drops --host "$1" |
        awk -v reason="$2" '{for (i = 1; i < NF; i++) if ($i == reason) {sum += $(i + 1); break}} END {print sum + 0}'
}

# dropping HOST REASON COMMAND...: the command, which makes the host drop packets for that reason.
dropping() {
    local host=$1 reason=$2 before status=0 number
    before=$(drops "$host" "$reason")
    shift 2
    "$@" || status=$?
    # What follows from the command may come after it.
    within 5 more_drops "$host" "$reason" "$before" || status=1
    number=$(($(drops "$host" "$reason") - before))
    saw "$host drops $number ($reason)"
    return "$status"
}

more_drops() { (($(drops "$1" "$2") > $3)); }

# pinged INSTANCE ADDRESS TIMEOUT [ARGUMENT...]: how many of three pings are answered.
pinged() {
    local report
    report=$(in_ns "$1" ping -n -c 3 -i 0.1 -W "$3" "${@:4}" "$2") || true
    echo "$report" >&2
    grep -c '^[0-9]* bytes from ' <<<"$report" || true
}

# answered INSTANCE ADDRESS [ARGUMENT...]: all pings are. An address that a neighbour cache gave up gets time.
answered() {
    local number
    number=$(pinged "$1" "$2" 3 "${@:3}")
    saw "$number of 3 pings of $2 answered"
    ((number == 3))
}

# unanswered INSTANCE ADDRESS [ARGUMENT...]: none is.
unanswered() {
    local number
    number=$(pinged "$1" "$2" 1 "${@:3}")
    saw "$number of 3 pings of $2 answered"
    ((number == 0))
}

# Each instance's packets start with a TTL of their own, and no router of a VPC lowers it: it tells who answers.
ttl() { echo $((100 + ${IP4[$1]##*.})); }

# answered_by INSTANCE ADDRESS OTHER: another instance answers a ping.
answered_by() { in_ns "$1" ping -n -c 1 -W 1 "$2" | grep " ttl=$(ttl "$3") "; }

# reaches INSTANCE ADDRESS OTHER: it does so soon. What the neighbour cache says otherwise has to age first (plug_all).
reaches() { within 20 answered_by "$1" "$2" "$3" && saw "eni-$3 answers pings of $2"; }

# orchestrate SED-EXPRESSION: what a call of the orchestrator does: it changes the state, which goes to all hosts.
orchestrate() {
    sed "$1" "$STATE" >"$STATE.new"
    ! cmp -s "$STATE" "$STATE.new" || { echo "no change: $1" && return 1; }
    mv "$STATE.new" "$STATE"
    apply "$STATE"
}

# start NAME INSTANCE COMMAND...: a program in an instance, until `stop NAME`. What it prints is in $LOGS/NAME.log.
start() {
    ip netns exec "warren-$2" "${@:3}" >"$LOGS/$1.log" 2>&1 &
    JOBS[$1]=$!
}

stop() {
    local name
    for name; do
        kill "-${SIGNAL:-TERM}" "${JOBS[$name]}" || true
        wait "${JOBS[$name]}" || true
        unset "JOBS[$name]"
    done
}

# logged NAME TEXT
logged() { grep -q -- "$2" "$LOGS/$1.log"; }

# listen INSTANCE FILTER: tcpdump of what arrives there, until `stop listener-INSTANCE`. A packet a line.
listen() {
    start "listener-$1" "$1" tcpdump -i eth0 -Q in -n -l -e -v --immediate-mode "$2"
    within 10 logged "listener-$1" 'listening on'
}

# caches INSTANCE ADDRESS MAC: what its neighbour cache has.
caches() { [[ $(in_ns "$1" ip neighbour show "$2") == *" lladdr $3 "* ]] && saw "eni-$1 has $3 in its cache"; }

# sysctl_in INSTANCE KEY=VALUE...
sysctl_in() {
    local setting
    for setting in "${@:2}"; do
        in_ns "$1" tee "/proc/sys/net/$(tr . / <<<"${setting%=*}")" <<<"${setting#*=}" >/dev/null || return 1
    done
}

# --- The lab ---

plug_all() {
    local where name host port
    for where in a1:host-a:vm0 a3:host-a:vm1 s1:host-a:vm2 b2:host-a:vm3 a2:host-b:vm0 b1:host-b:vm1; do
        IFS=: read -r name host port <<<"$where"
        plug "$name" "$host" "$port" "${MAC[$name]}" "${IP4[$name]}" "${IP6[$name]}"
        # Routers in subnets: no hints at better ways. Several addresses and interfaces: no second thoughts.
        sysctl_in "$name" "ipv4.ip_default_ttl=$(ttl "$name")" "ipv6.conf.eth0.hop_limit=$(ttl "$name")" \
            ipv4.conf.all.{send,accept}_redirects=0 \
            ipv4.conf.eth0.{send,accept}_redirects=0 ipv4.conf.all.rp_filter=0 ipv4.conf.eth0.rp_filter=0 \
            ipv4.icmp_echo_ignore_broadcasts=0
    done
    # It looks after a second, not half a minute, whether a neighbour is still where it was.
    sysctl_in a3 ipv{4,6}.neigh.eth0.base_reachable_time_ms=1000 ipv{4,6}.neigh.eth0.delay_first_probe_time=1
}

claims() {
    local host
    heading "the lab: two hosts, one VPC, six instances"
    cp "$CONFIGS/state.yaml" "$STATE"
    make_underlay
    # The hosts' kernels talk to each other too: of routes learned outside.
    ip -n warren-host-a link add mgmt type veth peer name mgmt netns warren-host-b
    for host in host-a:1 host-b:2; do
        ip -n "warren-${host%:*}" address add "198.18.0.${host#*:}/24" dev mgmt
        ip -n "warren-${host%:*}" link set mgmt up
    done
    start_daemon host-a
    start_daemon host-b
    plug_all
    check "two daemons run, and reach each other over the underlay" wait_ready
    claims_about_addresses
    claims_about_failover
    claims_about_routing
    claims_about_groups
    claims_about_security
    claims_about_exits
    for host in host-a host-b; do stop_daemon "$host" >/dev/null || true; done
}
