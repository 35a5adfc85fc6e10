"""A GRE tunnel (RFC 2784) in user space, for kernels without: gre.py NAME LOCAL REMOTE

Makes a TUN interface in the network namespace that it runs in, until it is ended. What goes into it leaves with the outer
addresses LOCAL and REMOTE.
"""
import fcntl
import os
import selectors
import socket
import struct
import sys

TUNSETIFF, IFF_TUN_NO_PI = 0x400454CA, 0x1001
ETHERTYPES = {4: 0x0800, 6: 0x86DD}

name, local, remote = sys.argv[1:]
outside = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_GRE)
outside.bind((local, 0))
outside.connect((remote, 0))
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
ready = selectors.DefaultSelector()
ready.register(outside, selectors.EVENT_READ)
ready.register(tun, selectors.EVENT_READ)


def from_outside():
    """The kernel gives the outer IPv4 header too. Without key, checksum and sequence number, GRE's has four octets."""
    packet = outside.recv(65536)
    gre = packet[(packet[0] & 15) * 4:]
    flags, ethertype = struct.unpack("!HH", gre[:4])
    if flags == 0 and ethertype in ETHERTYPES.values():
        os.write(tun, gre[4:])


def from_tun():
    packet = os.read(tun, 65536)
    outside.send(struct.pack("!HH", 0, ETHERTYPES[packet[0] >> 4]) + packet)


while True:
    for key, _ in ready.select():
        try:
            from_outside() if key.fileobj is outside else from_tun()
        except OSError:
            # An interface that is down, or a way that is not there, loses what is sent to it.
            pass
