"""Hooks on a user's PyTorch model: what its modules compute is seen, and its dropout gets the masks of the tape."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from conformance.adapters.session import Unsupported
from conformance.problems.tensors import layer_of
from conformance.wrappers.matching import Matching

_NORMALIZATIONS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)


class Watched:
    """Hooks on a model: what its modules compute is seen, and its dropout modules get the masks of the tape.

    ``seen``: by the recipe's names, of the last forward pass that was watched. A linear layer's output is its ``Z``, a
    normalisation's its ``N``; a layer's ``A`` is what the next layer takes, however it was made of them.
    """

    def __init__(self, model: nn.Module, matching: Matching) -> None:
        self.seen: dict[str, Tensor] = {}
        self._watching = False
        self._masks: list[Tensor] | None = None
        self._used = 0
        modules = dict(model.named_modules())
        homes = [(m.name, m.path.rpartition(".")[0]) for m in matching.matches if m.name.startswith(("W", "gamma"))]
        for name, home in homes:
            module, layer = modules[home], layer_of(name)
            if sum(home == other for _, other in homes) > 1:
                continue
            if name.startswith("gamma") and isinstance(module, _NORMALIZATIONS):
                module.register_forward_hook(self._sees_output(f"N{layer}"))
            if isinstance(module, nn.Linear):
                module.register_forward_hook(self._sees_output(f"Z{layer}"))
                if layer > 1:
                    module.register_forward_pre_hook(self._sees_input(f"A{layer - 1}"))
        for path, module in modules.items():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.register_forward_hook(self._feeds(path))

    @contextmanager
    def during(self, masks: list[Tensor] | None, watch: bool) -> Iterator[None]:
        """A forward pass whose dropout modules get ``masks``, those of its hidden layers in turn; None: drop nothing.

        Raises ValueError for another number of dropout modules that are called, Unsupported for none.
        """
        self._watching, self._masks, self._used = watch, masks, 0
        if watch:
            self.seen = {}
        yield
        if masks and self._used == 0:
            raise Unsupported("the model has no nn.Dropout module that could be given the recipe's masks")
        if masks and self._used < len(masks):
            raise ValueError(f"the model called Dropout {self._used} times: the recipe has it {len(masks)} times")

    def _sees_output(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, output: Tensor) -> None:
            if self._watching:
                self.seen[name] = output.detach().clone()  # what comes after may work in place

        return hook

    def _sees_input(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any) -> None:
            if self._watching:
                self.seen[name] = arguments[0].detach().clone()

        return hook

    def _feeds(self, path: str) -> Callable[..., Tensor | None]:
        def hook(module: Any, arguments: Any, output: Tensor) -> Tensor | None:
            if not module.training or module.p == 0:
                return None
            x: Tensor = arguments[0]
            if self._masks is None:
                return x
            if self._used == len(self._masks):
                raise ValueError(f"the model's {path} drops units once more than the recipe, {self._used} times")
            self._used += 1
            kept: Tensor = x * self._masks[self._used - 1] / (1 - module.p)
            return kept

        return hook
