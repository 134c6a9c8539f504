"""Time taken by things that take turns, so that their ratios survive a noisy machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

Turn = Callable[[int], object]
"""Does the work once; told which turn it is, from 0 on."""


class Laps:
    """Seconds by name, round by round. A round's value is the median of its turns."""

    def __init__(self, rounds: Mapping[str, list[float]]) -> None:
        self.rounds = rounds

    def seconds(self, name: str) -> float:
        """The median round."""
        return median(self.rounds[name])

    def ratios(self, name: str, base: str) -> list[float]:
        """Of each round, sorted: its time over the base's in the same round."""
        return sorted(a / b for a, b in zip(self.rounds[name], self.rounds[base], strict=True))

    def ratio(self, name: str, base: str) -> float:
        """The median of `ratios`."""
        return median(self.ratios(name, base))


def take_turns(work: Mapping[str, Turn], *, rounds: int, turns: int) -> Laps:
    """Let each do its work `turns` times a round, one after the other, turn by turn, the first of them changing."""
    names = list(work)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        taken: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(number * turns, (number + 1) * turns):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                start = time.perf_counter()
                work[name](turn)
                taken[name].append(time.perf_counter() - start)
        for name in names:
            found[name].append(median(taken[name]))
    return Laps(found)
