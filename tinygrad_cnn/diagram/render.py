"""Running Graphviz' `dot`, which may be missing, fail, or never come back."""

import contextlib
import math
import os
import shutil
import signal
import subprocess
import tempfile
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    import graphviz

FORMATS = ("svg", "png", "pdf", "json", "dot")
_DOTS_PER_INCH = 144  # of a PNG: sharp on a screen of twice the usual density


class RenderError(RuntimeError):
    """Graphviz could not draw this picture; the message says why and what to do."""


def render(source: Union[str, "graphviz.Digraph"], format: str, timeout: float = 10.0) -> bytes:
    """What `dot` makes of DOT text or a `graphviz.Digraph`: the bytes of a file in one of FORMATS.

    timeout: seconds, after which dot and what it started are killed. (The graphviz package's own calls have none.)

    Raises RenderError for a format not in FORMATS, no `dot` on the PATH, an error of dot's, no output and a time-out;
    ValueError for a timeout that is not positive and finite.
    """
    if not (math.isfinite(timeout) and timeout > 0):
        raise ValueError(f"render: timeout is {timeout}; it must be a positive number of seconds")
    if format not in FORMATS:
        raise RenderError(f"render: format is {format!r}; dot is asked only for {', '.join(FORMATS)}")
    program = shutil.which("dot")
    if program is None:
        raise RenderError(
            f"render: there is no program `dot` on the PATH to draw {format} with;"
            " install Graphviz (https://graphviz.org/download), or save SVG, which needs no program"
        )
    text = source if isinstance(source, str) else str(source.source)
    arguments = [program, f"-T{format}"] + ([f"-Gdpi={_DOTS_PER_INCH}"] if format == "png" else [])
    # Files, not pipes: what a killed dot has started may hold a pipe open for ever.
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(text.encode("utf-8", "replace"))
        stdin.seek(0)
        try:
            child = subprocess.Popen(arguments, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True)
        except OSError as error:
            raise RenderError(f"render: {program} cannot be started: {error.strerror}; reinstall Graphviz") from error
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RenderError(
                f"render: dot took more than {timeout:g} s for {len(text)} characters of DOT;"
                " draw fewer nodes, give it more time, or use the built-in layout"
            ) from None
        finally:
            if child.returncode is None:
                _kill(child)
        stdout.seek(0)
        stderr.seek(0)
        picture = stdout.read()
        said = stderr.read(4000).decode("utf-8", "replace").strip()
    if status != 0 or not picture:
        why = f"was stopped by signal {-status}" if status < 0 else f"ended with status {status}"
        raise RenderError(f"render: dot {why} and said: {said or 'nothing'}")
    return picture


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """End the process and, where the system knows sessions, all that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended meanwhile
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()
