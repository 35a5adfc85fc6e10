# shellcheck shell=bash disable=SC2154 # Sourced by ../claims.sh.
# Nobody takes an address over; the orchestrator moves it.

VIP=10.0.1.100 VIP6=2001:db8:b1:1::100

claims_about_failover() {
    heading "first-hop redundancy protocols and gratuitous ARP do not work"
    claim "VRRP hellos arrive nowhere" "keepalived on eni-a1 and eni-a2, with multicast and a virtual MAC" vrrp_multicast
    claim "a virtual MAC moves nothing" "eni-a3 pings the virtual address, and behind VRRP's MAC" virtual_mac
    SIGNAL=TERM stop vrrp-a1 vrrp-a2
    claim "VRRP's hellos pass as unicast, its address does not" "keepalived on both with unicast_peer" vrrp_unicast
    claim "gratuitous ARP moves nothing" "arping -U and -A of eni-s1's address by eni-a2, while eni-a3 pings it" garp
    heading "only the orchestrator moves an address, or a network interface"
    claim "an orchestration call gives an address" "$VIP, which keepalived has up on eni-a1, becomes its secondary" given
    claim "a takeover changes nothing" "keepalived on eni-a1 ends, eni-a2 is MASTER and has $VIP" taken_over
    claim "an orchestration call moves an address" "$VIP becomes eni-a2's" address_moved
    SIGNAL=TERM stop vrrp-a2
    claim "nobody takes over from a failed instance" "eni-s1's link goes down, eni-a2's instance takes 10.0.1.20 and says so" failed
    claim "moving the ENI helps" "eni-s1 moves to a second vNIC of eni-a2's instance" eni_moved_from_failed
    claim "an ENI moves to another host" "eni-s1 to host-a, while eni-a3 pings it every 5 ms" gap a2 s1 host-b:vm2 host-a:vm2
    claim "an ENI moves to another host" "eni-s1 to host-b, while eni-a3 pings it every 5 ms" gap s1 a2 host-a:vm2 host-b:vm2
}

# vrrp INSTANCE CONFIG: keepalived there, VRRP only.
vrrp() {
    start "vrrp-$1" "$1" keepalived --dont-fork --log-console --log-detail --vrrp --config-id="$1" \
        --use-file="$CONFIGS/keepalived-$2.conf" --pid="$LOGS/vrrp-$1.pid" --vrrp_pid="$LOGS/vrrp-$1.child.pid"
}

# is_vrrp INSTANCE STATE: what it has become last.
is_vrrp() {
    local group
    for group in vip vip6; do
        [[ $(grep -F "($group) Entering " "$LOGS/vrrp-$1.log" | tail -n 1) == *" Entering $2 STATE"* ]] || return 1
    done
}

has_vip() { [[ -n $(in_ns "$1" ip address show to "$VIP") && -n $(in_ns "$1" ip address show to "$VIP6") ]]; }

# Each of them hears nobody, so each is master, for good.
vrrp_multicast() {
    vrrp a1 multicast && vrrp a2 multicast || return 1
    within 15 is_vrrp a1 MASTER && within 15 is_vrrp a2 MASTER || return 1
    dropping host-a src_mac heard_no_hello && is_vrrp a1 MASTER && is_vrrp a2 MASTER && saw "both are MASTER"
}

# Hellos leave eni-a1, and none arrives.
heard_no_hello() {
    local hellos='ip proto 112 or ip6 proto 112' received
    listen a2 "$hellos" && in_ns a1 timeout 15 tcpdump -i eth0 -Q out -n -c 8 "$hellos" || return 1
    stop listener-a2
    received=$(grep -c 'VRRP' "$LOGS/listener-a2.log" || true)
    saw "8 hellos sent, $received received"
    ((received == 0))
}

virtual_mac() {
    local status=0
    within 10 has_vip a1 && within 10 has_vip a2 && dropping host-a arp_unanswered unanswered a3 "$VIP" || return 1
    in_ns a3 ip neighbour replace "$VIP" lladdr 00:00:5e:00:01:33 dev eth0 nud permanent
    dropping host-a unknown_mac unanswered a3 "$VIP" || status=1
    in_ns a3 ip neighbour del "$VIP" dev eth0
    return "$status"
}

vrrp_unicast() {
    vrrp a1 unicast && vrrp a2 unicast && within 20 is_vrrp a1 MASTER || return 1
    # Hellos of the master arrive: the other stays what it is.
    in_ns a2 timeout 20 tcpdump -i eth0 -Q in -n -c 3 "ip proto 112 and src host ${IP4[a1]}" || return 1
    within 10 is_vrrp a2 BACKUP && saw "eni-a1 is MASTER, eni-a2 BACKUP" || return 1
    within 10 has_vip a1 && dropping host-a arp_unanswered unanswered a3 "$VIP" &&
        dropping host-a nd_unanswered unanswered a3 "$VIP6"
}

garp() {
    local status=0 form
    answered_by a3 "${IP4[s1]}" s1 || return 1
    in_ns a2 ip address add "${IP4[s1]}/32" dev eth0
    for form in -U -A; do
        dropping host-b garp in_ns a2 arping "$form" -c 2 -I eth0 "${IP4[s1]}" || status=1
    done
    caches a3 "${IP4[s1]}" "${MAC[s1]}" && reaches a3 "${IP4[s1]}" s1 || status=1
    in_ns a2 ip address del "${IP4[s1]}/32" dev eth0
    return "$status"
}

# shellcheck disable=SC2153 # IP6 is no misspelling.
# assign INSTANCE: an orchestration call gives it the virtual addresses, and takes them from whoever has them.
assign() {
    orchestrate "/PrivateIpAddress: $VIP,/d; s/, {Ipv6Address: \"$VIP6\"}//
        s/^  - {PrivateIpAddress: ${IP4[$1]},.*/&\n  - {PrivateIpAddress: $VIP, Primary: false}/
        s/{Ipv6Address: \"${IP6[$1]}\"}/&, {Ipv6Address: \"$VIP6\"}/" &&
        reaches a3 "$VIP" "$1" && reaches a3 "$VIP6" "$1"
}

given() { has_vip a1 && assign a1; }

# It tells so by gratuitous ARP and unsolicited neighbour advertisements.
taken_over() {
    dropping host-b garp dropping host-b nd_spoof take_over && ! has_vip a1 || return 1
    unanswered a3 "$VIP" && unanswered a3 "$VIP6" && caches a3 "$VIP" "${MAC[a1]}"
}

take_over() {
    SIGNAL=TERM stop vrrp-a1
    within 15 is_vrrp a2 MASTER && within 10 has_vip a2
}

address_moved() { has_vip a2 && assign a2; }

failed() {
    local status=0
    in_ns s1 ip link set eth0 down
    in_ns a2 ip address add "${IP4[s1]}/32" dev eth0
    in_ns a2 arping -U -c 2 -I eth0 "${IP4[s1]}"
    unanswered a3 "${IP4[s1]}" || status=1
    # Nor can it speak with that address, even to one whose MAC it knows.
    answered_by a2 "${IP4[a3]}" a3 || status=1
    saw "from it:" && dropping host-b src_check unanswered a2 "${IP4[a3]}" -I "${IP4[s1]}" || status=1
    in_ns a2 ip address del "${IP4[s1]}/32" dev eth0
    return "$status"
}

# The second vNIC has a routing table of its own, as EC2 tells instances with several to have.
plug_second() {
    ip -n warren-host-b link set vm2 netns warren-a2 name eth1 &&
        sysctl_in a2 ipv6.conf.eth1.disable_ipv6=1 ipv4.conf.eth1.rp_filter=0 &&
        in_ns a2 ip link set eth1 address "${MAC[s1]}" mtu 1500 up && in_ns a2 ip address add "${IP4[s1]}/32" dev eth1 &&
        in_ns a2 ip rule add from "${IP4[s1]}" table 20 && in_ns a2 ip route add 10.0.1.0/24 dev eth1 table 20
}

# move_eni FROM TO: eni-s1, from a host's port to another's.
move_eni() {
    orchestrate "s/{NetworkInterfaceId: eni-s1, HostId: ${1%:*}, Port: ${1#*:}}/{NetworkInterfaceId: eni-s1, HostId: ${2%:*}, Port: ${2#*:}}/"
}

eni_moved_from_failed() {
    plug_second || return 1
    # All is ready there but for the orchestrator.
    saw "before:" && unanswered a3 "${IP4[s1]}" || return 1
    saw "after:" && move_eni host-a:vm2 host-b:vm2 && reaches a3 "${IP4[s1]}" a2 || return 1
    in_ns s1 ip link set eth0 up
}

answers_from() { [[ $(grep -c " ttl=$2 " "$1") -ge 100 ]]; }

# gap OLD NEW FROM TO: how long nobody answers while eni-s1 moves from an instance that runs to another that does.
gap() {
    local log=$LOGS/stream-a3.log status=0 gap usual answers sent
    start stream-a3 a3 ping -n -D -i 0.005 "${IP4[s1]}"
    within 10 answers_from "$log" "$(ttl "$1")" && move_eni "$3" "$4" &&
        within 20 answers_from "$log" "$(ttl "$2")" || status=1
    SIGNAL=INT stop stream-a3
    tail -n 3 "$log"
    read -r gap usual answers sent < <(sed -nE 's/^\[([0-9.]+)\].* icmp_seq=([0-9]+) ttl=([0-9]+) .*/\1 \2 \3/p' "$log" |
        awk -v new="$(ttl "$2")" '
            last && $3 != new && $1 - last > usual {usual = $1 - last}
            last && $3 == new && !moved {moved = 1; gap = $1 - last}
            {last = $1; sent = $2; n++}
            END {printf "%.0f %.0f %d %d\n", gap * 1000, usual * 1000, n, sent}')
    saw "gap $gap ms from its last answer there to its first here (before, answers were up to $usual ms apart)"
    saw "$((sent - answers)) of $sent pings lost"
    # What is left of a second is for a machine that has better to do.
    ((status == 0 && gap < 1000))
}
