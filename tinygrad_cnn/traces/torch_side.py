"""The steps of a PyTorch module, by forward hooks. PyTorch is imported only when they are asked for."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..graph import Tensor


def torch_steps(
    model: Any, inputs: tuple[Any, ...], loss: Callable[[Any], Any] | None
) -> Iterator[tuple[str, str, str, str, Any]]:
    """(kind, name, path, class of the module, array) of every call of a module, then of the gradients."""
    try:
        import torch
    except ImportError:
        raise ImportError("from_torch: PyTorch is not installed; pip install torch") from None
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"from_torch: the model is a {type(model).__name__}; a torch.nn.Module is needed")
    calls: list[tuple[str, str, str, Any, Any]] = []
    counts: dict[str, int] = {}

    def hook(path: str) -> Callable[..., None]:
        def note(module: Any, _: Any, out: Any) -> None:
            if isinstance(out, torch.Tensor):
                counts[path] = counts.get(path, 0) + 1
                name = path if counts[path] == 1 else f"{path}#{counts[path]}"
                calls.append((name, path, type(module).__name__, out.detach().numpy().copy(), out))

        return note

    handles = [module.register_forward_hook(hook(path)) for path, module in model.named_modules()]
    try:
        out = model(*(_for_torch(torch, x) for x in inputs))
    finally:
        for handle in handles:
            handle.remove()
    for name, path, kind, array, _ in calls:
        yield "value", name, path, kind, array
    if loss is not None:
        yield from _gradients(torch, model, calls, loss(out))


def _gradients(torch: Any, model: Any, calls: Any, loss: Any) -> Iterator[tuple[str, str, str, str, Any]]:
    outputs = [call for call in reversed(calls) if call[4].requires_grad]
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, [c[4] for c in outputs] + [p for _, p in parameters], allow_unused=True)
    for (name, path, kind, *_), g in zip(outputs, found, strict=False):
        if g is not None:
            yield "gradient", name, path, kind, g.numpy().copy()
    for (name, _), g in zip(parameters[::-1], found[: len(outputs) - 1 : -1], strict=True):
        if g is not None:
            yield "parameter gradient", name, name.rpartition(".")[0], "", g.numpy().copy()


def _for_torch(torch: Any, x: Any) -> Any:
    if isinstance(x, Tensor):
        x = x.numpy()
    return torch.tensor(x) if isinstance(x, np.ndarray) else x
