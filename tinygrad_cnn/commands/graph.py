"""`graph`: the computation graph of a network, as text or as a picture in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..diagram import Picture, draw
from ..diagram.views import VIEWS
from ..graph import Tensor
from ..nn import functional as F
from ..records import watch
from . import networks, options
from .frame import CommandError, printing

__all__ = ["main"]

ENDINGS = (".svg", ".png", ".pdf", ".html", ".dot", ".md", ".json", ".txt")
EXAMPLES = ["resnet20 --depth 2", "lenet5 --view teach --out lenet5.html", "mynet.py:Net --input 2,3,64,64 --out n.svg"]


def main(arguments: Sequence[str]) -> int:
    """0 when done. Raises CommandError for a network that cannot be made or run, and for a file of another kind."""
    parser = options.parser(
        "graph", "Draw the computation graph of a network and a loss, after a forward and a backward.", EXAMPLES
    )
    networks.add_model(parser)
    parser.add_argument("--view", choices=list(VIEWS), default="arch", help="what the picture says (arch)")
    parser.add_argument("--depth", type=options.whole, metavar="N", help="fold modules deeper than this (to fit)")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"a file that ends in {' '.join(ENDINGS)} (as text)")
    given = parser.parse_args(arguments)
    out: Path | None = given.out
    if out is not None and out.suffix.lower() not in ENDINGS:
        parser.error(f"argument --out: {out} ends in {out.suffix!r}; it can be {' '.join(ENDINGS)}")
    with printing(given.json) as tell:
        model, size = networks.chosen(parser, given)
        picture = _picture(given.model, model, size, given.view, given.depth)
        about: dict[str, Any] = {
            "model": given.model, "input": list(size), "view": given.view, "title": picture.drawing.title,
            "cards": len(picture.drawing.cards), "edges": len(picture.drawing.edges),
        }  # fmt: skip
        if out is None:
            tell(picture.text, {**about, "text": picture.text()})
            return 0
        written = picture.save(out)
        tell(lambda: f"written to {written}", {**about, "written": str(written)})
        return 0 if written == out else 1


def _picture(name: str, model: Any, size: tuple[int, ...], view: str, depth: int | None) -> Picture:
    """A step of training on random numbers."""
    generator = np.random.default_rng(0)
    x = Tensor(generator.standard_normal(size).astype(np.float32))
    model.train()
    with watch(images=view == "teach", lines=False):
        logits = networks.forward(name, model, x)
        if not logits.requires_grad:
            raise CommandError(f"{name}: its output needs no gradient, so there is no graph; look for no_grad in it")
        # (n k ...) with a label for each image or pixel; of anything else the mean of the squares
        if logits.ndim >= 2:
            labels = generator.integers(0, logits.shape[1], (logits.shape[0], *logits.shape[2:]))
            loss = F.cross_entropy(logits, labels)
        else:
            loss = (logits * logits).mean()
    loss.backward()
    return draw(loss, model, {"input": x}, view=view, depth=depth)
