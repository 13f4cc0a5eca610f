"""The command line: `python -m tinygrad_cnn` trains a small CNN on handwritten digits; commands do the rest."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__, commands
from .commands.options import positive, whole
from .digits_net import SVM_ACCURACY, train
from .kernels.parallel import get_num_threads


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the main job; 0 when done, 130 when interrupted.

    1 if it diverges, its folder cannot be written to, or TINYGRAD_CNN_THREADS is no number.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in commands.COMMANDS:
        return commands.run(arguments[0], arguments[1:])
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad_cnn",
        description="Train a small CNN on the UCI handwritten digits: half train, half test.",
        epilog="example:\n  python -m tinygrad_cnn --out runs/mine --seed 1 --epochs 20\n\n"
        "commands, each with its own --help:\n"
        + "\n".join(f"  python -m tinygrad_cnn {name:8} {text}" for name, (_, text) in commands.COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("runs/digits"), help="folder for the results (%(default)s)")
    parser.add_argument("--epochs", type=positive(int), default=40, help="passes over the training half (%(default)s)")
    parser.add_argument("--seed", type=whole, default=0, help="of the weights, the order and the shifts (%(default)s)")
    parser.add_argument("--batch-size", type=positive(int), default=64, help="images per step (%(default)s)")
    parser.add_argument("--lr", type=positive(float), default=0.01, help="AdamW's first learning rate (%(default)s)")
    parser.add_argument("--version", action="version", version=f"tinygrad_cnn {__version__}")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}; the commands are {', '.join(commands.COMMANDS)}")
    try:
        get_num_threads()
    except ValueError as error:  # of what the environment says
        print(error, file=sys.stderr)
        return 1
    try:
        metrics = train(options.out, options.epochs, options.seed, options.batch_size, options.lr, _line)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except FloatingPointError as error:
        print(f"{error}; nothing was written", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot write to {options.out}: {error}", file=sys.stderr)
        return 1
    print(
        f"test accuracy {metrics['test_accuracy']:.4f} on 899 digits "
        f"(support-vector machine: {SVM_ACCURACY}) in {metrics['seconds']:.1f} s"
    )
    return 0


def _line(text: str) -> None:
    """A line that does not tear a progress bar on the same terminal."""
    if sys.stderr.isatty() and "tqdm" in sys.modules:
        from tqdm import tqdm

        tqdm.write(text)
    else:
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
