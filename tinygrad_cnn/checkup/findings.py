"""What `doctor` found: findings with stable codes, as a list that prints itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

__all__ = ["Finding", "Findings"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One suspicion. code: "TGC001". title: of the check. what: is there, with numbers. where: module, op, line; or "".

    remedy: what to do. The text of a code may change, its meaning never does.
    """

    code: str
    title: str
    what: str
    where: str
    remedy: str

    def __str__(self) -> str:
        rows = [("what", self.what), ("where", self.where), ("do", self.remedy)]
        return "\n".join([f"{self.code}  {self.title}", *(f"        {name:<5} {text}" for name, text in rows if text)])


class Findings(list[Finding]):
    """The findings in the order of their codes; empty if nothing was found. Prints as text, as a table in notebooks.

    checks: the codes of the checks that were made; the others were ignored, or had nothing to look at.
    """

    def __init__(self, findings: Iterable[Finding], checks: tuple[str, ...]) -> None:
        super().__init__(findings)
        self.checks = checks

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that were found, each once."""
        return tuple(dict.fromkeys(finding.code for finding in self))

    @property
    def summary(self) -> str:
        """nothing found, 24 checks"""
        found = f"{len(self)} finding{'s' if len(self) > 1 else ''}" if self else "nothing found"
        return f"{found}, {len(self.checks)} check{'' if len(self.checks) == 1 else 's'}"

    def __str__(self) -> str:
        return "\n".join([self.summary, *map(str, self)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        names = ("code", "title", "what", "where", "remedy")
        head = "".join(f"<th>{name}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(getattr(finding, name))}</td>" for name in names) + "</tr>"
            for finding in self
        )
        return f"<p>{self.summary}</p>" + (f"<table><tr>{head}</tr>{body}</table>" if self else "")
