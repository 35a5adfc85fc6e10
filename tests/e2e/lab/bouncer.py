"""An appliance behind a Gateway Load Balancer that lets everything pass: bouncer.py LOG

Sends back each Geneve packet (RFC 8926) as it came, and writes a line for the packet in it to LOG: where from, where to, its
length, and the endpoint in hexadecimal.
"""
import socket
import struct
import sys

ENDPOINT = 0x0108, 1

log = open(sys.argv[1], "a", buffering=1)
bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
bound.bind(("0.0.0.0", 6081))


def options(data):
    while data:
        option_class, kind, words = struct.unpack("!HBB", data[:4])
        yield (option_class, kind), data[4:4 + words * 4]
        data = data[4 + words * 4:]


def addresses(packet):
    if packet[0] >> 4 == 4:
        return (socket.inet_ntop(socket.AF_INET, packet[at:at + 4]) for at in (12, 16))
    return (socket.inet_ntop(socket.AF_INET6, packet[at:at + 16]) for at in (8, 24))


while True:
    geneve, balancer = bound.recvfrom(65536)
    inner = 8 + (geneve[0] & 0x3F) * 4
    endpoint = dict(options(geneve[8:inner]))[ENDPOINT]
    print(*addresses(geneve[inner:]), len(geneve) - inner, endpoint.hex(), file=log)
    bound.sendto(geneve, balancer)
