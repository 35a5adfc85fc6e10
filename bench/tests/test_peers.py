"""What peers print is read right, and what is made of it adds up."""

import unittest

import scripts  # noqa: F401  (finds the modules)
import figures
import ovs
import vpp
from network import Case

PMD_STATS = """pmd thread numa_id 0 core_id 1:
  packets received: 5603424
  packet recirculations: 0
  idle cycles: 0 (0.00%)
  processing cycles: 2518471546 (100.00%)
  avg cycles per packet: 449.45 (2518471546/5603424)
  avg processing cycles per packet: 449.45 (2518471546/5603424)
main thread:
  packets received: 6
  avg cycles per packet: 9.00 (54/6)
"""

# The form is that of VPP's documentation; the numbers are made up.
RUNTIME = """Thread 0 vpp_main (lcore 0)
Time 1.0, 10 sec internal node vector rate 0.00 loops/sec 100.00
             Name                 State         Calls          Vectors        Suspends         Clocks       Vectors/Call
api-rx-from-ring                any wait                 0               0               3          9.00e3            0.00
---------------
Thread 1 vpp_wk_0 (lcore 1)
Time 1.0, 10 sec internal node vector rate 256.00 loops/sec 100.00
             Name                 State         Calls          Vectors        Suspends         Clocks       Vectors/Call
ethernet-input                   active                100           25600               0          1.00e1          256.00
ip4-lookup                       active                100           25600               0          2.00e1          256.00
pg-input                        polling                100           25600               0          1.50e1          256.00
pg1-tx                           active                100           25600               0          5.00e0          256.00
"""


class Peers(unittest.TestCase):
    def test_only_the_worker_of_ovs_counts(self):
        self.assertEqual(ovs.parse_stats(PMD_STATS), (2518471546.0, 5603424, None))

    def test_ovs_that_has_had_no_packet_has_no_figures(self):
        self.assertEqual(ovs.parse_stats("pmd thread numa_id 0 core_id 1:\n  packets received: 0\n"), (0.0, 0, None))

    def test_ovs_commits_only_new_connections(self):
        rules = ovs.rules("stateful")
        self.assertTrue(any("+est" in rule and "commit" not in rule for rule in rules))
        self.assertFalse(any("ct(" in rule for rule in ovs.rules("encap")))

    def test_vpps_generator_and_sink_are_its_driver(self):
        self.assertEqual(vpp.parse_runtime(RUNTIME), (25600 * 50.0, 25600, 25600 * 20.0))

    def test_ratios_are_to_warren_in_the_same_case(self):
        case = Case("encap", 256, 64)
        lines = [
            figures.line("warren", case, 32, [200.0, 210.0, 220.0], [60.0, 61.0, 62.0]),
            figures.line("ovs-dpdk", case, 32, [460.0, 470.0, 480.0], [60.0, 61.0, 62.0]),
            figures.line("ovs-dpdk", Case("decap", 256, 64), 32, [460.0], [60.0]),
        ]
        own, other, alone = figures.with_ratios(lines)
        self.assertEqual((own["net_cycles_per_packet"], own["net_cycles_per_packet_median"]), (140.0, 149.0))
        self.assertEqual((other["ratio"], other["ratio_net"]), (2.3, 2.86))
        self.assertNotIn("ratio", own)
        self.assertNotIn("ratio", alone, "without Warren in that case there is nothing to compare with")
        self.assertEqual(len(figures.table(lines).splitlines()), 4)


if __name__ == "__main__":
    unittest.main()
