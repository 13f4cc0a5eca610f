"""What pictures cost: seconds for graphs of 50 to 20,000 nodes, and what recording for them costs where nobody draws.

    python benchmarks/diagrams.py [--sizes 50,500,2000,20000] [--json FILE]

The graph is that of a residual network of tiny images: 13 nodes a block, six of them parameters, with a module around
it. Ours, and the picture that every installed peer (torchviz, torchview, MyGrad) makes of the same network, are timed
in one process, the best of three up to 500 nodes. dot is stopped after 10 s, a peer after 20 s.

The skeleton is what a graph keeps after a backward for pictures to read: its bytes are those of kept losses by
tracemalloc, less those of detached ones; its time is that of two of a Node's fields, which backward does without.
"""

import contextlib
import gc
import signal
import statistics
import time
import timeit
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sides import parser_of, write

import tinygrad_cnn as tg
from tinygrad_cnn import nn, scopes
from tinygrad_cnn.bench import machine
from tinygrad_cnn.diagram import RenderError
from tinygrad_cnn.diagram.digraph import to_digraph
from tinygrad_cnn.diagram.explorer import to_model_explorer
from tinygrad_cnn.diagram.mermaid import to_mermaid
from tinygrad_cnn.diagram.png import to_png
from tinygrad_cnn.diagram.render import render
from tinygrad_cnn.diagram.svg import to_svg
from tinygrad_cnn.diagram.text import to_text
from tinygrad_cnn.graph import Node
from tinygrad_cnn.nn import functional as F

SIZES = (50, 500, 2000, 20_000)
PER_BLOCK = 13
TIMEOUT = 10.0
IMAGE = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)

Cell = float | str  # seconds, or why there are none


class Block(nn.Module):
    """relu(x + bn2(conv2(relu(bn1(conv1(x))))))"""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)
        self.conv2, self.bn2 = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


def our_loss(blocks: int) -> tg.Tensor:
    """The loss of the network after a backward."""
    loss = nn.Sequential(*(Block() for _ in range(blocks)))(tg.Tensor(IMAGE)).sum()
    loss.backward()
    return loss


def seconds(work: Callable[[], Any], rounds: int, limit: float = 0.0) -> Cell:
    """The shortest time of the rounds, or in a word why there is none. limit: after which it is stopped, if not 0."""
    times = []
    for _ in range(rounds):
        gc.collect()
        start = time.perf_counter()
        try:
            with stopped_after(limit):
                work()
        except RenderError as error:
            return "stopped" if "took more than" in str(error) else "missing"
        except TimeoutError:
            return "stopped"
        except RecursionError:
            return "recursion"
        times.append(time.perf_counter() - start)
    return min(times)


@contextlib.contextmanager
def stopped_after(limit: float) -> Iterator[None]:
    """TimeoutError after that many seconds, where the system has alarms and the limit is not 0."""
    if not limit or not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ours(size: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(renderer, what it does) for a graph of about `size` nodes."""
    loss = our_loss(max(1, size // PER_BLOCK))
    drawing = loss.graph(fold=False, max_nodes=10 * size).drawing
    if len(drawing.cards) < size / 2:
        raise SystemExit(f"the picture of {size} nodes has {len(drawing.cards)} cards: it is not what the peers draw")
    svg = to_svg(drawing, theme="light")
    yield "build the drawing", lambda: loss.graph(fold=False, max_nodes=10 * size)
    yield "layout and SVG", lambda: to_svg(drawing)
    yield "PNG of the SVG", lambda: to_png(svg)
    yield "DOT", lambda: to_digraph(drawing).source
    yield "DOT, dot -Tsvg", lambda: render(to_digraph(drawing), "svg", TIMEOUT)
    yield "text", lambda: to_text(drawing)
    yield "Mermaid", lambda: to_mermaid(drawing)
    yield "Model Explorer", lambda: to_model_explorer(drawing)


def torch_block() -> Any:
    """The same Block in PyTorch."""
    import torch
    from torch.nn import BatchNorm2d, Conv2d, Module

    class TorchBlock(Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = Conv2d(2, 2, 3, padding=1, bias=False), BatchNorm2d(2)
            self.conv2, self.bn2 = Conv2d(2, 2, 3, padding=1, bias=False), BatchNorm2d(2)

        def forward(self, x: Any) -> Any:
            return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))

    return TorchBlock()


def torchviz_peer(blocks: int) -> Callable[[], Any]:
    import torch
    import torchviz

    model = torch.nn.Sequential(*(torch_block() for _ in range(blocks)))
    loss = model(torch.from_numpy(IMAGE)).sum()
    return lambda: torchviz.make_dot(loss, dict(model.named_parameters()))


def torchview_peer(blocks: int) -> Callable[[], Any]:
    import torch
    import torchview

    model = torch.nn.Sequential(*(torch_block() for _ in range(blocks)))
    image = torch.from_numpy(IMAGE)
    return lambda: torchview.draw_graph(model, image, depth=3, device="cpu").visual_graph


def mygrad_peer(blocks: int) -> Callable[[], Any]:
    import mygrad
    from mygrad.computational_graph import build_graph
    from mygrad.nnet.activations import relu
    from mygrad.nnet.layers import batchnorm, conv_nd

    rng = np.random.default_rng(0)
    x = mygrad.tensor(IMAGE)
    for _ in range(blocks):
        y = x
        for _ in range(2):
            w = mygrad.tensor(rng.normal(size=(2, 2, 3, 3)))
            y = conv_nd(relu(y), w, stride=1, padding=1)
            y = batchnorm(y, gamma=mygrad.tensor(np.ones(2)), beta=mygrad.tensor(np.zeros(2)), eps=1e-5)
        x = relu(x + y)
    loss = x.sum()
    return lambda: build_graph(loss, render=True)  # a Digraph, not yet drawn


PEERS = {"torchviz": torchviz_peer, "torchview": torchview_peer, "MyGrad": mygrad_peer}


def peers(size: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(peer, its DOT) and (peer, its DOT and dot -Tsvg) of the same network, for every peer that is installed."""
    for name, make in PEERS.items():
        try:
            draw = make(max(1, size // PER_BLOCK))
        except ImportError:
            continue
        yield f"{name}, DOT", draw
        yield f"{name}, dot -Tsvg", lambda draw=draw: render(draw(), "svg", TIMEOUT)  # type: ignore[misc]


def measure(sizes: tuple[int, ...]) -> dict[str, dict[int, Cell]]:
    """Seconds by renderer and number of nodes."""
    table: dict[str, dict[int, Cell]] = {}
    for size in sizes:
        rounds = 3 if size <= 500 else 1
        for name, work in ours(size):
            table.setdefault(name, {})[size] = seconds(work, rounds)
        for name, work in peers(size):
            table.setdefault(name, {})[size] = seconds(work, rounds, 2 * TIMEOUT)
    return table


def ratios(table: dict[str, dict[int, Cell]]) -> dict[str, dict[int, float]]:
    """Theirs over ours, of a picture from the graph: DOT and dot, against drawing, layout and SVG."""
    found: dict[str, dict[int, float]] = {}
    for name in PEERS:
        for size, theirs in table.get(f"{name}, dot -Tsvg", {}).items():
            own = [table[part][size] for part in ("build the drawing", "layout and SVG")]
            if isinstance(theirs, float):
                found.setdefault(name, {})[size] = theirs / sum(part for part in own if isinstance(part, float))
    return found


def bytes_per_op(make: Callable[[], tg.Tensor], kept: int) -> float:
    """What each recorded op of `kept` losses still holds after their backward, beyond what a detached loss does."""
    n_ops = count_ops(make())

    def held(detached: bool) -> int:
        gc.collect()
        tracemalloc.start()
        losses = []
        for _ in range(kept):
            loss = make()
            loss.backward()
            losses.append(loss.detach() if detached else loss)
        del loss
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    return (held(detached=False) - held(detached=True)) / (kept * n_ops)


def count_ops(loss: tg.Tensor) -> int:
    """How many steps the graph of the loss has."""
    seen: dict[int, Node] = {}
    stack = [loss.node]
    while stack:
        node = stack.pop()
        if node is not None and id(node) not in seen:
            seen[id(node)] = node
            stack += node.parents
    return sum(node.plan is not None for node in seen.values())


def chain_of_ops() -> tg.Tensor:
    """200 elementwise ops, the leaves of which are made anew."""
    w = tg.Tensor(np.float32([0.9, 1.1, 1.2]), requires_grad=True)
    x = w
    for _ in range(50):
        x = tg.relu(tg.tanh(x * w) + 0.5)
    return x.sum()


def small_net() -> Callable[[], tg.Tensor]:
    """The loss of one network of two layers on a batch, again and again."""
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    x, labels = tg.Tensor(np.ones((4, 8), np.float32)), np.array([0, 1, 2, 0])
    return lambda: F.cross_entropy(net(x), labels)


def microseconds_per_op(rounds: int, number: int = 20_000) -> float:
    """What the fields that only pictures read add to making a Node: the median difference of the rounds."""
    node, parents = chain_of_ops().node, ()
    shape, dtype, scope = node.shape, node.dtype, scopes.current.get

    def bare() -> None:
        made = Node.__new__(Node)
        made.plan, made.parents, made.saved, made.params = None, parents, (), {}
        made.shape, made.dtype, made.order, made.watch = shape, dtype, 0, None

    def full() -> None:
        made = Node.__new__(Node)
        made.plan, made.parents, made.saved, made.params = None, parents, (), {}
        made.shape, made.dtype, made.order, made.watch = shape, dtype, 0, None
        made.scope, made.constants = scope(), ()

    differences = []
    for _ in range(rounds):
        without, with_ = timeit.timeit(bare, number=number), timeit.timeit(full, number=number)
        differences.append((with_ - without) / number * 1e6)
    return statistics.median(differences)


def skeleton(kept: int, rounds: int) -> dict[str, float]:
    """The cost of being drawable."""
    return {
        "bytes per op of a chain of 201 ops": bytes_per_op(chain_of_ops, max(1, kept // 100)),
        f"bytes per op of {kept} kept losses of a small net": bytes_per_op(small_net(), kept),
        "microseconds per op": microseconds_per_op(rounds),
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of nodes")
    parser.add_argument("--kept", type=int, default=10_000, help="losses to keep for the skeleton's bytes")
    parser.add_argument("--rounds", type=int, default=15, help="rounds to take the median of for the skeleton's time")
    options = parser.parse_args()
    sizes = tuple(map(int, options.sizes.split(",")))
    print(machine(), flush=True)
    table = measure(sizes)
    over = ratios(table)
    cost = skeleton(options.kept, options.rounds)
    print(f"\n{'seconds for nodes':28}" + "".join(f"{size:>11,}" for size in sizes))
    for name, row in table.items():
        cells = [row.get(size, "") for size in sizes]
        print(f"{name:28}" + "".join(f"{c:11.4f}" if isinstance(c, float) else f"{c:>11}" for c in cells))
    for name, times in over.items():
        cells = [f"{times[size]:10.1f}x" if size in times else " " * 11 for size in sizes]
        print(f"{name + ' / ours':28}" + "".join(cells))
    print("\nskeleton, where nobody draws")
    for name, value in cost.items():
        print(f"{value:9.3g} {name}")
    write(options.json, {"seconds": table, "theirs_over_ours": over, "skeleton": cost})


if __name__ == "__main__":
    main()
