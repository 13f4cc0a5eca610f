"""The commands of `python -m tinygrad_cnn`, a file for each, which is loaded when its command is asked for."""

import importlib
from collections.abc import Sequence

from ..kernels.parallel import get_num_threads
from .frame import CommandError, framed

__all__ = ["COMMANDS", "run"]

# name -> (module, what it does)
COMMANDS = {
    "train": (".train", "train a network on a dataset, with checkpoints to go on from"),
    "predict": (".predict", "tell the classes of image files, or measure a trained network on its test set"),
    "summary": (".summary", "list the layers of a network: outputs, parameters, costs"),
    "graph": (".graph", "draw the computation graph of a network"),
    "bench": ("..bench", "time a training step here"),
}


def run(name: str, arguments: Sequence[str]) -> int:
    """Run a command; 0 when done, 1 if it failed, 130 when interrupted. Usage errors exit with 2, as argparse does."""
    return framed(name, lambda: _run(name, arguments))


def _run(name: str, arguments: Sequence[str]) -> int:
    if not {"-h", "--help"} & {*arguments}:
        try:
            get_num_threads()
        except ValueError as error:  # of what the environment says
            raise CommandError(str(error)) from error
    return int(importlib.import_module(COMMANDS[name][0], __name__).main(arguments))
