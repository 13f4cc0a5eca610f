"""What a ShapeError inside a model tells: the shape behind every layer so far, and the edits that would fix it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..shapes import Shape, as_images, shown

LONGEST = 256  # layers that are remembered, the latest


class Passed(NamedTuple):
    """A layer that has run: its path and class, and the shape of what it gave."""

    path: str
    kind: str
    shape: Shape


def derivation(layers: Sequence[Passed], path: str, kind: str, given: Shape | None, edits: Sequence[str]) -> str:
    """The table of the layers so far, the one that refused its input, and the edits, the likeliest first."""
    rows = [*((at or "the model", name, shown(shape)) for at, name, shape in layers)]
    rows.append((path or "the model", kind, f"{shown(given) if given is not None else 'its input'} refused"))
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    lines = [f"    {at:<{widths[0]}}  {name:<{widths[1]}}  {text}" for at, name, text in rows]
    tries = [f"    {i}. {edit}" for i, edit in enumerate(edits, 1)]
    return "\n".join(["shapes so far:", *lines, *(["to fix it:", *tries] if tries else [])])


def edits_for(module: Any, path: str, given: Shape | None, layers: Sequence[Passed]) -> list[str]:
    """The edits that make a layer and its input fit, the likeliest first; none where the message has them all."""
    if not given:
        return []
    name = f"{path} ({type(module).__name__})"
    if isinstance(features := getattr(module, "in_features", None), int) and given[-1] != features:
        return _linear(name, features, given, layers)
    if isinstance(channels := getattr(module, "in_channels", None), int) and len(given) > 2 and given[1] != channels:
        edits = [f"{name}: in_channels should be {given[1]}, not {channels}"]
        if given[-1] == channels:
            to_front = ", ".join(map(str, (0, len(given) - 1, *range(1, len(given) - 1))))
            edits.insert(0, f"the input looks like channels last (NHWC): x.permute({to_front})")
        return edits
    if isinstance(channels := getattr(module, "num_features", None), int) and len(given) > 1 and given[1] != channels:
        return [f"{name}: num_features should be {given[1]}, not {channels}"]
    return []


def _linear(name: str, wanted: int, given: Shape, layers: Sequence[Passed]) -> list[str]:
    edits = []
    flat = math.prod(given[1:])
    if len(given) > 2 and flat == wanted:
        edits.append(f"flatten the image before: x.flatten(1) is {shown((given[0], flat))}")
    images = (layer.shape for layer in reversed(layers) if len(layer.shape) > 2)
    image = given if len(given) > 2 else next((s for s in images if math.prod(s[1:]) == given[-1]), None)
    features = flat if len(given) > 2 else given[-1]
    if features != wanted:
        shown_features = as_images(features, wanted)[0]
        if image is not None:
            shown_features = f"{features} = {'*'.join(map(str, image[1:]))}"
        flatten = ", behind x.flatten(1)" if len(given) > 2 else ""
        edits.append(f"{name}: in_features should be {shown_features}, not {wanted}{flatten}")
    if image is not None and len(image) == 4 and features != wanted and wanted % image[1] == 0:
        side = math.isqrt(wanted // image[1])
        if side**2 * image[1] == wanted:
            edits.append(
                f"or keep {wanted} = {image[1]}*{side}*{side} with a padding, stride or kernel before that makes "
                f"images of {side}x{side} instead of {image[2]}x{image[3]}"
            )
    if not edits:
        edits.append(f"{name}: in_features should be {given[-1]}, not {wanted}")
    return edits
