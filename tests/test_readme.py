"""The README keeps its word: its code prints what it shows, its commands are those of CI, its table is true."""

import importlib.util
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.__main__ import main
from tinygrad_cnn.commands import COMMANDS, datasets, networks
from tinygrad_cnn.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    line: int
    language: str
    text: str


def fenced_blocks(text: str) -> list[Block]:
    """Every fenced code block; raises ValueError for a fence that is indented, or left open."""
    blocks: list[Block] = []
    start, language, lines = 0, "", []
    for i, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("```", "~~~")):
            if not line.startswith("```"):
                raise ValueError(f"line {i}: a fence must stand at the margin and be ```")
            if start:
                blocks.append(Block(start, language, "".join(lines)))
                start, lines = 0, []
            else:
                start, language = i, line[3:].strip()
        elif start:
            lines.append(f"{line}\n")
    if start:
        raise ValueError(f"line {start}: the block is not closed")
    return blocks


def unclassified(blocks: list[Block]) -> list[str]:
    """Blocks that no test would look at: of another language, or output that no code stands above."""
    complaints = []
    for before, block in zip([Block(0, "", ""), *blocks], blocks, strict=False):
        if block.language not in ("python", "text", "sh", "console"):
            complaints.append(f"line {block.line}: a block of {block.language or 'no language'!r}")
        if block.language == "text" and before.language != "python":
            complaints.append(f"line {block.line}: output without code above it")
    return complaints


BLOCKS = fenced_blocks(README)

# Runs the blocks in one namespace and prints what each of them printed, as a JSON list.
RUNNER = """
import contextlib, io, json, sys
namespace, printed = {"__name__": "readme"}, []
for line, source in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile("\\n" * line + source, "README.md", "exec"), namespace)
    printed.append(output.getvalue())
json.dump(printed, sys.stdout)
"""


def run_blocks(blocks: list[Block], folder: Path) -> list[str]:
    given = json.dumps([(block.line, block.text) for block in blocks])
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path[0] = {str(ROOT)!r}\n{RUNNER}"],
        input=given, cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return list(json.loads(process.stdout))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def printed(folder):
    """What each python block printed, run in order in one namespace, in `folder`."""
    return run_blocks([block for block in BLOCKS if can_run(block)], folder)


def can_run(block):
    """Whether a block is Python, and the extra that it needs is there; CI runs the tests with all extras, too."""
    return block.language == "python" and ("onnx" not in block.text or importlib.util.find_spec("onnx") is not None)


def test_every_block_is_looked_at():
    assert unclassified(BLOCKS) == []
    assert {block.language for block in BLOCKS} == {"python", "text", "sh", "console"}


def test_the_code_prints_what_the_readme_shows(printed):
    outputs = iter(printed)
    for i, block in enumerate(BLOCKS):
        if can_run(block):
            follows = BLOCKS[i + 1 : i + 2]
            shown = follows[0].text if follows and follows[0].language == "text" else ""
            assert next(outputs) == shown, f"README.md line {block.line}"


def test_the_first_example_has_ten_lines_beside_the_imports():
    code = next(block.text for block in BLOCKS if block.language == "python")
    lines = [line for line in code.splitlines() if line.strip() and not re.match("import|from", line)]
    assert len(lines) <= 10


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```\nx\n```", "no language"),
        ("```ruby\nx\n```", "'ruby'"),
        ("```text\nx\n```", "output without code"),
        ("```sh\nx\n```\n```text\nx\n```", "output without code"),
    ],
)
def test_a_block_that_no_test_would_look_at_is_seen(text, complaint):
    (found,) = unclassified(fenced_blocks(text))
    assert complaint in found


@pytest.mark.parametrize("text", ["```python\nx", "  ```python\nx\n  ```", "~~~\nx\n~~~"])
def test_a_fence_that_could_be_misread_is_refused(text):
    with pytest.raises(ValueError, match="line 1"):
        fenced_blocks(text)


def test_wrong_output_and_failing_code_are_seen(tmp_path):
    assert run_blocks([Block(1, "python", "x = 2"), Block(5, "python", "print(x)")], tmp_path) == ["", "2\n"]
    with pytest.raises(AssertionError, match=r'README.md", line 9'):
        run_blocks([Block(8, "python", "1 / 0")], tmp_path)
    with pytest.raises(AssertionError, match="DeprecationWarning"):
        run_blocks([Block(8, "python", "import warnings; warnings.warn('old', DeprecationWarning)")], tmp_path)


def test_the_shell_commands_are_those_that_ci_runs():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    ends = re.findall(r"=\$\(readme_command '(.*)'\)", ci)
    assert len(ends) == 2
    commands = [line for block in BLOCKS if block.language == "sh" for line in block.text.splitlines()]
    found = [[line for line in commands if re.search(rf"^python3 -m venv .*{end}$", line)] for end in ends]
    assert [len(lines) for lines in found] == [1, 1]
    assert sorted(commands) == sorted(line for lines in found for line in lines)
    for command in commands:
        assert README.count(command) == 1
        (extra,) = re.findall(r"^python3 -m venv \.venv && \.venv/bin/pip install -q -e '\.\[(\w+)\]' && ", command)
        assert extra in PROJECT["optional-dependencies"]


def test_the_commands_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    lines = [line for block in BLOCKS if block.language == "console" for line in block.text.splitlines()]
    lines = [line for line in lines if "mpiexec" not in line]  # tests/test_distributed_mpi.py holds that one
    monkeypatch.chdir(tmp_path)
    run_commands = []
    for line in lines:
        prompt, python, option, package, command, *arguments = shlex.split(line)
        assert (prompt, python, option, package) == ("$", "python", "-m", "tinygrad_cnn")
        assert main([command, *arguments]) == 0, line
        assert capsys.readouterr().out, line
        run_commands.append(command)
    assert run_commands == ["train", "predict", "summary", "graph"]
    assert (tmp_path / "lenet5.html").stat().st_size > 10_000
    accuracy = json.loads((tmp_path / "runs" / "mine" / "metrics.json").read_text())["test_accuracy"]
    assert accuracy > 0.9


def test_the_commands_that_are_named_exist_with_their_networks_and_datasets():
    section = README.partition("## From the command line\n")[2].partition("\n## ")[0]
    prose = section.rpartition("```")[2]
    names = re.findall(r"`([a-z]+[0-9]*)`", prose)
    known = {*COMMANDS, *networks.NETWORKS, *datasets.DATASETS}
    assert {"train", "mnist", "lenet5"} <= set(names) <= known


def words_of(svg: str) -> list[str]:
    """The words that an SVG shows, in order, gradients' norms left out."""
    return [text.strip() for text in ElementTree.fromstring(svg).itertext() if text.strip() and "∂" not in text]


def test_the_picture_is_what_the_example_draws(printed, folder):
    svg = (ROOT / "docs" / "network.svg").read_text(encoding="utf-8")
    drawn = (folder / "network.svg").read_text(encoding="utf-8")
    assert words_of(svg) == words_of(drawn), "run the README's code and copy network.svg to docs/"
    assert "max_pool2d" in words_of(svg)
    assert len(svg) < 40_000
    assert "](docs/network.svg)" in README


def titles_of(svg: str) -> list[str]:
    """The bold words of an SVG, in order, without those that hold a rounded number."""
    found = [text.text or "" for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
             if text.get("font-weight") == "bold"]  # fmt: skip
    return [text for text in found if not re.search(r"\d\.\d", text)]


@pytest.mark.parametrize("name", ["diamond", "broken", "resnet20"])
def test_the_pictures_of_the_gallery_are_what_it_draws(name):
    gallery = runpy.run_path(str(ROOT / "examples" / "gallery.py"))["GALLERY"]
    svg = (ROOT / "docs" / f"{name}.svg").read_text(encoding="utf-8")
    drawn = gallery[name]().svg()
    assert titles_of(svg) == titles_of(drawn), "run python examples/gallery.py pictures and copy the picture to docs/"
    assert len(titles_of(svg)) > 4
    assert f"](docs/{name}.svg)" in README


def test_the_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    for target in targets:
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_what_is_missing_is_missing():
    """A line of "What it cannot do yet" must go when it no longer holds."""
    missing = README.partition("## What it cannot do yet")[2].partition("\n## ")[0]
    names = re.findall(r"`([a-z]\w*)`", missing)
    assert {"conv3d", "median", "grid_sample"} <= set(names)
    for name in set(names):
        assert not any(hasattr(place, name) for place in (tg, F, tg.Tensor)), name


def table_rows(heading: str) -> list[str]:
    """The first cells of the table under a heading."""
    section = README.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [re.split(r"(?<!\\)\|", line)[1].strip() for line in section.splitlines() if line.startswith("|")]
    return cells[2:]


ROWS = {}


def row(name):
    """Declare the check of a row of the table "Coming from PyTorch"."""

    def declare(check):
        ROWS[name] = check
        return check

    return declare


def test_every_row_of_the_table_has_a_check():
    assert table_rows("Coming from PyTorch") == list(ROWS)


def ones(*shape, **options):
    return tg.Tensor(np.ones(shape, np.float32), **options)


@row("names, argument order, defaults")
def same_names():
    conv = nn.Conv2d(3, 8, 3)
    assert {name: value.shape for name, value in conv.state_dict().items()} == {"weight": (8, 3, 3, 3), "bias": (8,)}
    assert conv(ones(2, 3, 6, 5)).shape == (2, 8, 4, 3)
    assert F.conv2d(ones(1, 2, 5, 5), ones(4, 1, 3, 3), ones(4), 2, 1, 1, 2).shape == (1, 4, 3, 3)


@row("`dim`, `keepdim`")
def both_spellings():
    x = tg.Tensor([[1.0, 2.0], [3.0, 5.0]])
    assert x.sum(dim=1, keepdim=True).tolist() == x.sum(axis=1, keepdims=True).tolist() == [[3.0], [8.0]]


@row("`max`, `min` with `dim`")
def maxima():
    x = tg.Tensor([[2.0, 2.0, 1.0]], requires_grad=True)
    values, indices = x.max(dim=1)
    assert (values.tolist(), indices.tolist()) == ([2.0], [0])
    (g,) = tg.grad(values.sum(), x)
    assert g.tolist() == [[1.0, 0.0, 0.0]]
    for shared in (x.max(axis=1), x.amax(1)):
        (g,) = tg.grad(shared.sum(), x)
        assert g.tolist() == [[0.5, 0.5, 0.0]]


@row("dtype promotion")
def promotion():
    x = tg.Tensor([1.0])
    for other in (2.0, np.float64(2), np.array(2.0), tg.Tensor([2])):
        assert (x * other).dtype == np.float32
    double = tg.Tensor(np.ones((3, 3)))
    for refused in (lambda: F.linear(ones(3, 3), double), lambda: ones(3, 3) @ double,
                    lambda: F.conv2d(ones(1, 1, 4, 4), tg.Tensor(np.ones((1, 1, 3, 3))))):  # fmt: skip
        with pytest.raises(TypeError, match="different dtypes"):
            refused()


@row("a Tensor from an array")
def copies():
    array = np.array([1.0, 2.0])
    copied, shared = tg.Tensor(array), tg.from_numpy(array)
    array[0] = 9.0
    assert (copied.tolist(), shared.tolist()) == ([1.0, 2.0], [9.0, 2.0])
    assert copied.dtype == np.float64
    assert tg.Tensor([1.0]).dtype == np.float32


@row("`t.numpy()`")
def values():
    view = (tg.Tensor([1.0], requires_grad=True) * 2).numpy()
    assert view.tolist() == [2.0]
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1.0


@row("`np.asarray(t)`")
def asarray():
    assert np.asarray(tg.Tensor([1.0])).tolist() == [1.0]
    with pytest.raises(RuntimeError, match="requires grad"):
        np.asarray(tg.Tensor([1.0], requires_grad=True))


@row("`np.f(t)`")
def numpy_functions():
    x = tg.Tensor([1.0, 3.0], requires_grad=True)
    np.sum(np.square(x)).backward()
    assert x.grad.tolist() == [2.0, 6.0]
    assert (np.var(x).item(), x.var().item()) == (1.0, 2.0)
    with pytest.raises(TypeError, match=r"np\.median has no op here"):
        np.median(x)


@row("an array as operand or labels")
def arrays_are_copied():
    x, factor = tg.Tensor([1.0, 1.0], requires_grad=True), np.array([2.0, 2.0], np.float32)
    product = (x * factor).sum()
    factor[0] = 100.0
    product.backward()
    assert x.grad.tolist() == [2.0, 2.0]
    logits, labels = tg.Tensor([[0.0, 0.0]], requires_grad=True), np.array([1])
    loss = F.cross_entropy(logits, labels)
    labels[0] = 0
    loss.backward()
    assert logits.grad.tolist() == [[0.5, -0.5]]


@row("`h += skip` while recording")
def in_place_add():
    x = tg.Tensor([1.0], requires_grad=True)
    before = h = x * 2
    h += x
    assert (before.tolist(), h.tolist()) == ([2.0], [3.0])
    h.backward()
    assert x.grad.tolist() == [3.0]
    with pytest.raises(RuntimeError, match="a leaf that requires grad"):
        x += 1.0


@row("`x[i] = v` while recording")
def item_assignment():
    h = tg.Tensor([1.0, 2.0], requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="where"):
        h[0] = 5.0
    constant = tg.Tensor([1.0, 2.0])
    constant[0] = 5.0
    assert constant.tolist() == [5.0, 2.0]


@row("`p.data -= lr * p.grad`")
def updates():
    for in_data in (True, False):
        p = tg.Tensor([1.0], requires_grad=True)
        (p * 3).sum().backward()
        if in_data:
            p.data -= 0.5 * p.grad
        else:
            with tg.no_grad():
                p -= 0.5 * p.grad
        assert p.tolist() == [-0.5]
        assert p.requires_grad
        assert p.is_leaf


@row("padding of conv2d")
def paddings():
    x, w = ones(1, 1, 5, 4), ones(1, 1, 3, 3)
    shapes = {"valid": (3, 2), "same": (5, 4), "full": (7, 6), ((1, 0), (0, 2)): (4, 4), 1: (5, 4), (0, 1): (3, 4)}
    for padding, shape in shapes.items():
        assert F.conv2d(x, w, padding=padding).shape[2:] == shape
    x, w = tg.Tensor(np.arange(1.0, 5.0).reshape(1, 1, 1, 4)), tg.Tensor(np.array([1.0, 10.0]).reshape(1, 1, 1, 2))
    assert F.conv2d(x, w, padding="same").tolist() == [[[[21.0, 32.0, 43.0, 4.0]]]]
    assert F.conv2d(x, w, padding="same_lower").tolist() == [[[[10.0, 21.0, 32.0, 43.0]]]]
    assert F.conv2d(ones(1, 1, 5, 4), ones(1, 1, 3, 3), padding="same", stride=2).shape[2:] == (3, 2)


@row("sizes that drop pixels")
def strictness():
    assert F.conv2d(ones(1, 1, 6, 5), ones(1, 1, 3, 3), stride=2).shape == (1, 1, 2, 2)
    with pytest.raises(tg.ShapeError, match="the last 1 of 6 rows are never read"):
        F.conv2d(ones(1, 1, 6, 5), ones(1, 1, 3, 3), stride=2, strict=True)


@row("true convolution")
def flips():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 1, 4, 5)), rng.normal(size=(1, 1, 2, 3))
    np.testing.assert_allclose(F.conv2d(x, w, flip=True), F.conv2d(x, w[:, :, ::-1, ::-1]), rtol=1e-12)


@row("ties in max_pool2d")
def ties():
    found = {}
    for rule in ("first", "last", "split"):
        x = ones(1, 1, 1, 2, requires_grad=True)
        F.max_pool2d(x, (1, 2), ties=rule).sum().backward()
        found[rule] = x.grad.numpy().ravel().tolist()
    assert found == {"first": [1.0, 0.0], "last": [0.0, 1.0], "split": [0.5, 0.5]}
    x = ones(1, 1, 1, 2, requires_grad=True)
    F.max_pool2d(x, (1, 2)).sum().backward()
    assert x.grad.numpy().ravel().tolist() == found["first"]


@row("number of inputs of a layer")
def lazy_linear():
    layer = nn.Linear(None, 10)
    assert layer(ones(2, 7)).shape == (2, 10)
    assert layer.weight.shape == (10, 7)


@row("nan and inf")
def first_nan():
    x = tg.Tensor([0.0], requires_grad=True)
    with tg.detect_anomaly():
        with pytest.raises(
            FloatingPointError, match=r"(?s)log: makes the first −inf .*log\(0\).*first at  \(0,\): x = 0"
        ):
            x.log()
        with pytest.raises(FloatingPointError, match="sqrt: its gradient rule makes the first inf"):
            x.sqrt().backward()


@row("a backward that fails")
def failing_backward():
    x = tg.Tensor([1.0], requires_grad=True)
    y = tg.Tensor([1.0], requires_grad=True)
    y.grad = np.array([7.0], np.float32)
    h = x * 2

    def fail(gradient):
        raise KeyError("a hook of the user")

    h.register_hook(fail)
    with pytest.raises(KeyError):
        (h * y).sum().backward()
    assert (x.grad, y.grad.tolist()) == (None, [7.0])


@row("`create_graph=True`")
def create_graph():
    x = tg.Tensor([2.0], requires_grad=True)
    (g,) = tg.grad((x * x * x).sum(), x, create_graph=True)
    assert tg.grad(g.sum(), x)[0].tolist() == [12.0]
    with pytest.raises(RuntimeError, match="create_graph=True"):
        (x * x).sum().backward(create_graph=True)


@row("`load_state_dict` with wrong keys")
def strict_loading():
    layer = nn.Linear(2, 3)
    before = layer.weight.numpy().copy()
    with pytest.raises(ValueError, match="2 differences") as caught:
        layer.load_state_dict({"weight": np.zeros((3, 2), np.float32), "bias": np.zeros(4, np.float32), "extra": 1.0})
    assert "bias" in str(caught.value)
    assert "extra" in str(caught.value)
    assert np.array_equal(layer.weight.numpy(), before)


@row("`save`, `load`")
def files(tmp_path):
    layer = nn.Linear(2, 3)
    tg.save(layer.state_dict(), tmp_path / "weights.safetensors")
    loaded = tg.load(tmp_path / "weights.safetensors")
    assert {name: value.tolist() for name, value in loaded.items()} == {
        "weight": layer.weight.tolist(), "bias": layer.bias.tolist()}  # fmt: skip
    (tmp_path / "pickled").write_bytes(b"\x80\x04N.")
    with pytest.raises(tg.CheckpointError):
        tg.load(tmp_path / "pickled")


@row("`x.diagonal()`")
def diagonals_are_copies():
    x, i = tg.ones(3, 3), tg.arange(3)
    x.diagonal().zero_()
    assert x.sum().item() == 9
    x[i, i] = 0.0
    assert x.sum().item() == 6


@row("`scatter` of indices that fall together")
def scatter_of_duplicates():
    src = tg.Tensor([1.0, 2.0], requires_grad=True)
    out = tg.zeros(3).scatter(0, tg.tensor([1, 1]), src)
    assert out.tolist() == [0.0, 2.0, 0.0]
    out.sum().backward()
    assert src.grad.tolist() == [0.0, 1.0]


@row("`sort`, `topk` at ties")
def order_at_ties():
    x = tg.Tensor([2.0, 1.0, 2.0])
    assert x.sort(descending=True).indices.tolist() == [0, 2, 1]
    assert x.topk(1).indices.tolist() == [0]


@row("random numbers")
def random_numbers():
    drawn = [tg.randn(3, generator=np.random.default_rng(0)).tolist() for _ in range(2)]
    assert drawn[0] == drawn[1]


@row("devices")
def devices():
    x = tg.Tensor([1.0])
    assert x.to("cpu") is x
    with pytest.raises(ValueError, match="no device 'cuda'"):
        x.to("cuda")


@row("`sum(axis=())`")
def empty_axes():
    assert ones(2, 3).sum(axis=()).tolist() == np.ones((2, 3)).sum(axis=()).tolist()


@row("label_smoothing below 0")
def negative_smoothing():
    with pytest.raises(ValueError, match=r"label_smoothing is -0\.1"):
        F.cross_entropy(tg.Tensor([[1.0, 2.0]]), np.array([0]), label_smoothing=-0.1)


@row("an ignored row of nan logits")
def ignored_nan():
    logits = tg.Tensor([[np.nan, 0.0], [0.0, 0.0]], requires_grad=True)
    F.cross_entropy(logits, np.array([-100, 1])).backward()
    assert logits.grad.tolist() == [[0.0, 0.0], [0.5, -0.5]]


@row("conv2d without input channels")
def no_channels():
    with pytest.raises(tg.ShapeError, match="0 channels"):
        F.conv2d(ones(1, 0, 3, 3), ones(2, 0, 2, 2))


@pytest.mark.parametrize("check", ROWS.values(), ids=lambda check: check.__name__)
def test_the_table_is_true(check, tmp_path):
    check(*([tmp_path] if check.__code__.co_argcount else []))
