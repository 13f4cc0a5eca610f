"""Hard cases of the engine that no other file of the suite has: what is linear in the number of layers."""

import numpy as np

from tinygrad_cnn import Tensor, nn


class Counted(nn.Sequential):
    """A Sequential that counts how often all its modules are walked through."""

    walks = 0

    def named_modules(self, *args, **kwargs):
        self.walks += 1
        return super().named_modules(*args, **kwargs)


def paths(result):
    """The path of the module that recorded each op, the last op first."""
    found, node = [], result.node
    while node.scope is not None:
        found.append(node.scope.path)
        node = node.parents[0]
    return found


def test_H140_a_walk_through_all_layers_names_all_of_them():
    model = Counted(*[nn.Sequential(nn.Tanh(), nn.ReLU()) for _ in range(300)])
    x = Tensor(np.ones(2), requires_grad=True)
    y = model(x)
    assert paths(y) == [f"{i}.{j}" for i in reversed(range(300)) for j in (1, 0)]
    assert model.walks == 1
    model(x)
    assert model.walks == 1


def test_H140_a_layer_that_moved_before_it_ever_ran_has_its_new_name():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Tanh(), nn.ReLU()
            self.taken = "left"

        def forward(self, x):
            return getattr(self, self.taken)(x)

    model, x = Branches(), Tensor(np.ones(2), requires_grad=True)
    assert paths(model(x)) == ["left"]
    model.middle = model.right
    del model.right
    model.taken = "middle"
    assert paths(model(x)) == ["middle"]
    model.left = nn.Sigmoid()
    model.taken = "left"
    assert paths(model(x)) == ["left"]
