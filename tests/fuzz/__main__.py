"""python -m tests.fuzz TARGET [--runs N] [--corpus FOLDER | --seeds K]"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fuzz import seeds


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Readers of files under random bytes, or property tests under many seeds.",
    )
    parser.add_argument("target", choices=["weights", "checkpoint", "onnx", *seeds.TESTS])
    parser.add_argument("--runs", type=int, help="executions (default: 1000000; examples of a test: 100000)")
    parser.add_argument("--corpus", type=Path, help="a folder to keep what reaches new code, for the next time")
    parser.add_argument("--seeds", type=int, default=20, help="of a property test, which share its runs (default: 20)")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"argument --seeds: {options.seeds} is not above 0")
    if options.target in seeds.TESTS:
        if options.corpus:
            parser.error("--corpus is for readers of files; a property test keeps none")
        return seeds.fuzz(options.target, options.runs or 100_000, options.seeds)
    try:
        import atheris
    except ImportError:
        print("tests.fuzz: atheris is not installed; pip install 'atheris==3.0.0'", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["tinygrad_cnn.interchange", "tinygrad_cnn.onnx", "tinygrad_cnn.train"]):
        from fuzz.targets import TARGETS

    target = TARGETS[options.target]
    corpus = options.corpus or Path(tempfile.mkdtemp(prefix="fuzz-corpus-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    arguments = [
        sys.argv[0],
        f"-atheris_runs={options.runs or 1_000_000}",
        "-max_len=8192",
        "-timeout=60",
        "-rss_limit_mb=4096",
    ]
    atheris.Setup([*arguments, f"-artifact_prefix={corpus}/", str(corpus)], target.read)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
