"""`summary` and `graph`: tables and pictures of networks."""

import json
import re
import sys

import pytest
from command_line import call, run, usage

import tinygrad_cnn as tg
from tinygrad_cnn.commands import networks


def test_summary_prints_the_table_of_nn_summary():
    process = run("summary", "lenet5", "--input", "2,1,32,32", "--depth", "1")
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.rstrip("\n") == str(tg.summary(tg.nn.models.LeNet5(), (2, 1, 32, 32), depth=1))


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_summary_knows_the_input_of_each_network(name, capsys):
    code, stdout, stderr = call(capsys, "summary", name, "--json", "--classes", 7)
    found = json.loads(stdout)
    assert (code, stderr, found["model"]) == (0, "", name)
    assert found["inputs"] == [[1, *networks.NETWORKS[name].image]]
    assert found["rows"][0]["outputs"] == [[1, 7]]
    assert found["params"] == sum(p.numel() for p in networks.build(name, 7, found["inputs"][0][1]).parameters())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("builtins:dict", "looking at its arguments raised ValueError: no signature found for builtin.*"),
        ("{file}:Odd", r"looking at its arguments raised RuntimeError: no signature \(.*odd.py:3\)"),
        ("{file}:Lying", "looking at its arguments raised TypeError: unexpected object 3 in __signature__ attribute"),
    ],
)
def test_what_hides_its_arguments_is_told_in_a_line(name, told, tmp_path, capsys):
    (tmp_path / "odd.py").write_text(
        "class Meta(type):\n    @property\n    def __signature__(cls): raise RuntimeError('no signature')\n"
        "class Odd(metaclass=Meta): ...\n"
        "class Lying:\n    __signature__ = 3\n"
    )
    code, stdout, stderr = call(capsys, "summary", name.format(file=tmp_path / "odd.py"))
    assert (code, stdout) == (1, "")
    assert re.fullmatch(f"summary: .*{told}\n", stderr), stderr


def test_summary_of_what_fails_says_so(net, capsys):
    code, _, stderr = call(capsys, "summary", "lenet5", "--input", "1,1,28,28")
    assert (code, stderr.count("\n")) == (1, 1)
    assert stderr.startswith("summary: lenet5: its forward of (1, 1, 28, 28) raised ShapeError: linear: x gives 256")
    code, _, stderr = call(capsys, "summary", f"{net}:Normed", "--input", "1,3,4,4")
    assert code == 1
    assert "its forward of (1, 3, 4, 4) in training mode raised ValueError: batch_norm: " in stderr


@pytest.mark.parametrize("ending", ["svg", "html", "dot", "md", "txt", "json"])
def test_graph_writes_the_picture_of_a_network(ending, tmp_path, capsys):
    out = tmp_path / f"net.{ending}"
    code, stdout, stderr = call(capsys, "graph", "digits", "--view", "grad", "--out", out)
    assert (code, stdout, stderr) == (0, f"written to {out}\n", "")
    text = out.read_text(encoding="utf-8")
    assert "conv1" in text
    assert "cross" in text


def test_graph_without_a_file_prints_text():
    process = run("graph", "digits", "--input", "3,1,8,8")
    assert (process.returncode, process.stderr) == (0, "")
    assert "conv3.weight" in process.stdout
    assert "cross_entropy" in process.stdout


def test_graph_as_json_says_what_is_drawn_or_where(tmp_path, capsys):
    code, stdout, _ = call(capsys, "graph", "lenet5", "--json", "--view", "ops")
    found = json.loads(stdout)
    assert (code, found["input"], found["view"]) == (0, [1, 1, 32, 32], "ops")
    assert found["cards"] > 10
    assert found["title"] in found["text"]
    folded = json.loads(call(capsys, "graph", "vgg11", "--json", "--depth", 1)[1])
    assert folded["cards"] < found["cards"]
    code, stdout, _ = call(capsys, "graph", "lenet5", "--json", "--out", tmp_path / "x.svg")
    assert (code, json.loads(stdout)["written"]) == (0, str(tmp_path / "x.svg"))


def test_graph_draws_networks_of_any_output(tmp_path, capsys):
    (tmp_path / "net.py").write_text(
        "from tinygrad_cnn import nn\n"
        "def pixels(num_classes, in_channels):\n    return nn.Conv2d(in_channels, num_classes, 1)\n"
        "class Flat(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.conv = nn.Conv2d(2, 3, 1)\n"
        "    def forward(self, x):\n        return self.conv(x).sum()\n"
    )
    for name, op in (("pixels", "cross_entropy"), ("Flat", "mean")):
        code, stdout, _ = call(capsys, "graph", f"{tmp_path / 'net.py'}:{name}", "--input", "2,2,4,5")
        assert (code, op in stdout) == (0, True)


def test_graph_of_what_has_none_says_so(net, tmp_path, capsys):
    code, _, stderr = call(capsys, "graph", f"{net}:Constant", "--input", "1,1,4,4")
    assert code == 1
    assert "its output needs no gradient, so there is no graph; look for no_grad in it" in stderr
    assert usage(capsys, "graph", "lenet5", "--out", "x.jpg").endswith(
        "argument --out: x.jpg ends in '.jpg'; it can be .svg .png .pdf .html .dot .md .json .txt"
    )
    code, _, stderr = call(capsys, "graph", "digits", "--out", tmp_path / "none" / "x.svg")
    assert (code, stderr.count("\n")) == (1, 1)


def test_a_png_that_nothing_can_draw_is_a_failure(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, stdout, stderr = call(capsys, "graph", "digits", "--out", tmp_path / "x.png")
    assert (code, stdout) == (1, f"written to {tmp_path / 'x.svg'}\n")
    assert "with the built-in layout instead" in stderr
