"""The answer to a question about a graph: a sentence, a table, and a picture with the answer marked."""

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from .text import printable

if TYPE_CHECKING:
    from .picture import Picture

_MOST = 200  # rows that are printed


class Report:
    """What was found. Prints as a table, shows itself in a notebook; true if there is a row.

    answer: in a sentence. columns: their names. rows: a tuple of texts for each. picture: the graph with what was found
    marked; None where there is nothing to mark.
    """

    def __init__(
        self,
        answer: str,
        columns: tuple[str, ...] = (),
        rows: list[tuple[str, ...]] | None = None,
        picture: "Picture | None" = None,
    ) -> None:
        self.answer, self.columns, self.rows, self.picture = answer, columns, rows or [], picture

    def __bool__(self) -> bool:
        return bool(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Every row as a dict by column."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def __str__(self) -> str:
        answer = printable(self.answer)
        if not self.rows:
            return answer
        table = [self.columns, *([printable(cell) for cell in row] for row in self.rows[:_MOST])]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.columns))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        rest = [f"… {len(self.rows) - _MOST:,} more"] if len(self.rows) > _MOST else []
        return "\n".join([answer, "", *lines, *rest])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(printable(cell))}</td>" for cell in row) + "</tr>"
            for row in self.rows[:_MOST]
        )
        table = f"<table><tr>{head}</tr>{body}</table>" if self.rows else ""
        return f"<p>{escape(printable(self.answer))}</p>{table}{self.picture.svg() if self.picture is not None else ''}"
