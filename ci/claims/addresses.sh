# shellcheck shell=bash disable=SC2154 # Sourced by ../claims.sh.
# Packets go from network interface to network interface, by the addresses that the orchestrator knows.

claims_about_addresses() {
    heading "packets go straight from vNIC to vNIC, by addresses that the orchestrator controls"
    claim "unicast IPv4 is forwarded" "eni-a1 pings in its subnet and across" answers_both a1 IP4
    claim "unicast IPv6 is forwarded" "eni-a1 pings in its subnet and across" answers_both a1 IP6
    claim "a VPC router is no hop" "eni-a1 pings eni-b1 with TTL 1 and hop limit 1" no_hop
    claim "ARP caches have meaningful MACs" "ip neighbour in eni-a1, after pings" true_macs
    claim "MACs in a subnet, addresses across subnets" "source MACs of eni-a1's packets at eni-a2 and eni-b1" source_macs
    claim "DHCP passes the orchestrator's addresses" "eni-b2 has none, and runs udhcpc and dhclient -6" dhcp
    claim "a changed MAC disconnects" "eni-a1 takes 02:00:00:00:01:ee and pings eni-a2" changed_mac
    claim "a changed IPv4 address disconnects" "eni-a1 takes 10.0.1.99 and pings eni-a2" changed_ip4
    claim "a changed IPv6 address disconnects" "eni-a1 takes 2001:db8:b1:1::99 and pings eni-a2" changed_ip6
    claim "no route table has prefixes within a subnet" "a state with a route for 10.0.1.0/28" \
        refused '{DestinationCidrBlock: 10.0.1.0/28, GatewayId: local}' 10.0.1.0/28
    claim "next hops are objects, not addresses" "a state with a route to 10.0.1.12" \
        refused '{DestinationCidrBlock: 0.0.0.0/0, GatewayId: 10.0.1.12}' 10.0.1.12
}

# answers_both INSTANCE IP4|IP6
answers_both() {
    local -n addresses=$2
    answered "$1" "${addresses[a2]}" && answered "$1" "${addresses[b1]}"
}

no_hop() { answered a1 "${IP4[b1]}" -t 1 && answered a1 "${IP6[b1]}" -t 1; }

true_macs() {
    local name
    answered_by a1 "${IP4[a3]}" a3 || return 1
    for name in a2 a3; do
        caches a1 "${IP4[$name]}" "${MAC[$name]}" || return 1
    done
    caches a1 "${IP6[a2]}" "${MAC[a2]}" && caches a1 10.0.1.1 "$(router_mac subnet-a)" || return 1
    # No instance ever learns one of another subnet.
    # shellcheck disable=SC2034 # check prints it.
    DETAIL="eni-a2 ${MAC[a2]}, eni-a3 ${MAC[a3]}, router $(router_mac subnet-a); eni-b1 none"
    [[ -z $(in_ns a1 ip neighbour show "${IP4[b1]}") ]]
}

source_macs() {
    local name mac
    for name in a2 b1; do
        listen "$name" "icmp and src host ${IP4[a1]}" || return 1
        within 10 answered_by a1 "${IP4[$name]}" "$name" || return 1
        within 10 logged "listener-$name" 'echo request' || return 1
        stop "listener-$name"
        mac=$(awk '/^[0-9:.]+ 02:/ {print $2; exit}' "$LOGS/listener-$name.log")
        saw "eni-$name sees $mac"
        case $name in
        a2) [[ $mac == "${MAC[a1]}" ]] || return 1 ;;
        b1) [[ $mac == "$(router_mac subnet-b)" ]] && saw "which is its router" || return 1 ;;
        esac
    done
}

# Both clients tell what they get, and configure nothing: this machine's resolv.conf is not theirs.
dhcp() {
    local status=0 report
    in_ns b2 ip address flush dev eth0 scope global
    report=$(in_ns b2 udhcpc -f -q -n -i eth0 -s /bin/true 2>&1) || status=1
    echo "$report"
    [[ $report == *"lease of ${IP4[b2]} obtained from 10.0.2.1,"* ]] && saw "udhcpc gets ${IP4[b2]}" || status=1
    # A copy, because Debian's AppArmor profile for dhclient allows no other script.
    cp "$(type -P dhclient)" "$LOGS/dhclient"
    start dhcp6 b2 "$LOGS/dhclient" -6 -d -1 -v -sf /bin/true -lf "$LOGS/leases" -pf "$LOGS/dhclient.pid" eth0
    within 20 logged dhcp6 "IAADDR ${IP6[b2]}$" && saw "dhclient -6 gets ${IP6[b2]}" || status=1
    stop dhcp6
    cat "$LOGS/dhcp6.log"
    own_ip4 b2 "${IP4[b2]}" && in_ns b2 ip address add "${IP6[b2]}/64" dev eth0 nodad || status=1
    return "$status"
}

changed_mac() {
    local status=0
    in_ns a1 ip link set eth0 address 02:00:00:00:01:ee || return 1
    dropping host-a src_mac unanswered a1 "${IP4[a2]}" || status=1
    in_ns a1 ip link set eth0 address "${MAC[a1]}"
    saw "with its own again:" && answered a1 "${IP4[a2]}" || status=1
    return "$status"
}

# own_ip4 INSTANCE ADDRESS: instead of all that it has.
own_ip4() {
    in_ns "$1" ip -4 address flush dev eth0 &&
        in_ns "$1" ip address add "$2/24" dev eth0 && in_ns "$1" ip route add default via "${2%.*}.1"
}

# Both know the MAC of the other, so that all that is wrong is the address.
changed_ip4() {
    local status=0
    own_ip4 a1 10.0.1.99 && in_ns a1 ip neighbour replace "${IP4[a2]}" lladdr "${MAC[a2]}" dev eth0 || status=1
    dropping host-a src_check unanswered a1 "${IP4[a2]}" || status=1
    own_ip4 a1 "${IP4[a1]}"
    saw "with its own again:" && answered a1 "${IP4[a2]}" || status=1
    return "$status"
}

changed_ip6() {
    local status=0
    in_ns a1 ip address del "${IP6[a1]}/64" dev eth0 && in_ns a1 ip address add 2001:db8:b1:1::99/64 dev eth0 nodad &&
        in_ns a1 ip neighbour replace "${IP6[a2]}" lladdr "${MAC[a2]}" dev eth0 || status=1
    dropping host-a src_check unanswered a1 "${IP6[a2]}" || status=1
    in_ns a1 ip address del 2001:db8:b1:1::99/64 dev eth0
    in_ns a1 ip address add "${IP6[a1]}/64" dev eth0 nodad
    saw "with its own again:" && answered a1 "${IP6[a2]}" || status=1
    return "$status"
}

# refused ROUTE WORD: a state with that route is not valid, because of the word.
refused() {
    local report
    sed "s|^  - {DestinationCidrBlock: 10.0.0.0/16.*|&\n  - $1|" "$STATE" >"$LOGS/refused.yaml"
    ! report=$("$WARREN" check "$LOGS/refused.yaml" 2>&1) || { echo "accepted: $report" && return 1; }
    echo "$report"
    saw "warren check refuses it"
    grep -qF "$2" <<<"$report"
}
