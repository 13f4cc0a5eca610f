"""A recorded computation as a script of plain NumPy, with the same numbers and without this package."""

from collections.abc import Callable, Mapping
from typing import Any

from ..graph import Tensor
from .inference import Inference
from .step import Step
from .values import Values, forward
from .writer import INLINE, Script

__all__ = ["INLINE", "Script", "to_numpy"]


def to_numpy(loss: Tensor | Callable[[], Tensor], model: Any = None, inputs: Mapping[str, Any] | None = None) -> Script:
    """A standalone NumPy script of how a loss was computed, and of every gradient, one op at a time.

    loss: the recorded Tensor of one element, or a function that computes it. One of more elements is a prediction.
    model: names the parameters by their paths. inputs: names other Tensors and arrays.

    The script computes `loss` and the dict `gradients` from the same numbers, with the formula of each gradient above
    its line. `script.save("step.py")` writes it, and its larger arrays as step.npz beside it.

        >>> import numpy as np
        >>> import tinygrad_cnn as tg
        >>> w = tg.tensor([[2.0, -1.0]], requires_grad=True)
        >>> x = tg.tensor([[3.0], [5.0]])
        >>> script = tg.to_numpy((w @ x).relu().sum(), inputs={"w": w, "x": x})
        >>> names = {}
        >>> exec(script, names)
        >>> float(names["loss"]), names["gradients"]["w"].tolist()
        (1.0, [[3.0, 5.0]])

    A graph keeps only the values that gradient rules need: where the script needs another one that is in neither model
    nor inputs, pass a function, as in `to_numpy(lambda: F.mse_loss(model(x), y), model)`.

    From a prediction, such as logits, comes the forward alone: a function `predict` of the Tensors in inputs, for any
    number of rows if nothing in it looks beyond a row, else for the recorded shapes. A number among the operands of a
    recorded Tensor, as in x / 2, may have been x.shape[0], so that the script is for the recorded shapes, too; but a
    parameter of an op, such as a slope, is taken for one of any number of rows. A function is called once more, with
    more rows in the inputs, to tell: the script serves any number of rows if it did the same with them.

        >>> model = tg.nn.Linear(2, 3).eval()
        >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> exec(tg.to_numpy(model(x), model, {"x": x}), names)
        >>> names["predict"](np.ones((5, 2))).shape
        (5, 3)

    Raises RuntimeError without a graph, for a value that is not kept, for one that was changed since, and for a hook,
    of a Tensor or a module, that a gradient of the script would pass: hooks are no ops, and a prediction may have them;
    TypeError for an op without a template, which `emit.template` gives it, and for an array in a prediction that is
    neither the model's nor named; ValueError for a prediction from none of the inputs.
    """
    if not isinstance(loss, Tensor) and not callable(loss):
        raise TypeError(
            f"to_numpy: the loss is a {type(loss).__name__}; a Tensor or a function that gives one is needed"
        )
    out, seen = forward(loss)
    if not isinstance(out, Tensor):
        raise TypeError(f"to_numpy: the function gave a {type(out).__name__}; it must give a Tensor")
    if out.node is None:
        raise RuntimeError("to_numpy: this Tensor has no graph; compute it from leaves with requires_grad=True")
    values = Values(model, inputs, seen)
    if out.array.size == 1:
        return Step(values).write(out.node)
    return Inference(values, model).write(out.node, inputs or {}, None if isinstance(loss, Tensor) else loss)
