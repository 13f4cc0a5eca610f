"""Files from the web, checked before they are there (with the extra `data`)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from .errors import DatasetError

__all__ = ["fetch", "md5_of"]


def fetch(name: str, mirrors: Sequence[str], target: Path, md5: str) -> None:
    """Make `target` the file of its name at the first of the mirrors that gives it with this MD5 checksum.

    A file that is there with the checksum stays. One that is loaded takes its name when it is complete and checked.

    Raises ImportError without pooch, DatasetError if what came has another checksum, ConnectionError if none came.
    """
    if target.is_file() and md5_of(target) == md5:
        return
    try:
        import pooch
    except ImportError:
        raise ImportError(
            f"{name}: download=True needs pooch, which is not installed; pip install 'tinygrad_cnn[data]'"
        ) from None
    failures: list[str] = []
    wrong = False
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    for mirror in mirrors:
        url = f"{mirror}{target.name}"
        try:
            pooch.HTTPDownloader(timeout=30)(url, str(part), None)
            found = md5_of(part)
            if found == md5:
                part.replace(target)
                return
            wrong = True
            failures.append(f"{url} has the MD5 checksum {found}")
        except OSError as error:  # the errors of requests are among them
            failures.append(f"{url}: {type(error).__name__}: {error}")
        finally:
            part.unlink(missing_ok=True)
    text = f"{name}: no {target.name} with the MD5 checksum {md5}: {'; '.join(failures)}"
    if wrong:
        raise DatasetError(f"{text}; the file on the web was changed or damaged on the way; nothing was kept")
    raise ConnectionError(f"{text}; put the file into {target.parent} by hand, or try again with a connection")


def md5_of(path: Path) -> str:
    """The MD5 checksum of a file, in hexadecimal: it tells damage, not malice."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
