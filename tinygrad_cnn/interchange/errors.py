"""The one exception of files: what is wrong with one, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["CheckpointError"]

MOST_SHOWN = 100


class CheckpointError(Exception):
    """A file whose content cannot be used: cut off, damaged, of another format, or of something else than is asked for.

    problems: each by itself, every one that was found.
    """

    problems: tuple[str, ...]

    def __init__(self, text: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems) or (text,)
        if len(problems) == 1:
            text = f"{text}: {problems[0]}"
        elif problems:
            shown = [
                *problems[:MOST_SHOWN],
                *([f"and {len(problems) - MOST_SHOWN} more"] * (len(problems) > MOST_SHOWN)),
            ]
            text = "\n  ".join([f"{text}: {len(problems)} problems:", *shown])
        super().__init__(text)
