"""What all commands have in common: help, exit codes, JSON, interrupts."""

import json
import re
import subprocess
import sys

import pytest
from command_line import ENVIRONMENT, JOB, TINY, call, run, usage

from tinygrad_cnn import bench, commands
from tinygrad_cnn.__main__ import main
from tinygrad_cnn.commands import networks
from tinygrad_cnn.kernels import parallel


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_has_help_with_examples(name, capsys):
    with pytest.raises(SystemExit) as exit:
        main([name, "--help"])
    printed = capsys.readouterr()
    assert (exit.value.code, printed.err) == (0, "")
    options, _, examples = printed.out.partition("examples:\n")
    assert "--json" in options
    lines = examples.splitlines()
    assert lines
    assert all(line.startswith(f"  python -m tinygrad_cnn {name}") for line in lines)
    mentioned = set(re.findall(r"--[a-z-]+", examples))
    assert all(option in options for option in mentioned)


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for name, (_, text) in commands.COMMANDS.items():
        assert re.search(f"python -m tinygrad_cnn {name} +{re.escape(text)}", shown)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["trian"], "unrecognized arguments: trian; the commands are train, predict, summary, graph, bench"),
        (["train", "--epochs", "0"], "argument --epochs: 0 is not above 0"),
        (["train", "--lr", "nan"], "argument --lr: nan is not above 0"),
        (["train", "--seed", "-1"], "argument --seed: '-1' is not a whole number from 0 up"),
        (["train", "--workers", "x"], "argument --workers: 'x' is not a whole number from 0 up"),
        (["train", "--augment", "all"], "argument --augment: invalid choice: 'all'"),
        (["train", "--model", "lenet"], "argument --model: no network is named 'lenet'; there are digits, lenet5,"),
        (["train", "--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["summary"], "the following arguments are required: MODEL"),
        (["summary", "net"], "argument MODEL: no network is named 'net'; there are digits, lenet5, vgg11, vgg11_bn,"),
        (["summary", ":Net"], "argument MODEL: no network is named ':Net'"),
        (["predict", "x", "y", "--model", "net.py:"], "argument --model: no network is named 'net.py:'"),
        (["summary", "lenet5", "--input", "1,x"], "argument --input: '1,x' is no shape; give the batch first, as in"),
        (["summary", "lenet5", "--input", "3"], "argument --input: '3' is no shape; give the batch first, as in"),
        (["summary", "lenet5", "--input", "1,0,3,3"], "argument --input: '1,0,3,3' is no shape"),
        (["graph", "lenet5", "--view", "nice"], "argument --view: invalid choice: 'nice'"),
        (["graph", "lenet5", "--depth", "-1"], "argument --depth: '-1' is not a whole number from 0 up"),
        (["predict"], "the following arguments are required: RUN"),
        (["predict", "x", "y", "--top", "0"], "argument --top: 0 is not above 0"),
    ],
)
def test_bad_arguments_exit_2_and_say_which(arguments, complaint, capsys):
    assert complaint in usage(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["predict", "nowhere", "--test"], 1, "predict: nowhere holds no run.json; give a folder that train wrote"),
        (["train", "--model", "x"], 2, "argument --model: no network is named 'x'"),
        (["bench", "--rounds", "0"], 2, "argument --rounds: '0' is not a whole number from 1 up"),
    ],
)
def test_the_exit_codes_reach_the_shell(arguments, code, line, tmp_path):
    process = run(*arguments, cwd=tmp_path)
    assert (process.returncode, process.stdout) == (code, "")
    assert line in process.stderr
    assert "Traceback" not in process.stderr
    assert list(tmp_path.iterdir()) == []


def test_as_json_train_prints_one_document_and_the_progress_on_stderr(net, tmp_path, capsys, no_figures):
    out = tmp_path / "run"
    code, stdout, stderr = call(capsys, *TINY, "--model", f"{net}:Net", "--epochs", 1, "--out", out, "--json")
    found = json.loads(stdout)
    assert (code, found.pop("out")) == (0, str(out))
    assert found == json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert "epoch 1/1" in stderr
    assert "made" in stderr  # what the network's file prints


def test_bench_as_json_is_one_document(capsys, monkeypatch):
    monkeypatch.setattr(bench, "M", bench.Network("M", (1, 8, 8), (2, "M")))
    monkeypatch.setattr(bench, "torch_training", lambda build, x, y: [])
    code, stdout, stderr = call(capsys, "bench", "--batch", 2, "--warmup", 0, "--rounds", 1, "--json")
    found = json.loads(stdout)
    assert (code, stderr) == (0, "")
    assert [network["network"].partition(":")[0] for network in found["networks"]] == ["S", "M"]
    assert all(side["seconds"] > 0 for network in found["networks"] for side in network["sides"])
    assert [side["name"] for side in found["networks"][0]["sides"]] == ["tinygrad_cnn"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGPIPE")
def test_a_reader_that_has_enough_is_no_traceback():
    with subprocess.Popen(
        [*JOB, "graph", "resnet20", "--view", "ops"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        stderr = process.stderr.read()
    assert (process.returncode, stderr) == (1, b"")


def test_an_interrupt_exits_130(capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(networks, "build", interrupt)
    assert call(capsys, "summary", "lenet5") == (130, "", "interrupted\n")


def test_an_error_of_our_own_keeps_its_traceback(monkeypatch):
    def fails(*arguments, **options):
        raise AttributeError("ours")

    monkeypatch.setattr(networks, "build", fails)
    with pytest.raises(AttributeError, match="ours"):
        main(["summary", "lenet5"])


def test_a_command_loads_its_own_file_only():
    program = "import sys, tinygrad_cnn; print(sorted(m for m in sys.modules if m.startswith('tinygrad_cnn.commands')))"
    process = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True)
    assert process.stdout == "[]\n"
    program = (
        "import sys, tinygrad_cnn.__main__; print(sorted(m for m in sys.modules if m.startswith('tinygrad_cnn.com')))"
    )
    process = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True)
    names = ["tinygrad_cnn.commands", "tinygrad_cnn.commands.frame", "tinygrad_cnn.commands.options"]
    assert process.stdout == f"{names}\n"


@pytest.mark.parametrize("value", ["abc", "0"])
@pytest.mark.parametrize(
    "arguments",
    [["train"], ["predict", "nowhere", "--test"], ["summary", "digits"], ["graph", "digits"], ["bench"], []],
)
def test_threads_that_are_no_number_are_told_in_a_line(arguments, value, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYGRAD_CNN_THREADS", value)
    monkeypatch.setattr(parallel, "_size", None)  # as in a fresh process
    told = f"{arguments[0]}: " if arguments else ""
    told += f"TINYGRAD_CNN_THREADS is '{value}'; it must be a positive integer\n"
    assert call(capsys, *arguments) == (1, "", told)
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_threads(capsys, monkeypatch):
    monkeypatch.setenv("TINYGRAD_CNN_THREADS", "abc")
    monkeypatch.setattr(parallel, "_size", None)
    for arguments in (["train", "--help"], ["--help"]):
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        assert (exit.value.code, capsys.readouterr().err) == (0, "")
