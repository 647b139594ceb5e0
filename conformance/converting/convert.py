"""``conformance.convert``: a file of a catalogue's model's weights as another framework's, by tables, and then tried.

What the tables say is tried before anything is written: every layer of the two frameworks' own is given its tensors, as
the one file had them and as the other is to have them, and the same inputs, and so is the catalogue's.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from conformance.adapters.whole_files import part_of
from conformance.converting.asking import Asked, inputs_of, request
from conformance.converting.formats import FORMATS
from conformance.converting.keras_files import in_file_of_keras
from conformance.converting.model_layers import ModelLayer, model_layers
from conformance.converting.placing import Placed, from_file, place_for, placed_in, sums, to_file
from conformance.data.files import DataError
from conformance.data.wording import cut, listed, nearest, shown
from conformance.exchange.checkpoints import OPTIMIZER, PARAMETERS, SCHEDULE, STATISTICS
from conformance.exchange.files import read_tensors, write_tensors
from conformance.exchange.subjects import SubjectError
from conformance.exchange.worker import Away
from conformance.problems.preparation import prepare
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.choosing import find
from conformance.recipes.components import choose
from conformance.recipes.recipe import Recipe
from reference_numpy.layers import LAYERS

CATALOGUE = "catalogue"
SIDES = (*FORMATS, CATALOGUE)
KERAS_FILE = ".weights.h5"
WRITTEN = (".safetensors", ".npz")


def _half_of_digits(dtype: Any) -> float:
    """What is allowed: a number in another place changes more of the digits, and no rounding of a layer does."""
    return float(np.sqrt(np.finfo(dtype).eps))


MOST_ERROR = _half_of_digits(np.float64)


class Refused(ValueError):
    """What was asked for cannot be converted: a layer without a counterpart, or one that computes something else."""


class Row(NamedTuple):
    """A tensor of the recipe's: where it was, and where it is."""

    name: str
    shape: tuple[int, ...]
    source: str
    target: str


class Converted(NamedTuple):
    """What was written: the file, its tensors, what was left out, and how far any layer's outputs are apart.

    ``added``: the pairs of biases of which the file has the sums alone, by the recipe's names.
    """

    file: Path
    rows: list[Row]
    left_out: list[str]
    added: list[tuple[str, str]]
    error: float

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return self._asdict() | {"file": str(self.file), "rows": [row._asdict() for row in self.rows]}


class Side(NamedTuple):
    """A model's tensors as one side has them; ``placed`` says where, by direction, but for the catalogue's."""

    name: str
    tensors: Tensors
    placed: list[Placed]

    def where(self, name: str) -> str:
        """The tensors of a file that one of the recipe's is in."""
        for each in self.placed:
            for own, of_model in each.model.names.items():
                if of_model == name:
                    return each.tensors_of(own)
        return name

    def rounds(self, layer: ModelLayer) -> bool:
        """Whether its framework's layer computes something in float32 whatever it is given."""
        kinds = {each.kind for each in self.placed if each.model.place == layer.place}
        return bool(kinds) and not kinds.isdisjoint(FORMATS[self.name].rounding)

    def asked(self, layers: list[ModelLayer], inputs: list[Array]) -> list[Asked]:
        """What its framework is asked for: each layer, of one in both directions with the tensors of both."""
        found = []
        for layer, x in zip(layers, inputs, strict=True):
            there = [each for each in self.placed if each.model.place == layer.place]
            tensors = {
                ".".join(filter(None, (each.model.direction, leaf))): self.tensors[name]
                for each in there for leaf, name in each.names.items()
            }  # fmt: skip
            found.append(Asked(str(layer.layer), there[0].kind, layer.layer.keywords, tensors, x))
        return found


def convert(file: str | Path, *, source: str, target: str, recipe: Recipe | str, output: str | Path) -> Converted:
    """Write a file of a model's weights as another framework's.

    Args:
        file: ``.safetensors``, ``.npz`` or Keras's ``.weights.h5``; of the catalogue also a checkpoint.
        source, target: ``torch``, ``keras``, ``flax`` (linen), ``nnx`` or ``catalogue``: whose names and layouts.
        recipe: whose model it is; a name, a file, or the recipe.
        output: the file to be written, of the same kinds; ``.weights.h5`` for Keras alone.

    Raises ValueError for an argument that is not allowed and a file that is not what it must be, Refused where a layer
    has no counterpart, SubjectError where a framework's process fails, OSError where nothing can be written.
    """
    choose("source", source, SIDES)
    choose("target", target, SIDES)
    file, output = Path(file), Path(output)
    _require_kind(output, target)
    chosen = find(recipe) if isinstance(recipe, str) else recipe
    layers = model_layers(prepare(chosen, chosen.dtypes[0]))
    given, left_out = _read(file, source, layers)
    held = _of_model(given)
    made = _made(target, layers, held)
    added = sums(made.placed, held)
    error = max(_distances(layers, [given, made, Side(CATALOGUE, held, [])], added), default=0.0)
    _write(output, target, made.tensors)
    rows = [Row(name, w.shape, given.where(name), made.where(name)) for name, w in held.items()]
    return Converted(output, rows, left_out, added, error)


def _require_kind(output: Path, target: str) -> None:
    """Raise ValueError for a file that cannot be written as its name says."""
    allowed = (*WRITTEN, KERAS_FILE) if target == "keras" else WRITTEN
    if not output.name.endswith(allowed):
        raise ValueError(f"output={shown(str(output))} is not allowed: must end in one of {', '.join(allowed)}")


def _read(file: Path, source: str, layers: list[ModelLayer]) -> tuple[Side, list[str]]:
    """A file's tensors as a side, and the names of those that are no part of a model's weights."""
    tensors = {name: value for name, value in read_tensors(file).items() if value.dtype.kind == "f"}
    wild = next((name for name, value in tensors.items() if not np.isfinite(value).all()), None)
    if wild is not None:
        raise DataError(f"{file}: {cut(wild)} holds NaN or an infinity; allowed: finite numbers, by which it is tried")
    if source != CATALOGUE:
        form = FORMATS[source]
        over = [name for name in tensors if not form.normal(name)]
        kept = {name: value for name, value in tensors.items() if form.normal(name)}
        return Side(source, kept, placed_in(form, layers, kept, str(file))), over
    over = [name for name in tensors if name.startswith((f"{OPTIMIZER}/", f"{SCHEDULE}/"))]
    plain = {name.removeprefix(f"{PARAMETERS}/").removeprefix(f"{STATISTICS}/"): value
             for name, value in tensors.items() if name not in over}  # fmt: skip
    _check_catalogue(str(file), layers, plain)
    return Side(source, plain, []), over


def _check_catalogue(file: str, layers: list[ModelLayer], tensors: Tensors) -> None:
    wanted = {name: each.layer.parameters[own] for each in layers for own, name in each.names.items()}
    for name, value in tensors.items():
        if name not in wanted:
            raise DataError(f"{file}: has {shown(name)}; allowed: {listed(wanted)}{nearest(name, wanted)}")
        if value.shape != wanted[name]:
            raise DataError(f"{file}: {cut(name)} has shape {value.shape}; allowed: {wanted[name]}")
    lacking = [name for name in wanted if name not in tensors]
    if lacking:
        raise DataError(f"{file}: has no {listed(lacking)}; allowed: {listed(wanted)}")


def _of_model(side: Side) -> Tensors:
    """A side's tensors by the recipe's names."""
    return from_file(side.placed, side.tensors) if side.placed else side.tensors


def _made(target: str, layers: list[ModelLayer], tensors: Tensors) -> Side:
    """The tensors of a model as a side has them. Raises Refused."""
    if target == CATALOGUE:
        return Side(target, tensors, [])
    try:
        placed = place_for(FORMATS[target], layers)
        return Side(target, to_file(FORMATS[target], placed, tensors), placed)
    except DataError as error:
        raise Refused(str(error)) from error


def _distances(layers: list[ModelLayer], sides: list[Side], added: list[tuple[str, str]]) -> list[float]:
    """How far the outputs of each layer are apart between the sides. Raises Refused where it is no rounding.

    Numbers are moved as they are; sums alone, ``added``, are rounded to the precision of the file.
    """
    inputs = [inputs_of(each.layer) for each in layers]
    outputs = {side.name: _outputs(side, layers, inputs) for side in sides}
    (first, expected), *others = outputs.items()
    summed = {name for pair in added for name in pair}
    found = []
    for place, each in enumerate(layers):
        rounded = [np.dtype(np.float32)] if any(side.rounds(each) for side in sides) else []
        if not summed.isdisjoint(each.names.values()):
            rounded += [value.dtype for value in sides[0].tensors.values()]
        allowed = max([MOST_ERROR, *map(_half_of_digits, rounded)])
        for name, values in others:
            error = _distance(values[place], expected[place])
            found.append(error)
            if not error <= allowed:
                raise Refused(
                    f"{each.layer} computes something else in {name} than in {first}: its outputs are {error:.1e} of"
                    " their size apart"
                )
    return found


def _distance(found: Array, expected: Array) -> float:
    if found.shape != expected.shape:
        return np.inf
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), np.finfo(np.float64).tiny))


def _outputs(side: Side, layers: list[ModelLayer], inputs: list[Array]) -> list[Array]:
    """The outputs of every layer, by the side's own framework."""
    if side.name == CATALOGUE:
        return [_of_catalogue(each, side.tensors, x) for each, x in zip(layers, inputs, strict=True)]
    asked = side.asked(layers, inputs)
    with contextlib.closing(Away(f"conformance.converting.frameworks.{FORMATS[side.name].module}:forward")) as process:
        try:
            found = process.run(None, request(asked))
        except SubjectError as error:
            raise Refused(f"{FORMATS[side.name].title} cannot compute this model's layers: {error}") from error
    return [found[str(place)] for place in range(len(asked))]


def _of_catalogue(each: ModelLayer, tensors: Tensors, x: Array) -> Array:
    """The output of a layer of the reference, in inference."""
    held = {own: np.asarray(value, np.float64) for own, value in each.of(tensors).items()}
    statistics = {own: value for own, value in held.items() if own.startswith("running_")}
    parameters = {own: value for own, value in held.items() if own not in statistics}
    keywords = dict(each.layer.keywords)
    if each.layer.directions:
        join = keywords.pop("join")
        made = LAYERS["bidirectional"](LAYERS[each.layer.name](**keywords), join=join)
    else:
        made = LAYERS[each.layer.name](**keywords)
    return made.forward(parameters, x, statistics=statistics)[0]


def _write(output: Path, target: str, tensors: Mapping[str, Array]) -> None:
    """Write a file of tensors; it appears whole or not at all."""
    if output.suffix == ".safetensors":
        write_tensors(output, tensors)
        return
    part = part_of(output)
    try:
        if output.suffix == ".npz":
            arrays: Any = dict(tensors)
            with part.open("wb") as stream:
                np.savez(stream, **arrays)
        else:
            import h5py

            with h5py.File(part, "w") as held:
                for name, value in in_file_of_keras(dict(tensors)).items():
                    held[name] = value
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
