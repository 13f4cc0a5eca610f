"""What is installed, what is required, and what an import costs."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tinygrad_cnn

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = {"fast", "plot", "progress", "data", "png", "onnx", "mpi", "test", "all"}


def requirement_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return match[0].lower()


def extra(name: str) -> set[str]:
    """The requirements of an extra, with references to other extras replaced by what they stand for."""
    requirements = set()
    for requirement in PROJECT["optional-dependencies"][name]:
        if own := re.fullmatch(r"tinygrad_cnn\[(.*)\]", requirement):
            requirements |= set().union(*(extra(part) for part in own[1].split(",")))
        else:
            requirements.add(requirement)
    return requirements


def group(name: str) -> set[str]:
    """The requirements of a dependency group (PEP 735), with its includes."""
    requirements = set()
    for requirement in PYPROJECT["dependency-groups"][name]:
        requirements |= {requirement} if isinstance(requirement, str) else group(requirement["include-group"])
    return requirements


def test_the_hard_dependencies_are_four():
    names = {requirement_name(requirement) for requirement in PROJECT["dependencies"]}
    assert names == {"graphviz", "numpy", "safetensors", "threadpoolctl"}


def test_the_extras_are_the_documented_ones():
    assert set(PROJECT["optional-dependencies"]) == EXTRAS


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_an_extra_is_also_a_dependency_group(name):
    assert extra(name) == group(name)


def test_all_is_every_extra_that_a_user_would_want():
    assert extra("all") == set().union(*(extra(name) for name in EXTRAS - {"all", "test"}))


def test_the_version_stands_in_one_place():
    assert "version" not in PROJECT
    assert "version" in PROJECT["dynamic"]
    source = (ROOT / PYPROJECT["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    assert re.findall(r'^__version__ = "(.*)"$', source, re.MULTILINE) == [tinygrad_cnn.__version__]


def test_the_changelog_has_an_entry_for_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(tinygrad_cnn.__version__)}\]?", changelog, re.MULTILINE)


def test_the_installed_metadata_is_that_of_the_source():
    try:
        metadata = importlib.metadata.metadata("tinygrad_cnn")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("tinygrad_cnn is imported from the checkout without being installed")
    assert metadata["Version"] == tinygrad_cnn.__version__
    assert metadata["License-Expression"] == "MIT AND CC-BY-4.0 AND OFL-1.1 AND Bitstream-Vera"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra") or []) == EXTRAS


def test_the_package_ships_its_types_its_digits_its_fonts_their_notes_and_the_page():
    package = Path(tinygrad_cnn.__file__).parent
    fonts = ("Arimo-Regular.ttf", "Arimo-Bold.ttf", "DejaVuSans.ttf", "FONTS.md", "LICENSE_ARIMO.txt")
    shipped = ["diagram/fonts/LICENSE_DEJAVU.txt", *(f"diagram/fonts/{name}" for name in fonts)]
    for name in ["py.typed", "data/digits.npz", "data/DIGITS.md", "diagram/page.css", "diagram/page.js", *shipped]:
        assert (package / name).is_file(), name


def test_every_licence_in_the_package_is_declared():
    declared = {path for pattern in PROJECT["license-files"] for path in ROOT.glob(pattern)}
    found = {
        path for pattern in ("LICENSE*", "FONTS.md", "DIGITS.md") for path in (ROOT / "tinygrad_cnn").rglob(pattern)
    }
    assert declared == {ROOT / "LICENSE", *found}
    assert len(found) == 4


def test_the_checkers_are_pinned():
    for requirement in group("lint") | group("build") | group("parallel") | group("browser"):
        assert re.fullmatch(r"[a-z-]+==[0-9.]+", requirement), requirement


def test_warnings_are_errors():
    assert PYPROJECT["tool"]["pytest"]["ini_options"]["filterwarnings"] == ["error"]


OPTIONAL = [
    "PIL",
    "graphviz",
    "hypothesis",
    "matplotlib",
    "mpi4py",
    "numba",
    "onnx",
    "onnxruntime",
    "pooch",
    "resvg_py",
    "torch",
    "tqdm",
]


@pytest.mark.parametrize("module", ["tinygrad_cnn", "tinygrad_cnn.data"])
def test_importing_loads_nothing_optional(module):
    program = f"import sys, {module}; print(*sorted(set({OPTIONAL}) & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.split() == []


def test_importing_warns_of_nothing():
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import tinygrad_cnn.data"], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr


def test_digits_load_outside_the_checkout(tmp_path):
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tinygrad_cnn import data; print(len(data.digits()[0]))"
    )
    process = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "1797"
