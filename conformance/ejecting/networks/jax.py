"""A network of layers in JAX."""

from collections.abc import Sequence
from typing import Any

from conformance.ejecting.networks.places import Place, Shape, Start
from conformance.ejecting.networks.writer import Writer, averaging, keywords, plus
from reference_numpy import convolution, layers
from reference_numpy.attention import PositionalEncoding

IMPORTS = '''"""A network of layers."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from conformance.ejecting.skeletons import blocks
from conformance.ejecting.skeletons.jax import DTYPE, Array, Tensors
from impl_jax import activations, initializers, normalization, regularizers'''


class JaxWriter(Writer):
    """Functions of parameters by path, ``parameters["2.W"]``."""

    imports = IMPORTS
    source = "key: jax.Array"
    variable = "a"

    def text(self) -> str:
        parts = [self._initialize()]
        if self.batch_norms:
            parts.append(self.initial_statistics("jnp"))
        parts.append(self._forward())
        if self.batch_norms:
            parts.append(self._updated_statistics())
        if self.masks:
            parts.append(self.draw_masks())
        return self.module(*parts)

    def _initialize(self) -> list[str]:
        lines = [
            "def initialize(key: jax.Array) -> Tensors:",
            f'    """{self.start_documented}"""',
            "    parameters: Tensors = {}",
        ]
        for layer, of_layer in self.by_layer():
            drawn = [start for start in of_layer if start.initializer]
            keys = [_key(layer)]
            if len(drawn) > 1:
                keys = [f"{start.own.lower().replace('_', '')}_key" for start in drawn]
                number = "" if len(drawn) == 2 else f", {len(drawn)}"
                lines.append(f"    {', '.join(keys)} = jax.random.split({_key(layer)}{number})")
            given = dict(zip([start.path for start in drawn], keys, strict=False))
            lines += [f'    parameters["{start.path}"] = {_start(start, given)}' for start in of_layer]
        return [*lines, "    return parameters"]

    def _forward(self) -> list[str]:
        arguments = ["parameters: Tensors", "x: Array", "masks: Mapping[str, Array] | None = None"]
        said = self.logits_documented
        if self.batch_norms:
            arguments.append("statistics: Tensors | None = None")
            said += (
                "\n\n    ``statistics``: batch norm's running averages; None in training, in which the batch's mean and"
                "\n    variance are returned too, by layer."
            )
        returned = "tuple[jax.Array, Tensors]" if self.batch_norms else "jax.Array"
        return [
            f"def forward({', '.join(arguments)}) -> {returned}:",
            '    """MODEL_DESCRIPTION',
            "",
            f"    {said}",
            '    """',
            *(["    batch_moments: Tensors = {}"] if self.batch_norms else []),
            "    a = jnp.asarray(x)",
            *self.in_function(self.written()),
            "    return a, batch_moments" if self.batch_norms else "    return a",
        ]

    def _updated_statistics(self) -> list[str]:
        lines = [
            "def updated_statistics(statistics: Tensors, batch_moments: Tensors, examples: int) -> Tensors:",
            '    """Batch norm\'s running averages after a batch of so many ``examples``."""',
            "    updated: Tensors = {}",
        ]
        for layer, at in self.batch_norms:
            names = ", ".join(f'"{at.path}.running_{kind}"' for kind in ("mean", "variance"))
            running = ", ".join(f"statistics[{name}]" for name in names.split(", "))
            count = self.averaged(at)
            lines += [
                f"    running = {running}",
                "    mean, variance = normalization.running_average("
                f'running, batch_moments["{at.path}"], {count}{averaging(layer)})',
                f'    updated |= {{"{at.path}.running_mean": mean, "{at.path}.running_variance": variance}}',
            ]
        return [*lines, "    return updated"]

    def drawn(self, path: str, shape: Shape, keep: float) -> str:
        key = _key(path.removesuffix(".mask"))
        return f"regularizers.dropout_mask({key}, {_sizes(shape)}, keep_probability={keep})"

    def parameter(self, at: Place, name: str) -> str:
        return f'parameters["{at.path}.{name}"]'

    def joined(self, outputs: Sequence[str], join: str) -> str:
        return f"jnp.concatenate([{', '.join(outputs)}], axis=-1)" if join == "concatenate" else " + ".join(outputs)

    def write_own(self, layer: Any, at: Place) -> None:
        x = at.x
        match layer:
            case layers.Dense():
                weight, bias = self.own(at, "W", "b")
                self.put(layer, at, f"{x} @ {weight}.T{plus(bias)}")
            case layers.Flatten():
                moved = f"jnp.moveaxis({x}, -1, 1)" if layer.order == "channels_first" else x
                self.put(layer, at, f"{moved}.reshape(len({x}), -1)")
            case layers.Reshape():
                self.put(layer, at, f"{x}.reshape(len({x}), {', '.join(map(str, layer.shape))})")
            case layers.Embedding():
                self.begin_mask(layer, at)
                self.put(layer, at, f"jnp.take({self.parameter(at, 'W')}, {x}, axis=0)")
            case layers.Masking():
                seen = self.seen(layer, at, f"({x} != {layer.value}).any(axis=-1)")
                self.put(layer, at, f"jnp.where({seen}[..., None], {x}, 0)")
            case PositionalEncoding():
                encoded = f"blocks.positions({x}.shape[1], {at.shape[-1]}, {layer.base}, layout={layer.layout!r})"
                self.put(layer, at, f"{x} + jnp.asarray({encoded}, {x}.dtype)")
            case _:
                self._convolution_or_pool(layer, at)

    def take_moments(self, layer: layers.BatchNorm, at: Place) -> None:
        running = ", ".join(f'statistics["{at.path}.running_{kind}"]' for kind in ("mean", "variance"))
        self.lines += [
            "if statistics is None:",
            f'    batch_moments["{at.path}"] = mean, variance = normalization.batch_statistics({at.x})',
            "else:",
            f"    mean, variance = {running}",
        ]

    def _convolution_or_pool(self, layer: Any, at: Place) -> None:
        x = at.x
        match layer:
            case convolution.Convolution():
                window, (weight, bias) = layer.window, self.own(at, "W", "b")
                said: dict[str, Any] = {"dilation": window.dilation} if set(window.dilation) != {1} else {}
                said |= {"groups": layer.groups} if layer.groups > 1 else {}
                given = f"{x}, {weight}, {window.stride}, {_pads(window)}{keywords(said)}"
                self.put(layer, at, f"blocks.convolution({given}){plus(bias)}")
            case convolution.MaxPool():
                window = layer.window
                self.put(layer, at, f"blocks.max_pool({x}, {window.size}, {window.stride}, {_pads(window, ends=True)})")
            case convolution.AveragePool():
                window = layer.window
                given = f"{x}, {window.size}, {window.stride}, {_pads(window, ends=True)}"
                self.put(layer, at, f"blocks.average_pool({given}, count_padding={layer.count_padding})")
            case convolution.GlobalMaxPool() | convolution.GlobalAveragePool():
                kind = "max" if isinstance(layer, convolution.GlobalMaxPool) else "average"
                masked = at.mask if len(at.shape) == 2 else None
                self.put(layer, at, f"blocks.global_{kind}_pool({x}, {masked})")
            case _:
                raise AssertionError(type(layer).__name__)


_DIRECTIONS = {"forward": "1", "backward": "2"}


def _key(path: str) -> str:
    """The key of what a layer draws: that of its network, folded in with each part of its path."""
    key = "key"
    for part in path.split("."):
        key = f"jax.random.fold_in({key}, {_DIRECTIONS.get(part, part)})"
    return key


def _sizes(shape: Sequence[int]) -> str:
    return f"(examples, {', '.join(map(str, shape))})"


def _start(start: Start, keys: dict[str, str]) -> str:
    """What makes a parameter."""
    if start.initializer:
        options = keywords(start.options)
        return f"initializers.{start.initializer}({keys[start.path]}, {start.shape}, dtype=DTYPE{options})"
    size = start.shape[0]
    filled = f"jnp.{'ones' if start.value == 1 else 'zeros'}({size}, DTYPE)"
    return (
        filled if start.places is None else f"{filled}.at[{start.places[0]}:{start.places[1]}].set({start.places[2]})"
    )


def _pads(window: convolution.Window, *, ends: bool = False) -> str:
    """The padding as XLA takes it, of the axes of a window alone or with both ends."""
    if isinstance(window.padding, str):
        return repr(window.padding.upper())
    pads = [(int(p), int(p)) for p in window.padding]
    return repr([(0, 0), *pads, (0, 0)] if ends else pads)
