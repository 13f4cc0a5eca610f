"""A Drawing as DOT, Mermaid, text and Model Explorer JSON, and dot as a program that may fail."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinygrad_cnn.diagram.digraph import to_digraph
from tinygrad_cnn.diagram.explorer import to_model_explorer
from tinygrad_cnn.diagram.mermaid import to_mermaid
from tinygrad_cnn.diagram.model import GRADIENT, PALETTE, PROBLEM, Card, Drawing, Edge, Group, Row
from tinygrad_cnn.diagram.nesting import nested
from tinygrad_cnn.diagram.render import FORMATS, RenderError, render
from tinygrad_cnn.diagram.text import printable, to_text

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz' dot is not installed")
posix = pytest.mark.skipif(os.name != "posix", reason="the stand-in for dot is a shell script")

SHAPES = ("card", "sign", "input", "target", "note", "stack")
HOSTILE = (
    "<script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    "say \"hi\" & 'bye'",
    "two\nlines\r\n\u2028",
    "\\",
    "\\N\\G\\\\",
    'a\\"',
    "100 %n %s",
    "&lt; &bogus; ]]>",
    "<B>bold</B>",
    "<",
    "",
    "   ",
    "\x00\x1b[31m\u202e\ud800\uffff",
    "n1:port:n",
    "graph",
    "]; } digraph {",
    "]",
    "a]]",
    "%%{init: {}}%%",
    "javascript:alert(1)",
    "1. one",
    "- two",
    "x-->y|z",
    "∂x = γ/σ·x̂ 😀",
    "w" * 3000,
)
hostile = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(), max_size=8))


def residual() -> Drawing:
    """x -> conv (with weight and bias) -> [relu] -> + <- the way around, and a loss."""
    return Drawing(
        "ResNet · 80 params",
        cards=[
            Card("n0", "input", "input", "x", rows=(Row("float32"),)),
            Card("n1", "note", "parameter", "conv.weight", rows=(Row("8×1×3×3"), Row("∂ 0.27", "gradient"))),
            Card("n2", "note", "parameter", "conv.bias", rows=(Row("8"), Row("frozen"))),
            Card(
                "n3", "card", "conv", "conv", "conv", (Row("Conv2d 1→8 k3 p1"),), tooltip="net.py:3", link="file:n.py"
            ),
            Card("n4", "card", "act", "relu", "act", group="block.body", problem="dead units 98 %"),
            Card("n5", "sign", "math", "+", rows=(Row("∂a = ∂b = ∂y", "gradient"),), group="block"),
            Card("n6", "target", "input", "y", rows=(Row("no gradient"),)),
            Card("n7", "card", "loss", "cross_entropy", "loss", (Row("L = 2.3194", "bold"),)),
        ],
        edges=[
            Edge("n0", "n3", rows=(Row("4×1×28×28"), Row("∂ not computed", "gradient"))),
            Edge("n1", "n3", "parameter"),
            Edge("n2", "n3", "parameter"),
            Edge("n3", "n4", rows=(Row("4×8×28×28"), Row("∂ 1.486", "gradient"))),
            Edge("n3", "n5", rows=(Row("∂ 0.233", "gradient"),)),
            Edge("n4", "n5", problem=True),
            Edge("n5", "n7"),
            Edge("n6", "n7", "constant"),
        ],
        groups=[
            Group("block", "block", "BasicBlock", "80 params"),
            Group("block.body", "block.body", "Sequential", "", "block"),
        ],
        legend=(Row("blue: CONV"),),
    )


def of(word: str, other: str = "x") -> Drawing:
    """A drawing that has the word in every place that takes text, on every shape."""
    cards = [
        Card(
            f"{word}{i}",
            shape,
            "conv",
            word,
            word,
            (Row(word), Row(other, "gradient")),
            word,
            word,
            word,
            word * (i % 2),
        )
        for i, shape in enumerate(SHAPES)
    ]
    edges = [
        Edge(one.id, two.id, kind, (Row(word), Row(other, "gradient")), tooltip=word, problem=kind == "constant")
        for one, two, kind in zip(
            cards, cards[1:], ("forward", "parameter", "constant", "gradient", "forward"), strict=False
        )
    ]
    edges.append(Edge(cards[5].id, cards[0].id, "gradient"))
    return Drawing(word, cards, edges, [Group(word, word, word, word)], (Row(word),))


def chain(count: int, depth: int = 1) -> Drawing:
    """Ops in a row, each in the innermost of `depth` nested groups."""
    groups = [Group(f"g{i}", f"g{i}", parent=f"g{i - 1}" if i else "") for i in range(depth)]
    cards = [Card(f"n{i}", "card", "math", f"op{i}", group=groups[-1].id if groups else "") for i in range(count)]
    edges = [Edge(f"n{i}", f"n{i + 1}", rows=(Row("4"),)) for i in range(count - 1)]
    return Drawing("chain", cards, edges, groups)


def dot(drawing: Drawing) -> str:
    return str(to_digraph(drawing).source)


WRITERS = (dot, to_mermaid, to_text, to_model_explorer)


# --- every writer ---


@pytest.mark.parametrize("write", WRITERS)
def test_every_card_shape_and_gradient_is_written(write):
    written = write(residual())
    for word in (
        "conv.weight",
        "Conv2d 1→8 k3 p1",
        "4×8×28×28",
        "∂ 1.486",
        "∂ not computed",
        "dead units 98",
        "2.3194",
    ):
        assert word in written


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_drawing_gives_the_same_bytes_in_another_process(write):
    drawing = residual()
    code = (
        "from test_diagram_writers import *\n"
        f"import sys; sys.stdout.buffer.write({write.__name__}(residual()).encode())"
    )
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent)])
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": path}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert other.stdout == write(drawing).encode()


@pytest.mark.parametrize("write", WRITERS)
def test_long_chains_and_deep_groups_neither_recurse_nor_crawl(write):
    start = time.perf_counter()
    assert "op2999" in write(chain(3000))
    assert "op9" in write(chain(10, depth=600))
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("write", WRITERS)
def test_an_empty_drawing_is_written(write):
    assert write(Drawing("")).strip()[:1] in ("", "/", "f", "{")


@pytest.mark.parametrize("write", WRITERS)
def test_edges_to_cards_that_are_not_drawn_are_left_out(write):
    drawing = residual()
    before = write(drawing)
    drawing.edges.append(Edge("n0", "gone", rows=(Row("nowhere"),)))
    drawing.edges.append(Edge("gone", "n0", rows=(Row("nowhere"),)))
    assert write(drawing) == before


@pytest.mark.parametrize("write", WRITERS)
@given(word=hostile, other=hostile)
def test_H186_what_is_written_is_text_that_can_be_stored(write, word, other):
    written = write(of(word, other))
    written.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", written)


@given(st.text(st.characters()))
def test_H186_printable_text_is_one_line_of_xml_characters(text):
    line = printable(text)
    assert len(line) == len(text)
    assert len(line.splitlines()) <= 1 or set(line) & set("\x1c\x1d\x1e") == set()
    ET.fromstring(f"<a>{line.translate(str.maketrans({'&': '', '<': '', '>': ''}))}</a>")


# --- nesting ---


def test_nesting_keeps_every_card_once_in_order_of_appearance():
    names = [item and (item.title if isinstance(item, Group) else item.id) for item in nested(residual())]
    assert names == ["n0", "n1", "n2", "n3", "block", "block.body", "n4", None, "n5", None, "n6", "n7"]


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 7), max_size=8))
def test_nesting_survives_any_parents(parents, homes):
    groups = [Group(f"g{i}", f"g{i}", parent=f"g{parent}") for i, parent in enumerate(parents)]
    cards = [Card(f"n{i}", "card", "math", "", group=f"g{home}") for i, home in enumerate(homes)]
    items = list(nested(Drawing("", cards, groups=groups)))
    assert sorted(item.id for item in items if isinstance(item, Card)) == sorted(card.id for card in cards)
    opened = [item.id for item in items if isinstance(item, Group)]
    assert len(opened) == len(set(opened)) == items.count(None)


# --- DOT ---


def statement(drawing: Drawing, start: str) -> str:
    lines = [line.strip() for line in dot(drawing).splitlines()]
    found = [line for line in lines if line.startswith(start)]
    assert len(found) == 1, found
    return found[0]


def test_node_ids_are_card_ids_and_nodes_carry_id_class_tooltip_and_link():
    line = statement(residual(), "n3 [")
    assert 'class="card conv"' in line
    assert "id=n3" in line
    assert 'tooltip="net.py:3"' in line
    assert 'URL="file:n.py"' in line


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", " javascript:alert(1)", "JavaScript:x", "data:text/html,x", "x"]
)
def test_H186_links_that_run_something_are_left_out(link):
    drawing = Drawing("", [Card("n0", "card", "math", "a", link=link)])
    assert "URL" not in dot(drawing)


def test_families_have_their_colors_and_problems_are_red_and_say_why():
    drawing = residual()
    conv, relu = statement(drawing, "n3 ["), statement(drawing, "n4 [")
    fill, line = PALETTE["conv"]
    assert f'BGCOLOR="{fill}"' in conv
    assert f'COLOR="{line}"' in conv
    assert ">CONV<" in conv
    assert f'BORDER="3" COLOR="{PROBLEM}"' in relu
    assert "⚠ dead units 98 %" in relu


def test_only_edges_with_rows_have_labels_and_gradients_are_burnt_orange():
    drawing = residual()
    assert "label" not in statement(drawing, "n5 -> n7")
    label = statement(drawing, "n3 -> n4")
    assert f'COLOR="{GRADIENT}">∂ 1.486<' in label
    assert label.count("4×8×28×28") == 1
    assert dot(drawing).count("4×8×28×28") == 1


def test_notes_stand_on_the_level_of_their_op_one_on_each_side():
    drawing = residual()
    assert '{rank=same; "n3"; "n1"; "n2"}' in dot(drawing)
    right, left = statement(drawing, "n3 -> n1"), statement(drawing, "n2 -> n3")
    for line in (right, left):
        assert "arrowhead=none" in line
        assert "style=dashed" in line


def test_gradient_arrows_point_backward_without_turning_the_picture_over():
    drawing = Drawing("", [Card("n0", "card", "math", "a"), Card("n1", "card", "math", "b")])
    drawing.edges.append(Edge("n1", "n0", "gradient", width=3.5))
    line = statement(drawing, "n0 -> n1")
    assert "dir=back" in line
    assert "penwidth=3.5" in line
    assert f'color="{GRADIENT}"' in line


def test_groups_are_nested_clusters_and_the_graph_follows_the_rules():
    source = dot(residual())
    outer, inner = source.index('subgraph "cluster_block"'), source.index('subgraph "cluster_block.body"')
    assert outer < inner < source.index("\t}\n")
    assert "fontname=Arial" in source
    assert "rankdir=TB" in source
    for absent in ('size="', "splines", "nslimit"):
        assert absent not in source.replace("fontsize", "")
    assert "nslimit=0.05" in dot(chain(401))
    assert "rankdir=LR" in dot(Drawing("", direction="LR"))


@given(st.text(st.characters(), max_size=6), st.text(st.characters(), max_size=6))
def test_different_ids_stay_different(one, two):
    drawing = Drawing("", [Card(one, "card", "math", "a"), Card(two, "card", "math", "a")])
    lines = [line for line in dot(drawing).splitlines() if "class=" in line]
    assert (lines[0] == lines[1]) == (one == two)


# --- through dot ---


def texts(svg: bytes) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@needs_dot
def test_dot_draws_every_word_of_the_drawing():
    svg = render(to_digraph(residual()), "svg")
    shown = texts(svg)
    for word in (
        "ResNet · 80 params",
        "conv.weight",
        "∂ 0.27",
        "frozen",
        "CONV",
        "⚠ dead units 98 %",
        "+",
        "∂a = ∂b = ∂y",
    ):
        assert word in shown
    ids = [element.get("id") for element in ET.fromstring(svg).iter()]
    for wanted in ("n0", "n5", "cluster_block", "cluster_block.body", "edge3"):
        assert ids.count(wanted) == 1


@needs_dot
@settings(max_examples=15)
@given(word=hostile, other=hostile)
@example("<script>alert(1)</script>", "&bogus;")
@example('a\\"', "\\N")
@example("\\N\\G\\\\", "x")
@example("\\", "\\\\")
@example("\x00\x1b\ud800\uffff", "   ")
@example("", "")
@example("two\nlines", "n1:port:n")
@example("]", "a]]")
@example("w" * 3000, "%n")
def test_H186_dot_draws_hostile_names_as_they_are_and_nothing_runs(word, other):
    root = ET.fromstring(render(to_digraph(of(word, other)), "svg", timeout=60))
    names = {element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in root.iter()}
    assert names <= {"svg", "g", "title", "polygon", "path", "ellipse", "polyline", "text", "a"}
    for element in root.iter():
        for key, value in element.attrib.items():
            assert not key.startswith("on")
            if key.endswith("href"):
                assert re.match("(https?|file|vscode):", value)
    shown = " ".join("".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text"))
    assert squeezed(printable(word)[:60]) in squeezed(shown)
    assert squeezed(printable(word)[-60:]) in squeezed(shown)
    tooltips = " ".join(element.get("{http://www.w3.org/1999/xlink}title", "") for element in root.iter())
    assert squeezed(printable(word)).replace("\\", "∖") in squeezed(tooltips)


def squeezed(text: str) -> str:
    return "".join(text.split())


@needs_dot
def test_arrows_run_down_through_a_layer_that_is_called_twice():
    cards = [Card(f"n{i}", "card", "act", f"op{i}", group="relu" if i % 2 else "") for i in range(5)]
    edges = [Edge(f"n{i}", f"n{i + 1}") for i in range(4)]
    drawn = json.loads(render(to_digraph(Drawing("", cards, edges, [Group("relu", "relu")])), "json"))
    heights = {item["name"]: float(item["pos"].split(",")[1]) for item in drawn["objects"] if "pos" in item}
    assert sorted(heights, key=lambda name: -heights[name]) == ["n0", "n1", "n2", "n3", "n4"]


@needs_dot
@pytest.mark.parametrize("format", FORMATS)
def test_dot_draws_every_format(format):
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "json": b"{", "dot": b"//"}[format]
    picture = render(to_digraph(residual()), format)
    assert picture.startswith(start) or format == "dot"
    assert len(picture) > 1000


@needs_dot
def test_an_error_of_dots_is_told():
    with pytest.raises(RenderError, match=r"dot ended with status 1 and said: .*syntax error"):
        render("digraph {", "svg")


# --- dot as a program that may fail ---


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_missing_dot_is_told_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RenderError, match="no program `dot` on the PATH to draw png with; install Graphviz"):
        render("digraph {}", "png")


@pytest.mark.parametrize("format", ["webp", "SVG", "svg:cairo", "svg -o/tmp/x", "", "x11"])
def test_formats_outside_the_list_never_reach_dot(format, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RenderError, match="dot is asked only for svg, png, pdf, json, dot"):
        render("digraph {}", format)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf")])
def test_a_timeout_that_is_no_time_is_refused(timeout):
    with pytest.raises(ValueError, match="must be a positive number of seconds"):
        render("digraph {}", "svg", timeout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the states of processes from /proc")
def test_a_dot_that_never_ends_is_killed_with_what_it_started(monkeypatch, tmp_path):
    stand_in(tmp_path, monkeypatch, f"sleep 60 & echo $! $$ > {tmp_path}/ids\nwait")
    start = time.perf_counter()
    with pytest.raises(RenderError, match=r"dot took more than 0\.5 s"):
        render("digraph {}", "svg", timeout=0.5)
    assert time.perf_counter() - start < 20
    for process in (tmp_path / "ids").read_text().split():
        for _ in range(100):
            if not running(process):
                break
            time.sleep(0.05)
        assert not running(process)


def running(process: str) -> bool:
    """Whether there is such a process that has not ended (an ended one may wait for its new parent)."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@posix
def test_what_dot_leaves_behind_cannot_hold_the_caller(monkeypatch, tmp_path):
    stand_in(tmp_path, monkeypatch, f"sleep 5 & echo $! > {tmp_path}/ids; echo picture")
    start = time.perf_counter()
    assert render("digraph {}", "svg") == b"picture\n"
    assert time.perf_counter() - start < 4


@posix
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Error: bad label' >&2; exit 3", "ended with status 3 and said: Error: bad label"),
        ("kill -SEGV $$", "was stopped by signal 11 and said: nothing"),
        ("exit 0", "ended with status 0 and said: nothing"),
    ],
)
def test_a_dot_that_fails_is_told(monkeypatch, tmp_path, script, message):
    stand_in(tmp_path, monkeypatch, script)
    with pytest.raises(RenderError, match=message):
        render("digraph {}", "svg")


@posix
def test_a_dot_that_cannot_start_is_told(monkeypatch, tmp_path):
    program = tmp_path / "dot"
    program.write_text("#!/no/such/shell\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RenderError, match="cannot be started: No such file"):
        render("digraph {}", "svg")


@posix
def test_much_output_and_an_unread_input_do_not_block(monkeypatch, tmp_path):
    stand_in(tmp_path, monkeypatch, "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")
    assert len(render("x" * 3_000_000, "svg", timeout=60)) == 3_000_000


# --- Mermaid ---


def test_mermaid_has_nested_subgraphs_styles_and_arrows():
    written = to_mermaid(residual())
    lines = written.splitlines()
    assert lines[:4] == ["---", 'title: "ResNet · 80 params"', "---", "flowchart TB"]
    assert 'subgraph g0["<b>block</b> : BasicBlock 80 params"]' in lines
    assert lines.count("end") == 2
    assert 'c3 -->|"4×8×28×28<br/>∂ 1.486"| c4' in lines
    assert "c1 -.- c3" in lines
    assert f"classDef conv fill:{PALETTE['conv'][0]},stroke:{PALETTE['conv'][1]},color:#000000" in lines
    assert f"linkStyle 5 stroke:{PROBLEM}" in lines


def test_mermaid_edges_without_words_have_no_label():
    drawing = residual()
    drawing.edges = [Edge("n0", "n3", rows=(Row("  "),))]
    assert "c0 --> c3" in to_mermaid(drawing).splitlines()


@given(word=hostile, other=hostile)
def test_H186_mermaid_labels_hold_no_markup_of_ours_or_theirs(word, other):
    for line in to_mermaid(of(word, other)).splitlines()[3:]:
        label = line[line.find('"') + 1 : line.rfind('"')] if '"' in line else ""
        bare = re.sub("#[0-9]+;|<br/>|</?b>", "", label)
        assert not set(bare) & set('"#<>&%`\\{}[]|;$')


# --- text ---


def test_text_lists_every_card_with_its_inputs_by_number():
    assert to_text(residual()) == (
        "ResNet · 80 params\n"
        "\n"
        "1  x [INPUT] float32\n"
        "2  conv.weight [PARAMETER] 8×1×3×3, ∂ 0.27\n"
        "3  conv.bias [PARAMETER] 8, frozen\n"
        "4  conv [CONV] Conv2d 1→8 k3 p1; from 1 (4×1×28×28, ∂ not computed); with 2;\n"
        "     with 3\n"
        "   block : BasicBlock, 80 params\n"
        "     block.body : Sequential\n"
        "5      relu [ACT] PROBLEM: dead units 98 %; from 4 (4×8×28×28, ∂ 1.486)\n"
        "   block, continued\n"
        "6    + ∂a = ∂b = ∂y; from 4 (∂ 0.233); from 5 (PROBLEM)\n"
        "7  y [TARGET] no gradient\n"
        "8  cross_entropy [LOSS] L = 2.3194; from 6; using 7\n"
    )


def test_text_fits_80_columns_where_words_do():
    assert max(map(len, to_text(residual()).splitlines())) <= 80


@given(word=hostile, other=hostile)
def test_H186_names_cannot_forge_entries_of_the_listing(word, other):
    entries = [line for line in to_text(of(word, other)).splitlines() if re.match("[1-9]  ", line)]
    assert [int(line.split()[0]) for line in entries] == [1, 2, 3, 4, 5, 6]


# --- Model Explorer ---


def test_model_explorer_json_has_nodes_edges_namespaces_and_metadata():
    collection = json.loads(to_model_explorer(residual()))
    assert collection["label"] == "ResNet · 80 params"
    (graph,) = collection["graphs"]
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert list(nodes) == [f"n{i}" for i in range(8)]
    assert nodes["n4"]["namespace"] == "block (BasicBlock)/body (Sequential)"
    assert graph["groupNodeAttributes"]["block (BasicBlock)"] == {
        "path": "block",
        "class": "BasicBlock",
        "about": "80 params",
    }
    assert [edge["sourceNodeId"] for edge in nodes["n3"]["incomingEdges"]] == ["n0", "n1", "n2"]
    assert [edge["targetNodeInputId"] for edge in nodes["n3"]["incomingEdges"]] == ["0", "1", "2"]
    assert nodes["n3"]["outputsMetadata"] == [{"id": "0", "attrs": [{"key": "tensor_shape", "value": "4×8×28×28"}]}]
    assert nodes["n4"]["inputsMetadata"] == [{"id": "0", "attrs": [{"key": "gradient", "value": "∂ 1.486"}]}]
    assert {"key": "problem", "value": "dead units 98 %"} in nodes["n4"]["attrs"]


def test_model_explorer_keeps_groups_of_one_name_apart():
    groups = [Group("a", "relu"), Group("b", "relu"), Group("c", "a/b")]
    cards = [Card(f"n{i}", "card", "act", "relu", group=group.id) for i, group in enumerate(groups)]
    (graph,) = json.loads(to_model_explorer(Drawing("", cards, groups=groups)))["graphs"]
    assert [node["namespace"] for node in graph["nodes"]] == ["relu", "relu 2", "a∕b"]
