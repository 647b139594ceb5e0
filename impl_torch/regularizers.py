"""Regularizers: weight penalties, inverted dropout, gradient clipping, max-norm, early stopping, data augmentation.

Label smoothing is a keyword of the cross-entropies, batch normalisation a part of the model, decoupled weight decay a
part of the optimizer (``adamw``, ``lion``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ._common import (
    EarlyStopping,
    check_fraction,
    check_image_shape,
    check_keep_probability,
    check_not_negative,
    check_positive,
    check_positive_integer,
    is_weight,
)

# A penalty takes the weights W[1] .. W[L] and the number of examples; clippings and constraints take and return dicts.
Penalty = Callable[[Sequence[Tensor], int], Tensor]
Change = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]

CONVENTIONS = ("course", "half", "full")


class Augmentation(NamedTuple):
    """A random change of the inputs, in two parts, so that what is drawn can be kept."""

    draw: Callable[
        [torch.Generator | None, int, int], Tensor
    ]  # (generator, examples, features) -> tensor whose first axis is the examples
    apply: Callable[[Tensor, Tensor], Tensor]  # (x: (m, n_0), drawn) -> tensor of x's shape


def l2(strength: float, *, convention: str = "course") -> Penalty:
    """``strength`` times ``1/(2m) sum ||W[l]||^2`` (``"course"``), ``1/2 sum`` (``"half"``) or ``sum`` (``"full"``).

    Returns a function ``(weights, examples) -> scalar tensor`` to add to the cost. ``weight_decay`` of a PyTorch
    optimizer is ``"half"``, on whatever parameters that optimizer holds, biases included. Raises ValueError if
    ``strength`` is negative or not finite, or ``convention`` unknown.
    """
    return elastic_net(strength, l1_ratio=0.0, convention=convention)


def l1(strength: float, *, convention: str = "course") -> Penalty:
    """``factor sum_l sum |W[l]|``, ``factor`` as in :func:`l2`; the derivative of ``abs`` at 0 is PyTorch's, 0.

    Returns a function as :func:`l2`, and raises ValueError as it does.
    """
    return elastic_net(strength, l1_ratio=1.0, convention=convention)


def elastic_net(strength: float, *, l1_ratio: float = 0.5, convention: str = "course") -> Penalty:
    """``factor (l1_ratio sum |W| + (1 - l1_ratio) sum W^2)``, biases excepted; ``factor`` as in :func:`l2`.

    Returns a function as :func:`l2`. Raises ValueError as it does, and unless ``0 <= l1_ratio <= 1``.
    """
    check_not_negative("strength", strength)
    check_fraction("l1_ratio", l1_ratio)
    if convention not in CONVENTIONS:
        raise ValueError(f"convention={convention!r} is not allowed: must be 'course', 'half' or 'full'")

    def penalty(weights: Sequence[Tensor], examples: int) -> Tensor:
        factor = {"course": strength / (2 * examples), "half": strength / 2, "full": strength}[convention]
        absolute: Any = sum(weight.abs().sum() for weight in weights) if l1_ratio > 0 else 0.0
        squared: Any = sum(weight.square().sum() for weight in weights) if l1_ratio < 1 else 0.0
        return factor * (l1_ratio * absolute + (1 - l1_ratio) * squared)

    return penalty


def dropout_mask(generator: torch.Generator | None, shape: Sequence[int], *, keep_probability: float) -> Tensor:
    """Which units are kept: booleans of ``shape = (m, n_l)``, each True with ``keep_probability``, independently.

    ``generator``: a ``torch.Generator``, whose device the mask is on; None for the default one. ``nn.Dropout`` takes
    the probability of *dropping*. Raises ValueError unless ``0 < keep_probability <= 1``.
    """
    check_keep_probability(keep_probability)
    return torch.rand(shape, generator=generator, device=_device(generator)) < keep_probability


def inverted_dropout(activations: Tensor, mask: Tensor, *, keep_probability: float) -> Tensor:
    """``a * mask / keep_probability``. ``activations`` and ``mask``: ``(m, n_l)``.

    What ``F.dropout`` does in training mode, with the mask given instead of drawn.
    """
    check_keep_probability(keep_probability)
    return activations * mask / keep_probability


def clip_by_value(limit: float) -> Change:
    """Every element of every gradient into ``[-limit, limit]``; returns ``clip(gradients) -> gradients``, on dicts.

    ``nn.utils.clip_grad_value_`` does it in place. Raises ValueError unless ``limit`` is positive and finite.
    """
    check_positive("limit", limit)
    return lambda gradients: {name: g.clamp(-limit, limit) for name, g in gradients.items()}


def clip_by_norm(limit: float) -> Change:
    """Each gradient by itself to a Euclidean norm of at most ``limit``: ``g limit / max(||g||, limit)``, on dicts.

    A gradient within the limit is not changed. Raises ValueError as :func:`clip_by_value`.
    """
    check_positive("limit", limit)
    return lambda gradients: {name: _shrunk(g, g.square().sum().sqrt(), limit) for name, g in gradients.items()}


def clip_by_global_norm(limit: float) -> Change:
    """All gradients by one factor, so that the Euclidean norm over all of them is at most ``limit``; on dicts.

    ``nn.utils.clip_grad_norm_`` divides by the norm plus 1e-6. Raises ValueError as :func:`clip_by_value`.
    """
    check_positive("limit", limit)

    def clip(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        square: Any = sum(g.square().sum() for g in gradients.values())
        norm = square.sqrt()
        return {name: _shrunk(g, norm, limit) for name, g in gradients.items()}

    return clip


def max_norm(limit: float) -> Change:
    """After a step, the weights into each unit to a Euclidean norm of at most ``limit``; on dicts, biases excepted.

    Row ``j`` of ``W[l]``, all that lies along its first axis, becomes ``w_j limit / max(||w_j||, limit)``.
    ``torch.renorm(W, 2, 0, limit)`` divides by the norm plus 1e-7. Returns ``constrain(parameters) -> parameters``.
    Raises ValueError as :func:`clip_by_value`.
    """
    check_positive("limit", limit)

    def constrained(w: Tensor) -> Tensor:
        return _shrunk(w, w.square().sum(dim=1, keepdim=True).sqrt(), limit)

    def by_rows(name: str, w: Tensor) -> Tensor:
        return constrained(w.flatten(1)).reshape(w.shape) if is_weight(name) else w

    return lambda parameters: {name: by_rows(name, w) for name, w in parameters.items()}


def early_stopping(*, patience: int = 5, min_delta: float = 0.0, restore_best: bool = True) -> EarlyStopping:
    """Stop when the validation cost has not improved by more than ``min_delta`` for ``patience`` epochs.

    With ``restore_best`` training ends with the parameters of the best epoch (and its running statistics), else with
    the last. Returns a fresh :class:`EarlyStopping`. Raises ValueError unless ``patience`` is a positive integer and
    ``min_delta`` a finite number >= 0.
    """
    check_positive_integer("patience", patience)
    check_not_negative("min_delta", min_delta)
    if restore_best not in (True, False):
        raise ValueError(f"restore_best={restore_best!r} is not allowed: must be True or False")
    return EarlyStopping(patience, min_delta, restore_best)


def random_flip(image_shape: Sequence[int], *, probability: float = 0.5) -> Augmentation:
    """Images flipped left to right, each with ``probability``. Draws booleans ``(m,)``.

    ``image_shape``: ``(h, w)`` or ``(h, w, channels)``; rows of ``x`` are images flattened in C order. Returns an
    :class:`Augmentation`. Raises ValueError for another shape or a ``probability`` outside [0, 1].
    """
    shape = check_image_shape(image_shape)
    check_fraction("probability", probability)

    def draw(generator: torch.Generator | None, examples: int, features: int) -> Tensor:
        return torch.rand(examples, generator=generator, device=_device(generator)) < probability

    def apply(x: Tensor, flips: Tensor) -> Tensor:
        images = x.reshape(-1, *shape)
        return torch.where(flips.reshape(-1, *(1,) * len(shape)), images.flip(2), images).reshape(x.shape)

    return Augmentation(draw, apply)


def random_shift(image_shape: Sequence[int], *, largest: int = 1) -> Augmentation:
    """Images padded with ``largest`` zeros on every side and cropped back at a random place.

    Draws integers ``(m, 2)``, uniform in ``-largest .. largest``: pixel ``(i, j)`` of the result is pixel ``(i + d_1,
    j + d_2)`` of the image, 0 beyond its border. Returns an :class:`Augmentation`. Raises ValueError for a shape as in
    :func:`random_flip`, or unless ``largest`` is a positive integer.
    """
    shape = check_image_shape(image_shape)
    check_positive_integer("largest", largest)

    def draw(generator: torch.Generator | None, examples: int, features: int) -> Tensor:
        return torch.randint(-largest, largest + 1, (examples, 2), generator=generator, device=_device(generator))

    def apply(x: Tensor, offsets: Tensor) -> Tensor:
        images = x.reshape(-1, *shape)
        channels = (0, 0) * (len(shape) - 2)
        padded = F.pad(images, (*channels, largest, largest, largest, largest))  # F.pad counts axes from the last
        rows = largest + offsets[:, :1] + torch.arange(shape[0], device=x.device)  # (m, h)
        columns = largest + offsets[:, 1:] + torch.arange(shape[1], device=x.device)  # (m, w)
        examples = torch.arange(len(images), device=x.device)[:, None, None]
        return padded[examples, rows[:, :, None], columns[:, None, :]].reshape(x.shape)

    return Augmentation(draw, apply)


def gaussian_noise(*, scale: float = 0.1) -> Augmentation:
    """``x + scale n``, ``n`` standard normal, drawn anew for every visit. Draws ``n: (m, n_0)``.

    Returns an :class:`Augmentation`. Raises ValueError if ``scale`` is negative or not finite.
    """
    check_not_negative("scale", scale)

    def draw(generator: torch.Generator | None, examples: int, features: int) -> Tensor:
        return torch.randn((examples, features), generator=generator, device=_device(generator))

    return Augmentation(draw, lambda x, noise: x + scale * noise.reshape(x.shape))


PENALTIES: dict[str, Callable[..., Penalty]] = {"l2": l2, "l1": l1, "elastic_net": elastic_net}
CLIPPINGS: dict[str, Callable[..., Change]] = {
    "clip_by_value": clip_by_value,
    "clip_by_norm": clip_by_norm,
    "clip_by_global_norm": clip_by_global_norm,
}
CONSTRAINTS: dict[str, Callable[..., Change]] = {"max_norm": max_norm}
AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
    "random_flip": random_flip,
    "random_shift": random_shift,
    "gaussian_noise": gaussian_noise,
}
REGULARIZERS: dict[str, Callable[..., Any]] = {
    **PENALTIES,
    "inverted_dropout": inverted_dropout,
    **CLIPPINGS,
    **CONSTRAINTS,
    "early_stopping": early_stopping,
    **AUGMENTATIONS,
}


def _shrunk(tensor: Tensor, norm: Tensor, largest: float) -> Tensor:
    limit = torch.full_like(norm, largest)  # number / tensor is number * (1 / tensor): not always 1 for two equal ones
    return tensor * (limit / torch.maximum(norm, limit))


def _device(generator: torch.Generator | None) -> torch.device | None:
    return None if generator is None else generator.device
