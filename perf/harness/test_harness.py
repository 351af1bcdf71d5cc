"""Tests of the harness: python3 -m unittest discover -s perf -t perf."""

import json
import os
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

from harness import bench, chart, run, scenarios, servers, table
from harness.compare import cell_of, ratio_of
from harness.process import Failed, RunningServer
from harness.results import Results


def report(**changes):
    """A report of the load generator with what the harness reads."""
    base = {
        "throughput": {"per_second": 1000.0},
        "latency": [{"name": "response", "p50": 2000, "p99": 5000}],
        "errors": [],
        "delivery": {"lost": 0, "duplicated": 0, "out_of_order": 0, "misdelivered": 0},
        "server": {"cpu_per_message": 150.0, "cpus_used": 0.9, "rss_growth": 0},
        "memory": [{"name": "silent", "bytes_per_connection": 300.0}],
        "generator": {"limited": False},
    }
    return {**base, **changes}


def results_with(folder, runs, names=("fan-64-w32",), absent=()):
    """Results of (round, scenario, server, value); the value None is a failure."""
    options = SimpleNamespace(rounds=3, seconds=1.0)
    chosen = [scenarios.BY_NAME[name] for name in names]
    results = Results.begin(folder, options, servers.SERVERS, chosen)
    for number, scenario, server, value in runs:
        if value is None:
            results.add(number, scenario, server, failed="messages 3 lost")
        else:
            results.add(number, scenario, server, {"value": value})
    for server in absent:
        results.add_absence(server, "it is missing")
    return results


class Compare(unittest.TestCase):
    def test_only_quiet_runs_make_the_value_and_all_the_spread(self):
        cell = cell_of([100, 112, 104, 190])
        self.assertEqual((cell.value, cell.least, cell.most), (104, 100, 190))
        self.assertEqual((cell.quiet, cell.runs), (3, 4))
        self.assertIsNone(cell_of([]))

    def test_ratios_are_taken_within_rounds(self):
        ratio = ratio_of({1: 50, 2: 120, 3: 60}, {1: 100, 2: 200})
        self.assertEqual((ratio.least, ratio.most), (0.5, 0.6))
        self.assertAlmostEqual(ratio.median, 0.55)
        self.assertIsNone(ratio_of({1: 50}, {2: 100}))


class Reading(unittest.TestCase):
    def test_takes_cost_and_latency_from_a_report(self):
        figures = bench.figures_of(scenarios.BY_NAME["fan-64-w32"], report())
        self.assertEqual((figures["value"], figures["p99"]), (150.0, 5.0))
        paced = bench.figures_of(scenarios.BY_NAME["paced-half"], report())
        self.assertEqual((paced["value"], paced["cpu"]), (5.0, 150.0))
        idle = bench.figures_of(scenarios.BY_NAME["idle-10000"], report(delivery=None))
        self.assertEqual(idle["value"], 300.0)

    def test_a_run_that_lost_messages_has_failed(self):
        lossy = report(delivery={"lost": 3, "out_of_order": 1})
        with self.assertRaisesRegex(Failed, "3 lost, 1 out of order"):
            bench.figures_of(scenarios.BY_NAME["fan-64-w32"], lossy)

    def test_a_report_without_the_figure_has_failed(self):
        for name in ("burst-5000", "beside", "idle-10000-echo"):
            with self.assertRaises(Failed):
                bench.figures_of(scenarios.BY_NAME[name], report())


class Plan(unittest.TestCase):
    def test_rounds_interleave_and_begin_with_another_server(self):
        options = SimpleNamespace(rounds=2, servers=["a", "b", "c"], scenarios=["x", "y"])
        steps = list(run.plan(options))
        self.assertEqual([server for number, scenario, server in steps[:6]], list("abcabc"))
        self.assertEqual([server for number, scenario, server in steps[6:9]], list("bca"))
        self.assertEqual(len(steps), 12)

    def test_every_target_is_of_a_scenario(self):
        targets = json.loads(table.TARGETS.read_text(encoding="utf-8"))["scenarios"]
        self.assertLessEqual(set(targets), set(scenarios.BY_NAME))
        for target in targets.values():
            self.assertLess(target["aim"], target["must"])


class Tables(unittest.TestCase):
    RUNS = [
        (1, "fan-64-w32", "fulmar-epoll", 160.0),
        (1, "fan-64-w32", "fulmar-uring", 130.0),
        (2, "fan-64-w32", "fulmar-uring", 140.0),
        (1, "fan-64-w32", "bun", 200.0),
        (2, "fan-64-w32", "bun", 200.0),
        (1, "fan-64-w32", "ws", 4000.0),
        (1, "fan-64-w32", "uwsjs", 10.0),
        (2, "fan-64-w32", "uwsjs", None),
        (1, "fan-64-w32", "floor-epoll", 120.0),
    ]

    def test_compares_the_default_driver_with_the_best_peer_that_did_not_fail(self):
        with tempfile.TemporaryDirectory() as folder:
            results = results_with(folder, self.RUNS)
            comparison = table.compare(results, scenarios.BY_NAME["fan-64-w32"])
            self.assertEqual((comparison.ours, comparison.peer), ("fulmar-uring", "bun"))
            self.assertAlmostEqual(comparison.ratio.value, 0.675)
            row = table.summary(results).splitlines()[2]
            self.assertIn("0.65–0.70", row)
            self.assertIn(" aim ", row)
            self.assertTrue(row.rstrip(" |").endswith("0.84"), row)

    def test_failures_and_absences_are_told(self):
        with tempfile.TemporaryDirectory() as folder:
            results = results_with(folder, self.RUNS, absent=["nats"])
            results.add_skip("ws-by-hand", "accept", "it has no echo")
            text = table.full(Results.load(folder))
            self.assertIn("- nats: it is missing", text)
            self.assertIn("- ws-by-hand, 1 scenarios not measured: it has no echo", text)
            self.assertIn("- uwsjs, fan-64-w32: failed: messages 3 lost", text)
            self.assertIn("135 (130–140, 2/2)", text)

    def test_a_page_keeps_what_is_outside_the_markers(self):
        page = f"# A\n{table.BEGIN}\nold\n{table.END}\nend\n"
        self.assertEqual(
            table.with_figures(page, "new"),
            f"# A\n{table.BEGIN}\n## Figures\n\nnew\n\n{table.END}\nend\n",
        )

    def test_targets_are_missed_or_met(self):
        target = {"must": 1.0, "aim": 0.9}
        met = [table.verdict(ratio, target) for ratio in (0.9, 0.95, 1.01, None)]
        self.assertEqual(met, ["aim", "must", "**no**", "–"])

    def test_the_chart_is_xml_with_a_bar_for_each_server(self):
        with tempfile.TemporaryDirectory() as folder:
            groups = chart.groups_of(results_with(folder, self.RUNS))
            self.assertEqual([bar.name for bar in groups[0].bars][0], "Fulmar")
            self.assertAlmostEqual(groups[0].floor, 0.6)
            root = ElementTree.fromstring(chart.draw(groups))
            bars = [element for element in root if element.tag.endswith("rect")]
            self.assertEqual(len(bars), 1 + len(groups[0].bars))


class Processes(unittest.TestCase):
    CPU = min(os.sched_getaffinity(0))

    def start(self, script, ready=r"ready\s+(127\.0\.0\.1:\d+)"):
        return RunningServer(["sh", "-c", script], self.CPU, ready=ready)

    def test_a_server_is_gone_after_its_block(self):
        with self.start("echo ready 127.0.0.1:7; exec sleep 60") as server:
            self.assertEqual(server.address, "127.0.0.1:7")
            pid = server.pid
            self.assertTrue(Path(f"/proc/{pid}").exists())
        self.assertFalse(Path(f"/proc/{pid}").exists())

    def test_a_server_that_ends_at_once_has_failed_with_its_last_words(self):
        with self.assertRaisesRegex(Failed, "no such port"):
            with self.start("echo no such port >&2; exit 1"):
                self.fail("it did not start")


if __name__ == "__main__":
    unittest.main()
