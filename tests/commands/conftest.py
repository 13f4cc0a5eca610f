"""A run that was trained, a file with networks, and runs without figures."""

import sys

import pytest
from command_line import NET, TINY, run


@pytest.fixture(scope="session")
def done(tmp_path_factory):
    """A run of two epochs in a fresh process: its folder and its process."""
    out = tmp_path_factory.mktemp("train") / "new folder" / "run"
    process = run(*TINY, "--epochs", 2, "--out", out)
    assert (process.returncode, process.stderr) == (0, "")
    return out, process


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "mynet.py"
    path.write_text(NET)
    return path


@pytest.fixture
def no_figures(monkeypatch):
    """No matplotlib, which takes most of the time of a tiny run."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
