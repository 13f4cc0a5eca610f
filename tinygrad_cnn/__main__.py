"""The command line: `python -m tinygrad_cnn` trains a small CNN on handwritten digits, `... bench` times one."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import __version__, bench
from .digits_net import SVM_ACCURACY, train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the main job; 0 when done, 1 if it diverges or its folder cannot be written to, 130 when interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["bench"]:
        return bench.main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad_cnn",
        description="Train a small CNN on the UCI handwritten digits: half train, half test.",
        epilog="example: python -m tinygrad_cnn --out runs/mine --seed 1 --epochs 20. "
        "`python -m tinygrad_cnn bench` times a training step here.",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/digits"), help="folder for the results (%(default)s)")
    parser.add_argument("--epochs", type=_positive(int), default=40, help="passes over the training half (%(default)s)")
    parser.add_argument("--seed", type=_whole, default=0, help="of the weights, the order and the shifts (%(default)s)")
    parser.add_argument("--batch-size", type=_positive(int), default=64, help="images per step (%(default)s)")
    parser.add_argument("--lr", type=_positive(float), default=0.01, help="AdamW's first learning rate (%(default)s)")
    parser.add_argument("--version", action="version", version=f"tinygrad_cnn {__version__}")
    options = parser.parse_args(arguments)
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


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """An argparse type: a number above zero."""

    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    number.__name__ = kind.__name__
    return number


def _whole(text: str) -> int:
    """An argparse type: 0, 1, 2 and so on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def _line(text: str) -> None:
    """A line that does not tear a progress bar on the same terminal."""
    if sys.stderr.isatty() and "tqdm" in sys.modules:
        from tqdm import tqdm

        tqdm.write(text)
    else:
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
