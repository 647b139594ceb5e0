"""The state of a user's PyTorch optimizer under the catalogue's names: read, and put back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.session import State, Unsupported
from conformance.adapters.torch import array
from conformance.data.wording import listed
from conformance.problems.tensors import Tensors
from impl_torch.optimizers import SLOT_NAMES

# What optimizers call their state, and the catalogue's slots that it may be.
SLOTS: dict[str, tuple[str, ...]] = {own: (slot,) for own, slot in SLOT_NAMES.items()} | {
    "exp_avg": ("first_moment", "momentum"),
    "exp_avg_var": ("belief",),
    "mu_product": ("momentum_product",),
}


@dataclass(frozen=True)
class Optimizers:
    """A user's optimizer, made for parameters by name.

    ``make``: of a list of parameters; ``said``: what the user says that it calls its state, by slot; ``slot_names``:
    those of the recipe's optimizer.
    """

    make: Callable[[list[Any]], torch.optim.Optimizer]
    said: Mapping[str, str]
    slot_names: tuple[str, ...]

    def optimizer(self, held: Mapping[str, nn.Parameter], state: State) -> torch.optim.Optimizer:
        """One for these parameters that goes on from a state. Raises Unsupported for state that cannot be put back."""
        optimizer = self.make(list(held.values()))
        if state.step == 0:
            return optimizer
        if isinstance(optimizer, torch.optim.LBFGS):
            raise Unsupported("LBFGS keeps its pairs of all parameters as one: a state cannot be put back into it")
        twins = {name: nn.Parameter(w.detach().clone()) for name, w in held.items()}
        other = self.make(list(twins.values()))  # whose state, after a step, says how such a state is made
        for twin in twins.values():
            twin.grad = torch.zeros_like(twin)
        other.step()
        for name, w in held.items():
            optimizer.state[w] = {
                key: self._restored(key, like, name, w, state) for key, like in other.state[twins[name]].items()
            }
        return optimizer

    def slots(self, optimizer: torch.optim.Optimizer, held: Mapping[str, Tensor]) -> dict[str, Tensors]:
        """Its state by slot and name; a slot of the recipe that may be in what is unknown is not offered."""
        slots: dict[str, Tensors] = {}
        unknown = False
        for name, w in held.items():
            for key, value in optimizer.state.get(w, {}).items():
                if key == "step" or not isinstance(value, Tensor):
                    unknown |= isinstance(value, list)
                    continue
                slot = self._slot(key)
                unknown |= slot is None
                if slot is not None:
                    like = value if value.shape == w.shape else torch.full_like(w, value.item())
                    slots.setdefault(slot, {})[name] = array(like).copy()
        hidden = [slot for slot in self.slot_names if unknown and slot not in slots]
        return slots | {slot: dict.fromkeys(held, NOT_OFFERED) for slot in hidden}

    def _restored(self, key: str, like: Any, name: str, w: Tensor, state: State) -> Any:
        """One entry of a parameter's state: the slot that it is, or a count of steps, as the optimizer keeps it."""
        slot = self._slot(key)
        if slot is not None and slot in state.slots:
            kept = torch.tensor(state.slots[slot][name], device=w.device)
            return kept if like is None or like.shape == kept.shape else kept.flatten()[0].to(like.dtype)
        if key == "step":
            return torch.full_like(like, state.step) if isinstance(like, Tensor) else type(like)(state.step)
        if slot is None and isinstance(like, Tensor):
            raise Unsupported(
                f"the optimizer's state {key!r} is none that is known: say which of the recipe's slots it is,"
                f" slots={{{self.slot_names[0] if self.slot_names else '...'!r}: {key!r}}}; the recipe's are"
                f" {listed(self.slot_names) or 'none'}"
            )
        return like

    def _slot(self, key: str) -> str | None:
        """The catalogue's slot that an optimizer calls ``key``; the recipe's, if it may be several."""
        own = {said: slot for slot, said in self.said.items()}
        known = (own[key],) if key in own else SLOTS.get(key, ())
        return next((slot for slot in known if slot in self.slot_names), known[0] if known else None)
