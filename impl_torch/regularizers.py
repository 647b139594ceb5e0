"""Regularizers: weight penalties and inverted dropout."""

import math

import torch


def l2(strength, *, convention="course"):
    """``strength`` times ``1/(2m) sum ||W[l]||^2`` (``"course"``), ``1/2 sum`` (``"half"``) or ``sum`` (``"full"``).

    Returns a function ``(weights, examples) -> scalar tensor`` to add to the cost. ``weight_decay`` of a PyTorch
    optimizer is ``"half"``, on whatever parameters that optimizer holds, biases included. Raises ValueError if
    ``strength`` is negative or not finite, or ``convention`` unknown.
    """
    if not (strength >= 0 and math.isfinite(strength)):
        raise ValueError(f"strength={strength!r} is not allowed: must be a finite number >= 0")
    if convention not in ("course", "half", "full"):
        raise ValueError(f"convention={convention!r} is not allowed: must be 'course', 'half' or 'full'")

    def penalty(weights, examples):
        factor = {"course": strength / (2 * examples), "half": strength / 2, "full": strength}[convention]
        return factor * sum(weight.square().sum() for weight in weights)

    return penalty


def dropout_mask(generator, shape, *, keep_probability):
    """Which units are kept: booleans of ``shape = (m, n_l)``, each True with ``keep_probability``, independently.

    ``generator``: a ``torch.Generator``, whose device the mask is on; None for the default one. ``nn.Dropout`` takes
    the probability of *dropping*. Raises ValueError unless ``0 < keep_probability <= 1``.
    """
    _check_keep_probability(keep_probability)
    device = None if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=device) < keep_probability


def inverted_dropout(activations, mask, *, keep_probability):
    """``a * mask / keep_probability``. ``activations`` and ``mask``: ``(m, n_l)``.

    What ``F.dropout`` does in training mode, with the mask given instead of drawn.
    """
    _check_keep_probability(keep_probability)
    return activations * mask / keep_probability


REGULARIZERS = {"l2": l2, "inverted_dropout": inverted_dropout}


def _check_keep_probability(keep_probability):
    if not 0 < keep_probability <= 1:
        raise ValueError(f"keep_probability={keep_probability!r} is not allowed: must be in (0, 1]")
