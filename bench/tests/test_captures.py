"""The mixes are what they are said to be."""

import collections
import unittest

import scripts  # noqa: F401  (finds the modules)
import captures


class Captures(unittest.TestCase):
    def test_imix_has_seven_small_to_four_middle_to_one_large(self):
        sizes = collections.Counter(size for size, _, _ in captures.packets("imix", 12_000))
        self.assertEqual(set(sizes), {64, 590, 1514})
        self.assertAlmostEqual(sizes[64] / sizes[1514], 7, delta=1)
        self.assertAlmostEqual(sizes[590] / sizes[1514], 4, delta=0.7)

    def test_zipfs_first_flow_comes_twice_as_often_as_its_second(self):
        flows = collections.Counter(flow for _, flow, _ in captures.packets("zipf", 4096)).most_common(2)
        self.assertAlmostEqual(flows[0][1] / flows[1][1], 2, delta=0.3)

    def test_a_flood_has_no_connection_twice(self):
        found = captures.packets("syn", 256)
        self.assertEqual(len({flow for _, flow, _ in found}), len(found))
        self.assertEqual({flags for _, _, flags in found}, {captures.SYN})

    def test_the_hero_mixs_connections_open_and_close_in_order(self):
        found = captures.packets("hero", 1024)
        by_flow = collections.defaultdict(list)
        for _, flow, flags in found:
            if flow.protocol == 6:
                by_flow[flow].append(flags)
        whole = [captures.SYN, captures.ACK, captures.FIN | captures.ACK, captures.ACK]
        self.assertTrue(all(flags == whole[: len(flags)] for flags in by_flow.values()))
        self.assertAlmostEqual(sum(map(len, by_flow.values())) / len(found), 0.3, delta=0.03)

    def test_the_way_back_is_between_the_same_ends(self):
        size, flow, flags = captures.packets("64", 256)[0]
        there, back = captures.frame(size, flow, flags, False), captures.frame(size, flow, flags, True)
        self.assertEqual(back[50 + 26 : 50 + 30], there[30:34])
        self.assertEqual(back[50 + 34 : 50 + 36], there[36:38])


if __name__ == "__main__":
    unittest.main()
