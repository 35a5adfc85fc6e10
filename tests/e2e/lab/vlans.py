"""802.1Q interfaces in user space, for kernels without: vlans.py TRUNK NAME=VLAN...

Makes a TAP interface for each VLAN of a trunk, in the network namespace that it runs in, until it is ended.
"""
import fcntl
import os
import selectors
import socket
import struct
import sys

TUNSETIFF, IFF_TAP_NO_PI = 0x400454CA, 0x1002
ETH_P_ALL, PACKET_OUTGOING = 3, 4
SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 1 << 4

trunk = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
trunk.bind((sys.argv[1], 0))
trunk.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
ready = selectors.DefaultSelector()
ready.register(trunk, selectors.EVENT_READ)
taps = {}
for argument in sys.argv[2:]:
    name, vlan = argument.split("=")
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP_NO_PI))
    taps[int(vlan)] = tap
    ready.register(tap, selectors.EVENT_READ, int(vlan))


def from_trunk():
    """The kernel takes a tag off, and tells it beside the frame."""
    frame, told, _, (_, _, kind, *_) = trunk.recvmsg(65536, socket.CMSG_SPACE(20))
    if kind == PACKET_OUTGOING:
        return
    for _, _, data in told:
        status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", data[:20])
        if status & TP_STATUS_VLAN_VALID and tci & 0xFFF in taps:
            send(lambda: os.write(taps[tci & 0xFFF], frame))


def from_tap(vlan):
    frame = os.read(taps[vlan], 65536)
    send(lambda: trunk.send(frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]))


def send(call):
    """An interface that is down loses what is sent to it."""
    try:
        call()
    except OSError:
        pass


while True:
    for key, _ in ready.select():
        if key.fileobj is trunk:
            from_trunk()
        else:
            from_tap(key.data)
