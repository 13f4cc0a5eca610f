"""Trained networks outside of the package: the NumPy script, onnxruntime, and the page on which digits are drawn."""

import importlib.util
import io
import itertools
import json
import math
import os
import re
import runpy
import socket
import subprocess
import sys
from pathlib import Path
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "deploy"
PROGRAMS = [FOLDER / f"{name}.py" for name in ("numpy_inference", "onnx_inference", "draw_a_digit")]
SIDE = 64


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a program of the folder with arguments; gives what it printed."""

    def running(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [str(FOLDER), *sys.path])
        before = {*sys.modules}
        yield running
        for name in {"network", "checks"} - before:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def page():
    """The names of the page's program."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield runpy.run_path(str(FOLDER / "draw_a_digit.py"))
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("network", None)


@pytest.fixture(scope="module")
def model(page):
    return page["trained"]()


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("deploy") / "weights.safetensors"
    tg.save(model.state_dict(), path)
    return path


# The programs


def test_the_numpy_script_gives_the_same_scores_where_the_package_is_not(run, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = run("numpy_inference", "--weights", weights)
    assert len(re.findall(r"^ok  ", text, re.MULTILINE)) == 5
    assert list(tmp_path.iterdir()) == []


def test_onnxruntime_gives_the_same_scores(run, weights, tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.chdir(tmp_path)
    text = run("onnx_inference", "--weights", weights)
    assert len(re.findall(r"^ok  ", text, re.MULTILINE)) == 5
    assert list(tmp_path.iterdir()) == []


def test_without_onnxruntime_the_program_says_what_to_install(run, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else find(name))
    with pytest.raises(SystemExit) as end:
        run("onnx_inference")
    assert end.value.code is None
    wanted = "nothing to show: onnx and onnxruntime not installed; pip install 'tinygrad_cnn[onnx]'\n"
    assert capsys.readouterr().out == wanted


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_a_program_says_how_to_run_it_and_is_in_the_index(path):
    assert f"python examples/deploy/{path.name}" in path.read_text(encoding="utf-8")
    assert f"(deploy/{path.name})" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")


def test_a_port_that_cannot_be_had_is_named(run, weights):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (taken.getsockname()[1], 99999):
            with pytest.raises(SystemExit, match=rf"port {port}: .*; choose another with --port"):
                run("draw_a_digit", "--port", port, "--weights", weights)


# Digits as strokes, in a square from 0 to 1


def arc(x, y, rx, ry, first, last):
    """Points of an ellipse between two angles in degrees, from the right, clockwise as y points down."""
    angles = [math.radians(first + (last - first) * i / 16) for i in range(17)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


STROKES = {
    0: [arc(0.5, 0.5, 0.2, 0.32, -90, 270)],
    1: [[(0.38, 0.32), (0.53, 0.18), (0.53, 0.82)]],
    2: [[*arc(0.5, 0.34, 0.18, 0.16, -160, 20), (0.6, 0.5), (0.32, 0.82), (0.7, 0.82)]],
    3: [arc(0.48, 0.34, 0.18, 0.16, -150, 90) + arc(0.48, 0.66, 0.2, 0.16, -90, 150)],
    4: [[(0.55, 0.18), (0.3, 0.6), (0.72, 0.6)], [(0.6, 0.42), (0.6, 0.82)]],
    5: [[(0.68, 0.18), (0.38, 0.18), (0.36, 0.46), *arc(0.48, 0.62, 0.2, 0.2, -120, 130)]],
    7: [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.82)]],
}


def ink(strokes, width=0.12, shift=(0.0, 0.0), size=1.0):
    """The strokes as a round pen of that width draws them: (64 64), 0 to 255."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    drawn = np.zeros((SIDE, SIDE))
    for stroke in strokes:
        points = 0.5 + (np.array(stroke) - 0.5) * size + shift
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            dx, dy = x1 - x0, y1 - y0
            t = np.clip(((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
            far = np.hypot(x - x0 - t * dx, y - y0 - t * dy)
            drawn = np.maximum(drawn, np.clip((width / 2 - far) * SIDE + 0.5, 0, 1))
    return np.rint(drawn * 255).astype(int)


def answer(page, model, pixels):
    return page["look"](model, page["as_digit"](pixels.astype(np.float32) / 255))


@pytest.mark.parametrize("digit", STROKES)
def test_drawn_digits_are_read(page, model, digit):
    assert answer(page, model, ink(STROKES[digit]))["digit"] == digit


def test_where_and_how_large_a_digit_is_drawn_changes_nothing(page, model):
    for digit, shift, size in ((0, (0.15, 0.0), 1.0), (7, (-0.2, 0.1), 1.0), (5, (0.2, -0.2), 0.7), (4, (0, 0), 1.3)):
        assert answer(page, model, ink(STROKES[digit], 0.12 * size, shift, size))["digit"] == digit


def test_a_drawing_is_cut_out_and_fills_the_height_like_the_data(page):
    pixels = np.zeros((SIDE, SIDE), np.float32)
    pixels[10:42, 50:58] = 1  # 32 x 8: eight rows, two columns in the middle
    wanted = np.zeros((8, 8))
    wanted[:, 3:5] = 1
    found = page["as_digit"](pixels)
    assert (found.shape, found.dtype) == ((1, 1, 8, 8), np.float32)
    np.testing.assert_allclose(found[0, 0], wanted, atol=1e-6)
    lying = page["as_digit"](pixels.T)[0, 0]  # 8 x 32, brought to 7 columns of 7 / 4 rows, half a column from each end
    np.testing.assert_allclose(lying.sum(0), [0.875, *[1.75] * 6, 0.875], atol=1e-5)
    np.testing.assert_allclose(lying[[2, 5]].sum(), 0, atol=1e-5)


def test_what_the_page_shows_is_what_the_network_computes(page, model):
    digit = page["as_digit"](ink(STROKES[3]).astype(np.float32) / 255)
    model.zero_grad()
    found = page["look"](model, digit)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    x = tg.tensor(digit, requires_grad=True)
    scores = model(x)
    np.testing.assert_allclose(found["probabilities"], F.softmax(scores, 1).detach().numpy()[0], atol=1e-4)
    assert sum(found["probabilities"]) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(found["image"], digit[0, 0], atol=1e-4)
    maps = F.relu(model.bn1(model.conv1(x))).detach().numpy()[0]
    np.testing.assert_allclose(found["maps"], maps, atol=1e-4)
    assert np.shape(found["maps"]) == (16, 8, 8)
    scores[0, 3].backward()
    np.testing.assert_allclose(found["gradient"], x.grad.numpy()[0, 0], atol=1e-4)
    assert np.abs(found["gradient"]).max() > 0.05


# The application


def request(app, method="GET", path="/", body=b"", **environ):
    """(status, headers, text), through the checks of wsgiref.validate."""
    given = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": ""}
    given |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), **environ}
    given = {key: value for key, value in given.items() if value is not None}
    setup_testing_defaults(given)
    said = []
    chunks = validator(app)(given, lambda status, headers, exc_info=None: said.append((status, dict(headers))))
    text = b"".join(chunks).decode()
    chunks.close()
    ((status, headers),) = said
    assert headers["Content-Length"] == str(len(text.encode()))
    assert headers["X-Content-Type-Options"] == "nosniff"
    return status, headers, text


@pytest.fixture(scope="module")
def app(page, model):
    return page["make_app"](model)


def test_the_page_is_one_file_that_may_run_its_own_script_alone(app):
    status, headers, text = request(app)
    assert (status, headers["Content-Type"]) == ("200 OK", "text/html; charset=utf-8")
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert re.findall(r"\b(?:src|href)=\"([^\"]*)\"", text) == ["data:,"]
    assert "http:" not in text
    assert "https:" not in text


def test_a_drawing_is_answered_in_json(app):
    status, headers, text = request(app, "POST", "/predict", drawing(ink(STROKES[7])))
    assert (status, headers["Content-Type"]) == ("200 OK", "application/json; charset=utf-8")
    found = json.loads(text)
    assert found["digit"] == 7
    assert np.argmax(found["probabilities"]) == 7


def drawing(pixels):
    return json.dumps({"pixels": pixels.ravel().tolist()}).encode()


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/predict", "405 Method Not Allowed", "POST"),
        ("POST", "/", "405 Method Not Allowed", "GET"),
        ("GET", "/draw_a_digit.py", "404 Not Found", None),
        ("GET", "/../draw_a_digit.html", "404 Not Found", None),
        ("POST", "/predict/", "404 Not Found", None),
    ],
)
def test_nothing_else_is_served(app, method, path, status, allowed):
    found, headers, text = request(app, method, path)
    assert (found, headers.get("Allow")) == (status, allowed)
    assert json.loads(text)["error"] in ("there is only / and /predict", f"use {allowed}")


ZEROS = [0] * (SIDE * SIDE)


def pixels(*values):
    return json.dumps({"pixels": [*values, *ZEROS[len(values) :]]}).encode()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the body is no JSON; {\"pixels\": [...]} is needed"),
        (b"\xff\xfe", "the body is no JSON; {\"pixels\": [...]} is needed"),
        (b"[" * 20_000, "the body is no JSON; {\"pixels\": [...]} is needed"),
        (b'{"pixels": ' + b"9" * 5000 + b"}", "the body is no JSON; {\"pixels\": [...]} is needed"),
        (b"[]", 'the body is not {"pixels": [...]}'),
        (b'{"pixels": [], "more": 1}', 'the body is not {"pixels": [...]}'),
        (b'{"pixels": "ink"}', "pixels: a str; a list of 4096, row by row, is needed"),
        (b'{"pixels": [0, 1]}', "pixels: 2 values; a list of 4096, row by row, is needed"),
        (pixels(0, 256), "pixels[1] is 256; an integer from 0 to 255 is needed"),
        (pixels(-1), "pixels[0] is -1; an integer from 0 to 255 is needed"),
        (pixels(0, 0, 0.5), "pixels[2] is 0.5; an integer from 0 to 255 is needed"),
        (pixels(True), "pixels[0] is true; an integer from 0 to 255 is needed"),
        (pixels(math.nan), "pixels[0] is NaN; an integer from 0 to 255 is needed"),
        (pixels([255]), "pixels[0] is [255]; an integer from 0 to 255 is needed"),
        (pixels("x" * 90), 'pixels[0] is "xxxxxxxxxxxxxxxxxxx; an integer from 0 to 255 is needed'),
        (pixels(), "pixels: nothing is drawn"),
        (pixels(60, 60), "pixels: nothing is drawn"),
        (b" " * 20_581, "the body has 20581 bytes; at most 20580 are read"),
    ],
)  # fmt: skip
def test_a_bad_drawing_is_refused_and_named(app, body, error):
    status, _, text = request(app, "POST", "/predict", body)
    assert (status, json.loads(text)) == ("400 Bad Request", {"error": error})


@pytest.mark.parametrize("length", [None, "", "some", "²", "1_0"])
def test_a_length_that_is_no_number_is_refused(page, length):
    environ = {"wsgi.input": io.BytesIO(b"{}"), "CONTENT_LENGTH": length}
    with pytest.raises(page["BadRequest"], match=r"Content-Length is .*; the number of bytes is needed"):
        page["make_app"].__globals__["_body"](environ)


def test_a_body_that_is_cut_off_or_said_to_be_huge_is_refused(app):
    status, _, text = request(app, "POST", "/predict", b"{}", CONTENT_LENGTH="7")
    assert (status, json.loads(text)["error"]) == ("400 Bad Request", "the body ended after 2 of 7 bytes")
    status, _, text = request(app, "POST", "/predict", b"{}", CONTENT_LENGTH="9" * 4000)
    assert json.loads(text)["error"] == f"the body has {'9' * 20} bytes; at most 20580 are read"


# The page in Chromium


@pytest.fixture(scope="module")
def address(weights):
    """Where the program, started with a free port, says that the page is."""
    command = [sys.executable, "-W", "error", FOLDER / "draw_a_digit.py", "--port", "0", "--weights", weights]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TINYGRAD_CNN_QUIET": "1"}
    process = subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True)
    try:
        yield re.fullmatch(r"draw at (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", process.stdout.readline())[1]
    finally:
        process.terminate()
        _, errors = process.communicate()
    assert errors == ""


@pytest.fixture
def drawn(browser, address):
    """The page; at the end nothing was logged and nothing was asked for elsewhere."""
    context = browser.new_context(viewport={"width": 1100, "height": 860})
    page, logged, asked = context.new_page(), [], []
    page.set_default_timeout(20_000)
    page.on("console", lambda message: logged.append(message.text))
    page.on("pageerror", lambda error: logged.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    context.close()
    assert logged == []
    assert {url for url in asked if not url.startswith("data:")} <= {address, f"{address}predict"}


def settled(page):
    """Nothing is asked any more. (The page's policy forbids wait_for_function.)"""
    page.locator("#results[aria-busy=false]").wait_for()


def draw(page, strokes):
    box = page.locator("#drawing").bounding_box()
    for stroke in strokes:
        for i, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if i == 0:
                page.mouse.down()
        page.mouse.up()
    settled(page)


COLOURS = """(id) => {
  const canvas = document.getElementById(id) ?? document.querySelector(id);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set([...data.keys()].filter((i) => i % 4 === 0).map((i) => data.slice(i, i + 3).join())).size;
}"""


@pytest.mark.parametrize("digit", [0, 1, 7])
def test_strokes_of_the_mouse_are_read_and_shown(drawn, digit):
    draw(drawn, STROKES[digit])
    assert drawn.locator("#digit").inner_text() == str(digit)
    assert drawn.locator("#state").inner_text() == f"It reads a {digit}."
    assert drawn.locator("#bars li.best").inner_text().split()[0] == str(digit)
    assert drawn.locator("#maps canvas").count() == 16
    for canvas in ("image", "gradient", "#maps canvas:nth-child(2)"):
        assert drawn.evaluate(COLOURS, canvas) > 4


def test_clear_forgets_the_drawing_and_what_was_seen(drawn):
    draw(drawn, STROKES[4])
    drawn.click("#clear")
    assert drawn.locator("#digit").inner_text() == "–"
    assert drawn.locator("#state").inner_text() == "Nothing is drawn."
    assert [drawn.evaluate(COLOURS, name) for name in ("drawing", "image", "gradient")] == [1, 1, 1]
    draw(drawn, STROKES[1])
    assert drawn.locator("#digit").inner_text() == "1"


def test_a_digit_can_be_drawn_and_cleared_by_the_keyboard(drawn):
    drawn.keyboard.press("Tab")
    assert drawn.evaluate("document.activeElement.id") == "drawing"
    assert drawn.locator("#pen").is_visible()
    assert drawn.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for _ in range(15):
        drawn.keyboard.press("ArrowUp")
    drawn.keyboard.press("Space")
    for _ in range(30):
        drawn.keyboard.press("ArrowDown")
    settled(drawn)
    assert drawn.locator("#digit").inner_text() == "1"
    drawn.keyboard.press("Escape")
    assert drawn.locator("#digit").inner_text() == "–"
    drawn.keyboard.press("Tab")
    assert drawn.evaluate("document.activeElement.id") == "clear"
    assert drawn.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_page_says_when_the_program_is_gone(drawn):
    drawn.evaluate("void (window.fetch = () => Promise.reject(new TypeError()))")
    box = drawn.locator("#drawing").bounding_box()
    drawn.mouse.click(box["x"] + 50, box["y"] + 50)
    settled(drawn)
    assert drawn.locator("#error").inner_text() == "The program does not answer; is it still running?"
    drawn.click("#clear")
    assert drawn.locator("#error").inner_text() == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 360])
def test_the_page_fits_wide_and_narrow_light_and_dark(drawn, scheme, width):
    drawn.set_viewport_size({"width": width, "height": 800})
    drawn.emulate_media(color_scheme=scheme)
    draw(drawn, STROKES[3])
    assert drawn.evaluate("document.documentElement.scrollWidth") == width
    ground = {"light": "rgb(255, 255, 255)", "dark": "rgb(30, 30, 30)"}[scheme]
    assert drawn.evaluate("getComputedStyle(document.body).backgroundColor") == ground
    assert drawn.locator("#digit").inner_text() == "3"
