"""A page on which one draws a digit and sees the prediction, the feature maps and the gradient of the score.

    python examples/deploy/draw_a_digit.py --port 8000 [--weights FILE]

It is served to this machine alone, by the standard library: `make_app` gives the WSGI application.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Lock
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import numpy as np
from network import arguments, trained

import tinygrad_cnn as tg
from tinygrad_cnn.digits_net import DigitsNet
from tinygrad_cnn.nn import functional as F

PAGE = Path(__file__).with_name("draw_a_digit.html").read_text(encoding="utf-8")
SIDE = 64  # the drawing: 64 x 64 pixels of ink, 0 to 255
LONGEST = 5 * SIDE * SIDE + 100  # bytes of a request
INKED = 0.25  # what counts as drawn


class BadRequest(Exception):
    """What is wrong with a request, for its sender."""


def pixels_of(body: bytes) -> np.ndarray:
    """The drawing in a request's JSON, {"pixels": [...]}, as ink from 0 to 1: (64 64). Raises BadRequest."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest('the body is no JSON; {"pixels": [...]} is needed') from error
    if not isinstance(request, dict) or request.keys() != {"pixels"}:
        raise BadRequest('the body is not {"pixels": [...]}')
    pixels = request["pixels"]
    if not isinstance(pixels, list) or len(pixels) != SIDE * SIDE:
        found = f"{len(pixels)} values" if isinstance(pixels, list) else f"a {type(pixels).__name__}"
        raise BadRequest(f"pixels: {found}; a list of {SIDE * SIDE}, row by row, is needed")
    for i, value in enumerate(pixels):
        if type(value) is not int or not 0 <= value <= 255:
            raise BadRequest(f"pixels[{i}] is {json.dumps(value)[:20]}; an integer from 0 to 255 is needed")
    return np.array(pixels, np.float32).reshape(SIDE, SIDE) / 255


def _shares(cells: int, first: float, length: float) -> np.ndarray:
    """How much of each of `cells` equal parts of [first, first + length] each pixel covers: (cells 64)."""
    ends, pixel = first + np.arange(cells + 1) * length / cells, np.arange(SIDE)
    covered = np.minimum(ends[1:, None], pixel + 1) - np.maximum(ends[:-1, None], pixel)
    return np.clip(covered, 0, None) * cells / length


def as_digit(ink: np.ndarray) -> np.ndarray:
    """The drawing as the data set's digits are: (64 64) -> (1 1 8 8) float32

    There a digit fills the height, is 7 of 8 wide at most, and each pixel is the ink in a block (NIST's forms, see
    DIGITS.md of the data). Raises BadRequest if nothing is drawn.
    """
    rows, columns = (np.flatnonzero(ink.max(axis) >= INKED) for axis in (1, 0))
    if not len(rows):
        raise BadRequest("pixels: nothing is drawn")
    (top, bottom), (left, right) = ((places[0], places[-1] + 1) for places in (rows, columns))
    length = max(bottom - top, (right - left) * 8 / 7)
    down, across = (_shares(8, (low + high - length) / 2, length) for low, high in ((top, bottom), (left, right)))
    return (down @ ink @ across.T)[None, None].astype(np.float32)


def look(model: DigitsNet, digit: np.ndarray) -> dict[str, Any]:
    """What the network says of one digit (1 1 8 8), its first maps, and the gradient of the score of its answer."""
    x = tg.tensor(digit, requires_grad=True)
    with tg.no_grad():
        maps = F.relu(model.bn1(model.conv1(x)))
    scores = model(x)
    answer = int(scores.argmax(1).item())
    (gradient,) = tg.grad(scores[0, answer], [x])
    return {
        "digit": answer,
        "probabilities": F.softmax(scores, 1).numpy()[0].round(4).tolist(),
        "image": digit[0, 0].round(4).tolist(),
        "maps": maps.numpy()[0].round(4).tolist(),
        "gradient": gradient.numpy()[0, 0].round(4).tolist(),
    }


def _hashed(tag: str) -> str:
    """A source for the content security policy: what stands in the page's <tag>, and nothing else."""
    (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS = [
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src {_hashed('style')}; script-src {_hashed('script')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]


def _body(environ: dict[str, Any]) -> bytes:
    """The request's body. Raises BadRequest without a length, for too long a one, and for a body that is cut off."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdecimal()):
        raise BadRequest(f"Content-Length is {length[:20]!r}; the number of bytes is needed")
    if len(length) > 9 or int(length) > LONGEST:
        raise BadRequest(f"the body has {length[:20]} bytes; at most {LONGEST} are read")
    body = environ["wsgi.input"].read(int(length))
    if len(body) < int(length):
        raise BadRequest(f"the body ended after {len(body)} of {length} bytes")
    return bytes(body)


def make_app(model: DigitsNet) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """The WSGI application: GET / is the page, POST /predict takes the drawing and gives what `look` says, as JSON."""
    one_by_one = Lock()

    def answer(environ: dict[str, Any]) -> tuple[HTTPStatus, str, list[tuple[str, str]]]:
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        allowed = {"": "GET", "/": "GET", "/predict": "POST"}.get(path)
        if allowed is None:
            return HTTPStatus.NOT_FOUND, json.dumps({"error": "there is only / and /predict"}), []
        if method != allowed:
            return HTTPStatus.METHOD_NOT_ALLOWED, json.dumps({"error": f"use {allowed}"}), [("Allow", allowed)]
        if allowed == "GET":
            return HTTPStatus.OK, PAGE, []
        try:
            digit = as_digit(pixels_of(_body(environ)))
        except BadRequest as error:
            return HTTPStatus.BAD_REQUEST, json.dumps({"error": str(error)}), []
        with one_by_one:
            return HTTPStatus.OK, json.dumps(look(model, digit), allow_nan=False), []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, text, more = answer(environ)
        content = text.encode()
        kind = "text/html" if text is PAGE else "application/json"
        sizes = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(content)))]
        start_response(f"{status.value} {status.phrase}", [*sizes, *HEADERS, *more])
        return [content]

    return app


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection: browsers open some that they do not use yet."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Logs nothing, and leaves a connection on which nothing comes."""

    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: each stroke is a request."""


def main() -> None:
    parser = arguments(__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="8000; 0 takes one that is free")
    options = parser.parse_args()
    try:
        server = make_server("127.0.0.1", options.port, make_app(trained(options.weights)), Server, Quiet)
    except (OSError, OverflowError) as error:
        raise SystemExit(f"port {options.port}: {error}; choose another with --port") from error
    with server:
        print(f"draw at http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
