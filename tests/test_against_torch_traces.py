"""A Trace of a PyTorch module agrees with ours, module by module, and names where it does not."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

import tinygrad_cnn as tg  # noqa: E402
from tinygrad_cnn import nn  # noqa: E402
from tinygrad_cnn.nn import functional as F  # noqa: E402

X = np.random.default_rng(1).standard_normal((3, 2, 6, 5))
LABELS = np.array([1, 3, 0])


def layers(library):
    n = library.nn
    inner = n.Sequential(n.Conv2d(4, 4, 3, padding=1, groups=2), n.Tanh())
    return n.Sequential(
        n.Conv2d(2, 4, 3), n.BatchNorm2d(4), n.ReLU(), inner, n.MaxPool2d(2), n.Flatten(), n.Linear(8, 5)
    )


def both():
    theirs = layers(torch).double()
    ours = layers(tg).to("float64")
    ours.load_state_dict({name: t.detach().numpy() for name, t in theirs.state_dict().items()})
    return ours, theirs


def traces(ours, theirs, scale=1.0):
    mine = tg.record(ours, X, loss=lambda out: F.cross_entropy(out, LABELS))
    other = tg.Trace.from_torch(
        theirs, X, loss=lambda out: torch.nn.functional.cross_entropy(out, torch.tensor(LABELS)) * scale
    )
    return mine, other


def test_values_gradients_and_parameters_agree_module_by_module():
    mine, other = traces(*both())
    found = mine.diff(other)
    assert not found, str(found)
    assert (found.only_here, found.only_there) == ((), ())
    assert found.compared == len(mine.modules) == len(other.modules) == 10 + 10 + 8
    assert not other.diff(mine)


def test_a_wrong_weight_is_found_at_its_module():
    ours, theirs = both()
    with torch.no_grad():
        theirs[3][0].weight.copy_(theirs[3][0].weight.flip(2, 3))
    assert traces(ours, theirs)[0].diff(traces(ours, theirs)[1]).first.name == "3.0"


def test_a_loss_summed_instead_of_averaged_is_found_in_the_gradients():
    mine, other = traces(*both(), scale=3.0)
    found = mine.diff(other).first
    assert (found.kind, found.looks_like) == ("gradient", "the second times 1/3")


def test_hooks_are_gone_after_a_failed_run():
    model = torch.nn.Linear(3, 2)
    with pytest.raises(RuntimeError):
        tg.Trace.from_torch(model, np.ones((2, 4), np.float32))
    assert not model._forward_hooks
    with pytest.raises(TypeError, match=r"from_torch: the model is a Linear; a torch.nn.Module is needed"):
        tg.Trace.from_torch(nn.Linear(3, 2), np.ones((2, 3), np.float32))
