"""The file of results: every run of every round, and on what machine."""

import json
import os
import platform
import subprocess
from pathlib import Path

from harness.compare import cell_of
from harness.paths import ROOT

SCHEMA = "fulmar-perf/1"
FILE = "results.json"


class Results:
    """Runs by scenario, server and round, kept in a file from the first run on."""

    def __init__(self, folder, document):
        self.folder = Path(folder)
        self.document = document

    @classmethod
    def begin(cls, folder, options, servers, scenarios):
        """An empty file of results."""
        document = {
            "schema": SCHEMA,
            "machine": machine(),
            "options": {"rounds": options.rounds, "seconds": options.seconds},
            "servers": {server.name: {"kind": server.kind} for server in servers},
            "scenarios": [scenario.name for scenario in scenarios],
            "skipped": [],
            "runs": [],
        }
        results = cls(folder, document)
        results.folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{key}: {value}" for key, value in document["machine"].items()]
        (results.folder / "machine.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        results.save()
        return results

    @classmethod
    def load(cls, folder):
        """The results in a folder.

        Raises OSError, or ValueError if it has another form.
        """
        text = (Path(folder) / FILE).read_text(encoding="utf-8")
        document = json.loads(text)
        if document.get("schema") != SCHEMA:
            raise ValueError(f"{folder}/{FILE} is not of the form {SCHEMA}")
        return cls(folder, document)

    def add(self, round_number, scenario, server, figures=None, failed=None):
        """Keeps a run: its figures, or why there are none."""
        run = {"round": round_number, "scenario": scenario, "server": server}
        if failed is None:
            run["figures"] = {name: _short(figure) for name, figure in figures.items()}
        else:
            run["failed"] = failed
        self.document["runs"].append(run)
        self.save()

    def add_absence(self, server, reason):
        """Notes that a server could not be had."""
        self.document["servers"][server]["absent"] = reason
        self.save()

    def add_skip(self, server, scenario, reason):
        """Notes that a server was not asked for a scenario."""
        self.document["skipped"].append([server, scenario, reason])
        self.save()

    def save(self):
        """Writes the file, one run a line, at once whole."""
        head = {key: value for key, value in self.document.items() if key != "runs"}
        lines = [json.dumps(run, ensure_ascii=False) for run in self.document["runs"]]
        text = json.dumps(head, ensure_ascii=False, indent=1)[:-2]
        text += ',\n "runs": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
        path = self.folder / FILE
        draft = path.with_suffix(".draft")
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)

    # ---- reading ---------------------------------------------------------------------------

    @property
    def scenarios(self):
        return self.document["scenarios"]

    def servers(self, kind=None):
        """Names of the servers, in the order they were measured in."""
        entries = self.document["servers"].items()
        return [name for name, entry in entries if kind in (None, entry["kind"])]

    def by_round(self, scenario, server, figure="value"):
        """A figure of each round that has it."""
        return {
            run["round"]: run["figures"][figure]
            for run in self._runs(scenario, server)
            if figure in run.get("figures", {})
        }

    def cell(self, scenario, server, figure="value"):
        """The runs of a server and scenario in one, or None."""
        return cell_of(self.by_round(scenario, server, figure).values())

    def failures(self):
        """(scenario, server, reason, how many runs), each reason of a cell once."""
        counts = {}
        for run in self.document["runs"]:
            if "failed" in run:
                key = (run["scenario"], run["server"], run["failed"])
                counts[key] = counts.get(key, 0) + 1
        return [(*key, count) for key, count in counts.items()]

    def has_failed(self, scenario, server):
        """Whether any run of it failed."""
        return any("failed" in run for run in self._runs(scenario, server))

    def absences(self):
        """(server, reason) of those that could not be had."""
        entries = self.document["servers"].items()
        return [(name, entry["absent"]) for name, entry in entries if "absent" in entry]

    def skips(self):
        """Scenarios by (server, reason) why it was not asked."""
        found = {}
        for server, scenario, reason in self.document["skipped"]:
            found.setdefault((server, reason), []).append(scenario)
        return found

    def _runs(self, scenario, server):
        runs = self.document["runs"]
        return [run for run in runs if (run["scenario"], run["server"]) == (scenario, server)]


def machine():
    """What the figures belong to."""
    return {
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "fulmar": _said(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]),
        "rustc": _said(["rustc", "--version"]),
        "node": _said(["node", "--version"]),
    }


def _short(figure):
    return float(f"{figure:.6g}") if isinstance(figure, float) else figure


def _cpu():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown"


def _said(command):
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=False
        )
    except OSError:
        return "none"
    return done.stdout.strip() or "none"
