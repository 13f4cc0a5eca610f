"""What python -m tests.error_branches counts as executed, and as looked at."""

from pathlib import Path

import pytest
from error_branches import recorder
from error_branches.__main__ import phrases, raises

import tinygrad_cnn as tg
from tinygrad_cnn.interchange import npy


def test_the_place_of_an_error_is_the_innermost_line_of_the_package_and_a_raise_of_the_list():
    with pytest.raises(ValueError, match="clamp_") as caught:
        tg.zeros(2).clamp_()
    name, line = recorder.place(caught.tb)
    (found,) = (one for one in raises() if one.name == name and line in one.lines)
    assert found.anew
    assert "clamp_: neither min nor max was given; give at least one" in found.words


def test_an_error_is_noted_with_what_it_was_made_of(monkeypatch):
    monkeypatch.setattr(recorder, "_seen", set())
    try:
        try:
            tg.zeros(2).clamp_()
        except ValueError as error:
            tg.zeros(2).mul_(2, alpha=3)
            raise AssertionError from error
    except TypeError as error:
        recorder.note(error)
    assert [name for name, _ in recorder._seen] == ["inplace.py"] * 2


def test_every_raise_of_a_file_is_found():
    written = sum(line.lstrip().startswith("raise ") for line in Path(npy.__file__).read_text().splitlines())
    assert sum(one.name == "interchange/npy.py" for one in raises()) == written > 3


def test_a_phrase_is_four_words_or_all_and_not_short():
    assert phrases(("it needs a whole number", " or ", "'; choose another")) == {
        "it needs a whole", "needs a whole number", "'; choose another"
    }  # fmt: skip
