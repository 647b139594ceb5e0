"""A user's Keras model and loss, made in the precision under test."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from conformance.problems.problem import Problem
from conformance.wrappers.given import made, sample, takes
from conformance.wrappers.keras_state import precision

_ONE_HOT = ("categorical", "Categorical", "kl_divergence", "KLDivergence")  # what losses of one-hot targets begin with


class LossFunction(keras.losses.Loss):  # type: ignore[misc]
    """A function of targets and outputs as a loss: the mean over the examples, as ``compile`` makes it."""

    def __init__(self, function: Any, reduction: str | None = "sum_over_batch_size") -> None:
        super().__init__(reduction=reduction)
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each example."""
        return self.function(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """What :meth:`from_config` makes another of."""
        return {"function": self.function, "reduction": self.reduction}


def new_model(source: Any, problem: Problem, inputs: Callable[[Any], Any] | None = None) -> Any:
    """The user's model in a problem's precision, built for its inputs, or for what ``inputs`` makes of them.

    ``source``: a model, layers in their order, or a function that makes either. Raises TypeError for anything else, and
    for a model that cannot be made again from what Keras knows of it.
    """
    dtype = problem.dtype.name
    with precision(dtype):
        model, x = source, keras.ops.convert_to_tensor(sample(problem))
        x = x if inputs is None else inputs(x)
        if isinstance(source, keras.Model | list | tuple):
            model = _again(source, dtype, x)
        elif callable(source):
            model = made(source, problem)
        if isinstance(model, list | tuple):
            model = keras.Sequential(list(model))
        if not isinstance(model, keras.Model):
            raise TypeError(
                f"model= is a {type(model).__name__}: must be a keras.Model, a list of layers, or a function that makes"
                " one"
            )
        model(x)
    for layer in model.layers:
        if layer.compute_dtype != dtype:
            raise TypeError(
                f"model= has a layer {layer.name!r} that computes in {layer.compute_dtype}: must be in {dtype}, so give"
                " no dtype in it"
            )
    return model


def _again(source: Any, dtype: str, x: Any) -> Any:
    """A model that is made already, or its layers, made again in a precision, for inputs like ``x``."""

    def layer_again(layer: Any) -> Any:
        return type(layer).from_config(_in_precision(layer.get_config(), dtype))

    try:
        if not isinstance(source, keras.Model):
            return [layer_again(layer) for layer in source]
        inputs = keras.Input(x.shape[1:], dtype=keras.backend.standardize_dtype(x.dtype))
        of_one = isinstance(source, keras.Sequential)
        inputs = [inputs] if of_one else keras.tree.map_structure(lambda _: inputs, source.input)
        return keras.models.clone_model(source, input_tensors=inputs, clone_function=layer_again)
    except (NotImplementedError, TypeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise TypeError(
            f"model= cannot be made again in {dtype}, which Keras says of it: {first} Give a function that makes it"
        ) from error


def _in_precision(config: Any, dtype: str) -> Any:
    """A layer's configuration with every ``dtype`` in it of this precision."""
    if isinstance(config, Mapping):
        return {key: dtype if key == "dtype" else _in_precision(value, dtype) for key, value in config.items()}
    return [_in_precision(part, dtype) for part in config] if isinstance(config, list) else config


def new_loss(source: Any, problem: Problem, reduction: str | None = "own") -> Any:
    """The user's loss in a problem's precision; ``reduction``: another than its own.

    ``source``: one of ``keras.losses``, its name, a function of targets and outputs, or a function that makes a loss.
    Raises TypeError for anything else.
    """
    with precision(problem.dtype.name):
        loss = keras.losses.get(source) if isinstance(source, str) else source
        if callable(loss) and not isinstance(loss, keras.losses.Loss):
            loss = LossFunction(loss) if takes(loss, 2) else made(loss, problem)
        if not isinstance(loss, keras.losses.Loss):
            raise TypeError(
                f"loss= is a {type(loss).__name__}: must be one of keras.losses, its name, or a function of targets and"
                " outputs"
            )
        config = loss.get_config()
        return type(loss).from_config(config if reduction == "own" else {**config, "reduction": reduction})


def takes_one_hot(loss: Any) -> bool:
    """Whether a loss takes targets as rows of zeros and a one, and not as labels."""
    function = getattr(loss, "function", None)
    return str(getattr(function, "__name__", type(loss).__name__)).startswith(_ONE_HOT)
