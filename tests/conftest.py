"""Hypothesis profiles, and settings that every test shares.

    HYPOTHESIS_PROFILE=thorough python -m pytest     # dev, ci or thorough; without it ci where CI is set, else dev

`ci` draws the same examples in every run; `dev` and `thorough` draw fresh ones and keep failures in .hypothesis.
HYPOTHESIS_EXAMPLES says how many `thorough` draws.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".hypothesis"))  # wherever pytest was started
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["TINYGRAD_CNN_QUIET"] = "1"  # which test compiles a kernel first depends on what was compiled before

# No verdict may depend on the speed of the machine: no deadline, no health check of slowness.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", untimed, max_examples=50)
settings.register_profile("ci", untimed, max_examples=100, derandomize=True, database=None, print_blob=True)
settings.register_profile("thorough", untimed, max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "2000")))

in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if in_ci else "dev"))


def pytest_runtest_setup(item):
    if not __debug__ and item.get_closest_marker("asserts"):
        pytest.skip("it is about an assert that fails, and python -O leaves asserts out")


@pytest.fixture
def made():
    """Make an op of a function and its rules; it is forgotten after the test."""
    from tinygrad_cnn.declaration import registry
    from tinygrad_cnn.primitive import op

    before = set(registry)

    def make(forward, sample=None, **rules):
        registry.pop(forward.__name__, None)
        created = op(forward)
        created.vjp(**rules)
        if sample:
            created.sample(sample)
        return created

    yield make
    for name in set(registry) - before:
        del registry[name]


@pytest.fixture(scope="module")
def one_torch_thread():
    """PyTorch on one thread: for tiny problems more of them cost more than they compute."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, driven by Playwright."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        yield chromium
        chromium.close()
