"""A row of the report: what was done, how often, and whether what had to hold did."""

from collections.abc import Callable
from typing import NamedTuple


class Row(NamedTuple):
    """One line of a table; `times` says how often the fault was made, or what was measured."""

    name: str
    times: str
    failures: tuple[str, ...]


class Check:
    """Collects what did not hold, with the place where it was seen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures: list[str] = []

    def that(self, holds: bool, what: str) -> None:
        if not holds:
            self.failures.append(what)

    def row(self, times: str) -> Row:
        return Row(self.name, times, tuple(self.failures))


Scenario = Callable[[bool], Row]  # of whether to be thorough
