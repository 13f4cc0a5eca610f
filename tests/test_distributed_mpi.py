"""Data parallelism over MPI: processes that mpiexec starts, on this machine and in two network namespaces."""

import contextlib
import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tinygrad_cnn.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
BESIDE = Path(sys.executable).with_name("mpiexec")  # where the wheel of mpich puts it
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = "mpiexec -n 4 python -m mpi4py -m tinygrad_cnn train"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    "TINYGRAD_CNN_NUMBA": "0",
    "OMP_NUM_THREADS": "2",  # which init makes one
}
CHECKS = re.findall(r"^def (check_\w+)", (ROOT / "tests/ranks.py").read_text(encoding="utf-8"), re.MULTILINE)
LIMIT = 120  # seconds after which processes that wait for one another are ended, and the test fails

needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="mpi4py or mpiexec is not installed: extra mpi",
)


def run(command: list[object]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; what it has started is ended with it if it takes too long."""
    process = subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"still running after {LIMIT} s:\n{out}\n{err}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def mpiexec(n: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run([MPIEXEC, "-n", n, sys.executable, *arguments])


@needs_mpi
@pytest.mark.parametrize(("n", "checks"), [(2, CHECKS), (3, CHECKS[1:3])], ids=["2", "3"])
def test_ranks_compute_what_one_process_does(n, checks, tmp_path):
    assert len(checks) == {2: 6, 3: 2}[n]
    process = mpiexec(n, ROOT / "tests/ranks.py", tmp_path, *checks)
    assert (process.returncode, process.stdout.split(), process.stderr) == (0, checks, "")


RAISES = """
from tinygrad_cnn.distributed import init
group = init()
if group.rank == 1:
    raise KeyError("of one rank alone")
group.barrier()  # never passed
"""


@needs_mpi
def test_an_exception_on_one_rank_ends_all(tmp_path):
    script = tmp_path / "raises.py"
    script.write_text(RAISES)
    process = mpiexec(3, script)
    assert process.returncode != 0
    assert process.stderr.count("KeyError: 'of one rank alone'") == 1


@needs_mpi
def test_an_exit_on_one_rank_ends_all_under_the_runner_of_mpi4py(tmp_path):
    script = tmp_path / "exits.py"
    script.write_text(RAISES.replace('KeyError("of one rank alone")', "SystemExit(3)"))
    assert mpiexec(2, "-m", "mpi4py", script).returncode != 0


@needs_mpi
def test_the_documented_command_trains_as_one_process_does(tmp_path, monkeypatch, capsys):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('left out, as it takes most of the time')")
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    options = ["--limit", 60, "--batch-size", 16, "--epochs", 2, "--augment", "none", "--lr", 0.001]
    together, alone = tmp_path / "together", tmp_path / "alone"
    launch, _, rest = COMMAND.partition(" -n 4 python ")
    assert launch == "mpiexec"
    process = mpiexec(2, *rest.split(), *options, "--out", together)
    assert (process.returncode, process.stderr) == (0, "")
    assert main(["train", *map(str, options), "--out", str(alone)]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in process.stdout.splitlines()] == [line.split()[0] for line in shown.splitlines()]

    figures = []
    for folder in (together, alone):
        with (folder / "log.csv").open() as file:
            figures.append([{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)])
    for ours, theirs in zip(*figures, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    matrices = [
        np.array(json.loads((folder / "metrics.json").read_text())["confusion"]) for folder in (together, alone)
    ]
    assert matrices[0].sum() == matrices[1].sum() == 60

    assert main(["train", "--out", str(together), "--resume"]) == 1
    assert "it has the random states of 2 processes, and 1 read it" in capsys.readouterr().err


@needs_mpi
def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    process = mpiexec(2, "-m", "tinygrad_cnn", "train", "--batch-size", 63, "--out", tmp_path / "run")
    assert process.returncode == 1
    assert [line for line in process.stderr.splitlines() if not line.startswith("Abort(1)")] == [
        "train: --batch-size 63 cannot be shared by 2 processes; give a multiple of 2, as 64"
    ]
    assert not (tmp_path / "run").exists()


def test_the_help_and_the_readme_give_the_same_command(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert f"  {COMMAND} " in capsys.readouterr().out
    shown = re.findall(r"mpiexec -n[^\n]*", README)
    assert shown
    assert all(line.startswith(COMMAND) for line in shown)


# Over a network: a pair of virtual cards joins two namespaces, whose addresses exist in them alone.

SUBNET = "10.97.31."
LAUNCHER = """#!/bin/sh
# mpiexec gives options, the address of a host, and the command to run there
while [ "$1" ]; do
    case "$1" in
        {subnet}1) shift; exec ip netns exec {names[0]} sh -c "$*";;
        {subnet}2) shift; exec ip netns exec {names[1]} sh -c "$*";;
    esac
    shift
done
exit 1
"""


def ip(*arguments: object) -> str:
    return subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def two_hosts() -> Iterator[list[str]]:
    """The names of two network namespaces that reach each other; skips where they cannot be made."""
    if shutil.which("ip") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("network namespaces need root and iproute2")
    names = [f"tgc{os.getpid()}{end}" for end in "ab"]
    made = []
    try:
        for name in names:
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces cannot be made: {error.stderr.strip()}")
            made.append(name)
        ip("link", "add", "card", "netns", names[0], "type", "veth", "peer", "name", "card", "netns", names[1])
        for number, name in enumerate(names, 1):
            ip("-n", name, "address", "add", f"{SUBNET}{number}/30", "dev", "card")
            ip("-n", name, "link", "set", "card", "addrgenmode", "none")  # no second address, that of IPv6
            for card in ("lo", "card"):
                ip("-n", name, "link", "set", card, "up")
        for name in names:
            while json.loads(ip("-n", name, "-j", "link", "show", "card"))[0]["operstate"] != "UP":
                time.sleep(0.01)  # the other end is seen a moment later
        yield names
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=True)


@needs_mpi
def test_ranks_on_two_hosts_compute_the_same_over_tcp(tmp_path):
    if b"MPICH" not in subprocess.run([MPIEXEC, "-info"], capture_output=True).stdout and not BESIDE.exists():
        pytest.skip("this mpiexec is not MPICH's, whose launcher the test stands in for")
    with two_hosts() as names:
        launcher = tmp_path / "launch"
        launcher.write_text(LAUNCHER.format(subnet=SUBNET, names=names))
        launcher.chmod(0o755)
        process = run(
            ["ip", "netns", "exec", names[0], "env", "MPIR_CVAR_CH4_NETMOD=ucx", "UCX_TLS=tcp,self",
             "UCX_NET_DEVICES=card",
             MPIEXEC, "-launcher", "ssh", "-launcher-exec", launcher, "-hosts", f"{SUBNET}1,{SUBNET}2",
             "-localhost", f"{SUBNET}1", "-n", 2, sys.executable, ROOT / "tests/ranks.py", tmp_path, CHECKS[2]]
        )  # fmt: skip
        sent = json.loads(ip("-n", names[0], "-s", "-j", "link", "show", "card"))[0]["stats64"]["tx"]["bytes"]
    assert (process.returncode, process.stdout, process.stderr) == (0, f"{CHECKS[2]}\n", "")
    assert sent > 3 * 8 * 600  # three all-reduces of the gradients of more than 600 numbers
