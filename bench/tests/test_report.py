"""From lines to tables and plots: what the sample says, is there; what is wrong is said. The sample is of a quick run."""

import json
import re
import tempfile
import unittest
import xml.dom.minidom
from pathlib import Path

import scripts  # noqa: F401  (finds the modules)
import criterion
from goals import Goal, goals
import plots
import report
import tables
from results import Results
from svg import Axis, Plot, short

SAMPLE = Path(__file__).parent / "sample"
DOCUMENT = scripts.BENCH.parent / "docs" / "performance.md"

CRITERION = """parse/ipv4              time:   [12.345 ns 12.400 ns 12.500 ns]
                        change: [-1.0% +0.0% +1.0%] (p = 0.50 > 0.05)
flow/a name that does not fit into the column
                        time:   [1.0500 µs 1.0600 µs 1.0700 µs]
                        thrpt:  [29.907 Melem/s 30.189 Melem/s 30.476 Melem/s]
Found 3 outliers among 100 measurements (3.00%)
"""


class Report(unittest.TestCase):
    def setUp(self):
        self.results = Results.of(SAMPLE)

    def test_every_table_comes_out_of_the_sample(self):
        for name, make in tables.ALL.items():
            made = make(self.results)
            self.assertTrue(made, f"{name} says nothing")
            if name != "machine":
                widths = {line.count("|") for line in made.splitlines()}
                self.assertEqual(len(widths), 1, f"{name} has rows of different lengths")

    def test_every_place_of_the_document_has_a_table_and_every_plot_is_shown(self):
        text = DOCUMENT.read_text()
        self.assertEqual(set(re.findall(r"<!-- figures: (\S+) -->", text)), set(tables.ALL))
        self.assertEqual(text.count("<!-- figures:"), text.count("<!-- end -->"))
        self.assertEqual(set(re.findall(r"\(performance/(\S+)\.svg\)", text)), set(plots.all_plots(self.results)))

    def test_plots_are_xml_and_the_same_for_the_same_figures(self):
        for name, plot in plots.all_plots(self.results).items():
            drawn = plot.render()
            xml.dom.minidom.parseString(drawn)
            self.assertEqual(drawn, plots.all_plots(self.results)[name].render())
            self.assertNotIn("nan", drawn)

    def test_a_logarithmic_axis_leaves_zero_out(self):
        plot = Plot("Routes", "routes", "cycles", log_x=True)
        plot.add("some", [(0, 5.0), (10, 6.0), (100, 7.0)])
        plot.add("none", [(0, 5.0)])
        self.assertEqual(plot.lines, [("some", [(10, 6.0), (100, 7.0)])])
        xml.dom.minidom.parseString(plot.render())

    def test_filling_twice_is_filling_once(self):
        once = report.filled(DOCUMENT.read_text(), self.results)
        self.assertEqual(report.filled(once, self.results), once)
        self.assertIn("| `encap` |", once)

    def test_a_run_without_a_step_leaves_its_table(self):
        text = "<!-- figures: peers -->\nolder\n<!-- end -->"
        self.assertEqual(report.filled(text, Results([])), text)

    def test_an_unknown_table_is_named(self):
        with self.assertRaisesRegex(SystemExit, "no table is called nothing"):
            report.filled("<!-- figures: nothing -->\n<!-- end -->", self.results)

    def test_a_broken_line_names_file_and_line(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "peers.jsonl").write_text('{"what": "peer"}\n{"what": \n')
            with self.assertRaisesRegex(SystemExit, r"peers.jsonl:2: "):
                Results.of(Path(folder))

    def test_criterion_is_read_also_where_a_name_has_its_own_line(self):
        found = [(line["name"], round(line["ns"], 1), line["count"]) for line in criterion.lines(CRITERION)]
        self.assertEqual(found, [("parse/ipv4", 12.4, 1), ("flow/a name that does not fit into the column", 1060.0, 32)])


class Goals(unittest.TestCase):
    def test_a_goal_is_met_at_its_bound(self):
        self.assertTrue(Goal("", 10, False, 10).met and Goal("", 10, True, 10).met)
        self.assertFalse(Goal("", 10, False, 10.1).met or Goal("", 10, True, 9.9).met)

    def test_they_are_of_the_lines_that_they_name(self):
        line = {"from": "flows", "case": "stateful", "flows": 4096, "cycles_per_packet": 100.0, "driver_cycles_per_packet": 55.0}
        found = list(goals(Results([line, {**line, "flows": 5}])))
        self.assertEqual([(goal.measured, goal.met) for goal in found], [(45.0, True)])


class Axes(unittest.TestCase):
    def test_ends_lie_at_the_ends(self):
        for log in (False, True):
            axis = Axis([10, 1000], log, 0, 100, from_zero=False)
            self.assertAlmostEqual(axis.place(10), 0)
            self.assertAlmostEqual(axis.place(1000), 100)
            self.assertTrue(2 <= len(axis.ticks()) <= 8)

    def test_one_value_is_no_axis_of_no_length(self):
        plot = Plot("one", "x", "y")
        plot.add("one", [(5, 7)])
        self.assertNotIn("nan", plot.render())

    def test_numbers_are_short(self):
        self.assertEqual([short(value) for value in (0, 64, 4096, 1e6)], ["0", "64", "4.096k", "1M"])


class Sample(unittest.TestCase):
    def test_it_is_json_and_small(self):
        size = 0
        for path in SAMPLE.glob("*.jsonl"):
            size += path.stat().st_size
            for line in path.read_text().splitlines():
                json.loads(line)
        self.assertLess(size, 50_000)


if __name__ == "__main__":
    unittest.main()
