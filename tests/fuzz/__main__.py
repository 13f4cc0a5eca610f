"""python -m tests.fuzz TARGET [--runs N] [--corpus FOLDER]"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Readers of files under random bytes.")
    parser.add_argument("target", choices=["weights", "checkpoint", "onnx"])
    parser.add_argument("--runs", type=int, default=1_000_000, help="executions (default: 1000000)")
    parser.add_argument("--corpus", type=Path, help="a folder to keep what reaches new code, for the next time")
    options = parser.parse_args()
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
    arguments = [sys.argv[0], f"-atheris_runs={options.runs}", "-max_len=8192", "-timeout=60", "-rss_limit_mb=4096"]
    atheris.Setup([*arguments, f"-artifact_prefix={corpus}/", str(corpus)], target.read)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
