"""`predict`: the classes of files, and what train measured."""

import json
import shutil

import numpy as np
import pytest
from command_line import call, figures, run, usage

import tinygrad_cnn as tg
from tinygrad_cnn.commands import networks


def test_predict_measures_what_train_measured(done, capsys):
    code, stdout, stderr = call(capsys, "predict", done[0], "--test", "--json")
    found, before = json.loads(stdout), figures(done[0])
    assert (code, stderr) == (0, "")
    assert (found["accuracy"], found["confusion"]) == (before["test_accuracy"], before["confusion"])
    assert found["loss"] == before["test_loss"]
    assert found["classes"] == before["classes"]


def test_predict_prints_the_figures_of_each_class_and_the_matrix(done):
    process = run("predict", done[0], "--test")
    assert (process.returncode, process.stderr) == (0, "")
    found = figures(done[0])
    lines = process.stdout.splitlines()
    assert lines[0] == f"accuracy {found['test_accuracy']:.4f}  loss {found['test_loss']:.4f}  60 images"
    assert lines[3].split()[:2] == ["0", str(found["classes"][0]["images"])]
    rows = [line.split()[1:] for line in lines[-10:]]
    assert [[0 if cell == "." else int(cell) for cell in row] for row in rows] == found["confusion"]


def test_predict_reads_images_in_the_channels_and_the_size_of_the_run(done, tmp_path, capsys):
    image = (tg.data.digits("test")[0][0] * 255).astype(np.uint8)
    np.save(tmp_path / "grey.npy", image)
    np.save(tmp_path / "colour.npy", np.repeat(image, 3, 0))
    np.save(tmp_path / "large.npy", image.repeat(2, 1).repeat(2, 2))
    code, stdout, _ = call(capsys, "predict", done[0], tmp_path / "grey.npy", tmp_path / "colour.npy")
    assert code == 0
    grey, colour = (line.split()[1:] for line in stdout.splitlines())
    assert grey == colour
    assert len(grey) == 6  # three classes and their probabilities
    code, stdout, stderr = call(capsys, "predict", done[0], tmp_path / "grey.npy", tmp_path / "large.npy")
    assert (code, stdout) == (1, "")
    assert stderr == (f"predict: {tmp_path / 'large.npy'} has 16x16 pixels, the images of the run 8x8; give --resize\n")
    assert call(capsys, "predict", done[0], tmp_path / "large.npy", "--resize")[0] == 0


def test_predict_gives_the_probabilities_of_the_network(done, tmp_path, capsys):
    images, _ = tg.data.digits("test")
    paths = [tmp_path / f"{k}.npy" for k in range(70)]  # more than one batch
    for path, image in zip(paths, images, strict=False):
        np.save(path, np.round(image * 255).astype(np.uint8))
    code, stdout, _ = call(capsys, "predict", done[0], *paths, "--json", "--top", 10)
    assert code == 0
    found = json.loads(stdout)["predictions"]
    assert [entry["image"] for entry in found] == list(map(str, paths))
    about = json.loads((done[0] / "run.json").read_text())["preparation"]
    model = networks.build("digits", 10, 1)
    model.load_state_dict(tg.load(done[0] / "weights.safetensors"))
    model.eval()
    x = (np.round(images[:70] * 255) / 255 - about["mean"][0]) / about["std"][0]
    wanted = tg.nn.functional.softmax(model(tg.Tensor(x.astype(np.float32))), 1).numpy()
    for entry, row in zip(found, wanted, strict=True):
        given = {guess["class"]: guess["probability"] for guess in entry["classes"]}
        np.testing.assert_allclose([given[str(k)] for k in range(10)], row, atol=1e-5)
        assert [guess["probability"] for guess in entry["classes"]] == sorted(given.values(), reverse=True)


@pytest.mark.parametrize("arguments", [[], ["x.png", "--test"]])
def test_predict_takes_images_or_the_test_set(arguments, done, capsys):
    said = usage(capsys, "predict", done[0], *arguments)
    assert said.endswith("error: give image files, or --test, one of the two")


def test_predict_says_what_is_missing_or_damaged(done, tmp_path, capsys):
    out = shutil.copytree(done[0], tmp_path / "run")
    assert call(capsys, "predict", tmp_path, "--test")[2] == (
        f"predict: {tmp_path} holds no run.json; give a folder that train wrote\n"
    )
    code, _, stderr = call(capsys, "predict", out, tmp_path / "none.png")
    assert (code, stderr.count("\n")) == (1, 1)
    assert "none.png" in stderr
    (tmp_path / "text.pgm").write_text("mine")
    code, _, stderr = call(capsys, "predict", out, tmp_path / "text.pgm")
    assert (code, "text.pgm starts with b'mine'" in stderr) == (1, True)
    tg.save({"other": tg.Tensor([1.0])}, out / "weights.safetensors")
    code, _, stderr = call(capsys, "predict", out, "--test")
    assert (code, stderr.count("\n")) == (1, 1)
    assert f"{out / 'weights.safetensors'} does not fit digits: " in stderr
    (out / "weights.safetensors").write_bytes(b"broken")
    code, _, stderr = call(capsys, "predict", out, "--test")
    assert (code, stderr.count("\n")) == (1, 1)
    (out / "weights.safetensors").unlink()
    assert call(capsys, "predict", out, "--test")[2] == (
        f"predict: {out} has no weights yet; its first epoch is not complete: train --resume goes on\n"
    )


def test_predict_refuses_probabilities_that_are_not_finite(done, tmp_path, capsys):
    out = shutil.copytree(done[0], tmp_path / "run")
    state = tg.load(out / "weights.safetensors")
    state["fc.bias"] = state["fc.bias"] * np.nan
    tg.save(state, out / "weights.safetensors")
    np.save(tmp_path / "x.npy", np.zeros((8, 8), np.uint8))
    code, stdout, stderr = call(capsys, "predict", out, tmp_path / "x.npy")
    assert (code, stdout) == (1, "")
    assert stderr.endswith("x.npy: the network gives probabilities that are not finite\n")
