"""What one asks of a graph: nan, missing gradients, ways, memory, differences; and the graph of a ShapeError."""

import gc
import math
import weakref
from html.parser import HTMLParser

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, nn
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.diagram import Picture
from tinygrad_cnn.diagram.report import Report
from tinygrad_cnn.diagram.views import VIEWS
from tinygrad_cnn.nn import functional as F


def leaf(*values):
    return Tensor(list(values), dtype="float64", requires_grad=True)


def titles(picture, **wanted):
    return [c.title for c in picture.drawing.cards if all(getattr(c, k) == v for k, v in wanted.items())]


# --- find_nan ---


def test_find_nan_names_the_first_cause_first_and_marks_all_that_is_poisoned():
    x = leaf(0.0, 1.0)
    with tg.watch():
        loss = (x.log() * 2.0).sum() + (x * 1.0).sum()
    report = loss.graph().find_nan()
    remedy = "add a small number, log(x + 1e-8), or use log_softmax or logsigmoid"
    assert report.answer == f"log: first −inf (1 value) here; log(0) is −inf; {remedy}"
    assert [row["where"] for row in report] == ["log", "mul", "sum", "loss"]
    assert all(__file__ in row["recorded at"] for row in report)
    assert report.picture.options.view == "health"
    assert titles(report.picture, faint=False) == ["log", "mul", "sum", "+"]


def test_find_nan_finds_a_parameter_that_holds_nan_and_a_gradient_that_becomes_nan():
    x = leaf(math.nan, 1.0)
    with tg.watch():
        loss = (x * 2.0).sum()
    assert next((row["where"], row["what"]) for row in loss.graph().find_nan()) == ("x", "holds nan (1 value)")
    y = leaf(0.0, 1.0)
    with tg.watch():
        loss = (y * 1.0).sqrt().sum()
    assert not loss.graph().find_nan()
    loss.backward()
    rows = [(row["where"], row["what"]) for row in loss.graph().find_nan()]
    assert rows == [("sqrt", "∂x: first inf (1 value) of the gradients here"), ("y", "‖∂‖ is inf")]


def test_find_nan_says_how_much_it_knows_when_it_finds_nothing():
    x = leaf(1.0, 2.0)
    loss = (x * 2.0 + 1.0).sum()
    report = loss.graph().find_nan()
    assert report.answer.startswith("no nan or inf among the values of 1 of 4 nodes that are known; record")
    assert (list(report), report.picture) == ([], None)
    with tg.watch():
        loss = (x * 2.0 + 1.0).sum()
    assert loss.graph().find_nan().answer == "no nan or inf among the values of 4 of 4 nodes that are known"
    y = leaf(0.0, 4.0)
    loss = (y * 1.0).sqrt().sum()
    loss.backward()
    assert [row["what"] for row in loss.graph().find_nan()] == ["‖∂‖ is inf"]  # without watch


# --- why_no_grad ---


def why(make):
    """The answer for w after backward from what `make` computes of two leaves."""
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with tg.watch():
        loss = make(w, v)
    loss.backward()
    return loss.graph().why_no_grad(w)


def under_no_grad(w):
    with tg.no_grad():
        return w * 2.0


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (lambda w, v: (w * v).sum(), "w has a gradient: ‖∂‖ 5"),
        (lambda w, v: (w * v * 0.0).sum(), "w has a gradient, and it is 0 everywhere: mul sends zeros on"),
        (lambda w, v: v.sum(), "w has no path to this result: no op that leads to it uses w"),
        (lambda w, v: (w.detach() * v).sum(), "w has no path to this result: cut by detach at "),
        (lambda w, v: ((w * 2.0).data * v).sum(), "w has no path to this result: cut by detach on the result of mul"),
        (lambda w, v: ((w.detach().exp() + 1.0) * v).sum(), "w has no path to this result: cut by detach at "),
        (lambda w, v: (under_no_grad(w) * v).sum(), "w has no path to this result: cut by no_grad around mul at "),
        (lambda w, v: (w.argmax(0) * v).sum(), "w has no path to this result: cut by argmax (an op without gradient)"),
        (lambda w, v: ((w * 2.0 > 1.0) * v).sum(),
         "w has no path to this result: cut by greater (an op without gradient) on the result of mul"),
    ],
)  # fmt: skip
def test_why_no_grad_gives_the_reason(make, answer):
    report = why(make)
    assert report.answer.startswith(answer)


def test_the_way_to_a_cut_ends_where_it_stops_and_says_what_to_do():
    report = why(lambda w, v: (w.exp().sigmoid().detach() * v).sum())
    assert [row["op"] for row in report] == ["exp", "sigmoid", "detach ← here it stops", "mul"]
    assert all(__file__ in row["recorded at"] for row in report)
    assert report.answer.endswith("leave out the detach (or .data) if the gradient should flow")
    assert titles(report.picture, faint=False) == ["constant", "×"]


def test_why_no_grad_before_backward_and_for_what_has_no_gradient_by_kind():
    w, constant, integers = leaf(1.0, 2.0), Tensor([1.0, 1.0], dtype="float64"), Tensor([0, 1])
    h = w * constant
    loss = h.sum()
    picture = loss.graph()
    assert picture.why_no_grad(w).answer.endswith("no backward has come this way: call backward()")
    assert picture.why_no_grad("constant").answer == (
        "constant does not require grad: call constant.requires_grad_(); it is used by h as a constant"
    )
    assert picture.why_no_grad(integers).answer == "integers is int64, and only float Tensors have gradients"
    assert picture.why_no_grad(h).answer == (
        "h is the result of an op: call retain_grad() on it before backward to keep its gradient"
    )
    h.retain_grad()
    loss.backward()
    assert loss.graph().why_no_grad("h").answer == "h has a gradient: ‖∂‖ 1.41"
    loose = leaf(1.0)
    assert "run the forward pass under tg.watch()" in picture.why_no_grad(loose).answer


def test_why_no_grad_finds_the_parameters_of_a_model_by_name():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    with tg.watch():
        loss = net[1](net[0](Tensor([[1.0, 2.0]])).detach()).sum()
    loss.backward()
    picture = tg.draw(loss, net)
    assert picture.why_no_grad("0.weight").answer.startswith("0.weight has no path to this result: cut by detach")
    assert picture.why_no_grad("1.bias").answer == "1.bias has a gradient: ‖∂‖ 1"
    with pytest.raises(ValueError, match=r"'2.weight' is not in this graph; there are "):
        picture.why_no_grad("2.weight")
    with pytest.raises(TypeError, match="a int was given; a Tensor or a name in the picture is needed"):
        picture.why_no_grad(3)
    with pytest.raises(ValueError, match="'1' is an op; why_no_grad needs a Tensor or a parameter's name"):
        picture.why_no_grad("1")


# --- path, saved ---


def test_a_path_is_all_ops_on_all_ways_and_the_rest_is_pale():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = x * 2.0
    left, right = h.exp(), h.sigmoid()
    loss = (left * right * w).sum()
    report = loss.graph().path("h", loss)
    assert report.answer == "6 ops from h to loss"
    assert [row["op"] for row in report] == ["h", "left", "right", "mul", "mul", "loss"]
    assert set(titles(report.picture, faint=True)) == {"x", "w"}
    assert loss.graph().path(w, loss).answer == "2 ops from w to loss"
    assert loss.graph().path(h, h).answer == "1 ops from h to h"


def test_a_path_that_does_not_exist_says_so():
    x, other = leaf(1.0), leaf(2.0)
    h = x * 2.0
    loss = h.sum()
    report = loss.graph().path(loss, x)
    assert (report.answer, bool(report), report.picture) == (
        "no path leads from loss to x (but one leads back)", False, None,
    )  # fmt: skip
    assert (h * leaf(3.0)).graph().path(x, "y").answer == "no path leads from x to y"
    with pytest.raises(ValueError, match="other is not in this graph, or no gradient flows through it"):
        loss.graph().path(other, loss)
    with pytest.raises(ValueError, match="'nothing' is not in this graph; there are x, h, loss"):
        loss.graph().path("nothing", "loss")


def test_saved_is_a_table_of_what_every_op_keeps():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = (x * w).relu()
    loss = (h * h).sum()
    report = loss.graph().saved()
    assert report.answer == "16 B are kept for backward; the peak is 48 B at mul"
    assert [tuple(row.values()) for row in report] == [
        ("mul", "y for ∂x", "16 B", "a parameter, there anyway", "step 4", "16 B"),
        ("mul", "x for ∂y", "16 B", "a parameter, there anyway", "step 4", "16 B"),
        ("h", "out for ∂x", "16 B", "", "step 3", "48 B"),
        ("mul", "y for ∂x, ∂y", "16 B", "the same memory as in h", "step 2", "48 B"),
    ]
    assert report.picture.options.view == "memory"


# --- diff ---


def program(extra=0, scale=2.0):
    a = Tensor([1.0, 2.0], requires_grad=True)
    b = a * scale
    for _ in range(extra):
        b = b.tanh()
    return b.sum()


@pytest.mark.parametrize("view", VIEWS)
def test_the_same_program_does_not_differ_from_itself(view):
    one, two = program(1).graph(view=view), program(1).graph(view=view)
    for report in (one.diff(two), one.diff(one)):
        assert (report.answer, bool(report)) == ("no difference", False)
        assert not titles(report.picture, faint=False)


def test_a_difference_is_what_was_added_removed_or_changed():
    small, large, scaled = program().graph(), program(1).graph(), program(0, 3.0).graph()
    added = small.diff(large)
    assert added.answer == "cards: 1 added, 0 removed, 1 changed"
    assert [(row["what"], row["card"]) for row in added] == [("added", "tanh"), ("changed", "sum")]
    assert {c.title: c.mark for c in added.picture.drawing.cards} == {
        "x": "", "mul": "", "tanh": "added", "sum": "changed",
    }  # fmt: skip
    removed = large.diff(small)
    assert removed.answer == "cards: 0 added, 1 removed, 1 changed"
    assert [c.title for c in removed.picture.drawing.cards if c.mark == "removed"] == ["tanh"]
    changed = small.diff(scaled)
    assert [tuple(row.values()) for row in changed] == [
        ("changed", "mul", "× 2", "× 3"), ("changed", "sum", "value = 6.0000", "value = 9.0000"),
    ]  # fmt: skip
    ids = {c.id for c in removed.picture.drawing.cards}
    assert all({e.source, e.target} <= ids for e in removed.picture.drawing.edges)
    assert len(removed.picture.drawing.edges) == 2 + 2  # those there are, and those that led through tanh
    with pytest.raises(TypeError, match="diff: a int was given; a Picture is needed"):
        small.diff(3)


def test_a_backward_changes_gradients_alone():
    loss = program(1)
    before = loss.graph()
    loss.backward()
    report = before.diff(loss.graph())
    assert [tuple(row.values()) for row in report] == [
        ("changed", "x", "2 · ∂ not computed", report.rows[0][3]),
    ]
    assert report.rows[0][3].startswith("2 · ‖∂‖ ")


# --- Report ---


class Cells(HTMLParser):
    """The texts of table cells, and all tags."""

    def __init__(self):
        super().__init__()
        self.cells, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        if self.tags and self.tags[-1] in ("td", "p"):
            self.cells.append(data)


HOSTILE = ("<script>alert(1)</script>", "\"quotes' & <b>", "two\nlines", "%n", "]]>", "\u202egnp.exe", "\x00\x1b[31m")


@pytest.mark.parametrize("word", HOSTILE)
def test_H186_a_report_of_a_hostile_text_is_harmless(word):
    report = Report(word, ("one", "two"), [(word, "x"), ("y", word)])
    page = Cells()
    page.feed(report._repr_html_())
    assert set(page.tags) == {"p", "table", "tr", "th", "td"}
    assert len(str(report).splitlines()) == 5
    assert not set("\x00\x1b\u202e") & {*str(report), *report._repr_html_()}
    assert repr(report) == str(report)


def test_a_report_is_true_if_it_has_rows_and_iterates_by_column():
    report = Report("two", ("a", "b"), [("1", "2"), ("3", "4")])
    assert (bool(report), len(report)) == (True, 2)
    assert list(report) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert str(report) == "two\n\na  b\n1  2\n3  4"
    empty = Report("nothing")
    assert (bool(empty), len(empty), list(empty), str(empty)) == (False, 0, [], "nothing")
    assert empty._repr_html_() == "<p>nothing</p>"


def test_a_long_report_prints_its_first_rows_and_how_many_more_there_are():
    report = Report("many", ("i",), [(str(i),) for i in range(1234)])
    assert str(report).endswith("\n199\n… 1,034 more")
    assert report._repr_html_().count("<td>") == 200
    assert len(report) == 1234


# --- ShapeError.graph ---


def refused(call):
    with pytest.raises(tg.ShapeError) as caught:
        call()
    return caught.value


H = Tensor(np.ones((2, 3)), requires_grad=True)
IMAGE = Tensor(np.ones((1, 3, 4, 4), np.float32), requires_grad=True)


@pytest.mark.parametrize(
    ("call", "title", "shapes", "rule"),
    [
        (lambda: F.conv2d(IMAGE * 1.0, Tensor(np.ones((2, 4, 3, 3), np.float32))), "conv2d",
         ["x: 1×3×4×4", "w: 2×4×3×3"], "conv2d: x has 3 channels, w wants 4"),
        (lambda: F.linear(H * 1.0, Tensor(np.ones((4, 5)))), "linear", ["x: 2×3", "w: 4×5"],
         "linear: x gives 3 features"),
        (lambda: (H * 1.0) + Tensor(np.ones(4)), "add", ["x: 2×3", "y: 4"], "add: shapes (2, 3) and (4,) do not"),
        (lambda: np.ones(4) * (H * 1.0), "mul", ["x: 4", "y: 2×3"], "mul: shapes (4,) and (2, 3) do not broadcast"),
        (lambda: H @ (H * 1.0), "matmul", ["x: 2×3", "y: 2×3"], "matmul: a is (2, 3) with 3 columns"),
        (lambda: tg.cat([H * 1.0, Tensor(np.ones((2, 4)))], 0), "concatenate", ["xs[0]: 2×3", "xs[1]: 2×4"],
         "concatenate: shapes (2, 3) and (2, 4)"),
        (lambda: (H * 1.0).reshape(4, 4), "reshape", ["x: 2×3"], "reshape: (2, 3) has 6 elements"),
    ],
)  # fmt: skip
def test_the_graph_of_a_shape_error_ends_in_the_op_that_refused_its_inputs(call, title, shapes, rule):
    picture = refused(call).graph()
    (red,) = [c for c in picture.drawing.cards if c.problem]
    assert (red.title, red.shape) == (title, "card")
    assert red.problem.endswith(" refuses its inputs")
    assert " ".join(row.text.strip() for row in red.rows if row.tone == "problem").startswith(rule)
    assert [row.text for row in red.rows if row.tone == "bold"] == shapes
    assert red is picture.drawing.cards[-1]
    assert picture.drawing.title.endswith("parameters · stopped by a ShapeError")
    assert any(e.target == red.id and e.kind == "forward" for e in picture.drawing.edges)
    for view in VIEWS:
        assert picture.show(view).svg()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(*(nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()) for _ in range(14)))
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        return self.fc(self.body(x).flatten(1))


@pytest.mark.parametrize("depth", [None, 1])
def test_the_graph_of_an_error_inside_modules_keeps_the_place_open_and_folds_the_rest(depth):
    x = Tensor(np.ones((1, 2, 3, 3), np.float32))
    net = Net()
    picture = refused(lambda: net(x)).graph(depth=depth)
    (red,) = [c for c in picture.drawing.cards if c.problem]
    assert (red.title, red.rows[0].text) == ("fc", "Linear · 12 params")
    assert titles(picture, shape="stack")
    assert picture.drawing.title.startswith("Net · ")
    setattr(net.body[13], "0", nn.Linear(7, 7))
    picture = refused(lambda: net(x)).graph(depth=depth)
    (red,) = [c for c in picture.drawing.cards if c.problem]
    assert (red.shape, red.title) == ("card", "body.13.0 Linear")


def test_an_error_that_no_op_raised_has_no_graph():
    error = tg.ShapeError("by hand")
    with pytest.raises(RuntimeError, match="was not raised by an op on Tensors"):
        error.graph()
    with pytest.raises(RuntimeError, match="was not raised by an op on Tensors"):
        refused(lambda: tg.add(np.ones(3), np.ones(4))).graph()


@pytest.mark.parametrize("is_drawn", [False, True])
@pytest.mark.parametrize("fails", [lambda h: h @ h, lambda h: h + Tensor(np.ones(4)), lambda h: h.reshape(5)])
def test_a_shape_error_keeps_nothing_alive_once_it_is_gone(fails, is_drawn):
    def run():
        h = Tensor(np.ones((2, 3)), requires_grad=True) * 2.0
        try:
            fails(h)
        except tg.ShapeError as error:
            if is_drawn:
                error.graph().svg()
            return weakref.ref(error.failed), weakref.ref(h.node)
        return ()

    gc.disable()
    try:
        assert [ref() for ref in run()] == [None, None]
    finally:
        gc.enable()


def test_drawing_in_a_function_keeps_nothing_alive_once_the_picture_is_gone():
    gc.disable()
    try:
        loss = program()
        loss.graph().text()
        node = weakref.ref(loss.node)
        del loss
        assert node() is None
        mine = locals()
        kept = program()
        kept.graph()
        assert mine["node"] is node  # of who holds his variables, none is taken
    finally:
        gc.enable()


# --- stamps ---


@pytest.fixture
def user_ops():
    before = set(registry)
    yield
    for name in set(registry) - before:
        del registry[name]


def cube_op(name, factor):
    """x³, whose rule has `factor` where 3 is right."""

    def forward(x, /):
        return x * x * x

    forward.__name__ = name
    made = tg.op(forward)
    made.vjp(x=lambda g, x: factor * g * x * x)
    made.sample(lambda draw: ((draw.array(2, 3),), {}))
    return made


def dot_op():
    """Two vectors' product, of which nobody said how to draw inputs."""

    def bare_dot(x, y, /):
        return np.dot(x, y)

    made = tg.op(bare_dot)
    made.vjp(x=lambda g, y: g * y, y=lambda g, x: g * x)
    return made


def test_gradcheck_stamps_every_op(user_ops):
    right, wrong, bare = cube_op("cube", 3.0), cube_op("bad_cube", 2.0), dot_op()
    result = bare(wrong(right(leaf(0.5, 0.7))), leaf(1.0, 2.0)).exp()
    picture = result.graph()
    stamped = picture.gradcheck()
    rows = {c.title: [r for r in c.rows if "gradcheck" in r.text] for c in stamped.drawing.cards}
    ((cube,), (bad,), (none,), (total,)) = (rows[t] for t in ("cube", "bad_cube", "bare_dot", "result = exp"))
    assert cube.text.startswith("✓ gradcheck ")
    assert float(cube.text.split()[2]) < 1e-6
    assert bad.text.startswith("✗ gradcheck ")
    assert (bad.text.endswith(": a wrong rule"), bad.tone) == (True, "problem")
    assert (none.text, none.tone) == ("gradcheck: it has no sample", "quiet")
    assert total.text.startswith("✓ gradcheck ")
    assert not any("gradcheck" in r.text for c in picture.drawing.cards for r in c.rows)
    assert isinstance(stamped, Picture)


def test_the_picture_of_a_leaf_is_the_leaf():
    alone = leaf(1.0, 2.0)
    picture = alone.graph()
    assert titles(picture) == ["alone"]
    assert picture.why_no_grad(alone).answer.startswith("alone has a path to this result")
    assert picture.path(alone, alone).answer == "0 ops from alone to alone"
    for view in VIEWS:
        assert picture.show(view).svg()
