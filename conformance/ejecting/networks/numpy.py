"""A network of layers in NumPy, with its derivatives written by hand."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any

from conformance.ejecting.networks.places import Place, Shape, Start, inside, mask_after, suffix, whole
from conformance.ejecting.networks.writer import Writer, averaging, keywords
from reference_numpy import convolution, layers, recurrent
from reference_numpy._layer import Layer, Residual
from reference_numpy._layer import Sequence as Series
from reference_numpy.attention import MultiHeadAttention, PositionalEncoding

IMPORTS = '''"""A network of layers."""

import numpy as np

from conformance.ejecting.skeletons import blocks
from conformance.ejecting.skeletons.numpy import DTYPE, Array, Masks, Tensors
from reference_numpy import _layer, activations, attention, convolution, initializers, normalization, recurrent
from reference_numpy import regularizers'''


class NumpyWriter(Writer):
    """Functions of parameters by path, ``parameters["2.W"]``; layers that are more than a line are the package's."""

    imports = IMPORTS
    source = "generator: np.random.Generator"

    def text(self) -> str:
        made = [[f"{_constant(each, at)} = {_made(each)}"] for each, at in self.places if isinstance(each, _OBJECTS)]
        parts = [*made, self._initialize()]
        parts += [self.initial_statistics("np")] if self.batch_norms else []
        parts.append(self._forward())
        parts += [self._updated_statistics()] if self.batch_norms else []
        parts.append(self._backward())
        parts += [self.draw_masks()] if self.masks else []
        return self.module(*parts)

    # ------------------------------------------------------------------ beside the two passes

    def _initialize(self) -> list[str]:
        lines = [
            "def initialize(generator: np.random.Generator) -> Tensors:",
            f'    """{self.start_documented}"""',
            "    parameters: Tensors = {}",
        ]
        for start in self.starts:
            lines.append(f'    parameters["{start.path}"] = {_start(start)}')
            if start.places:
                first, end, value = start.places
                lines.append(f'    parameters["{start.path}"][{first}:{end}] = {value}')
        return [*lines, "    return parameters"]

    def _updated_statistics(self) -> list[str]:
        lines = [
            "def updated_statistics(statistics: Tensors, values: Tensors) -> Tensors:",
            '    """Batch norm\'s running averages after a training forward pass with ``values``."""',
            '    examples = len(values["A0"])',
            "    updated: Tensors = {}",
        ]
        for layer, at in self.batch_norms:
            running = [f'statistics["{at.path}.running_{kind}"]' for kind in ("mean", "variance")]
            batch = [f'values["{at.path}.batch_{kind}"]' for kind in ("mean", "variance")]
            given = f"running, batch, {self.averaged(at)}{averaging(layer)}"
            lines += [
                f"    running = {', '.join(running)}",
                f"    batch = {', '.join(batch)}",
                f"    mean, variance = normalization.running_average({given})",
                f'    updated |= {{"{at.path}.running_mean": mean, "{at.path}.running_variance": variance}}',
            ]
        return [*lines, "    return updated"]

    # ------------------------------------------------------------------ the forward pass

    def _forward(self) -> list[str]:
        arguments = ["parameters: Tensors", "x: Array"]
        given, logits = self.shapes
        said = (
            f"Returns the logits ``{logits}`` of ``x: {given}``, and the output of every layer by path, with what else"
            " the\n    backward pass needs."
        )
        if self.masks:
            arguments.append("masks: Masks | None = None")
            said += " ``masks``: dropout masks by path, or none."
        if self.batch_norms:
            arguments.append("statistics: Tensors | None = None")
            said += "\n    ``statistics``: batch norm's running averages, None in training."
        return [
            f"def forward({', '.join(arguments)}) -> tuple[Array, Tensors]:",
            '    """MODEL_DESCRIPTION',
            "",
            f"    {said}",
            '    """',
            '    values: Tensors = {"A0": x}',
            *self.in_function(self.written()),
            "    return x, values",
        ]

    def put(self, layer: Layer, at: Place, expression: str) -> None:
        """What the layer gives, which is kept under its path."""
        super().put(layer, at._replace(y=f'{at.y} = values["{_kept(at)}"]'), expression)

    def drawn(self, path: str, shape: Shape, keep: float) -> str:
        return f"generator.random((examples, {', '.join(map(str, shape))})) < {keep}"

    def dropout(self, layer: layers.Dropout, at: Place) -> None:
        super().dropout(layer, at)
        self.lines.append(f'values["{_kept(at)}"] = {at.y}')

    def recurrent(self, layer: recurrent.Recurrent, at: Place) -> None:
        self._by_object(layer, at)

    def attention(self, layer: MultiHeadAttention, at: Place) -> None:
        self._by_object(layer, at)

    def take_moments(self, layer: layers.BatchNorm, at: Place) -> None:
        kept = [f'values["{at.path}.batch_{kind}"]' for kind in ("mean", "variance")]
        running = [f'statistics["{at.path}.running_{kind}"]' for kind in ("mean", "variance")]
        self.lines += [
            "if statistics is None:",
            f"    mean, variance = normalization.batch_statistics({at.x})",
            f"    {', '.join(kept)} = mean, variance",
            "else:",
            f"    mean, variance = {', '.join(running)}",
        ]

    def parameter(self, at: Place, name: str) -> str:
        return f'parameters["{at.path}.{name}"]'

    def joined(self, outputs: Sequence[str], join: str) -> str:
        return f"np.concatenate([{', '.join(outputs)}], axis=-1)" if join == "concatenate" else " + ".join(outputs)

    def write_own(self, layer: Any, at: Place) -> None:
        x = at.x
        match layer:
            case layers.Dense():
                given = [x, *(each for each in self.own(at, "W", "b") if each != "None")]
                self.put(layer, at, f"_layer.affine({', '.join(given)})")
            case layers.Flatten():
                moved = f"np.moveaxis({x}, -1, 1)" if layer.order == "channels_first" else x
                self.put(layer, at, f"{moved}.reshape(len({x}), -1)")
            case layers.Reshape():
                self.put(layer, at, f"{x}.reshape(len({x}), {', '.join(map(str, layer.shape))})")
            case layers.Embedding():
                self.lines += self._begun(layer, at, x)
                self.put(layer, at, f"{self.parameter(at, 'W')}[{x}]")
            case layers.Masking():
                self.lines += self._begun(layer, at, x)
                seen = at.named("seen") if at.mask else at.named("there")
                self.put(layer, at, f"np.where({seen}[..., None], {x}, 0.0)")
            case PositionalEncoding():
                encoded = f"blocks.positions({x}.shape[1], {at.shape[-1]}, {layer.base}, layout={layer.layout!r})"
                self.put(layer, at, f"{x} + {encoded}.astype({x}.dtype)")
            case _:
                self._by_object(layer, at)

    def _by_object(self, layer: Layer, at: Place) -> None:
        arguments = f'{_constant(layer, at)}, "{at.path}", parameters, {at.x}, values'
        function = "masked_pass" if _takes_mask(at) else "passed"
        self.put(layer, at, f"blocks.{function}({arguments}{self._mask(at)})")

    def _mask(self, at: Place) -> str:
        return f", {at.mask}" if _takes_mask(at) else ""

    def _begun(self, layer: Any, at: Place, x: str) -> list[str]:
        """The lines that say which steps are there from a layer on."""
        there = mask_after(layer, at)
        if isinstance(layer, layers.Embedding):
            if not layer.mask_zero:
                return []
            return [f"{there} = ({x} != 0) & {at.mask}" if at.mask else f"{there} = {x} != 0"]
        seen = f"({x} != {layer.value}).any(axis=-1)"
        if not at.mask:
            return [f"{there} = {seen}"]
        return [f"{at.named('seen')} = {seen}", f"{there} = {at.named('seen')} & {at.mask}"]

    # ------------------------------------------------------------------ the backward pass

    def _backward(self) -> list[str]:
        self.lines = []
        for layer, at in self.places:
            if isinstance(layer, (layers.Embedding, layers.Masking)):
                self.lines += self._begun(layer, at, f'values["{self.given[at]}"]')
        self._back(self.model.layers, whole(self.model, self.variable))
        return [
            "def backward(",
            "    parameters: Tensors, values: Tensors, output_gradient: Array, masks: Masks | None = None",
            ") -> Tensors:",
            '    """Gradients of the cost by path from ``output_gradient = d cost / d Z``, ``(m, n)``."""',
            "    gradients: Tensors = {}",
            "    dx = output_gradient  # and, layer by layer, that of what each was given",
            *self.in_function(self.lines),
            "    return gradients",
        ]

    @cached_property
    def given(self) -> dict[Place, str]:
        """Under which name what each layer is given is kept."""
        found: dict[Place, str] = {}
        _keys(self.model.layers, whole(self.model, self.variable), "A0", found)
        return found

    def _back(self, layer: Any, at: Place, *, needed: bool = False) -> None:
        """Write a layer's gradients; where it is ``needed``, that of what it is given takes its output's place."""
        if not needed and not self._has_parameters(at):
            return
        dy, parts = _gradient(at), list(inside(layer, at))
        if isinstance(layer, Series):
            before = [needed or any(self._has_parameters(p) for _, p in parts[:n]) for n in range(len(parts))]
            for (each, place), is_needed in zip(reversed(parts), reversed(before), strict=True):
                self._back(each, place, needed=is_needed)
        elif parts:
            self.lines += _shared(layer, dy, parts)
            for each, place in parts:
                self._back(each, place, needed=needed)
            if needed:
                sums = [dy] * isinstance(layer, Residual) + [_gradient(place) for _, place in parts]
                self.lines.append(f"{dy} = {' + '.join(sums)}")
        else:
            self.lines += list(self._of_layer(layer, at, needed=needed))

    def _has_parameters(self, at: Place) -> bool:
        return not at.path or any(start.path.startswith(f"{at.path}.") for start in self.starts)

    def _of_layer(self, layer: Any, at: Place, *, needed: bool) -> Iterator[str]:
        dy, given = _gradient(at), f'values["{self.given[at]}"]'
        own = f'gradients["{at.path}.'
        match layer:
            case layers.Dense():
                yield f'{own}W"] = _layer.weight_gradient({dy}, {given})'
                if layer.bias:
                    yield f'{own}b"] = _layer.bias_gradient({dy})'
                if needed:
                    yield f"{dy} = _layer.affine({dy}, {self.parameter(at, 'W')}.T)"
            case layers.Activation():
                arguments = f'{dy}, {given}, values["{_kept(at)}"]{keywords(layer.options)}'
                yield f'{dy} = activations.BACKWARD["{layer.name}"]({arguments})'
            case layers.Dropout():
                dropped = f'{dy}, masks["{at.path}.mask"], keep_probability={layer.keep_probability}'
                yield from ("if masks is not None:", f"    {dy} = regularizers.inverted_dropout({dropped})")
            case layers.Flatten() | layers.Reshape():
                yield f"{dy} = {_shaped_back(layer, at, dy)}"
            case layers.Embedding():
                yield f'{own}W"] = blocks.embedding_backward({dy}, {given}, {self.parameter(at, "W")})'
            case layers.Masking():
                seen = at.named("seen") if at.mask else at.named("there")
                yield f"{dy} = np.where({seen}[..., None], {dy}, 0.0)"
            case layers.BatchNorm() | layers.LayerNorm():
                kind = "batch_norm" if isinstance(layer, layers.BatchNorm) else "layer_norm"
                moments = [f'values["{at.path}.batch_{each}"]' for each in ("mean", "variance")]
                of = ", ".join([dy, given, self.parameter(at, "gamma"), *moments * (kind == "batch_norm")])
                arguments = f"{of}, epsilon={layer.epsilon}"
                yield f'{dy}, {own}gamma"], {own}beta"] = normalization.{kind}_backward({arguments})'
            case PositionalEncoding():
                pass
            case _:
                arguments = f'{_constant(layer, at)}, "{at.path}", parameters, values, {dy}, gradients'
                function = "masked_back" if _takes_mask(at) else "passed_back"
                yield f"{dy} = blocks.{function}({arguments}{self._mask(at)})"


def _keys(layer: Layer, at: Place, key: str, found: dict[Place, str]) -> str:
    """Under which name what a layer gives is kept; ``found`` is told the ``key`` of what each layer is given."""
    found[at] = key
    parts = list(inside(layer, at))
    if isinstance(layer, Series):
        for each, place in parts:
            key = _keys(each, place, key, found)
        return key
    for each, place in parts:
        _keys(each, place, key, found)
    return _kept(at)


def _kept(at: Place) -> str:
    """Under which name what a layer gives is kept: that of a sum's own layer beside the sum."""
    is_inner = at.y.rstrip("_") == at.named("inner")
    return f"{at.path}.inner{at.y.removeprefix(at.named('inner'))}" if is_inner else f"{at.path}.A"


def _gradient(at: Place) -> str:
    return "dx" if at.y == "x" else f"d_{at.y}"


def _shared(layer: Any, dy: str, parts: Sequence[tuple[Any, Place]]) -> list[str]:
    """The lines that give each of the layers inside its share of the gradient."""
    shares = [_gradient(place) for _, place in parts]
    if isinstance(layer, Residual) or layer.join == "sum":
        return [f"{share} = {dy}" for share in shares]
    sizes = [each.output_shape(place.shape)[-1] for each, place in parts]
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes) - 1)]
    return [f"{', '.join(shares)} = np.split({dy}, {ends}, axis=-1)"]


def _shaped_back(layer: Any, at: Place, dy: str) -> str:
    """The gradient in the shape of what a layer was given."""
    if isinstance(layer, layers.Flatten) and layer.order == "channels_first" and len(at.shape) > 1:
        *sizes, channels = at.shape
        return f"np.moveaxis({dy}.reshape(len({dy}), {', '.join(map(str, (channels, *sizes)))}), 1, -1)"
    return f"{dy}.reshape(len({dy}), {', '.join(map(str, at.shape))})"


def _start(start: Start) -> str:
    """What makes a parameter."""
    if start.initializer:
        options = keywords(start.options)
        return f"initializers.{start.initializer}(generator, {start.shape}, dtype=DTYPE{options})"
    return f"np.{'ones' if start.value == 1 else 'zeros'}({start.shape[0]}, DTYPE)"


_OBJECTS = (
    convolution.Convolution, convolution.MaxPool, convolution.AveragePool, convolution.GlobalMaxPool,
    convolution.GlobalAveragePool, recurrent.Recurrent, MultiHeadAttention,
)  # fmt: skip


def _constant(layer: Layer, at: Place) -> str:
    """What an object of a layer's class is called."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__)
    return f"{words}_{suffix(at.path)}".upper()


def _made(layer: Any) -> str:
    """The call that makes a layer of the package's."""
    given = {field.name: getattr(layer, field.name) for field in fields(layer)}
    said = [f"{name}={'convolution.' if name == 'window' else ''}{value!r}" for name, value in given.items()]
    return f"{type(layer).__module__.rpartition('.')[2]}.{type(layer).__name__}({', '.join(said)})"


def _takes_mask(at: Place) -> bool:
    """Whether there is a mask where a layer stands; of images there is none."""
    return at.mask is not None and len(at.shape) == 2
