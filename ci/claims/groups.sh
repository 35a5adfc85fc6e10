# shellcheck shell=bash disable=SC2154 # Sourced by ../claims.sh.
# No broadcast, no unknown unicast, no multicast.

claims_about_groups() {
    heading "layer-2 tricks like BUM flooding do not work"
    claim "broadcast is heard by nobody" "eni-a1 pings 10.0.1.255 and 255.255.255.255" \
        unheard broadcast ping_each -b 10.0.1.255 255.255.255.255
    claim "ARP requests are heard by nobody" "eni-a1 asks for 10.0.1.77, which no ENI has" \
        unheard arp_unanswered arping_nobody
    claim "unknown unicast is not flooded" "eni-a1 sends to 02:00:00:00:01:77" unheard unknown_mac ping_unknown
    claim "multicast is heard by nobody" "eni-a1 pings 224.0.0.1, 239.1.1.1 and ff02::1, and sends HSRP's hello" \
        unheard multicast multicasts
}

# unheard REASON COMMAND...: nobody hears what eni-a1 does; who listens then hears a ping that is for it.
unheard() {
    local name status=0 from="ether src ${MAC[a1]} or src host ${IP4[a1]} or src host ${IP6[a1]}" answers
    # The node's answers for eni-a1.
    answers='arp[6:2] = 2 or (ip6[6] = 58 and ip6[40] = 136)'
    for name in a2 a3 b1; do listen "$name" "($from) and not ($answers)" || return 1; done
    dropping host-a "$1" "${@:2}" || status=1
    for name in a2 a3 b1; do
        within 10 answered_by a1 "${IP4[$name]}" "$name" && within 10 logged "listener-$name" "> ${IP4[$name]}: ICMP echo" || status=1
        stop "listener-$name"
        # A packet's first line starts with the time. All but the pings that were for it.
        awk -v own="> ${IP4[$name]}: ICMP echo" '
            /^[0-9][0-9]:/ {packet = $0; n++}
            index($0, own) {n--}
            END {exit n > 0}' "$LOGS/listener-$name.log" && continue
        cat "$LOGS/listener-$name.log"
        saw "eni-$name heard it" && status=1
    done
    ((status == 0)) && saw "eni-a2, eni-a3 and eni-b1 hear nothing of it, but the ping after it"
    return "$status"
}

# ping_each OPTIONS ADDRESS...: no matter how it goes.
ping_each() {
    local address
    for address in "${@:2}"; do in_ns a1 ping -n -c 3 -i 0.1 -W 0.3 "$1" -I eth0 "$address" || true; done
}

arping_nobody() { ! in_ns a1 arping -b -c 2 -w 2 -I eth0 10.0.1.77; }

ping_unknown() {
    in_ns a1 ip neighbour replace 10.0.1.77 lladdr 02:00:00:00:01:77 dev eth0 nud permanent
    ping_each -4 10.0.1.77
    in_ns a1 ip neighbour del 10.0.1.77 dev eth0
}

# HSRP's hellos go to UDP port 1985 of all routers (RFC 2281).
multicasts() {
    ping_each -4 224.0.0.1 239.1.1.1
    ping_each -6 ff02::1
    in_ns a1 bash -c 'echo hello >/dev/udp/224.0.0.2/1985'
}
