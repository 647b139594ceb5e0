"""What happens inside a JAX model while it is called: the calls of its modules, and the masks that its dropout draws.

Both are looked at while JAX traces the model, so that what was seen can be returned from the traced function as any
other value. Nothing is changed for longer than the call.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

import jax

from conformance.adapters.session import Unsupported


class Call(NamedTuple):
    """One call of a module: its path in the model, what it was given first and what it returned."""

    path: str
    given: Any
    returned: Any


@contextmanager
def calls_of(modules: Mapping[int, str], classes: Iterable[type]) -> Iterator[list[Call]]:
    """The calls that are made inside of modules of ``classes``; ``modules`` has their paths by ``id``.

    Python looks ``__call__`` up in the class, so it is there that calls are seen. A module that is not among
    ``modules`` is called as ever.
    """
    seen: list[Call] = []
    with ExitStack() as patches:
        for kind in set(classes):
            patches.enter_context(mock.patch.object(kind, "__call__", _seen_by(seen, modules, kind.__call__)))
        yield seen


@contextmanager
def masks_fed(masks: Sequence[Any] | None) -> Iterator[None]:
    """Every draw of ``jax.random.bernoulli`` inside is the next of ``masks``; with None they are drawn.

    Flax's dropout and Equinox's draw their masks with it, and so do most that are written by hand. Raises Unsupported
    where another number of masks is drawn, or of another shape.
    """
    if masks is None:
        yield
        return
    left = list(masks)

    def next_mask(key: Any, p: Any = 0.5, shape: Any = None, *others: Any, **keywords: Any) -> Any:
        if not left:
            raise Unsupported(f"the model draws more than the {len(masks)} dropout masks of the recipe")
        mask = left.pop(0)
        if shape is not None and tuple(shape) != mask.shape:
            raise Unsupported(f"the model draws a dropout mask of shape {tuple(shape)}: must be {mask.shape}")
        return mask

    with mock.patch.object(jax.random, "bernoulli", next_mask):
        yield
    if left:
        raise Unsupported(f"the model draws {len(masks) - len(left)} of the {len(masks)} dropout masks of the recipe")


def _seen_by(seen: list[Call], modules: Mapping[int, str], call: Callable[..., Any]) -> Callable[..., Any]:
    """``call``, which also tells of itself."""

    def told(module: Any, *arguments: Any, **keywords: Any) -> Any:
        returned = call(module, *arguments, **keywords)
        if id(module) in modules and arguments:
            seen.append(Call(modules[id(module)], arguments[0], returned))
        return returned

    return told
