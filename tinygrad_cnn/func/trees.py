"""Trees of Tensors: nested tuples, lists and dicts, walked in their order."""

from collections.abc import Callable, Iterator
from typing import Any

from ..graph import Tensor

__all__ = ["leaves", "mapped", "tensors"]


def mapped(f: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """The tree with f(leaf, ...) in place of each leaf; f takes the leaves of `others`, trees of the same form, too.

    A leaf is what is no tuple, list or dict; None is a tree without leaves. Raises ValueError for another form.
    """
    if tree is None or isinstance(tree, (tuple, list, dict)):
        for other in others:
            if _form(other) != _form(tree):
                raise ValueError(f"the trees differ: {_shown(tree)} here, {_shown(other)} there; one form is needed")
    if tree is None:
        return None
    if isinstance(tree, dict):
        parts = {key: mapped(f, value, *(other[key] for other in others)) for key, value in tree.items()}
        return parts if type(tree) is dict else type(tree)(parts)
    if isinstance(tree, (tuple, list)):
        made = [mapped(f, *values) for values in zip(tree, *others, strict=True)]
        return type(tree)(*made) if hasattr(tree, "_fields") else type(tree)(made)
    return f(tree, *others)


def _form(tree: Any) -> Any:
    if isinstance(tree, dict):
        return dict, set(tree)
    if isinstance(tree, (tuple, list)):
        return tuple if isinstance(tree, tuple) else list, len(tree)
    return None if tree is None else "leaf"


def _shown(tree: Any) -> str:
    if isinstance(tree, dict):
        return f"a dict of {sorted(map(str, tree))}"
    return f"a {type(tree).__name__} of {len(tree)}" if isinstance(tree, (tuple, list)) else f"a {type(tree).__name__}"


def leaves(tree: Any) -> Iterator[Any]:
    """The leaves of a tree, in its order."""
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, (tuple, list)):
        for part in tree:
            yield from leaves(part)
    elif tree is not None:
        yield tree


def tensors(tree: Any) -> list[Tensor]:
    """The leaves of a tree that are Tensors, in its order."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Tensor)]
