"""A datagram in fragments: fragments.py SOURCE DESTINATION PORT ORDER

Sends those of the two fragments of a UDP datagram of 64 bytes that ORDER names, in that order: 0 is the first one.
"""
import os
import socket
import struct
import sys

source, destination, port, order = sys.argv[1:]
MORE, FIRST = 0x2000, 32
# Without checksum.
datagram = struct.pack("!HHHH", 4000, int(port), 8 + 64, 0) + bytes(64)
parts = [(MORE, datagram[:FIRST]), (FIRST // 8, datagram[FIRST:])]
identification = os.getpid() & 0xFFFF | 1
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for number in order:
    field, data = parts[int(number)]
    # The kernel fills in length and checksum of the header.
    header = struct.pack("!BBHHHBBH", 0x45, 0, 0, identification, field, 64, socket.IPPROTO_UDP, 0)
    raw.sendto(header + socket.inet_aton(source) + socket.inet_aton(destination) + data, (destination, 0))
