"""A network of layers in JAX."""

from collections.abc import Sequence
from typing import Any

from conformance.ejecting.networks.places import Place, Start, mask_after
from conformance.ejecting.networks.writer import FUNCTIONS, Writer, averaging, keywords, recurrence
from reference_numpy import convolution, layers, recurrent
from reference_numpy.attention import MultiHeadAttention, PositionalEncoding

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
    variable = "a"

    def text(self) -> str:
        parts = [self._initialize()]
        if self.batch_norms:
            parts.append(self._initial_statistics())
        parts.append(self._forward())
        if self.batch_norms:
            parts.append(self._updated_statistics())
        if self.masks:
            parts.append(self._draw_masks())
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

    def _initial_statistics(self) -> list[str]:
        lines = [
            "def initial_statistics() -> Tensors:",
            '    """Batch norm\'s running averages before training: means 0 and variances 1."""',
            "    return {",
        ]
        for _, at in self.batch_norms:
            lines.append(f'        "{at.path}.running_mean": jnp.zeros({at.shape[-1]}, DTYPE),')
            lines.append(f'        "{at.path}.running_variance": jnp.ones({at.shape[-1]}, DTYPE),')
        return [*lines, "    }"]

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

    def _draw_masks(self) -> list[str]:
        return [
            "def draw_masks(key: jax.Array, examples: int) -> Tensors:",
            '    """What dropout keeps of each example, by path."""',
            "    return {",
            *(
                f'        "{path}": regularizers.dropout_mask('
                f"{_key(path.removesuffix('.mask'))}, {_sizes(shape)}, keep_probability={keep}),"
                for path, (shape, keep) in self.masks.items()
            ),
            "    }",
        ]

    def parameter(self, at: Place, name: str) -> str:
        return f'parameters["{at.path}.{name}"]'

    def joined(self, outputs: Sequence[str], join: str) -> str:
        return f"jnp.concatenate([{', '.join(outputs)}], axis=-1)" if join == "concatenate" else " + ".join(outputs)

    def write_layer(self, layer: Any, at: Place) -> None:
        x = at.x
        match layer:
            case layers.Dense():
                weight, bias = self.own(at, "W", "b")
                self.put(layer, at, f"{x} @ {weight}.T{_plus(bias)}")
            case layers.Activation():
                self.put(layer, at, f"activations.{layer.name}({x}{keywords(layer.options)})")
            case layers.Dropout():
                self.dropout(layer, at)
            case layers.Flatten():
                moved = f"jnp.moveaxis({x}, -1, 1)" if layer.order == "channels_first" else x
                self.put(layer, at, f"{moved}.reshape(len({x}), -1)")
            case layers.Reshape():
                self.put(layer, at, f"{x}.reshape(len({x}), {', '.join(map(str, layer.shape))})")
            case layers.Embedding():
                self.begin_mask(layer, at)
                self.put(layer, at, f"jnp.take({self.parameter(at, 'W')}, {x}, axis=0)")
            case layers.Masking():
                there, seen = mask_after(layer, at), at.named("seen") if at.mask else at.named("there")
                self.lines.append(f"{seen} = ({x} != {layer.value}).any(axis=-1)  # (m, t)")
                if at.mask:
                    self.lines.append(f"{there} = {seen} & {at.mask}")
                self.put(layer, at, f"jnp.where({seen}[..., None], {x}, 0)")
            case layers.BatchNorm() | layers.LayerNorm():
                self._norm(layer, at)
            case recurrent.Recurrent():
                own = ", ".join(self.own(at, "W", "U", "b", "b_h"))
                self.put(layer, at, f"blocks.{FUNCTIONS[type(layer)]}({x}, {own}{recurrence(layer, at)})")
            case MultiHeadAttention():
                pairs = ", ".join(f"({', '.join(self.own(at, f'W_{of}', f'b_{of}'))})" for of in "qkvo")
                options = f"heads={layer.heads}, causal={layer.causal}, mask={at.mask}"
                self.put(layer, at, f"blocks.attention({x}, {pairs}, {options})")
            case PositionalEncoding():
                encoded = f"blocks.positions({x}.shape[1], {at.shape[-1]}, {layer.base}, layout={layer.layout!r})"
                self.put(layer, at, f"{x} + jnp.asarray({encoded}, {x}.dtype)")
            case _:
                self._convolution_or_pool(layer, at)

    def _norm(self, layer: Any, at: Place) -> None:
        scale, shift = self.own(at, "gamma", "beta")
        if isinstance(layer, layers.LayerNorm):
            self.put(layer, at, f"normalization.layer_norm({at.x}, {scale}, {shift}, epsilon={layer.epsilon})")
            return
        running = ", ".join(f'statistics["{at.path}.running_{kind}"]' for kind in ("mean", "variance"))
        self.lines += [
            "if statistics is None:",
            f'    batch_moments["{at.path}"] = mean, variance = normalization.batch_statistics({at.x})',
            "else:",
            f"    mean, variance = {running}",
        ]
        arguments = f"{at.x}, {scale}, {shift}, mean, variance, epsilon={layer.epsilon}"
        self.put(layer, at, f"normalization.batch_norm({arguments})")

    def _convolution_or_pool(self, layer: Any, at: Place) -> None:
        x = at.x
        match layer:
            case convolution.Convolution():
                window, (weight, bias) = layer.window, self.own(at, "W", "b")
                said: dict[str, Any] = {"dilation": window.dilation} if set(window.dilation) != {1} else {}
                said |= {"groups": layer.groups} if layer.groups > 1 else {}
                given = f"{x}, {weight}, {window.stride}, {_pads(window)}{keywords(said)}"
                self.put(layer, at, f"blocks.convolution({given}){_plus(bias)}")
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


def _plus(bias: str) -> str:
    return "" if bias == "None" else f" + {bias}"


def _pads(window: convolution.Window, *, ends: bool = False) -> str:
    """The padding as XLA takes it, of the axes of a window alone or with both ends."""
    if isinstance(window.padding, str):
        return repr(window.padding.upper())
    pads = [(int(p), int(p)) for p in window.padding]
    return repr([(0, 0), *pads, (0, 0)] if ends else pads)
