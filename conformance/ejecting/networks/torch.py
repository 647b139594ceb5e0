"""A network of layers in PyTorch."""

from collections.abc import Sequence
from typing import Any

from conformance.ejecting.networks.places import Place, Shape, suffix
from conformance.ejecting.networks.writer import Writer, averaging, keywords
from reference_numpy import convolution, layers
from reference_numpy.attention import PositionalEncoding

IMPORTS = '''"""A network of layers."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conformance.ejecting.skeletons import blocks
from conformance.ejecting.skeletons.torch import Tensors
from impl_torch import activations, initializers, normalization, regularizers'''


class TorchWriter(Writer):
    """A module with its parameters as attributes, ``W2`` for the path ``2.W``."""

    imports = IMPORTS
    source = "generator: torch.Generator"

    def text(self) -> str:
        masks = ", masks: Mapping[str, Tensor] | None = None" if self.masks else ""
        model = [
            "class Model(nn.Module):",
            '    """MODEL_DESCRIPTION"""',
            "",
            *self.in_function(self._buffers()),
            "    def __init__(self) -> None:",
            "        super().__init__()",
            *self.in_function(self._made(), 2),
            "",
            f"    def forward(self, x: Tensor{masks}) -> Tensor:",
            f'        """{self.logits_documented}"""',
            *self.in_function(self.written(), 2),
            "        return x",
            "",
            "    def named(self) -> dict[str, nn.Parameter]:",
            '        """The parameters by their paths: the first part of each is the layer\'s place, from 1."""',
            "        return {",
            *(f"            {start.path!r}: self.{_attribute(start.path)}," for start in self.starts),
            "        }",
        ]
        return self.module(model, self._initialize(), *([self.draw_masks()] if self.masks else []))

    def _made(self) -> list[str]:
        lines = []
        for start in self.starts:
            make = "empty" if start.initializer else "ones" if start.value == 1 else "zeros"
            lines.append(
                f"self.{_attribute(start.path)} = nn.Parameter(torch.{make}({', '.join(map(str, start.shape))}))"
            )
        for _, at in self.batch_norms:
            lines.append(f'self.register_buffer("{at.named("running_mean")}", torch.zeros({at.shape[-1]}))')
            lines.append(f'self.register_buffer("{at.named("running_variance")}", torch.ones({at.shape[-1]}))')
        return lines

    def _buffers(self) -> list[str]:
        """What running averages are declared as, and an empty line after them."""
        named = [at.named(f"running_{kind}") for _, at in self.batch_norms for kind in ("mean", "variance")]
        return [*(f"{name}: Tensor" for name in named), *[""] * bool(named)]

    def _initialize(self) -> list[str]:
        lines = [
            "@torch.no_grad()",
            "def initialize(model: Model, generator: torch.Generator) -> None:",
            f'    """Draw the weights{_biases(self)}."""',
            f"    dtype = model.{_attribute(self.starts[0].path)}.dtype",
        ]
        for start in self.starts:
            name = f"model.{_attribute(start.path)}"
            if start.initializer:
                drawn = (
                    f"initializers.{start.initializer}(generator, {start.shape}, dtype=dtype{keywords(start.options)})"
                )
                lines.append(f"    {name}.copy_({drawn})")
            if start.places:
                lines.append(f"    {name}[{start.places[0]}:{start.places[1]}] = {start.places[2]}")
        return lines

    def drawn(self, path: str, shape: Shape, keep: float) -> str:
        return f"torch.rand((examples, {', '.join(map(str, shape))}), generator=generator) < {keep}"

    def parameter(self, at: Place, name: str) -> str:
        return f"self.{at.named(name)}"

    def joined(self, outputs: Sequence[str], join: str) -> str:
        return f"torch.cat(({', '.join(outputs)}), dim=-1)" if join == "concatenate" else " + ".join(outputs)

    def write_own(self, layer: Any, at: Place) -> None:
        x = at.x
        match layer:
            case layers.Dense():
                self.put(layer, at, f"F.linear({', '.join([x, *_given(self.own(at, 'W', 'b'))])})")
            case layers.Flatten():
                moved = ".movedim(-1, 1)" if layer.order == "channels_first" and len(at.shape) > 1 else ""
                self.put(layer, at, f"{x}{moved}.flatten(1)")
            case layers.Reshape():
                self.put(layer, at, f"{x}.reshape(len({x}), {', '.join(map(str, layer.shape))})")
            case layers.Embedding():
                self.begin_mask(layer, at)
                self.put(layer, at, f"F.embedding({x}, {self.parameter(at, 'W')})")
            case layers.Masking():
                seen = self.seen(layer, at, f"({x} != {layer.value}).any(dim=-1)")
                self.put(layer, at, f"{x}.masked_fill(~{seen}[..., None], 0)")
            case PositionalEncoding():
                encoded = f"blocks.positions({x}.shape[1], {at.shape[-1]}, {layer.base}, layout={layer.layout!r})"
                self.put(layer, at, f"{x} + {encoded}.to({x})")
            case _:
                self._convolution_or_pool(layer, at)

    def take_moments(self, layer: layers.BatchNorm, at: Place) -> None:
        running = f"(self.{at.named('running_mean')}, self.{at.named('running_variance')})"
        moments = f"blocks.moments({at.x}, {running}, self.training{averaging(layer)})"
        self.lines.append(f"mean, variance = {moments}")

    def _convolution_or_pool(self, layer: Any, at: Place) -> None:
        x = at.x
        match layer:
            case convolution.Convolution():
                window, bias = layer.window, _given(self.own(at, "b"))
                kernel = f"{self.parameter(at, 'W')}.movedim(-1, 1)"
                axes = len(window.size)
                options = {"stride": (window.stride, 1), "dilation": (window.dilation, 1)}
                said: dict[str, Any] = {
                    name: value for name, (value, usual) in options.items() if set(value) != {usual}
                }
                said |= {"groups": layer.groups} if layer.groups > 1 else {}
                if any(map(any, window.margins(at.shape[:-1]))):
                    self.lines.append(f"{at.y} = {_padded(window, at)}  # channels second, with zeros around")
                    given = ", ".join([at.y, kernel, *bias])
                else:
                    given = ", ".join([f"{x}.movedim(-1, 1)", kernel, *bias])
                self.put(layer, at, f"F.conv{axes}d({given}{keywords(said)}).movedim(1, -1)")
            case convolution.MaxPool():
                self.put(layer, at, _pooled("max", layer.window, at, x, ", value=-math.inf"))
            case convolution.AveragePool():
                mean = _pooled("avg", layer.window, at, x, "")
                if not layer.count_padding and any(map(any, layer.window.margins(at.shape[:-1]))):
                    share = at.named("share")
                    ones = _pooled("avg", layer.window, at, f"torch.ones_like({x}[:1, ..., :1])", "")
                    self.lines.append(f"{share} = {ones}  # of each window that is no padding")
                    mean = f"{mean} / {share}"
                self.put(layer, at, mean)
            case convolution.GlobalMaxPool() | convolution.GlobalAveragePool():
                kind = "max" if isinstance(layer, convolution.GlobalMaxPool) else "average"
                masked = at.mask if len(at.shape) == 2 else None
                plain = "max(dim=1).values" if kind == "max" else "mean(dim=1)"
                of_mask = f"blocks.masked_{kind}({x}, {masked})"
                self.put(layer, at, of_mask if masked else f"{x}.flatten(1, -2).{plain}")
            case _:
                raise AssertionError(type(layer).__name__)


def _attribute(path: str) -> str:
    """``W5_1`` of ``5.1.W``."""
    layer, _, own = path.rpartition(".")
    return f"{own}{suffix(layer)}"


def _given(expressions: Sequence[str]) -> list[str]:
    return [each for each in expressions if each != "None"]


def _biases(writer: Writer) -> str:
    has = any(not start.initializer and start.value == 0 for start in writer.starts)
    return (
        "; biases are 0" + (", but those of forget gates" if any(s.places for s in writer.starts) else "")
        if has
        else ""
    )


def _padded(window: convolution.Window, at: Place, x: str = "", fill: str = "") -> str:
    """What PyTorch takes: channels second, zeros around, from the last axis to the first."""
    moved = f"{x or at.x}.movedim(-1, 1)"
    around = tuple(n for pair in reversed(window.margins(at.shape[:-1])) for n in pair)
    return f"F.pad({moved}, {around}{fill})" if any(around) else moved


def _pooled(kind: str, window: convolution.Window, at: Place, x: str, fill: str) -> str:
    given = _padded(window, at, x, fill)
    size, stride = window.size, window.stride
    return f"F.{kind}_pool{len(size)}d({given}, {size}{'' if stride == size else f', {stride}'}).movedim(1, -1)"
