"""What a Hessian says about a small convolutional net, and what a checkpoint saves.

    python examples/transforms.py

The sharpest direction of a loss is the eigenvector of its Hessian's largest eigenvalue; power iteration finds it by
Hessian-vector products alone, two backwards each, without ever writing the Hessian down.
"""

import tracemalloc

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, func, nn
from tinygrad_cnn.nn import functional as F


def small_net() -> nn.Sequential:
    g = np.random.default_rng(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, generator=g), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 10, generator=g)
    ).double()


def inner(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return sum(float((a[k] * b[k]).sum()) for k in a)


def sharpest_direction() -> None:
    images, labels = tg.data.digits()
    x, y = Tensor(images[:60].astype(np.float64)), Tensor(labels[:60])
    net = small_net()
    params = {name: p.detach() for name, p in net.named_parameters()}

    def loss(params: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(func.functional_call(net, params, x), y)

    rng = np.random.default_rng(1)
    v = {name: Tensor(rng.standard_normal(p.shape)) for name, p in params.items()}
    for _ in range(40):
        (hv,) = func.hvp(loss, (params,), (v,))
        scale = inner(hv, hv) ** 0.5
        v = {name: d / scale for name, d in hv.items()}
    (hv,) = func.hvp(loss, (params,), (v,))
    curvature = inner(v, hv)

    def along(t: Tensor) -> Tensor:
        return loss({name: p + t * v[name] for name, p in params.items()})

    # The same number from the other side: the second derivative of the loss along that one line.
    zero = Tensor(np.float64(0.0))
    second = float(func.grad(func.grad(along))(zero))
    bias = func.hessian(lambda b: loss({**params, "4.bias": b}))(params["4.bias"]).numpy()
    print(f"largest curvature  {curvature:.6f}, as the second derivative along it {second:.6f}")
    print(f"of the bias alone  {np.linalg.eigvalsh(bias)[-1]:.6f}, from its whole Hessian {bias.shape}")


def memory_of_checkpoints() -> None:
    g = np.random.default_rng(0)
    layers = [layer for _ in range(16) for layer in (nn.Conv2d(4, 4, 3, padding=1, generator=g), nn.Tanh())]
    net, x = nn.Sequential(*layers), tg.randn(4, 4, 32, 32, generator=g)

    def run(segments: int) -> tuple[list[bytes], int]:
        net.zero_grad()
        tracemalloc.start()
        out = net(x) if segments == 1 else tg.checkpoint_sequential(net, segments, x)
        (out * out).mean().backward()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return [p.grad.numpy().tobytes() for p in net.parameters()], peak

    run(1), run(4)  # the first runs compile kernels, and fill the store of used memory
    (plain, most), (gradients, peak) = run(1), run(4)
    print(f"peak with 4 checkpoints: {peak / most:.0%} of the plain run's")
    print("the same gradients, bit for bit" if gradients == plain else "other gradients")


def main() -> None:
    sharpest_direction()
    memory_of_checkpoints()


if __name__ == "__main__":
    main()
