"""Frames are what they say, byte by byte."""

import tempfile
import unittest
from pathlib import Path

import scripts  # noqa: F401  (finds the modules)
from network import INSTANCE_MAC, Case
from tools import frames
from tools.frames import Flow


class Frames(unittest.TestCase):
    def test_a_frame_has_the_size_and_the_checksum_that_it_should(self):
        data = frames.frame(64, "02:00:00:00:00:01", "06:00:00:00:00:00", Flow("10.0.0.4", "10.0.1.7", 1024, 53))
        self.assertEqual(len(data), 64)
        self.assertEqual(data[:14].hex(), "0200000000010600000000000800")
        self.assertEqual(frames.checksum(data[14:34]), 0, "a right header sums up to nothing (RFC 1071)")
        self.assertEqual(int.from_bytes(data[16:18]), 50, "the IP packet is the frame without its link-layer header")
        self.assertEqual(data[34:42].hex(), "04000035001e0000")

    def test_a_segment_of_tcp_has_its_flags(self):
        data = frames.frame(64, "02:00:00:00:00:01", "06:00:00:00:00:00", Flow("10.0.0.4", "10.0.1.7", 1, 2, 6), frames.SYN)
        self.assertEqual((data[23], data[46], data[47]), (6, 0x50, frames.SYN))

    def test_vxlan_is_as_rfc_7348_has_it(self):
        data = Case("decap", 256, 64).packet(1)
        self.assertEqual(len(data), frames.OUTER + 64)
        self.assertEqual(data[36:38], (4789).to_bytes(2))
        self.assertEqual(data[42:50].hex(), "0800000000100400")
        self.assertEqual(data[50:56], frames.mac(INSTANCE_MAC))
        self.assertEqual(frames.checksum(data[14:34]), 0)

    def test_a_subnets_router_has_the_mac_that_warren_gives_it(self):
        # As `warren trace` prints it.
        self.assertEqual(frames.router_mac("subnet-0"), "02:a0:8c:76:a9:bd")

    def test_a_capture_has_each_flow_once_and_is_the_same_in_every_run(self):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            case = Case("encap", 512, 64)
            first, second = (case.capture(Path(folder)).read_bytes() for folder in (one, other))
        self.assertEqual(first, second)
        packets = [first[at + 16 : at + 80] for at in range(24, len(first), 80)]
        self.assertEqual(len(set(packets)), 512)


if __name__ == "__main__":
    unittest.main()
