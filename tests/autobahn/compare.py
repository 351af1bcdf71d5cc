"""Compares an Autobahn report with the stored expectation, and prints a table per section.

    compare.py quick|full expected.json index.json
    compare.py --store expected.json index.json

`--store` writes the expectation instead; only cases that passed can be stored.
"""

import collections
import json
import sys

COMPRESSION = ("12", "13")
SHOWN_MAX = 40
PASSED = ("OK", "INFORMATIONAL")
SECTIONS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing handshake",
    "9": "limits and performance",
    "10": "automatic fragmentation",
    "12": "compression, messages of several kinds",
    "13": "compression, parameters",
}


def section(case):
    return case.split(".")[0]


def order(case):
    return [int(part) for part in case.split(".")]


def read_report(path):
    """Case -> [behaviour, behaviour of the close]."""
    with open(path, encoding="utf-8") as file:
        agents = json.load(file)
    (cases,) = agents.values()
    return {
        case: [result["behavior"], result["behaviorClose"]]
        for case, result in sorted(cases.items(), key=lambda item: order(item[0]))
    }


def store(path, found):
    bad = {case: got for case, got in found.items() if any(part not in PASSED for part in got)}
    if bad:
        sys.exit(f"autobahn: not stored, these did not pass: {bad}")
    lines = ",\n".join(f"  {json.dumps(case)}: {json.dumps(got)}" for case, got in found.items())
    with open(path, "w", encoding="utf-8") as file:
        file.write("{\n" + lines + "\n}\n")
    print(f"autobahn: stored {len(found)} cases")


def summarize(found):
    table = collections.defaultdict(collections.Counter)
    for case, (behaviour, _) in found.items():
        table[section(case)][behaviour] += 1
    for number in sorted(table, key=int):
        counts = ", ".join(f"{count} {name}" for name, count in sorted(table[number].items()))
        print(f"  {number:>2}  {SECTIONS.get(number, ''):40} {counts}")


def compare(mode, expected, found):
    if mode == "quick":
        expected = {case: e for case, e in expected.items() if section(case) not in COMPRESSION}
    differences = [
        f"  {case}: expected {expected.get(case, 'no such case')}, got {found.get(case, 'nothing')}"
        for case in sorted(expected.keys() | found.keys(), key=order)
        if expected.get(case) != found.get(case)
    ]
    summarize(found)
    if differences:
        shown = "\n".join(differences[:SHOWN_MAX])
        print(f"autobahn: {len(differences)} differences\n{shown}", file=sys.stderr)
        sys.exit(1)
    print(f"autobahn: {len(found)} cases as expected")


def main():
    if sys.argv[1] == "--store":
        store(sys.argv[2], read_report(sys.argv[3]))
        return
    with open(sys.argv[2], encoding="utf-8") as file:
        expected = json.load(file)
    try:
        found = read_report(sys.argv[3])
    except FileNotFoundError:
        sys.exit(f"autobahn: no report at {sys.argv[3]}; see output.txt beside it")
    compare(sys.argv[1], expected, found)


main()
