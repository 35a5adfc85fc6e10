# shellcheck shell=bash disable=SC2154 # Sourced by ../claims.sh.
# What connects a VPC to others and to the world, and who may influence it.
#
#   vpc-blue ── igw-blue, eigw-blue, nat-blue ── internet (203.0.113.80)      vpc-blue ── pcx ── vpc-green ── pcx ── vpc-red
#            ── vgw-blue ── Direct Connect, VPN ── office (192.168.0.1)       vpc-blue ── tgw-1 ── vpc-red
#
# host-b is the edge node of all gateways. What of them is used, the script's routes say.

WEB=203.0.113.80 WEB6=2001:db8:cafe::80 OFFICE=192.168.0.1 GROUP=239.1.1.1
ELASTIC=198.51.100.10 NAT=198.51.100.50

claims_about_exits() {
    heading "isolated VPCs, connected to the outside by gateways only"
    claim "a VPC is limited to a region" "a subnet of vpc-blue in eu-west-1a" \
        refused_edit "/SubnetId: subnet-b/,/Zone/ s/eu-central-1b/eu-west-1a/" eu-west-1a
    add_exits
    claim "a VPC is isolated" "eni-a1 pings the internet, vpc-green and the office; no routes" isolated
    claim "next hops of route tables are objects" "rtb-a: 0.0.0.0/0 by the internet gateway; what a server sees" internet_gateway
    claim "IPv6 passes it untranslated" "rtb-a: ::/0 by the internet gateway" untranslated
    claim "by an Elastic IP address an instance is reached" "a client on the internet pings 198.51.100.10" from_internet
    claim "each subnet has its own route table" "rtb-b: 0.0.0.0/0 by the NAT gateway; eni-b2 and eni-a1 ask" each_its_own
    claim "an egress-only gateway lets replies in" "rtb-b: ::/0 by it; eni-b2 pings out, a client pings it" egress_only
    claim "a peering connects two VPCs" "routes by pcx-blue-green on both sides" peering
    claim "peering is not transitive" "routes for vpc-red by vpc-green, which has a peering with it" not_transitive
    claim "a transit gateway is" "routes by tgw-1; eni-a1 pings eni-r1" transit
    heading "route tables steer what leaves, and only an ingress table what enters"
    claim "a network interface is a next hop" "rtb-a: 0.0.0.0/0 by eni-c1, which forwards to the internet" eni_next_hop
    claim "an ingress table inserts a service" "rtb-ingress: subnet-a by eni-c1; a client pings 198.51.100.10" inserted
    claim "it applies to what enters by the gateway only" "eni-b2 pings eni-a1 meanwhile" entering_only
    claim "2020: no prefix within the VPC in a subnet's table" "Legacy2020Local, rtb-a: 10.0.2.0/24 by eni-c1" legacy_refused
    claim "2020: but in an ingress table" "Legacy2020Local, rtb-ingress as above" legacy_ingress
    claim "today: whole subnets by an ENI" "rtb-a and rtb-b: each other by eni-c1; eni-a1 pings eni-b1" steered
    claim "today: no part of a subnet" "rtb-a: 10.0.2.0/28 by eni-c1" \
        refused_route rtb-a "{DestinationCidrBlock: 10.0.2.0/28, NetworkInterfaceId: eni-c1}" 10.0.2.0/28
    heading "multicast on the transit gateway"
    claim "without a domain it reaches nobody" "eni-a2 and eni-b1 join $GROUP, eni-a1 pings it" dropping host-a multicast no_group
    claim "with one, members get it" "subnets a and b in a multicast domain" group_reaches
    claim "who leaves does not" "eni-b1 leaves" group_left
    heading "routes come from the API, or from BGP outside"
    claim "what the office announces by BGP is reached" "BIRD in the office, FRR at vgw-blue, propagation into rtb-a" propagated
    claim "it knows the VPC too" "the office pings eni-a1" from_office
    claim "Direct Connect before VPN, VPN in its place" "BIRD withdraws the route from Direct Connect" next_best
    claim "what nobody announces is gone" "BIRD withdraws it from the VPN too" gone
    stop_exits
}

# --- What they are made of ---

# refused_edit SED-EXPRESSION WORD: what state.yaml becomes by it is not valid, because of the word.
refused_edit() {
    local report
    sed "$1" "$STATE" >"$LOGS/refused.yaml"
    ! cmp -s "$STATE" "$LOGS/refused.yaml" || { echo "no change: $1" && return 1; }
    ! report=$("$WARREN" check "$LOGS/refused.yaml" 2>&1) || { echo "accepted: $report" && return 1; }
    echo "$report"
    saw "warren check refuses it"
    grep -qF "$2" <<<"$report"
}

# refused_route TABLE ROUTE WORD [SED-EXPRESSION]: the same of a route in exits.yaml, and a change in state.yaml.
refused_route() {
    local report
    sed "$(route_into "$1" "$2")" "$EXITS" >"$LOGS/refused.yaml"
    sed "${4:-}" "$STATE" >"$LOGS/beside.yaml"
    ! report=$("$WARREN" check "$LOGS/beside.yaml" "$LOGS/refused.yaml" 2>&1) || { echo "accepted: $report" && return 1; }
    echo "$report"
    saw "warren check refuses it"
    grep -qF "$3" <<<"$report"
}

# route_into TABLE ROUTE: the sed expression that puts it behind the table's first.
route_into() { echo "/RouteTableId: $1\$/,/GatewayId: local/ s|.*GatewayId: local}|&\n  - $2|"; }

# exits SED-EXPRESSION...: an orchestration call that changes exits.yaml.
exits() {
    local expression
    for expression; do
        sed -i.old "$expression" "$EXITS"
        ! cmp -s "$EXITS.old" "$EXITS" || { echo "no change: $expression" && return 1; }
    done
    apply "$STATE" "$EXITS"
}

# route TABLE DESTINATION TARGET-KEY: ID: adds a route.
route() { exits "$(route_into "$1" "{$2, $3}")"; }

# unroute TABLE DESTINATION: takes it out.
unroute() { exits "/RouteTableId: $1\$/,/^- RouteTableId/ {\\| $2,|d}"; }

# server_sees INSTANCE ADDRESS SEEN: the web server answers with the address that it sees.
server_sees() {
    local page address=$2
    [[ $address != *:* ]] || address="[$address]"
    page=$(in_ns "$1" curl -sSg --max-time 5 "http://$address/") || return 1
    saw "the server sees eni-$1 as $page"
    [[ $page == "$3" ]]
}

# packets INSTANCE: how many it has forwarded.
packets() { in_ns "$1" awk '/^Ip:/ {if (n++) print $column; else for (i = 1; i <= NF; i++) if ($i == "ForwDatagrams") column = i}' /proc/net/snmp; }

# passing INSTANCE NUMBER COMMAND...: the command, of which the instance forwards at least, or exactly 0, packets.
passing() {
    local before number
    before=$(packets "$1")
    "${@:3}" || return 1
    number=$(($(packets "$1") - before))
    saw "eni-$1 forwards $number packets"
    if (($2)); then ((number >= $2)); else ((number == 0)); fi
}

# --- The lab around the hosts ---

# A trunk's VLANs as interfaces, with the addresses 169.254.VLAN.END.
plug_circuits() {
    local name=$1 trunk=$2 end=$3 mac=${4:-} vlan
    ip -n warren-host-b link set "$trunk" netns "warren-$name" && ip -n "warren-$name" link set "$trunk" addrgenmode none up
    start "vlans-$name" "$name" python3 "$ROOT/tests/e2e/lab/vlans.py" "$trunk" dx0=10 vpn0=20
    for vlan in dx0:10 vpn0:20; do
        within 10 has_link "$name" "${vlan%:*}" || return 1
        [[ -z $mac ]] || ip -n "warren-$name" link set "${vlan%:*}" address "$mac"
        ip -n "warren-$name" address add "169.254.${vlan#*:}.$end/30" dev "${vlan%:*}"
        ip -n "warren-$name" link set "${vlan%:*}" up
    done
}

has_link() { ip -n "warren-$1" link show "$2"; }

# It tells everybody the address that it sees.
WEB_SERVER='import socket
server = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    client, (address, *_) = server.accept()
    client.recv(4096)
    client.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + address.removeprefix("::ffff:").encode())
    client.close()'

has_listener() { [[ -n $(in_ns "$1" ss -Hltn "sport = :$2") ]]; }

plug_internet() {
    ip -n warren-host-b link set wan netns warren-internet && ip -n warren-internet link set wan address 02:00:00:00:ff:01 up
    for address in 198.51.100.254/24 2001:db8:ffff::fe/64; do in_ns internet ip address add "$address" dev wan nodad; done
    for address in "$WEB/32" "$WEB6/128"; do in_ns internet ip address add "$address" dev lo; done
    in_ns internet ip -6 route add 2001:db8:b1::/56 via 2001:db8:ffff::1
    start web internet python3 -c "$WEB_SERVER"
    within 10 has_listener internet 80
}

# FRR's daemons give up root and have files of their own.
start_routers() {
    FRR=$(mktemp -d "${TMPDIR:-/tmp}/warren-frr.XXXXXX")
    at_exit "rm -rf $FRR"
    cp "$ROOT/configs/frr/zebra.conf" "$FRR/zebra.conf" && cp "$ROOT/configs/frr/vgw.conf" "$FRR/bgpd.conf" && chown -R frr:frr "$FRR"
    "$ROOT/configs/frr/frr-gateway" warren-frr "$FRR" "$FRR/run" >"$LOGS/frr.log" 2>&1 &
    JOBS[frr]=$!
    start bird-office office bird -f -c "$ROOT/configs/frr/customer-bird.conf" -s "$LOGS/bird-office.ctl"
}

add_exits() {
    local mac
    EXITS=$LOGS/exits.yaml
    cp "$CONFIGS/exits.yaml" "$EXITS"
    mac=$(ip -n warren-host-b -o link show dx | sed -n 's/.*link.ether \([0-9a-f:]*\) .*/\1/p')
    plug_internet && plug_circuits frr dxctl 1 "$mac" && plug_circuits office dx 2 || die "no lab around the hosts"
    in_ns office ip address add "$OFFICE/32" dev lo
    sysctl_in office ipv4.conf.{all,dx0,vpn0}.rp_filter=0
    start_routers
    IP4[g1]=10.8.1.10 IP4[r1]=10.9.1.11 IP4[c1]=10.0.3.13 MAC[c1]=02:00:00:00:03:0d MAC[g1]=02:00:00:00:08:0a MAC[r1]=02:00:00:00:09:0b
    plug g1 host-a vm4 "${MAC[g1]}" "${IP4[g1]}" 2001:db8:b8::a
    plug r1 host-b vm3 "${MAC[r1]}" "${IP4[r1]}" 2001:db8:b9::b
    plug c1 host-a vm5 "${MAC[c1]}" "${IP4[c1]}" 2001:db8:b1:3::d
    sysctl_in c1 ipv4.ip_forward=1 ipv4.conf.{all,eth0}.{send_redirects,rp_filter}=0
    # What the claims before left behind.
    in_ns b1 ip address del 198.51.100.2/32 dev lo
    in_ns a2 ip address del 198.51.100.1/32 dev lo
    in_ns a2 ip address del 203.0.113.1/32 dev lo
    in_ns a1 ip route del 198.51.100.0/24
    apply "$STATE" "$EXITS"
}

stop_exits() {
    SIGNAL=TERM stop web bird-office frr vlans-frr vlans-office
}

# --- The claims ---

isolated() {
    local address
    for address in "$WEB" "${IP4[g1]}" "$OFFICE"; do dropping host-a no_route unanswered a1 "$address" || return 1; done
}

internet_gateway() { route rtb-a "DestinationCidrBlock: 0.0.0.0/0" "GatewayId: igw-blue" && server_sees a1 "$WEB" "$ELASTIC"; }

untranslated() { route rtb-a "DestinationIpv6CidrBlock: \"::/0\"" "GatewayId: igw-blue" && server_sees a1 "$WEB6" "${IP6[a1]}"; }

from_internet() { answered internet "$ELASTIC"; }

each_its_own() {
    route rtb-b "DestinationCidrBlock: 0.0.0.0/0" "NatGatewayId: nat-blue" &&
        server_sees b2 "$WEB" "$NAT" && server_sees a1 "$WEB" "$ELASTIC"
}

# shellcheck disable=SC2153
egress_only() {
    route rtb-b 'DestinationIpv6CidrBlock: "::/0"' "EgressOnlyInternetGatewayId: eigw-blue" &&
        answered b2 "$WEB6" && dropping host-b eigw_unsolicited unanswered internet "${IP6[b2]}"
}

peering() {
    route rtb-a "DestinationCidrBlock: 10.8.0.0/16" "VpcPeeringConnectionId: pcx-blue-green" &&
        route rtb-green "DestinationCidrBlock: 10.0.0.0/16" "VpcPeeringConnectionId: pcx-blue-green" &&
        answered a1 "${IP4[g1]}" -t 1
}

not_transitive() {
    route rtb-a "DestinationCidrBlock: 10.9.0.0/16" "VpcPeeringConnectionId: pcx-blue-green" &&
        route rtb-green "DestinationCidrBlock: 10.9.0.0/16" "VpcPeeringConnectionId: pcx-green-red" &&
        route rtb-red "DestinationCidrBlock: 10.0.0.0/8" "VpcPeeringConnectionId: pcx-green-red" &&
        answered g1 "${IP4[r1]}" && dropping host-a peer_transit unanswered a1 "${IP4[r1]}"
}

transit() {
    unroute rtb-a 10.9.0.0/16 && route rtb-a "DestinationCidrBlock: 10.9.0.0/16" "TransitGatewayId: tgw-1" &&
        route rtb-red "DestinationCidrBlock: 10.0.0.0/16" "TransitGatewayId: tgw-1" && answered a1 "${IP4[r1]}"
}

eni_next_hop() {
    unroute rtb-a 0.0.0.0/0 && route rtb-a "DestinationCidrBlock: 0.0.0.0/0" "NetworkInterfaceId: eni-c1" &&
        passing c1 3 answered a1 "$WEB"
}

inserted() {
    route rtb-ingress "DestinationCidrBlock: 10.0.1.0/24" "NetworkInterfaceId: eni-c1" &&
        passing c1 6 answered internet "$ELASTIC"
}

entering_only() { passing c1 0 answered b2 "${IP4[a1]}" && passing c1 0 answered r1 "${IP4[a1]}"; }

LEGACY='s/{VpcId: vpc-blue, Vni: 4100}/{VpcId: vpc-blue, Vni: 4100, Legacy2020Local: true}/'

legacy_refused() { refused_route rtb-a "{DestinationCidrBlock: 10.0.2.0/24, NetworkInterfaceId: eni-c1}" 10.0.2.0/24 "$LEGACY"; }

legacy_ingress() {
    sed "$LEGACY" "$STATE" >"$LOGS/legacy.yaml"
    ! cmp -s "$STATE" "$LOGS/legacy.yaml" && "$WARREN" check "$LOGS/legacy.yaml" "$EXITS" && saw "warren check accepts it"
}

steered() {
    route rtb-a "DestinationCidrBlock: 10.0.2.0/24" "NetworkInterfaceId: eni-c1" &&
        route rtb-b "DestinationCidrBlock: 10.0.1.0/24" "NetworkInterfaceId: eni-c1" &&
        passing c1 6 answered a1 "${IP4[b1]}" && unroute rtb-a 10.0.2.0/24 && unroute rtb-b 10.0.1.0/24
}

# An address of the group, with which the kernel joins it: by IGMPv2, which is all that transit gateways speak.
join_group() {
    sysctl_in "$1" ipv4.conf.{all,eth0}.force_igmp_version=2 && in_ns "$1" ip address add "$GROUP/32" dev eth0 autojoin
}

leave_group() { in_ns "$1" ip address del "$GROUP/32" dev eth0; }

# group_answers INSTANCE...: exactly these answer pings of the group from eni-a1.
group_answers() {
    local report name
    report=$(in_ns a1 ping -n -c 2 -i 0.2 -W 1 -t 8 -I eth0 "$GROUP") || true
    echo "$report"
    for name; do grep -q " bytes from ${IP4[$name]}: .* ttl=$(ttl "$name") " <<<"$report" || return 1; done
    (($(sed -n 's/.* bytes from \([0-9.]*\):.*/\1/p' <<<"$report" | sort -u | wc -l) == $#))
}

no_group() {
    local name
    for name in a2 b1; do join_group "$name" || return 1; done
    group_answers && saw "nobody answers"
}

DOMAIN='TransitGatewayMulticastDomains:
- TransitGatewayMulticastDomainId: tgw-mcast-domain-1
  TransitGatewayId: tgw-1
  State: available
  Options: {Igmpv2Support: enable}
  Associations: [{SubnetId: subnet-a}, {SubnetId: subnet-b}]'

group_reaches() {
    local name
    # They tell again: nobody has heard it the first time.
    for name in a2 b1; do leave_group "$name" || return 1; done
    echo "$DOMAIN" >>"$EXITS"
    apply "$STATE" "$EXITS" || return 1
    for name in a2 b1; do join_group "$name" || return 1; done
    within 10 group_answers a2 b1 && saw "eni-a2 and eni-b1 answer"
}

group_left() { leave_group b1 && within 10 group_answers a2 && saw "eni-a2 answers"; }

# office_answers CIRCUIT: pings of the office are answered, and come by this circuit.
office_answers() {
    local before
    before=$(requests "$1")
    [[ $(pinged a1 "$OFFICE" 1) == 3 ]] && (($(requests "$1") - before >= 3))
}

# requests CIRCUIT: how many packets have come to the office by it.
requests() { in_ns office awk -v link="$1:" '$1 == link {print $3}' /proc/net/dev; }

propagated() {
    unroute rtb-a 0.0.0.0/0 || return 1
    exits "/RouteTableId: rtb-a\$/ s/.*/&\n  PropagatingVgws: [{GatewayId: vgw-blue}]/" || return 1
    within 60 office_answers dx0 && saw "eni-a1 reaches $OFFICE, by Direct Connect"
}

from_office() { answered office "${IP4[a1]}" -I "$OFFICE"; }

next_best() {
    command birdc -s "$LOGS/bird-office.ctl" disable dx0
    within 20 office_answers vpn0 && saw "eni-a1 reaches $OFFICE, by VPN"
}

silent_office() { [[ $(pinged a1 "$OFFICE" 0.2) == 0 ]]; }

gone() {
    command birdc -s "$LOGS/bird-office.ctl" disable vpn0
    within 20 silent_office && dropping host-a no_route unanswered a1 "$OFFICE"
}
