"""What a handful of noisy runs say: quiet runs, their median, and ratios within a round."""

from dataclasses import dataclass
from statistics import median

# Other jobs on the machine only ever add time: runs this close to the fastest were left alone.
QUIET_MARGIN = 0.15


@dataclass(frozen=True)
class Cell:
    """A server's runs of a scenario: the median of the quiet ones, and the spread of all."""

    value: float
    least: float
    most: float
    quiet: int
    runs: int


def cell_of(values):
    """The cell of some runs, or None of none."""
    values = sorted(values)
    if not values:
        return None
    quiet = [value for value in values if value <= values[0] * (1 + QUIET_MARGIN)]
    return Cell(median(quiet), values[0], values[-1], len(quiet), len(values))


@dataclass(frozen=True)
class Ratio:
    """How two servers compare: by their cells, and from round to round."""

    value: float
    median: float
    least: float
    most: float


def ratio_of(ours, theirs):
    """Compares the runs of two servers, each a dictionary from round to value."""
    both = sorted(set(ours) & set(theirs))
    if not both:
        return None
    by_round = [ours[number] / theirs[number] for number in both if theirs[number]]
    ours_cell, theirs_cell = cell_of(ours.values()), cell_of(theirs.values())
    if not by_round or not theirs_cell.value:
        return None
    return Ratio(
        ours_cell.value / theirs_cell.value, median(by_round), min(by_round), max(by_round)
    )
