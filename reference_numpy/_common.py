"""What a package needs and is no formula: checks of arguments, names of layers and paths, what a training is made of.

This file needs no framework. It reads the same in each of the four packages; a test holds the copies equal.
"""

import inspect
import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cache, wraps
from numbers import Integral
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def check_not_negative(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number >= 0."""
    if not 0 <= _number(value) < math.inf:
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number >= 0")


def check_positive(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number > 0."""
    if not 0 < _number(value) < math.inf:
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number > 0")


def check_finite(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number."""
    if not math.isfinite(_number(value)):
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number")


def check_decay(name: str, value: Any) -> None:
    """Raise ValueError unless ``0 <= value < 1``."""
    if not 0 <= _number(value) < 1:
        raise ValueError(f"{name}={value!r} is not allowed: must be in [0, 1)")


def check_fraction(name: str, value: Any) -> None:
    """Raise ValueError unless ``0 <= value <= 1``."""
    if not 0 <= _number(value) <= 1:
        raise ValueError(f"{name}={value!r} is not allowed: must be in [0, 1]")


def check_keep_probability(value: Any) -> None:
    """Raise ValueError unless ``0 < value <= 1``."""
    if not 0 < _number(value) <= 1:
        raise ValueError(f"keep_probability={value!r} is not allowed: must be in (0, 1]")


def check_positive_integer(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is an integer >= 1."""
    if not (_is_integer(value) and value >= 1):
        raise ValueError(f"{name}={value!r} is not allowed: must be an integer >= 1")


def check_choice(name: str, value: Any, allowed: Collection[Any]) -> None:
    """Raise ValueError unless ``value`` is among ``allowed``."""
    if not isinstance(value, Hashable) or value not in tuple(allowed):
        raise ValueError(f"{name}={value!r} is not allowed: must be one of {', '.join(map(repr, allowed))}")


def check_kind(name: str, value: Any, kinds: Any, must: str) -> None:
    """Raise ValueError unless ``value`` is an instance of one of ``kinds``; ``must``: what it must be, in words."""
    if not isinstance(value, kinds):
        raise ValueError(f"{name}={_shown(value)} is not allowed: must be {must}")


def check_offers(name: str, value: Any, methods: Collection[str], must: str) -> None:
    """Raise ValueError unless ``value`` is an object with these methods; ``must``: what it must be, in words."""
    if _is_maker(value) or not all(callable(getattr(value, method, None)) for method in methods):
        raise ValueError(f"{name}={_shown(value)} is not allowed: must be {must}")


def check_function(name: str, value: Any, must: str) -> None:
    """Raise ValueError unless ``value`` is None or a function, and none that makes such: ``exponential`` itself."""
    if value is not None and (_is_maker(value) or not callable(value)):
        raise ValueError(f"{name}={_shown(value)} is not allowed: must be None or a function, {must}")


def check_sequence(name: str, value: Any, methods: Collection[str], must: str) -> None:
    """Raise ValueError unless ``value`` is a list or tuple of objects with these methods."""
    check_kind(name, value, (list, tuple), must)
    for part in value:
        check_offers(name, part, methods, must)


def given_or_default(name: str, given: Any, kind: Any) -> Any:
    """``given``, which must be of a ``kind``; for None that of defaults. Raises ValueError for anything else."""
    if given is not None:
        check_kind(name, given, kind, f"None or a {kind.__name__}")
    return kind() if given is None else given


def check_flags(**flags: Any) -> None:
    """Raise ValueError unless all are True or False."""
    for name, value in flags.items():
        check_choice(name, value, (False, True))


def check_permutation(name: str, value: Any, letters: str) -> None:
    """Raise ValueError unless ``value`` has each of the letters once."""
    if not isinstance(value, str) or sorted(value) != sorted(letters):
        raise ValueError(f"{name}={value!r} is not allowed: must be the letters of {letters!r} in any order")


def check_sizes(name: str, value: Any, lengths: Collection[int], must: str, *, least: int = 1) -> tuple[int, ...]:
    """As a tuple. Raises ValueError unless a tuple of an allowed length, of integers that are ``least`` or more."""
    whole = isinstance(value, tuple) and all(_is_integer(size) and size >= least for size in value)
    if not whole or len(value) not in lengths:
        raise ValueError(f"{name}={value!r} is not allowed: must be {must}")
    return tuple(map(int, value))


def check_layer_sizes(layer_sizes: Any) -> tuple[int, ...]:
    """The sizes as a tuple. Raises ValueError unless they are two or more positive integers."""
    sizes = tuple(layer_sizes)
    if len(sizes) < 2 or not all(_is_integer(size) and size > 0 for size in sizes):
        raise ValueError(f"layer_sizes={layer_sizes!r} is not allowed: must be two or more positive integers")
    return tuple(map(int, sizes))


def check_image_shape(shape: Any) -> tuple[int, ...]:
    """The shape as a tuple. Raises ValueError unless it is ``(h, w)`` or ``(h, w, channels)``."""
    if len(shape) not in (2, 3) or not all(_is_integer(size) and size > 0 for size in shape):
        raise ValueError(f"image_shape={shape!r} is not allowed: must be (h, w) or (h, w, channels), positive integers")
    return tuple(map(int, shape))


def check_examples(x: Any, y: Any, *, what: str = "") -> None:
    """Raise ValueError unless inputs and targets are arrays of equally many examples, one or more."""
    inputs, targets = _examples(f"{what}x", x), _examples(f"{what}y", y)
    if inputs == 0 or inputs != targets:
        raise ValueError(f"{what}x has {inputs} examples, {what}y {targets}: must be the same number, at least one")


def check_masks(masks: Mapping[Any, Any], epochs: int, examples: int, shapes: Mapping[Any, tuple[int, ...]]) -> None:
    """Raise ValueError unless masks are of layers in ``shapes``, of one example, and each has a row for every visit."""
    for layer, mask in masks.items():
        _check_drops("dropout_masks", layer, shapes)
        shape, expected = tuple(np.shape(mask)), (epochs, examples, *shapes[layer])
        if shape[1:] != expected[1:] or shape[0] < epochs:
            raise ValueError(f"dropout_masks[{layer!r}] has shape {shape}: must be {expected}")


def check_step_masks(masks: Any, examples: Any, model: Any) -> None:
    """Raise ValueError unless ``masks`` is None, or of layers that drop units, with a row for each of ``examples``.

    ``model.mask_shapes``: the shape of one example's mask, by layer or path. A size of None may be any.
    """
    check_kind("masks", masks, (Mapping, type(None)), "None or a mapping of arrays by layer or path")
    shapes = model.mask_shapes if masks else {}
    for layer, mask in (masks or {}).items():
        _check_drops("masks", layer, shapes)
        shape, expected = tuple(getattr(mask, "shape", np.shape(mask))), (examples, *shapes[layer])
        known = all(None in sizes or sizes[0] == sizes[1] for sizes in zip(shape, expected, strict=False))
        if len(shape) != len(expected) or not known:
            raise ValueError(f"masks[{layer!r}] has shape {shape}: must be {expected}")


def _check_drops(name: str, layer: Any, shapes: Mapping[Any, tuple[int, ...]]) -> None:
    """Raise ValueError unless ``layer`` is among those that drop units."""
    if layer not in shapes:
        must = f"one of {', '.join(map(repr, shapes))}" if shapes else "left out, since the model drops nothing"
        raise ValueError(f"{name}={layer!r} is not allowed: must be {must}")


def check_training(x: Any, y: Any, *, epochs: Any, batch_size: Any) -> None:
    """Raise ValueError for arguments of ``fit`` that do not fit."""
    check_examples(x, y)
    check_positive_integer("epochs", epochs)
    if batch_size is not None and not (_is_integer(batch_size) and batch_size >= 1):
        raise ValueError(f"batch_size={batch_size!r} is not allowed: must be None or an integer >= 1")


def check_state(what: str, given: Any, expected: dict[str, tuple[int, ...]]) -> None:
    """Raise ValueError unless the arrays of ``given`` have the names and shapes ``expected``; ``what`` they are of."""
    for name, shape in expected.items():
        if name not in given:
            raise ValueError(f"{what} has no {name!r}: must hold {', '.join(expected)}")
        own = tuple(getattr(given[name], "shape", ()))
        if own != tuple(shape):
            raise ValueError(f"{what} {name!r} has shape {own}: must be {tuple(shape)}")


def step_and_slots(state: Any) -> tuple[Any, Any]:
    """Both of an optimizer's state. Raises ValueError for what has none."""
    if not (hasattr(state, "step") and isinstance(getattr(state, "slots", None), Mapping)):
        raise ValueError(f"optimizer_state={_shown(state)} is not allowed: must be None or that of a history")
    return state.step.item() if hasattr(state.step, "item") else state.step, state.slots


def check_optimizer_state(step: Any, slots: Any, expected: dict[str, dict[str, tuple[int, ...]]]) -> None:
    """Raise ValueError unless a state to go on from has a step count and the slots, names and shapes ``expected``."""
    if not (_is_integer(step) and step >= 0):
        raise ValueError(f"optimizer_state.step={step!r} is not allowed: must be an integer >= 0")
    for slot, shapes in expected.items():
        if slot not in slots:
            raise ValueError(f"optimizer_state has no slot {slot!r}: must hold {', '.join(expected)}")
        check_state(f"optimizer_state, slot {slot!r},", slots[slot], shapes)


def check_parameters(given: Any, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError unless ``given`` has parameters of these names and shapes, and no others."""
    check_state("parameters", given, dict(expected))
    for name in given:
        if name not in expected:
            raise ValueError(f"parameters has {name!r}, which the model has not: must hold {', '.join(expected)}")


def layer_of(name: str) -> int:
    """The layer that a parameter belongs to: 12 for ``"gamma12"``, 3 for ``"3.W"``."""
    return int(name.partition(".")[0].lstrip("Wbgamet"))


def own_name(name: str) -> str:
    """The name of a parameter within its layer: ``"W"`` for ``"W12"``, ``"b_h"`` for ``"3.1.b_h"``."""
    return name.rpartition(".")[2].rstrip("0123456789")


def is_weight(name: str) -> bool:
    """Whether a parameter is weights, which penalties and norms' limits are of: ``"W12"``, ``"3.W"``, ``"3.W_q"``."""
    return own_name(name).startswith(("W", "U"))


def is_trained(name: str, frozen_layers: int, frozen_biases: bool) -> bool:
    """Whether training changes a parameter: not those of the first ``frozen_layers`` layers, nor frozen biases."""
    is_bias = own_name(name) == "b" or own_name(name).startswith("b_")
    return layer_of(name) > frozen_layers and not (frozen_biases and is_bias)


def inside(arrays: Any, part: int | str) -> Any:
    """What belongs to ``part`` of a network, by its path within: ``{"3.W": w}`` as ``{"W": w}`` for 3; None stays None.

    The part ``""`` is the whole.
    """
    if arrays is None or part == "":
        return arrays
    prefix = f"{part}."
    return {path.removeprefix(prefix): array for path, array in arrays.items() if path.startswith(prefix)}


def named(arrays: Mapping[str, Any], part: int | str) -> dict[str, Any]:
    """The other way round: ``{"W": w}`` as ``{"3.W": w}`` for 3."""
    return {path if part == "" else f"{part}.{path}": array for path, array in arrays.items()}


class EarlyStopping:
    """Decides after each epoch whether to go on; made by ``early_stopping``. ``best_epoch`` counts from 1."""

    def __init__(self, patience: int, min_delta: float, restore_best: bool) -> None:
        self.patience, self.min_delta, self.restore_best = patience, min_delta, restore_best
        self.best_cost, self.best_epoch, self.epoch = math.inf, 0, 0

    def improved(self, cost: float) -> bool:
        """Take in the validation cost of the next epoch; is it the best by more than ``min_delta``?"""
        self.epoch += 1
        if not cost < self.best_cost - self.min_delta:
            return False
        self.best_cost, self.best_epoch = cost, self.epoch
        return True

    @property
    def stop(self) -> bool:
        """Whether ``patience`` epochs have gone by since the best one."""
        return self.epoch - self.best_epoch >= self.patience


# What must be given, with a call that gives it: whoever gives the function itself sees what is missing.
PENALTIES = "a list or tuple of penalties, as regularizers makes them: [l2(0.1)], for example"
AUGMENTATIONS = "a list or tuple of augmentations, as regularizers makes them: [gaussian_noise()], for example"
OPTIMIZER = "an Update or an optimizer, as optimizers makes them: adam(...), for example"
FUNCTIONS = {
    "schedule": "as schedules makes them: exponential(0.1), for example",
    "clipping": "as regularizers makes them: clip_by_norm(1.0), for example",
    "constraint": "as regularizers makes them: max_norm(1.0), for example",
}


@dataclass(frozen=True)
class Objective:
    """What training makes smaller: the mean (or the sum) of the examples' losses, plus penalties of the weights.

    ``loss``: a name in ``losses.LOSSES``, ``loss_options`` its keywords; ``reduction``: ``"mean"`` or ``"sum"`` of the
    examples' losses; ``penalties``: of ``regularizers``. Raises ValueError for an unknown reduction, options that are
    no mapping, and penalties that are no list or tuple.
    """

    loss: str
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    reduction: str = "mean"
    penalties: Sequence[Any] = ()

    def __post_init__(self) -> None:
        check_kind("loss_options", self.loss_options, Mapping, "a mapping of keywords")
        check_choice("reduction", self.reduction, ("mean", "sum"))
        check_kind("penalties", self.penalties, (list, tuple), PENALTIES)

    @classmethod
    def of(cls, loss: "str | Objective", known: Mapping[str, Any], methods: Collection[str]) -> "Objective":
        """An objective as it is; that of a loss by its name: the mean of it, without penalties.

        Raises ValueError for a loss that is not ``known``, a keyword that it has not, and penalties without
        ``methods``.
        """
        objective = loss if isinstance(loss, Objective) else cls(loss)
        check_choice("loss", objective.loss, known)
        for keyword in objective.loss_options:
            check_choice("loss_options", keyword, _keywords(known[objective.loss]))
        check_sequence("penalties", objective.penalties, methods, PENALTIES)
        return objective


@dataclass(frozen=True)
class Update:
    """How a step changes the parameters: by an ``optimizer``, and by what is done before and after it.

    ``schedule`` gives ``fit`` the learning rate by epoch or by step (``schedule_unit``), both counted from 0; None
    keeps the optimizer's. ``clipping`` is of the gradients, ``constraint`` of the parameters after the step; both are
    made in ``regularizers``. The first ``frozen_layers`` layers and, with ``frozen_biases``, all biases stay as they
    are. Raises ValueError for an unknown unit, ``frozen_biases`` that is no bool, or what is no function.
    """

    optimizer: Any
    schedule: Callable[[int], float] | None = None
    schedule_unit: str = "epoch"
    clipping: Callable[[Any], Any] | None = None
    constraint: Callable[[Any], Any] | None = None
    frozen_layers: int = 0
    frozen_biases: bool = False

    def __post_init__(self) -> None:
        check_choice("schedule_unit", self.schedule_unit, ("epoch", "step"))
        check_choice("frozen_biases", self.frozen_biases, (False, True))
        for name, must in FUNCTIONS.items():
            check_function(name, getattr(self, name), must)

    @classmethod
    def of(cls, optimizer: Any, methods: Collection[str]) -> "Update":
        """An update as it is; that of an optimizer: by it alone. Raises ValueError for one without ``methods``."""
        update = optimizer if isinstance(optimizer, cls) else cls(optimizer)
        check_offers("optimizer", update.optimizer, methods, OPTIMIZER)
        return update

    def trained(self, parameters: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """Those of a model's ``parameters`` that training changes; ``depth`` is the number of its layers.

        Raises ValueError if ``frozen_layers`` is out of range, or leaves nothing to train.
        """
        if not _is_integer(self.frozen_layers) or self.frozen_layers not in range(depth):
            raise ValueError(f"frozen_layers={self.frozen_layers!r} is not allowed: must be in 0 .. {depth - 1}")
        trained = {n: w for n, w in parameters.items() if is_trained(n, self.frozen_layers, self.frozen_biases)}
        if not trained:
            raise ValueError(f"frozen_layers={self.frozen_layers!r} is not allowed: it leaves no parameter to train")
        return trained

    def without_schedule(self) -> "Update":
        """The same of single steps, whose rates are data of theirs."""
        return replace(self, schedule=None, schedule_unit="epoch")

    def check_rate(self, learning_rate: Any) -> None:
        """Raise ValueError for the rate of a step: None where there is a schedule, no finite number >= 0.

        What a framework has not computed yet is not looked at.
        """
        if self.schedule is not None and learning_rate is None:
            raise ValueError(
                "learning_rate=None is not allowed with a schedule: must be its rate, which counts epochs or steps"
            )
        if learning_rate is not None and (isinstance(learning_rate, float) or not hasattr(learning_rate, "shape")):
            check_not_negative("learning_rate", learning_rate)


@dataclass(frozen=True)
class Tape:
    """What would be drawn, recorded: row ``e`` of each array is of epoch ``e``. What is None is drawn after all.

    ``batch_order: (epochs, m)`` is the order of the examples. ``dropout_masks`` are ``(epochs, m, n_l)`` by layer, or
    ``(epochs, m, ...)`` by path, and row ``k`` belongs to the ``k``-th example visited; of the same order are
    ``augmentation_draws``, one array ``(epochs, m, ...)`` for each augmentation.
    """

    batch_order: Any = None
    dropout_masks: Mapping[Any, Any] | None = None
    augmentation_draws: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        masks = self.dropout_masks
        check_kind("dropout_masks", masks, (Mapping, type(None)), "None or a mapping of arrays by layer or path")

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing, so that all is drawn."""
        return self.batch_order is None and self.dropout_masks is None and self.augmentation_draws is None

    def check(
        self, *, epochs: int, examples: int, augmentations: int, mask_shapes: Mapping[Any, tuple[int, ...]]
    ) -> None:
        """Raise ValueError unless it holds a training: a row of an epoch for each, in it one for each example.

        ``mask_shapes``: those of one example's dropout masks, by layer or path.
        """
        if self.batch_order is not None:
            order = _as_numpy(self.batch_order)
            if order.shape[1:] != (examples,) or len(order) < epochs:
                raise ValueError(f"batch_order has shape {order.shape}: must be {(epochs, examples)}")
            if order.dtype.kind not in "iu":
                raise ValueError(f"batch_order has dtype {order.dtype}: must be integers")
            if order.min() < 0 or order.max() >= examples:
                raise ValueError(f"batch_order spans {order.min()} .. {order.max()}: must be in 0 .. {examples - 1}")
        draws = self.augmentation_draws
        if draws is not None and len(draws) != augmentations:
            raise ValueError(
                f"augmentation_draws has {len(draws)} arrays: must be {augmentations}, one for each augmentation"
            )
        check_masks(self.dropout_masks or {}, epochs, examples, mask_shapes)
        for number, drawn in enumerate(draws or ()):
            shape = tuple(np.shape(drawn))
            if shape[1:2] != (examples,) or shape[0] < epochs:
                raise ValueError(f"augmentation_draws[{number}] has shape {shape}: must be {(epochs, examples)}, ...")


@dataclass(frozen=True)
class Sampling:
    """How examples come to ``fit``: in an order and with masks that are drawn from ``seed``, or stand on a ``tape``.

    ``augmentations``, of ``regularizers``, change the inputs of every batch; ``example_weights: (m,)`` go with the
    examples, in the order of the data. Raises ValueError for a seed that is no integer in 0 .. 2**63 - 1, and for what
    is no :class:`Tape` or no list or tuple of augmentations.
    """

    seed: int = 0
    augmentations: Sequence[Any] = ()
    example_weights: Any = None
    tape: Tape = field(default_factory=Tape)

    def __post_init__(self) -> None:
        if not _is_integer(self.seed) or not 0 <= self.seed < 2**63:
            raise ValueError(f"seed={_shown(self.seed)} is not allowed: must be an integer in 0 .. 2**63 - 1")
        check_sequence("augmentations", self.augmentations, ("draw", "apply"), AUGMENTATIONS)
        check_kind("tape", self.tape, Tape, "a Tape")

    def check(self, *, epochs: int, examples: int, mask_shapes: Mapping[Any, tuple[int, ...]]) -> None:
        """Raise ValueError unless the weights are one for each example, and the tape holds such a training.

        ``mask_shapes``: those of one example's dropout masks, by layer or path.
        """
        weights = self.example_weights
        if weights is not None and tuple(np.shape(weights)) != (examples,):
            raise ValueError(f"example_weights has shape {tuple(np.shape(weights))}: must be ({examples},)")
        self.tape.check(
            epochs=epochs, examples=examples, augmentations=len(self.augmentations), mask_shapes=mask_shapes
        )


@dataclass(frozen=True)
class Monitor:
    """What is looked at after every epoch, and what is kept of it.

    ``validation=(x, y)`` gives a cost, without penalties and in inference mode. ``early_stopping``, of
    ``regularizers``, listens to it: a fresh one for every training. After ``checkpoint_epochs``, which count from 1,
    parameters are kept. Of every step its cost is recorded, with ``gradient_norms`` the norm of its gradient too, which
    takes a pass over all gradients. Raises ValueError for ``early_stopping`` without ``validation``, and for what is
    none of these.
    """

    validation: tuple[Any, Any] | None = None
    early_stopping: EarlyStopping | None = None
    checkpoint_epochs: Collection[int] = ()
    gradient_norms: bool = False

    def __post_init__(self) -> None:
        check_flags(gradient_norms=self.gradient_norms)
        if self.early_stopping is not None and self.validation is None:
            raise ValueError("validation=None is not allowed with early_stopping: must be (x, y)")
        if self.validation is not None:
            if not isinstance(self.validation, (list, tuple)) or len(self.validation) != 2:
                raise ValueError(f"validation={_shown(self.validation)} is not allowed: must be None or (x, y)")
            check_examples(*self.validation, what="validation ")
        if self.early_stopping is not None:
            check_offers("early_stopping", self.early_stopping, ("improved",), "None or made by early_stopping")
        epochs = self.checkpoint_epochs
        if not isinstance(epochs, Collection) or not all(_is_integer(epoch) and epoch >= 1 for epoch in epochs):
            raise ValueError(f"checkpoint_epochs={_shown(epochs)} is not allowed: must be integers >= 1")


class Progress(NamedTuple):
    """Where a training was, beside its parameters: what ``resume`` takes. A history is one too.

    Without an ``optimizer_state`` or ``statistics`` (batch norm's running averages) these begin afresh.
    """

    optimizer_state: Any = None
    statistics: Any = None

    @classmethod
    def of(cls, resume: Any) -> Any:
        """What a training goes on from, as it is; nothing for None. Raises ValueError for anything else."""
        if resume is None:
            return cls()
        if not (hasattr(resume, "optimizer_state") and hasattr(resume, "statistics")):
            raise ValueError(f"resume={_shown(resume)} is not allowed: must be None, a history or a Progress")
        if resume.statistics is not None:
            check_kind("statistics", resume.statistics, Mapping, "None or a mapping of arrays by name")
        return resume


# Settings that ``fit`` takes inside another argument, by name: where they are.
ELSEWHERE = {
    **{f.name: "a field of Objective, for loss=Objective(...)" for f in fields(Objective)},
    **{f.name: "a field of Update, for optimizer=Update(...)" for f in fields(Update)},
    **{f.name: "a field of Sampling, for sampling=Sampling(...)" for f in fields(Sampling)},
    **{f.name: "a field of Tape, for sampling=Sampling(tape=Tape(...))" for f in fields(Tape)},
    **{f.name: "a field of Monitor, for monitor=Monitor(...)" for f in fields(Monitor)},
    **dict.fromkeys(Progress._fields, "a field of Progress, for resume=Progress(...)"),
    **dict.fromkeys(("learning_rate", "lr"), "the optimizer's: adam(learning_rate=...), for example"),
}


def known_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, but where a keyword is that it has not is said: which setting has it, or the nearest name."""
    own = inspect.signature(function).parameters

    @wraps(function)
    def checked(*given: P.args, **keywords: P.kwargs) -> R:
        for keyword in keywords:
            if keyword not in own:
                raise TypeError(f"{function.__name__}() has no keyword {keyword!r}: {_place_of(keyword, own)}")
        return function(*given, **keywords)

    return checked


class Step(NamedTuple):
    """What a step tells: the batch's cost before the update, and the norm of its gradient before clipping."""

    cost: Any
    gradient_norm: Any


def _place_of(keyword: str, own: Collection[str]) -> str:
    """Where a keyword is, if not among a function's ``own``; the nearest there is; else those that there are."""
    if keyword in ELSEWHERE:
        return f"it is {ELSEWHERE[keyword]}"
    nearest = get_close_matches(keyword, [*own, *ELSEWHERE], 1)
    if not nearest:
        return f"must be one of {', '.join(map(repr, own))}"
    (name,) = nearest
    return f"did you mean {name!r}?" if name in own else f"did you mean {name!r}, {ELSEWHERE[name]}?"


def _is_integer(value: Any) -> bool:
    """Whether it is a whole number, of Python or of NumPy, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _examples(name: str, array: Any) -> int:
    """The number of examples of an array. Raises ValueError for what has none."""
    try:
        return len(array)
    except TypeError:
        raise ValueError(f"{name}={_shown(array)} is not allowed: must be an array of examples") from None


@cache
def _keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names that a function takes by keyword alone."""
    parameters = inspect.signature(function).parameters.items()
    return tuple(name for name, parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


def _as_numpy(array: Any) -> Any:
    """An array of any framework as NumPy's."""
    return np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)


def _is_maker(value: Any) -> bool:
    """Whether it is a class, or a function that stands in a module of this package, and nothing that one returned."""
    own = inspect.isfunction(value) and str(value.__module__).startswith(f"{__package__}.")
    return isinstance(value, type) or (own and value.__qualname__ == value.__name__)


def _shown(value: Any) -> str:
    """A value on one line, and short; functions and classes by their names."""
    is_named = inspect.isroutine(value) or isinstance(value, type)
    text = value.__qualname__ if is_named else " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _number(value: Any) -> float:
    """As a float; what is no number is NaN, which is in no range."""
    try:
        return math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
