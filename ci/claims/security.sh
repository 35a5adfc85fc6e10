# shellcheck shell=bash disable=SC2154 # Sourced by ../claims.sh.
# Packets are checked where they enter the VPC and where they leave it: security groups at both hosts.

claims_about_security() {
    heading "packets are checked in ingress and egress hypervisors"
    claim "a security group's rule lets pings in" "eni-b1 joins sg-ping, which allows them from sg-open; eni-a1 pings it" let_in
    claim "the receiving host denies the rest" "eni-a1 tries TCP port 22 of eni-b1" denied_port
    claim "the sending host denies too" "sg-ping has no rule for what goes out; eni-b1 pings eni-a1" denied_out
    claim "a flow outlives its rule, new ones don't begin" "sg-ping loses it while eni-a1 pings eni-b1; eni-a1 pings anew" rule_removed
    claim "the rule helps again" "sg-ping gets it back" rule_returned
    group_of b1 sg-ping sg-open >"$LOGS/security.log" || show_tail "$LOGS/security.log"
}

# group_of INSTANCE OLD NEW: its ENI changes groups.
group_of() { orchestrate "/NetworkInterfaceId: eni-$1\$/,/Groups:/ s/GroupId: $2}/GroupId: $3}/"; }

let_in() { group_of b1 sg-open sg-ping && answered a1 "${IP4[b1]}"; }

denied_port() { dropping host-b sg_in no_tcp a1 "${IP4[b1]}" 22; }

# no_tcp INSTANCE ADDRESS PORT: nobody answers, not even that nobody listens.
no_tcp() {
    local code=0
    in_ns "$1" timeout 2 bash -c "exec 3<>/dev/tcp/$2/$3" || code=$?
    ((code == 124)) && saw "no answer"
}

# What goes back is no matter of rules.
denied_out() { dropping host-b sg_out unanswered b1 "${IP4[a1]}" && saw "meanwhile" && answered a1 "${IP4[b1]}"; }

PING_RULE='{IpProtocol: icmp, FromPort: 8'

rule_removed() {
    local log=$LOGS/stream-a1.log status=0 ttl
    ttl=$(ttl b1)
    start stream-a1 a1 ping -n -i 0.01 "${IP4[b1]}"
    within 10 answers_from "$log" "$ttl" && orchestrate "s/- $PING_RULE/# &/" || status=1
    goes_on "$log" "$ttl" || status=1
    dropping host-b sg_in unanswered a1 "${IP4[b1]}" || status=1
    goes_on "$log" "$ttl" && saw "the earlier flow goes on" || status=1
    SIGNAL=INT stop stream-a1
    tail -n 3 "$log"
    return "$status"
}

# goes_on LOG TTL: more answers come.
goes_on() {
    local before
    before=$(grep -c " ttl=$2 " "$1")
    within 10 has_more "$1" "$2" $((before + 50))
}

has_more() { (($(grep -c " ttl=$2 " "$1") > $3)); }

rule_returned() { orchestrate "s/# - $PING_RULE/- $PING_RULE/" && answered a1 "${IP4[b1]}"; }
