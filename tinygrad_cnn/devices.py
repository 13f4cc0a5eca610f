"""The device: there is one, the CPU, and scripts written for several may name it as they are used to."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["device"]

_NAMES = ("cpu", "cuda", "hip", "hpu", "ipu", "meta", "mps", "mtia", "vulkan", "xla", "xpu")


class device(str):
    """Where memory is: device("cpu") or device("cpu", 0). A string, so that it equals "cpu".

    type: "cpu". index: the number behind it, None without one. Raises ValueError for a device that is not the CPU.
    """

    __slots__ = ()

    def __new__(cls, type: Any, index: int | None = None) -> device:
        text = type if index is None else f"{type}:{index}"
        check_device("device", text)
        return super().__new__(cls, text)

    @property
    def type(self) -> str:
        """The kind of device, "cpu"."""
        return self.partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]
        """The number of the device, None where none was given."""
        number = self.partition(":")[2]
        return int(number) if number else None

    def __repr__(self) -> str:
        return f"device(type='cpu'{'' if self.index is None else f', index={self.index}'})"


def is_device(value: Any) -> bool:
    """Whether a value is the name of a device, also of one that is not there, and not that of a dtype."""
    return isinstance(value, str) and value.partition(":")[0] in _NAMES


def check_device(name: str, given: Any) -> None:
    """Raise ValueError unless the device is the CPU: "cpu", "cpu:0" or None."""
    if given is not None and not (isinstance(given, str) and re.fullmatch(r"cpu(:\d+)?", given)):
        raise ValueError(
            f"{name}: there is no device {given!r}; tinygrad_cnn computes on the cpu: leave the device out, or "
            "choose it by cuda.is_available()"
        )
