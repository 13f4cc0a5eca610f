"""Kills, interrupts, full disks and other writers in the middle of saving: the old file or the new one, and whole."""

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from forks import NUMBERS, Forks

from tinygrad_cnn.interchange import load, save

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals, limits and mounts as Linux has them")
ROOT = Path(__file__).resolve().parent.parent
is_root = os.geteuid() == 0
CANNOT_MOUNT = "PermissionError: cannot mount"


@pytest.fixture(scope="module")
def forks():
    with Forks() as running:
        yield running


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


def of_one_number(path):
    """The number that all numbers of a file are; the file must be whole."""
    a = load(path)["a"].array
    assert (a == a[0]).all()
    return a[0]


def test_H160_H161_sixty_kills_at_random_moments_of_saving_lose_nothing_and_leave_nothing(tmp_path, forks):
    path = tmp_path / "x"
    save({"a": np.full(NUMBERS, 96.0)}, path)
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    for _ in range(60):
        child = forks.start("save_forever", path)
        time.sleep(moments.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        assert forks.wait(child) == -signal.SIGKILL
        assert of_one_number(path) in range(97), seed
    assert all(re.fullmatch(r"x|\.x\.\d+\.tmp", name) for name in names_in(tmp_path))
    save({"a": np.ones(1)}, path)
    assert names_in(tmp_path) == ["x"]


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.7, 0.999])
def test_H160_a_process_that_dies_at_a_byte_of_the_file_loses_nothing(tmp_path, forks, share):
    path = tmp_path / "x"
    save({"a": np.full(NUMBERS, 1.0)}, path)
    most = int(share * path.stat().st_size)
    assert forks.call("save_up_to", path, most, False) == -signal.SIGXFSZ
    assert of_one_number(path) == 1
    before = names_in(tmp_path)
    assert len(before) == 2  # what it left, and nothing loads
    save({"a": np.full(NUMBERS, 3.0)}, path)
    assert of_one_number(path) == 3
    assert names_in(tmp_path) == ["x"]
    assert forks.call("save_up_to", path, most, True) == -signal.SIGXFSZ  # the same end in a plain write
    assert path.stat().st_size == most


def test_H160_a_kill_at_any_step_of_saving_leaves_the_old_or_the_new_file(tmp_path, forks):
    path, found = tmp_path / "x", []
    for number in range(1, 100):
        save({"a": np.full(3, 1.0)}, path)
        ended = forks.call("save_until_event", path, number)
        found.append(of_one_number(path))
        if ended == "done":
            break
        assert ended == -signal.SIGKILL
    assert found == sorted(found)
    assert found.count(1) > 3  # before the rename
    assert found.count(2) > 1  # after it


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_H163_signals_in_the_middle_of_saving_lose_nothing(tmp_path, forks, number):
    path = tmp_path / "x"
    save({"a": np.full(NUMBERS, 96.0)}, path)
    moments = random.Random(random.randrange(2**32))
    for _ in range(10):
        # An interrupt while Python is still forking is told on stderr and forgotten.
        child = forks.start_until_ready("save_forever", path)
        time.sleep(moments.uniform(0, 0.03))
        os.kill(child, number)
        assert forks.wait(child) == (130 if number == signal.SIGINT else -signal.SIGTERM)
        assert of_one_number(path) in range(97)
        if number == signal.SIGINT:
            assert names_in(tmp_path) == ["x"]  # an interrupt removes its temporary file
    save({"a": np.ones(1)}, path)
    assert names_in(tmp_path) == ["x"]


def test_H163_a_run_that_is_terminated_keeps_its_last_epoch(tmp_path, forks):
    child = forks.start_until_ready("train", tmp_path, "SIGTERM", 8)  # in the second step of the third epoch
    kept = (tmp_path / "run").read_bytes()
    os.kill(child, signal.SIGTERM)
    assert forks.wait(child) == -signal.SIGTERM  # what a shell reports as 143
    assert (tmp_path / "run").read_bytes() == kept
    assert names_in(tmp_path) == ["run"]
    assert forks.call("train", tmp_path, "none", 0) == "trained"
    (tmp_path / "whole").mkdir()
    assert forks.call("train", tmp_path / "whole", "none", 0) == "trained"
    assert (tmp_path / "weights").read_bytes() == (tmp_path / "whole" / "weights").read_bytes()


def test_H176_a_run_that_is_killed_at_random_steps_comes_to_the_same_bits(tmp_path, forks):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    assert forks.call("train", tmp_path / "whole", "none", 0) == "trained"
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    for _ in range(12):
        end, at = draw.choice([("step", draw.randint(1, 7)), ("open", 1), ("os.rename", draw.randint(1, 2))])
        ended = forks.call("train", tmp_path / "killed", end, at)
        assert ended in (-signal.SIGKILL, "trained"), seed
    assert forks.call("train", tmp_path / "killed", "none", 0) == "trained"
    assert (tmp_path / "killed" / "weights").read_bytes() == (tmp_path / "whole" / "weights").read_bytes(), seed
    assert names_in(tmp_path / "killed") == ["run", "weights"]


# Errors of the system


@pytest.mark.skipif(not is_root, reason="only root can mount a small file system")
def test_H162_a_full_disk_is_an_error_that_leaves_the_old_file(tmp_path, forks):
    found = forks.call("save_to_a_full_disk", tmp_path)
    if found == CANNOT_MOUNT:
        pytest.skip("this root cannot mount")
    assert found == f"{os.strerror(errno.ENOSPC)}: 1000.0, ['x']"


@pytest.mark.skipif(not is_root, reason="only root can become somebody else")
def test_H162_a_folder_that_may_only_be_read_is_an_error_that_leaves_the_old_file(forks):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        save({"a": np.ones(3)}, path)
        Path(folder).chmod(0o555)
        assert re.match(r"PermissionError: .*Permission denied.*\.x\.\d+\.tmp'", forks.call("save_as_nobody", path))
        assert of_one_number(path) == 1
        assert names_in(Path(folder)) == ["x"]


@pytest.mark.skipif(not is_root, reason="only root can mount a file")
def test_H164_a_file_that_no_rename_can_replace_is_not_overwritten_in_another_way(tmp_path, forks):
    save({"a": np.ones(3)}, tmp_path / "x")
    found = forks.call("save_over_a_mount", tmp_path / "x")
    if found == CANNOT_MOUNT:
        pytest.skip("this root cannot mount")
    assert found == f"{os.strerror(errno.EBUSY)}: 1.0, ['x']"


STRACED = """
    import sys, numpy as np
    from tinygrad_cnn.interchange import load, save
    for number in (1, 2, 3, 4):
        try:
            save({"a": np.full(3, float(number))}, "x")
        except OSError as error:
            print(error.strerror, load("x")["a"].tolist())
"""


def test_H162_H164_what_the_system_is_asked_for_and_in_which_order(tmp_path):
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    save({"a": np.zeros(3)}, tmp_path / "x")
    done = subprocess.run(
        [strace, "-y", "-o", "trace", "-e", "trace=openat,fsync,rename,unlink", "-e", "inject=fsync:error=EIO:when=1",
         "-e", "inject=rename:error=EXDEV:when=1", sys.executable, "-c", textwrap.dedent(STRACED)],
        cwd=tmp_path, text=True, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "TINYGRAD_CNN_NUMBA": "0"},
    )  # fmt: skip
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.stdout.splitlines() == [
        f"{os.strerror(errno.EIO)} [0.0, 0.0, 0.0]",  # the data may not be on the disk
        f"{os.strerror(errno.EXDEV)} [0.0, 0.0, 0.0]",  # and nothing was copied instead
    ]
    calls = (tmp_path / "trace").read_text()
    last = [re.sub(r"\d+\.tmp", "N.tmp", line) for line in calls.splitlines() if str(tmp_path) in line][-6:]
    folder = re.escape(str(tmp_path))
    wanted = [
        rf'openat\(.*"{folder}/\.x\.N\.tmp", O_WRONLY\|O_CREAT\|O_EXCL.*',
        rf"fsync\(\d+<{folder}/\.x\.N\.tmp>\) += 0",
        rf'rename\("{folder}/\.x\.N\.tmp", "{folder}/x"\) += 0',
        rf'openat\(.*"{folder}", O_RDONLY.*',
        rf"fsync\(\d+<{folder}>\) += 0",
    ]
    assert len(last[-5:]) == 5
    for line, pattern in zip(last[-5:], wanted, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)
    assert names_in(tmp_path) == ["trace", "x"]
    assert of_one_number(tmp_path / "x") == 4


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_H162_what_is_no_file_is_never_replaced(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"a regular file, or a new name, is needed.*(x|/dev/full)'"):
        save({"a": np.ones(3)}, path)
    assert names_in(tmp_path) == ["x"]
    assert not path.is_file()


# Others at the same file


def test_H175_readers_see_the_old_or_the_new_file_of_two_writers(tmp_path, forks):
    path = tmp_path / "x"
    save({"a": np.full(5, 9.0)}, path)
    writers = [forks.start("save_often", path, number, 40) for number in (1, 2)]
    seen = []

    def read():
        while not done.is_set():
            seen.append(of_one_number(path))

    done = threading.Event()
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    assert [forks.wait(writer) for writer in writers] == [0, 0]
    done.set()
    for reader in readers:
        reader.join()
    assert set(seen) <= {1, 2, 9}
    a = load(path)["a"].array
    assert len(a) in (NUMBERS // 4 + 100 * a[0] + 39,)  # the last that one of them wrote
    assert names_in(tmp_path) == ["x"]


def test_H175_threads_of_one_process_take_turns(tmp_path):
    path, errors = tmp_path / "x", []

    def write(number):
        try:
            for _ in range(20):
                save({"a": np.full(1000 + number, float(number))}, path)
                of_one_number(path)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert names_in(tmp_path) == ["x"]
    assert len(load(path)["a"].array) == 1000 + of_one_number(path)
