"""The simulation of more workers is what it is of the measurements."""

import unittest

import scripts  # noqa: F401  (finds the modules)
import scaling


def line(percent: float, speedup: float) -> dict:
    return {"workers": 2, "handed_over_percent": percent, "speedup": speedup}


class Scaling(unittest.TestCase):
    def test_two_workers_come_out_as_they_were_measured(self):
        for measured in ((2.0, 1.8, 1.6), (1.9, 1.62, 1.4), (1.95, 1.95, 1.95)):
            costs = scaling.costs([line(0, measured[0]), line(50.2, measured[1]), line(99.9, measured[2])])
            for share, wanted in zip((0.0, 0.5, 1.0), measured):
                self.assertAlmostEqual(scaling.simulate(2, share, costs), wanted, delta=wanted * 0.03)

    def test_workers_that_take_nothing_from_each_other_scale(self):
        free = scaling.Costs(1.0, 0.0, 0.0)
        self.assertAlmostEqual(scaling.simulate(16, 0.0, free), 16, delta=0.3)

    def test_a_measurement_that_is_missing_is_named(self):
        with self.assertRaisesRegex(SystemExit, "handoff 0, 50 and 100"):
            scaling.costs([line(0, 2.0)])


if __name__ == "__main__":
    unittest.main()
