# shellcheck shell=bash disable=SC2154 # Sourced by ../claims.sh.
# Instances may route for each other within a subnet. The VPC's router takes part in nothing.

claims_about_routing() {
    heading "static routes inside instances: in the subnet only"
    in_ns a2 ip address add 198.51.100.1/32 dev lo
    in_ns b1 ip address add 198.51.100.2/32 dev lo
    claim "a next hop with its source/destination check on takes its own only" "eni-a1: 198.51.100.0/24 via eni-a2" checked_next_hop
    claim "with the check off, a static route in its subnet works" "eni-a1: 198.51.100.0/24 via eni-a2" free_next_hop
    claim "a next hop forwards" "eni-a1: eni-b1 via eni-a2, which forwards" forwarded
    claim "a next hop in another subnet does not work" "eni-a1: 198.51.100.2 via eni-b1" foreign_next_hop
    claim "between subnets the VPC's router delivers directly" "eni-a1: eni-b2 via eni-b1" delivered_directly
    claim "nothing draws packets elsewhere" "eni-a2, check off, has eni-b1's address too; eni-a1 pings it" not_drawn
    heading "routing protocols: unicast, in the subnet"
    in_ns a2 ip address add 203.0.113.1/32 dev lo
    in_ns a2 ip address add 2001:db8:cafe::1/128 dev lo
    claim "BGP works between instances, packets follow it" "BIRD on eni-a1 and eni-a2, over IPv4 and IPv6" bgp
    claim "no adjacency with the VPC's router" "eni-a1's BIRD calls 10.0.1.1, which is silent" no_adjacency
    claim "what BGP withdraws is gone" "BIRD on eni-a2 ends" withdrawn
    SIGNAL=TERM stop bird-a1
    claim "OSPF does not work, being multicast" "BIRD on eni-a1 and eni-a2, type broadcast" ospf_multicast
    claim "OSPF works as unicast" "BIRD on eni-a1 and eni-a2, type nbma" ospf_unicast
}

checked_next_hop() {
    in_ns a1 ip route add 198.51.100.0/24 via "${IP4[a2]}" && dropping host-b dst_check unanswered a1 198.51.100.1
}

free_next_hop() {
    orchestrate '/^- NetworkInterfaceId: eni-a2/,/SourceDestCheck/ s/SourceDestCheck: true/SourceDestCheck: false/' &&
        orchestrate '/^- NetworkInterfaceId: eni-b1/,/SourceDestCheck/ s/SourceDestCheck: true/SourceDestCheck: false/' &&
        answered a1 198.51.100.1
}

# The next hop is seen in the TTL, which only it lowers.
forwarded() {
    local status=0 lower=$(($(ttl a1) - 1))
    sysctl_in a2 ipv4.ip_forward=1 && in_ns a1 ip route add "${IP4[b1]}/32" via "${IP4[a2]}" || return 1
    listen b1 "icmp and src host ${IP4[a1]}" && answered a1 "${IP4[b1]}" || status=1
    within 10 logged listener-b1 " ttl $lower," && saw "they arrive with TTL $lower, one less" || status=1
    stop listener-b1
    in_ns a1 ip route del "${IP4[b1]}/32"
    return "$status"
}

# The next hop can be asked for, and nobody answers; or the router gets the packets, and knows no such hop.
foreign_next_hop() {
    local status=0
    in_ns a1 ip route add 198.51.100.2/32 via "${IP4[b1]}" dev eth0 onlink || return 1
    dropping host-a arp_unanswered unanswered a1 198.51.100.2 || status=1
    in_ns a1 ip route replace 198.51.100.2/32 via 10.0.1.1
    saw "by the router:" && dropping host-a no_route unanswered a1 198.51.100.2 || status=1
    in_ns a1 ip route del 198.51.100.2/32
    return "$status"
}

delivered_directly() {
    local status=0
    in_ns a1 ip route add "${IP4[b2]}/32" via 10.0.1.1 && listen b1 "icmp and src host ${IP4[a1]}" || return 1
    answered a1 "${IP4[b2]}" || status=1
    # What is for it, it hears.
    within 10 answered_by a1 "${IP4[b1]}" b1 && within 10 logged listener-b1 "> ${IP4[b1]}: ICMP echo request" || status=1
    stop listener-b1
    ! logged listener-b1 "> ${IP4[b2]}:" && saw "eni-b1 saw none" || status=1
    in_ns a1 ip route del "${IP4[b2]}/32"
    return "$status"
}

not_drawn() {
    local status=0
    in_ns a2 ip address add "${IP4[b1]}/32" dev lo || return 1
    reaches a1 "${IP4[b1]}" b1 && reaches a3 "${IP4[b1]}" b1 || status=1
    in_ns a2 ip address del "${IP4[b1]}/32" dev lo
    return "$status"
}

# bird INSTANCE CONFIG
bird() { start "bird-$1" "$1" bird -f -c "$CONFIGS/bird-$2.conf" -s "$LOGS/bird-$1.ctl" -P "$LOGS/bird-$1.pid"; }

# birdc INSTANCE COMMAND...
birdc() { command birdc -r -s "$LOGS/bird-$1.ctl" "${@:2}"; }

# learned FAMILY PREFIX NEXT-HOP: eni-a1's kernel has the route from BIRD.
learned() { in_ns a1 ip "$1" route show "$2" proto bird | grep -F "via $3 "; }

bgp() {
    bird a1 bgp-a1 && bird a2 bgp-a2 || return 1
    within 30 learned -4 203.0.113.0/24 "${IP4[a2]}" && within 30 learned -6 2001:db8:cafe::/48 "${IP6[a2]}" || return 1
    saw "eni-a1 learns 203.0.113.0/24 and 2001:db8:cafe::/48 from eni-a2"
    answered a1 203.0.113.1 && answered a1 2001:db8:cafe::1
}

is_silent_port() {
    local status=0
    timeout 1 ip netns exec warren-a1 bash -c "</dev/tcp/$1/$2" || status=$?
    # 124 is timeout's; a refusal would be quicker.
    ((status == 124))
}

no_adjacency() {
    local report
    dropping host-a service is_silent_port 10.0.1.1 179 || return 1
    report=$(birdc a1 show protocols all vpc_router)
    echo "$report"
    report=$(awk '/BGP state:/ {print $3}' <<<"$report")
    saw "BGP is in state $report"
    [[ $report == Connect || $report == Active ]]
}

withdrawn() {
    SIGNAL=TERM stop bird-a2
    within 20 not learned -4 203.0.113.0/24 "${IP4[a2]}" || return 1
    dropping host-a no_route unanswered a1 203.0.113.1
}

not() { ! "$@"; }

# Hellos leave both, and no neighbour is found.
ospf_multicast() {
    local status=0 name
    bird a1 ospf-multicast && bird a2 ospf-multicast || return 1
    dropping host-a multicast four_hellos a1 && dropping host-b multicast four_hellos a2 || status=1
    for name in a1 a2; do
        # Its table has a heading, and nothing else.
        birdc "$name" show ospf neighbors hellos >"$LOGS/neighbours" && cat "$LOGS/neighbours"
        [[ $(tail -n 1 "$LOGS/neighbours") == "Router ID"* ]] || status=1
    done
    ((status == 0)) && saw "neither has a neighbour"
    SIGNAL=TERM stop bird-a1 bird-a2
    return "$status"
}

four_hellos() { in_ns "$1" timeout 20 tcpdump -i eth0 -Q out -n -c 4 'ip proto 89 and dst host 224.0.0.5'; }

is_full() { birdc "$1" show ospf neighbors hellos | grep 'Full/.*eth0'; }

ospf_unicast() {
    local status=0
    bird a1 ospf-unicast && bird a2 ospf-unicast || return 1
    within 40 is_full a1 && within 40 is_full a2 && saw "each is the other's neighbour, state Full" || status=1
    SIGNAL=TERM stop bird-a1 bird-a2
    return "$status"
}
