"""Replace a file in one step, so that no crash leaves half of one.

The bytes go to a temporary file beside the target, are forced to the disk, and then take the target's name; whoever
reads sees the old file or the new one. Source: POSIX.1-2017, rename() and fsync().
"""

import errno
import os
import re
import stat
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_writing = threading.Lock()  # one at a time in this process: its temporary files carry the process id alone


def replace_file(path: str | os.PathLike[str], content: bytes | Iterable[bytes]) -> None:
    """Write `content`, whole or in pieces, to `path`.

    A file there keeps its permissions, and a symbolic link keeps pointing to it. If anything fails, or an interrupt
    comes, the old file stays and the temporary one is removed; what processes that were killed left of earlier writes
    to the same path is swept first. Nothing is ever copied in the place of the rename.
    Raises OSError if the file cannot be written, also where a folder, a device or a pipe stands.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with _writing:
        _sweep(target)
        mode = _mode(target)
        try:
            with temporary.open("xb") as file:
                if mode is not None:
                    temporary.chmod(mode)  # before anything is in it
                file.writelines([content] if isinstance(content, bytes) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(target.parent)


def _mode(target: Path) -> int | None:
    """The permissions of a file, None where there is none yet; the rename would take the place of anything else."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, f"{os.strerror(code)}: a regular file, or a new name, is needed", str(target))
    return stat.S_IMODE(mode)


def _sweep(target: Path) -> None:
    """Remove what processes that are gone, and earlier bearers of this process id, left of saves to `target`."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.(\d+)\.tmp")
    for file in target.parent.iterdir() if target.parent.is_dir() else ():
        if (match := pattern.fullmatch(file.name)) and not _is_alive(int(match[1])):
            with suppress(OSError):
                file.unlink()


def _is_alive(pid: int) -> bool:
    """Whether another process with this id is running; where that cannot be asked, yes."""
    if pid == os.getpid():
        return False
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Force the new name to the disk; a folder cannot be opened for that on Windows."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
