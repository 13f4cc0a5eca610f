"""Names for variables: from module paths and the caller's names, valid in Python and each used once."""

import builtins
import keyword
import re


class Names:
    """Hands out names; those of Python, NumPy's `np` and the given functions are taken from the start."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = {*taken, *keyword.kwlist, *dir(builtins), "np", "math", "sys", "Path"}
        self._taken |= {"data", "loss", "gradients", "name", "gradient", "predict"}
        self._turns: dict[str, int] = {}

    def fresh(self, wanted: str) -> str:
        """`wanted` as an identifier; with _2, _3, ... if it is taken. So is then the name of its gradient."""
        name = re.sub(r"\W", "_", wanted, flags=re.ASCII) or "value"
        if name[0].isdigit() or name in ("_", "d_"):
            name = f"layer_{name}"
        if self._is_free(name):
            return self._take(name)
        self._turns.setdefault(name, 1)
        return self.numbered(name)

    def numbered(self, wanted: str) -> str:
        """`wanted` with the next number that is free: sum_1, sum_2."""
        while True:
            turn = self._turns[wanted] = self._turns.get(wanted, 0) + 1
            if self._is_free(f"{wanted}_{turn}"):
                return self._take(f"{wanted}_{turn}")

    def _is_free(self, name: str) -> bool:
        return name not in self._taken and f"d_{name}" not in self._taken

    def _take(self, name: str) -> str:
        self._taken |= {name, f"d_{name}"}
        return name
