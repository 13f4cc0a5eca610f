"""What is to be judged after a change: the rules and kernels of the files that git sees changed."""

import subprocess
from pathlib import Path, PurePosixPath

from .kernels import JUDGED
from .mutants import modules

ROOT = Path(__file__).resolve().parent.parent.parent


def default_reference() -> str | None:
    """origin/main where that is another commit, else the commit before; None where git has neither."""
    here = _commit("HEAD")
    for reference in ("origin/main", "HEAD~1"):
        if _commit(reference) not in (None, here):
            return reference
    return None


def files(reference: str) -> list[str]:
    """The paths that differ from where the branch left `reference`, in commits, the index or the working tree."""
    base = _git("merge-base", reference, "HEAD")
    if base.returncode:
        raise SystemExit(f"--changed: git knows no commit {reference!r}; name one, such as HEAD~1")
    differ = _git("diff", "--name-only", base.stdout.strip()).stdout.splitlines()
    return differ + _git("ls-files", "--others", "--exclude-standard").stdout.splitlines()


def judged(paths: list[str]) -> tuple[list[str], list[str]]:
    """The modules whose rules, and the kernels, that these files hold or decide; their own cases count too."""
    names = {PurePosixPath(path).with_suffix("").name for path in paths if path.startswith("tinygrad_cnn/kernels/")}
    kernels = [name for name in JUDGED if name in names]
    if any(path.startswith("tests/kernel_cases/") for path in paths):
        kernels = list(JUDGED)
    sources = {str(Path(str(module.__file__)).relative_to(ROOT)): module.__name__ for module in modules()}
    return [sources[path] for path in paths if path in sources], kernels


def unjudged(paths: list[str]) -> list[str]:
    """Changed kernels that have no cases."""
    names = [PurePosixPath(path) for path in paths if path.startswith("tinygrad_cnn/kernels/")]
    return [name.stem for name in names if name.suffix == ".py" and name.stem not in JUDGED and name.stem != "__init__"]


def _commit(name: str) -> str | None:
    return _git("rev-parse", "--verify", "--quiet", name).stdout.strip() or None


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
