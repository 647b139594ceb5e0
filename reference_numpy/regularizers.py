"""Regularizers: weight penalties, inverted dropout, gradient clipping, max-norm, early stopping, data augmentation.

Label smoothing is a keyword of the cross-entropies, batch normalisation a part of the model, decoupled weight decay a
part of the optimizer (``adamw``, ``lion``).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
from .arithmetic import total

Array = NDArray[Any]
Tensors = dict[str, Array]
Change = Callable[[Tensors], Tensors]  # of gradients (clipping) or of parameters (constraint)

CONVENTIONS = ("course", "half", "full")


class Penalty(NamedTuple):
    """A term of the cost that depends on the weights alone."""

    value: Callable[[Sequence[Array], int], Any]  # (weights, examples) -> scalar
    gradient: Callable[[Array, int], Array]  # (weight, examples) -> array of the weight's shape


class Augmentation(NamedTuple):
    """A random change of the inputs, in two parts, so that what is drawn can be kept."""

    # (generator, examples, features) -> array whose first axis is the examples
    draw: Callable[[np.random.Generator, int, int], Array]
    apply: Callable[[Array, Array], Array]  # (x: (m, n_0), drawn) -> array of x's shape


def l2(strength: float, *, convention: str = "course") -> Penalty:
    """Penalty on the squared weights, biases excepted.

    ``"course"``: ``strength/(2m) sum_l ||W[l]||_F^2``; ``"half"``: ``strength/2 sum_l ||W[l]||_F^2``;
    ``"full"``: ``strength sum_l ||W[l]||_F^2``. ``m`` is the number of examples of the batch.
    Returns a :class:`Penalty`. Raises ValueError if ``strength`` is negative or not finite, or ``convention`` unknown.
    Source: the course, course 2 week 1. ("half" is PyTorch's ``weight_decay``, "full" Keras's ``L2``.)

    >>> float(l2(0.5).value([np.array([[2.0]])], examples=4))
    0.25
    """
    return elastic_net(strength, l1_ratio=0.0, convention=convention)


def l1(strength: float, *, convention: str = "course") -> Penalty:
    """Penalty on the absolute weights, biases excepted: ``factor sum_l sum |W[l]|``, its gradient ``factor sign(W)``.

    ``factor`` is ``strength/(2m)``, ``strength/2`` or ``strength``, as in :func:`l2`; ``sign(0) = 0``. Returns a
    :class:`Penalty`. Raises ValueError as :func:`l2`. Source: the course, course 2 week 1; Tibshirani 1996.

    >>> float(l1(0.5).value([np.array([[-2.0]])], examples=4))
    0.125
    """
    return elastic_net(strength, l1_ratio=1.0, convention=convention)


def elastic_net(strength: float, *, l1_ratio: float = 0.5, convention: str = "course") -> Penalty:
    """``factor (l1_ratio sum |W| + (1 - l1_ratio) sum W^2)``, biases excepted; ``factor`` as in :func:`l1`.

    Returns a :class:`Penalty`. Raises ValueError as :func:`l2`, and unless ``0 <= l1_ratio <= 1``. Source: Zou & Hastie
    2005, eq. 3.

    >>> float(elastic_net(1.0, convention="full").value([np.array([[-2.0]])], examples=4))
    3.0
    """
    check_not_negative("strength", strength)
    check_fraction("l1_ratio", l1_ratio)
    if convention not in CONVENTIONS:
        raise ValueError(f"convention={convention!r} is not allowed: must be 'course', 'half' or 'full'")

    def factor(examples: int) -> float:
        return {"course": strength / (2 * examples), "half": strength / 2, "full": strength}[convention]

    def value(weights: Sequence[Array], examples: int) -> Any:
        absolute = sum(total(np.abs(w)) for w in weights) if l1_ratio > 0 else 0.0
        squared = sum(total(w * w) for w in weights) if l1_ratio < 1 else 0.0
        return factor(examples) * (l1_ratio * absolute + (1 - l1_ratio) * squared)

    def gradient(weight: Array, examples: int) -> Array:
        return factor(examples) * (l1_ratio * np.sign(weight) + 2 * (1 - l1_ratio) * weight)

    return Penalty(value, gradient)


def dropout_mask(generator: np.random.Generator, shape: tuple[int, ...], *, keep_probability: float) -> Array:
    """Which units are kept: booleans of ``shape = (m, n_l)``, each True with ``keep_probability``, independently.

    Raises ValueError unless ``0 < keep_probability <= 1``. Source: Srivastava et al. 2014.

    >>> bool(dropout_mask(np.random.default_rng(0), (2, 3), keep_probability=1.0).all())
    True
    """
    check_keep_probability(keep_probability)
    return generator.random(shape) < keep_probability


def inverted_dropout(activations: Array, mask: Array, *, keep_probability: float) -> Array:
    """``a * mask / keep_probability``: dropped units give 0, kept ones are scaled so that the expectation stays.

    ``activations`` and ``mask``: ``(m, n_l)``. Linear in ``activations``, so its backward pass is itself.
    Source: the course, course 2 week 1.

    >>> inverted_dropout(np.array([[1.0, 2.0]]), np.array([[True, False]]), keep_probability=0.5)
    array([[2., 0.]])
    """
    check_keep_probability(keep_probability)
    return activations * mask / keep_probability


def clip_by_value(limit: float) -> Change:
    """Every element of every gradient into ``[-limit, limit]``; returns ``clip(gradients) -> gradients``, on dicts.

    Raises ValueError unless ``limit`` is positive and finite.

    >>> clip_by_value(1.0)({"W1": np.array([3.0, -0.5])})
    {'W1': array([ 1. , -0.5])}
    """
    check_positive("limit", limit)
    return lambda gradients: {name: np.clip(g, -limit, limit) for name, g in gradients.items()}


def clip_by_norm(limit: float) -> Change:
    """Each gradient by itself to a Euclidean norm of at most ``limit``: ``g limit / max(||g||, limit)``, on dicts.

    A gradient within the limit is not changed. Raises ValueError as :func:`clip_by_value`. Source: Pascanu, Mikolov &
    Bengio 2013, algorithm 1.

    >>> clip_by_norm(1.0)({"W1": np.array([3.0, 4.0])})
    {'W1': array([0.6, 0.8])}
    """
    check_positive("limit", limit)
    return lambda gradients: {name: _shrunk(g, np.sqrt(total(g * g)), limit) for name, g in gradients.items()}


def clip_by_global_norm(limit: float) -> Change:
    """All gradients by one factor, so that the Euclidean norm over all of them is at most ``limit``; on dicts.

    Nothing is changed within the limit; no small number is added to the norm (PyTorch adds 1e-6). Raises ValueError as
    :func:`clip_by_value`. Source: Pascanu, Mikolov & Bengio 2013, algorithm 1.

    >>> clip_by_global_norm(1.0)({"W1": np.array([3.0]), "b1": np.array([4.0])})
    {'W1': array([0.6]), 'b1': array([0.8])}
    """
    check_positive("limit", limit)

    def clip(gradients: Tensors) -> Tensors:
        norm = np.sqrt(sum(total(g * g) for g in gradients.values()))
        return {name: _shrunk(g, norm, limit) for name, g in gradients.items()}

    return clip


def max_norm(limit: float) -> Change:
    """After a step, the weights into each unit to a Euclidean norm of at most ``limit``; on dicts, biases excepted.

    Row ``j`` of ``W[l]``, all that lies along its first axis, becomes ``w_j limit / max(||w_j||, limit)``; rows within
    the limit stay as they are (Keras's constraint shrinks them a little). Returns ``constrain(parameters) ->
    parameters``. Raises ValueError as :func:`clip_by_value`. Source: Srivastava et al. 2014, section 5.1; Srebro,
    Rennie & Jaakkola 2005.

    >>> max_norm(1.0)({"W1": np.array([[3.0, 4.0], [0.1, 0.0]]), "b1": np.array([5.0, 5.0])})
    {'W1': array([[0.6, 0.8],
           [0.1, 0. ]]), 'b1': array([5., 5.])}
    """
    check_positive("limit", limit)

    def constrained(name: str, w: Array) -> Array:
        return _shrunk(w, np.sqrt(total(w * w, axis=1)), limit) if is_weight(name) else w

    def by_rows(name: str, w: Array) -> Array:
        return constrained(name, w) if w.ndim < 3 else constrained(name, w.reshape(len(w), -1)).reshape(w.shape)

    return lambda parameters: {name: by_rows(name, w) for name, w in parameters.items()}


def early_stopping(*, patience: int = 5, min_delta: float = 0.0, restore_best: bool = True) -> EarlyStopping:
    """Stop when the validation cost has not improved by more than ``min_delta`` for ``patience`` epochs.

    With ``restore_best`` training ends with the parameters of the best epoch (and its running statistics), else with
    the last. Returns a fresh :class:`EarlyStopping`. Raises ValueError unless ``patience`` is a positive integer and
    ``min_delta`` a finite number >= 0. Source: the course, course 2 week 1; Prechelt 1998.

    >>> monitor = early_stopping(patience=2)
    >>> [monitor.improved(cost) for cost in (1.0, 0.5, 0.6, 0.5)], monitor.best_epoch, monitor.stop
    ([True, True, False, False], 2, True)
    """
    check_positive_integer("patience", patience)
    check_not_negative("min_delta", min_delta)
    if restore_best not in (True, False):
        raise ValueError(f"restore_best={restore_best!r} is not allowed: must be True or False")
    return EarlyStopping(patience, min_delta, restore_best)


def random_flip(image_shape: tuple[int, ...], *, probability: float = 0.5) -> Augmentation:
    """Images flipped left to right, each with ``probability``. Draws booleans ``(m,)``.

    ``image_shape``: ``(h, w)`` or ``(h, w, channels)``; rows of ``x`` are images flattened in C order. Returns an
    :class:`Augmentation`. Raises ValueError for another shape or a ``probability`` outside [0, 1].

    >>> random_flip((1, 3)).apply(np.array([[1.0, 2.0, 3.0]]), np.array([True]))
    array([[3., 2., 1.]])
    """
    shape = check_image_shape(image_shape)
    check_fraction("probability", probability)

    def apply(x: Array, flips: Array) -> Array:
        images = x.reshape(-1, *shape)
        flipped = np.where(flips.reshape(-1, *(1,) * len(shape)), images[:, :, ::-1], images)
        return flipped.reshape(x.shape)

    return Augmentation(lambda generator, examples, features: generator.random(examples) < probability, apply)


def random_shift(image_shape: tuple[int, ...], *, largest: int = 1) -> Augmentation:
    """Images padded with ``largest`` zeros on every side and cropped back at a random place.

    Draws integers ``(m, 2)``, uniform in ``-largest .. largest``: pixel ``(i, j)`` of the result is pixel ``(i + d_1,
    j + d_2)`` of the image, 0 beyond its border. Returns an :class:`Augmentation`. Raises ValueError for a shape as in
    :func:`random_flip`, or unless ``largest`` is a positive integer. Source: He, Zhang, Ren & Sun 2016, section 4.2.

    >>> random_shift((1, 3)).apply(np.array([[1.0, 2.0, 3.0]]), np.array([[0, 1]]))
    array([[2., 3., 0.]])
    """
    shape = check_image_shape(image_shape)
    check_positive_integer("largest", largest)

    def apply(x: Array, offsets: Array) -> Array:
        images = x.reshape(-1, *shape)
        border = ((0, 0), (largest, largest), (largest, largest), (0, 0))[: images.ndim]
        padded = np.pad(images, border)
        rows = largest + offsets[:, :1] + np.arange(shape[0])  # (m, h)
        columns = largest + offsets[:, 1:] + np.arange(shape[1])  # (m, w)
        examples = np.arange(len(images))[:, None, None]
        return padded[examples, rows[:, :, None], columns[:, None, :]].reshape(x.shape)

    return Augmentation(
        lambda generator, examples, features: generator.integers(-largest, largest, (examples, 2), endpoint=True), apply
    )


def gaussian_noise(*, scale: float = 0.1) -> Augmentation:
    """``x + scale n``, ``n`` standard normal, drawn anew for every visit. Draws ``n: (m, n_0)``.

    Returns an :class:`Augmentation`. Raises ValueError if ``scale`` is negative or not finite. Source: Bishop 1995.

    >>> gaussian_noise(scale=0.5).apply(np.array([[1.0]]), np.array([[2.0]]))
    array([[2.]])
    """
    check_not_negative("scale", scale)
    return Augmentation(
        lambda generator, examples, features: generator.standard_normal((examples, features)),
        lambda x, noise: x + scale * noise,
    )


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


def _shrunk(array: Array, norm: Any, limit: float) -> Array:
    return array * (limit / np.maximum(norm, limit)).astype(array.dtype)
