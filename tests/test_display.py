"""What a Tensor shows of itself as text and in a notebook."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cnn as tg


def shown(*numbers: float, **options: object) -> str:
    with tg.printoptions(**options):
        return repr(tg.Tensor(np.array(numbers, np.float32)))


def test_digits_are_cut_to_the_precision():
    assert shown(1 / 3, 1.0, -2.5) == "Tensor([ 0.3333,  1.    , -2.5   ])"
    assert shown(1 / 3, precision=2) == "Tensor([0.33])"
    assert shown(float("nan"), float("inf"), 1.0) == "Tensor([nan, inf,  1.])"


def test_what_would_vanish_or_grow_long_is_shown_by_powers_of_ten():
    assert shown(1e-6, -1.0) == "Tensor([ 1.0000e-06, -1.0000e+00])"
    assert shown(0.0, 1e6) == "Tensor([0.0000e+00, 1.0000e+06])"
    assert re.findall("e[+-]", shown(999999.0, 0.001)) == []
    assert shown(1e-6, 1.0, sci_mode=False, precision=2) == "Tensor([0., 1.])"
    assert shown(1.5, -0.25, sci_mode=True, precision=1) == "Tensor([ 1.5e+00, -2.5e-01])"


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=4), elements=st.floats(-1e3, 1e3, width=32)))
def test_every_number_is_read_back_within_half_a_digit(values):
    read = np.array(re.findall(r"-?\d+\.\d*(?:e[+-]\d+)?", repr(tg.Tensor(values))), float)
    assert np.all(np.abs(read - values.ravel()) <= 0.51e-4 * np.maximum(1, np.abs(values.ravel())))
    assert np.all((read == 0) == (values.ravel() == 0))


def test_a_long_tensor_is_cut_and_says_its_shape():
    x = tg.arange(3000).reshape(3, 1000)
    assert repr(x).endswith("[2000, 2001, 2002, ..., 2997, 2998, 2999]], shape=(3, 1000))")
    with tg.printoptions(edgeitems=1):
        assert repr(x).startswith("Tensor([[   0, ...,  999],\n        ...,")
    with tg.printoptions(profile="full"):
        assert "1500" in repr(x)
    assert repr(x * 1.0).count("\n") == 2


def test_options_hold_until_the_block_ends_whatever_happens_in_it():
    before = tg.get_printoptions()
    with pytest.raises(KeyError, match="precision of 1"), tg.printoptions(precision=1):
        raise KeyError(f"precision of {tg.get_printoptions()['precision']}")
    assert tg.get_printoptions() == before
    tg.set_printoptions(profile="short")
    assert shown(1 / 3) == "Tensor([0.33])"
    tg.set_printoptions(profile="default")
    assert tg.get_printoptions() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": -1}, "precision=-1; an integer of at least 0 is needed"),
        ({"edgeitems": 0}, "edgeitems=0; an integer of at least 1 is needed"),
        ({"threshold": 2.5}, r"threshold=2\.5; an integer of at least 0"),
        ({"linewidth": 50, "profile": "tiny"}, "profile='tiny'; it is 'default', 'short', 'full'"),
    ],
)
def test_options_that_are_not_there_change_nothing(options, message):
    before = tg.get_printoptions()
    with pytest.raises(ValueError, match=message):
        tg.set_printoptions(**options)
    assert tg.get_printoptions() == before


class Cells(HTMLParser):
    """The text of a page, and the cells of its table, row by row; raises where a tag is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.rows, self.styles, self.text = [], [], [], ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
            self.styles.append(dict(attrs)["style"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "td" in self.open:
            self.rows[-1][-1] += data.strip()


def test_a_notebook_shows_the_values_and_their_statistics():
    x = tg.Tensor(np.array([[1.0, -2.0, 0.0], [0.5, np.nan, np.inf]]), requires_grad=True)
    page = Cells(x._repr_html_())
    assert page.rows == [["1.", "-2.", "0."], ["0.5", "nan", "inf"]]
    for fact in ("Tensor", "float64", "shape (2, 3)", "requires_grad=True"):
        assert fact in page.text
    for fact in ("min -2", "mean -0.125", "max 1", "std 1.1", "1 of 6 zero", "1 of 6 nan", "1 of 6 inf"):
        assert fact in page.text
    blue, orange, none = page.styles[0], page.styles[1], page.styles[2]
    assert ("0,97,154" in blue, "179,71,0" in orange, "background" in none) == (True, True, False)


def test_a_large_tensor_is_cut_in_a_notebook_too():
    x = tg.arange(2 * 30 * 40.0).reshape(2, 30, 40)
    page = Cells(x._repr_html_())
    assert "[0, :, :]" in page.text
    assert (len(page.rows), {len(row) for row in page.rows}) == (10, {12})
    assert (page.rows[0][0], page.rows[0][-1], page.rows[-1][-1], page.rows[5][0]) == ("0.", "39.", "1199.", "…")
    assert "max 2399" in page.text


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.array(2.5), np.array([True, False]), np.arange(3)])
def test_every_kind_of_tensor_has_a_page(array):
    page = Cells(tg.Tensor(array)._repr_html_())
    assert str(array.dtype) in page.text
    assert len([cell for row in page.rows for cell in row]) == array.size
    assert "from mul" in Cells((tg.Tensor([1.0], requires_grad=True) * 2)._repr_html_()).text
    assert Cells(tg.nn.Parameter([1.0])._repr_html_()).text.startswith("Parameter")
