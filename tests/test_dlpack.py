"""Memory shared with other libraries through DLPack."""

import numpy as np
import pytest

import tinygrad_cnn as tg


class Elsewhere:
    """Memory of another device."""

    def __dlpack__(self, **_):
        raise AssertionError("asked for, though it is elsewhere")

    def __dlpack_device__(self):
        return 2, 0


class Asked:
    """Memory that is asked for with copy=, which np.from_dlpack takes from NumPy 2.1 on."""

    def __init__(self, x, copy):
        self.x, self.copy = x, copy

    def __dlpack__(self, **options):
        return self.x.__dlpack__(**{**options, "copy": self.copy})

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


AWKWARD = {
    "plain": tg.arange(6.0).reshape(2, 3),
    "turned": tg.arange(6.0).reshape(2, 3).T,
    "cut": tg.arange(24.0).reshape(2, 3, 4)[:, 1:, ::2],
    "stretched": tg.arange(3.0).reshape(1, 3).expand(2, 3),
    "backwards": tg.Tensor(np.arange(6.0)[::-1]).flip(0),
    "empty": tg.zeros(0, 3),
    "number": tg.Tensor(2.5),
    "half": tg.ones(3, dtype=np.float16),
    "integers": tg.arange(3),
    "bool": tg.arange(3) > 1,
}


@pytest.mark.parametrize("name", AWKWARD)
def test_numpy_reads_the_values_and_gives_them_back(name):
    x = AWKWARD[name]
    array = np.from_dlpack(x)
    np.testing.assert_array_equal(array, x.numpy(), strict=True)
    np.testing.assert_array_equal(tg.from_dlpack(array.copy()).numpy(), x.numpy(), strict=True)


@pytest.mark.parametrize("name", AWKWARD)
def test_pytorch_reads_the_values_and_gives_them_back(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = AWKWARD[name]
    there = torch.from_dlpack(x)
    np.testing.assert_array_equal(there.numpy(), x.numpy(), strict=True)
    if name != "bool":  # PyTorch exports booleans as bytes to older readers
        np.testing.assert_array_equal(tg.from_dlpack(there.clone()).numpy(), x.numpy(), strict=True)


def test_memory_is_shared_both_ways_unless_a_copy_is_asked_for():
    x = tg.zeros(3)
    array = np.asarray(np.from_dlpack(x))
    x[0] = 5.0
    assert array.tolist() == [5, 0, 0]
    theirs = np.zeros(3)
    ours = tg.from_dlpack(theirs)
    theirs[1] = 7
    assert ours.tolist() == [0, 7, 0]
    copied = np.from_dlpack(Asked(x, True))
    x[0] = 1.0
    assert copied.tolist() == [5, 0, 0]


def test_a_leaf_made_of_shared_memory_has_its_own():
    theirs = np.ones(2)
    x = tg.from_dlpack(theirs).requires_grad_()
    y = (x * x).sum()
    theirs[:] = 100
    y.backward()
    assert x.grad.tolist() == [2, 2]


def test_what_cannot_be_shared_is_refused():
    x = tg.Tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"__dlpack__: this Tensor requires grad.*detach\(\) it first"):
        np.from_dlpack(x)
    assert np.from_dlpack(x.detach()).tolist() == [1]
    with pytest.raises(BufferError, match="copy=False refuses"):
        np.from_dlpack(Asked(AWKWARD["stretched"], False))
    with pytest.raises(BufferError, match=r"device \(2, 0\) and stream None; tinygrad_cnn has the CPU"):
        x.detach().__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError, match=r"from_dlpack: the memory is on device \(2, 0\); move it to the CPU first"):
        tg.from_dlpack(Elsewhere())
    with pytest.raises(TypeError, match="from_dlpack: a list has no __dlpack__"):
        tg.from_dlpack([1.0])
