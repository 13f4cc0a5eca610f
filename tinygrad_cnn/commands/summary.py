"""`summary`: the layers of a network as a table."""

from __future__ import annotations

from collections.abc import Sequence

from .. import nn
from . import networks, options
from .frame import printing

__all__ = ["main"]

EXAMPLES = ["resnet20", "lenet5 --input 64,1,32,32 --depth 1", "mynet.py:Net --input 1,3,64,64 --json"]


def main(arguments: Sequence[str]) -> int:
    """0 when done. Raises CommandError for a network that cannot be made or run."""
    parser = options.parser("summary", "List the layers of a network: outputs, parameters, costs.", EXAMPLES)
    networks.add_model(parser)
    parser.add_argument("--depth", type=options.whole, metavar="N", help="levels of modules to take apart (all)")
    given = parser.parse_args(arguments)
    with printing(given.json) as tell:
        model, size = networks.chosen(parser, given)
        with networks.theirs(given.model, f"its forward of {size} in training mode"):
            found = nn.summary(model, size, depth=given.depth)
        tell(lambda: str(found), {"model": given.model, **found.as_dict()})
    return 0
