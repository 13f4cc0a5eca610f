"""Faults in forward, backward and step: exceptions and interrupts at every call."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import DataLoader, TensorDataset
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.train import fit

from .checks import Check, Row
from .injection import Injection, each_call


class Net(nn.Module):
    """A network with a branch, batch norm, pooling and hooks, on float32 images (n 2 7 6)."""

    def __init__(self) -> None:
        super().__init__()
        generator = np.random.default_rng(0)
        self.first = nn.Conv2d(2, 4, 3, padding=1, generator=generator)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, (1, 3), padding=(0, 1), generator=generator)
        self.head = nn.Linear(36, 3, generator=generator)
        self.norm.register_full_backward_hook(lambda module, inward, outward: None)

    def forward(self, x: Any) -> Any:
        h = F.relu(self.norm(self.first(x)))
        h.register_hook(lambda g: g * 1.0)
        h = F.max_pool2d(h + self.second(h), 2)
        return self.head(h.flatten(1))


def problem() -> tuple[Net, tg.Tensor, np.ndarray]:
    rng = np.random.default_rng(1)
    return Net(), tg.Tensor(rng.normal(size=(5, 2, 7, 6)).astype(np.float32)), rng.integers(0, 3, 5)


def gradients(model: nn.Module) -> list[bytes | None]:
    return [None if p.grad is None else p.grad.numpy().tobytes() for p in model.parameters()]


def parameters(model: nn.Module) -> list[bytes]:
    return [p.numpy().tobytes() for p in model.parameters()]


def exception_in_backward(thorough: bool) -> Row:
    """An exception out of any rule, kernel, hook or function of the engine leaves every gradient as it was."""
    check = Check("an exception at a call in backward")
    model, x, labels = problem()
    F.cross_entropy(model(x), labels).backward()
    before = gradients(model)
    check.that(None not in before, "the first backward left a parameter without a gradient")

    def run(injection: Injection) -> None:
        loss = F.cross_entropy(model(x), labels)
        with injection:
            loss.backward()
        for p, g in zip(model.parameters(), before, strict=True):  # where it came through
            p.grad.array[...] = np.frombuffer(g, p.grad.dtype).reshape(p.shape)

    def unchanged(place: str) -> None:
        check.that(gradients(model) == before, f"a gradient changed after an exception in {place}")

    raised, calls = each_call(run, Injection, unchanged, ArithmeticError, 1 if thorough else 7)
    for p in model.parameters():
        p.grad = None
    F.cross_entropy(model(x), labels).backward()
    check.that(gradients(model) == before, "the backward after the exceptions gave other gradients")
    return check.row(f"{raised} of {calls} calls")


def interrupt_in_forward(thorough: bool) -> Row:
    """An interrupt in the forward changes no parameter and no gradient, and no mode of the engine."""
    check = Check("an interrupt at a call in forward")
    model, x, labels = problem()
    F.cross_entropy(model(x), labels).backward()
    before = gradients(model), parameters(model)

    def run(injection: Injection) -> None:
        with injection:
            F.cross_entropy(model(x), labels)

    def unchanged(place: str) -> None:
        check.that((gradients(model), parameters(model)) == before, f"a value changed after an interrupt in {place}")
        check.that(tg.is_grad_enabled() and model.training, f"a mode changed after an interrupt in {place}")

    raised, calls = each_call(run, Injection, unchanged, KeyboardInterrupt, 1 if thorough else 7)
    return check.row(f"{raised} of {calls} calls")


def interrupt_in_step(thorough: bool) -> Row:
    """An interrupt in a step leaves every parameter with its state: both as before, or both as after."""
    check = Check("an interrupt at a call in step")
    total = [0, 0]
    for make in (
        lambda params: optim.SGD(params, lr=0.1, momentum=0.9),
        lambda params: optim.AdamW(params, lr=0.01),
        lambda params: optim.Adadelta(params),
    ):
        model, x, labels = problem()
        optimizer = make(model.parameters())
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()

        def states(model: Net = model, optimizer: Any = optimizer) -> list[Any]:
            return [
                (p.numpy().tobytes(), {key: np.asarray(v).tobytes() for key, v in optimizer.state[p].items()})
                for p in model.parameters()
            ]

        weights, state, old = model.state_dict(), optimizer.state_dict(), states()
        weights = {key: value.numpy().copy() for key, value in weights.items()}
        optimizer.step()
        new = states()

        def run(injection: Injection, model=model, optimizer=optimizer, weights=weights, state=state) -> None:
            model.load_state_dict(weights)
            optimizer.load_state_dict(state)
            with injection:
                optimizer.step()

        def whole(place: str, states=states, old=old, new=new) -> None:
            torn = [i for i, (now, a, b) in enumerate(zip(states(), old, new, strict=True)) if now not in (a, b)]
            check.that(not torn, f"parameters {torn} are torn from their state after an interrupt in {place}")

        raised, calls = each_call(run, Injection, whole, KeyboardInterrupt, 1 if thorough else 3)
        total[0] += raised
        total[1] += calls
    return check.row(f"{total[0]} of {total[1]} calls, 3 optimizers")


def interrupt_in_fit(thorough: bool) -> Row:
    """An interrupt anywhere in a run leaves a checkpoint from which it goes on to the bits of an undisturbed run."""
    check = Check("an interrupt in a run, which is resumed")
    rng = np.random.default_rng(2)
    data = rng.normal(size=(10, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 10)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.safetensors"

        def start(resume: Any = "auto") -> Net:
            tg.manual_seed(0)
            model = Net()
            optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            loader = DataLoader(TensorDataset(*data), 4, shuffle=True, seed=3)
            fit(model, loader, F.cross_entropy, optimizer, epochs=3, checkpoint=path, resume=resume, progress=False)
            return model

        def finished(model: nn.Module) -> list[bytes]:
            return [value.numpy().tobytes() for value in model.state_dict().values()]

        wanted = finished(start())

        def run(injection: Injection) -> None:
            path.unlink(missing_ok=True)
            with injection:
                start()

        def resumed(place: str) -> None:
            check.that(finished(start()) == wanted, f"other bits after an interrupt in {place} and a resume")
            left = sorted(file.name for file in Path(folder).iterdir() if file.name != path.name)
            check.that(not left, f"files were left after an interrupt in {place}: {left}")

        count = Injection()
        run(count)
        every = max(1, count.calls // (600 if thorough else 8))
        raised, calls = each_call(run, Injection, resumed, KeyboardInterrupt, every)
    return check.row(f"{raised} of {calls} calls")


def wrong_data(thorough: bool) -> Row:
    """A tenth of the labels, or of the images, is wrong: the error names the first, and nothing was learned."""
    check = Check("wrong labels, and nan or inf in the data")
    rng = np.random.default_rng(4)
    times = 40 if thorough else 6
    for trial in range(times):
        images, labels = rng.normal(size=(60, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 60)
        spoiled = np.sort(rng.permutation(60)[:6])
        if trial % 2:
            labels[spoiled] = rng.choice([-1, 3, 255], 6)
            wanted = f"target[{spoiled[0]}] is {labels[spoiled[0]]}"
        else:
            place = tuple(rng.integers(images.shape[1:]).tolist())
            images[(spoiled, *place)] = rng.choice([np.nan, np.inf])
            wanted = f"is {images[(spoiled[0], *place)]} at {(int(spoiled[0]), *place)}"
        model = Net()
        before = parameters(model)
        try:
            fit(model, [(images, labels)], F.cross_entropy, optim.SGD(model.parameters()), epochs=1, progress=False)
        except (IndexError, FloatingPointError) as error:
            check.that(wanted in str(error), f"the error does not say {wanted!r}: {error}")
        else:
            check.that(False, f"no error, where {wanted}")
        check.that(parameters(model) == before, f"a parameter moved, where {wanted}")
    return check.row(f"{times} batches")


SCENARIOS = [exception_in_backward, interrupt_in_forward, interrupt_in_step, interrupt_in_fit, wrong_data]
