"""A network of layers in TensorFlow."""

import math
from collections.abc import Sequence
from typing import Any

from conformance.ejecting.networks.places import Place, Shape, Start, mask_after
from conformance.ejecting.networks.writer import Writer, averaging, keywords, plus, tupled
from reference_numpy import convolution, layers
from reference_numpy.attention import PositionalEncoding

IMPORTS = '''"""A network of layers."""

import math
from collections.abc import Mapping

import tensorflow as tf

from conformance.ejecting.skeletons import blocks
from conformance.ejecting.skeletons.tf import DTYPE, FROZEN_BIASES, FROZEN_LAYERS, Tensors, Variables
from impl_tf import activations, initializers, normalization, regularizers
from impl_tf._common import is_trained'''

_TRAINED = '''    def trained(self) -> Variables:
        """The parameters that training changes."""
        if FROZEN_LAYERS or FROZEN_BIASES:
            return {n: w for n, w in self.parameters.items() if is_trained(n, FROZEN_LAYERS, FROZEN_BIASES)}
        return dict(self.parameters)'''


class TfWriter(Writer):
    """A module with its variables by path, ``self.parameters["2.W"]``."""

    imports = IMPORTS
    source = "generator: tf.random.Generator"

    def text(self) -> str:
        model = [
            "class Model(tf.Module):",
            '    """MODEL_DESCRIPTION"""',
            "",
            "    def __init__(self, generator: tf.random.Generator) -> None:",
            "        super().__init__()",
            "        self.parameters: Variables = {}  # by path, the first part of which is a layer's place, from 1",
            *self.in_function(self._made(), 2),
            "",
            *self._call(),
            "",
            *([*self._move_averages(), ""] if self.batch_norms else []),
            *_TRAINED.splitlines(),
        ]
        return self.module(model, *([self.draw_masks()] if self.masks else []))

    def _made(self) -> list[str]:
        lines = ["self.statistics: Variables = {}  # running averages, which inference takes"] * bool(self.batch_norms)
        of_layers = dict(self.by_layer())
        for layer, at in self.places:
            lines += [f'self.parameters["{start.path}"] = {_start(start)}' for start in of_layers.pop(at.path, [])]
            if isinstance(layer, layers.Dropout):
                lines.append("generator.split(1)  # the place of dropout among the draws")
            if isinstance(layer, layers.BatchNorm):
                for kind, fill in (("mean", "zeros"), ("variance", "ones")):
                    variable = f"tf.Variable(tf.{fill}({at.shape[-1]}, DTYPE), trainable=False)"
                    lines.append(f'self.statistics["{at.path}.running_{kind}"] = {variable}')
        return lines

    def _call(self) -> list[str]:
        masks = ", masks: Mapping[str, tf.Tensor] | None = None" if self.masks else ""
        training = ", training: bool = False" if self.batch_norms else ""
        returned = "tuple[tf.Tensor, Tensors]" if self.batch_norms else "tf.Tensor"
        said = f'"""{self.logits_documented}'
        if self.batch_norms:
            said += (
                "\n\n        In ``training`` batch norm takes the batch's mean and variance, which are returned too, by"
                "\n        layer.\n        "
            )
        return [
            f"    def __call__(self, x: tf.Tensor{masks}{training}) -> {returned}:",
            f'        {said}"""',
            "        w = self.parameters",
            *(["        batch_moments: Tensors = {}"] if self.batch_norms else []),
            *self.in_function(self.written(), 2),
            "        return x, batch_moments" if self.batch_norms else "        return x",
        ]

    def _move_averages(self) -> list[str]:
        lines = [
            "    def move_averages(self, batch_moments: Tensors, examples: int) -> None:",
            '        """Move batch norm\'s running averages on by a batch of so many ``examples``."""',
        ]
        for layer, at in self.batch_norms:
            names = [f'self.statistics["{at.path}.running_{kind}"]' for kind in ("mean", "variance")]
            given = f'running, batch_moments["{at.path}"], {self.averaged(at)}{averaging(layer)}'
            lines += [
                f"        running = {', '.join(names)}",
                f"        averages = normalization.running_average({given})",
                "        for variable, average in zip(running, averages, strict=True):",
                "            variable.assign(average)",
            ]
        return lines

    def drawn(self, path: str, shape: Shape, keep: float) -> str:
        sizes = ", ".join(map(str, ("examples", *shape)))
        return f"regularizers.dropout_mask(generator, ({sizes}), keep_probability={keep})"

    def both(self, one: str, other: str) -> str:
        return f"tf.logical_and({one}, {other})"

    def begin_mask(self, layer: layers.Embedding, at: Place) -> None:
        if layer.mask_zero:
            own = f"tf.not_equal({at.x}, 0)"
            self.lines.append(f"{mask_after(layer, at)} = {self.both(own, at.mask) if at.mask else own}  # (m, t)")

    def parameter(self, at: Place, name: str) -> str:
        return f'w["{at.path}.{name}"]'

    def joined(self, outputs: Sequence[str], join: str) -> str:
        listed = f"[{', '.join(outputs)}]"
        return f"tf.concat({listed}, axis=-1)" if join == "concatenate" else f"tf.add_n({listed})"

    def write_own(self, layer: Any, at: Place) -> None:
        x = at.x
        match layer:
            case layers.Dense():
                weight, bias = self.own(at, "W", "b")
                plain = f"tf.matmul({x}, {weight}, transpose_b=True)"
                self.put(
                    layer,
                    at,
                    f"{plain if len(at.shape) == 1 else f'tf.tensordot({x}, {weight}, [[-1], [1]])'}{plus(bias)}",
                )
            case layers.Flatten():
                moved = x
                if layer.order == "channels_first" and len(at.shape) > 1:
                    axes = len(at.shape) + 1
                    moved = f"tf.transpose({x}, {tupled([0, axes - 1, *range(1, axes - 1)])})"
                self.put(layer, at, f"tf.reshape({moved}, (-1, {math.prod(at.shape)}))")
            case layers.Reshape():
                self.put(layer, at, f"tf.reshape({x}, {tupled([-1, *layer.shape])})")
            case layers.Embedding():
                self.begin_mask(layer, at)
                self.put(layer, at, f"blocks.embedding({self.parameter(at, 'W')}, {x})")
            case layers.Masking():
                seen = self.seen(layer, at, f"tf.reduce_any(tf.not_equal({x}, {layer.value}), axis=-1)")
                self.put(layer, at, f"tf.where({seen}[..., None], {x}, tf.zeros_like({x}))")
            case PositionalEncoding():
                encoded = f"blocks.positions(tf.shape({x})[1], {at.shape[-1]}, {layer.base}, layout={layer.layout!r})"
                self.put(layer, at, f"{x} + tf.cast({encoded}, {x}.dtype)")
            case _:
                self._convolution_or_pool(layer, at)

    def take_moments(self, layer: layers.BatchNorm, at: Place) -> None:
        mean, variance = (f'self.statistics["{at.path}.running_{kind}"]' for kind in ("mean", "variance"))
        self.lines += [
            "if training:",
            f'    batch_moments["{at.path}"] = mean, variance = normalization.batch_statistics({at.x})',
            "else:",
            f"    mean, variance = {mean}, {variance}",
        ]

    def _convolution_or_pool(self, layer: Any, at: Place) -> None:
        match layer:
            case convolution.Convolution():
                self._convolution(layer, at)
            case convolution.MaxPool():
                x = self._padded(layer.window, at, ", constant_values=tf.constant(-math.inf, {x}.dtype)")
                self.put(layer, at, _pooled("max", layer.window, x))
            case convolution.AveragePool():
                pads, given = _pads(layer.window, at), at.x
                share = at.named("share") if pads and not layer.count_padding else ""
                if share:
                    ones = f"tf.pad(tf.ones({tupled([1, *at.shape[:-1], 1])}, {given}.dtype), {pads})"
                    self.lines.append(
                        f"{share} = {_pooled('avg', layer.window, ones)}  # of each window that is no padding"
                    )
                x = self._padded(layer.window, at)
                self.put(layer, at, f"{_pooled('avg', layer.window, x)}{f' / {share}' if share else ''}")
            case convolution.GlobalMaxPool() | convolution.GlobalAveragePool():
                kind = "max" if isinstance(layer, convolution.GlobalMaxPool) else "average"
                masked = at.mask if len(at.shape) == 2 else None
                self.put(layer, at, f"blocks.global_{kind}_pool({at.x}, {masked})")
            case _:
                raise AssertionError(type(layer).__name__)

    def _convolution(self, layer: convolution.Convolution, at: Place) -> None:
        window, (weight, bias) = layer.window, self.own(at, "W", "b")
        axes = range(1, len(window.size) + 2)
        self.lines.append(f"kernel = tf.transpose({weight}, {tupled([*axes, 0])})  # channels last")
        x = self._padded(window, at)
        dilated = keywords({"dilations": window.dilation}) if set(window.dilation) != {1} else ""
        stride, apart = window.stride, ""
        if dilated and set(stride) != {1}:  # TensorFlow refuses both at once: of all windows, those a stride apart
            apart = f"[{', '.join([':', *(f'::{step}' for step in stride)])}]"
            stride = (1,) * len(stride)
        if layer.groups > 1:
            correlation = f"blocks.convolution_in_groups({x}, kernel, {stride}, {layer.groups}{dilated})"
        else:
            correlation = f'tf.nn.convolution({x}, kernel, {stride}, "VALID"{dilated})'
        self.put(layer, at, f"{correlation}{apart}{plus(bias)}")

    def _padded(self, window: convolution.Window, at: Place, fill: str = "") -> str:
        """What a window moves over: the input, with margins in a line of its own where there are some."""
        pads = _pads(window, at)
        if not pads:
            return at.x
        self.lines.append(f"{at.y} = tf.pad({at.x}, {pads}{fill.format(x=at.x)})")
        return at.y


def _start(start: Start) -> str:
    """What makes a parameter."""
    if start.initializer:
        value = f"initializers.{start.initializer}(generator, {start.shape}, dtype=DTYPE{keywords(start.options)})"
    elif start.places:
        first, end, number = start.places
        units = end - first
        blocks = [number if place == first else 0.0 for place in range(0, start.shape[0], units)]
        value = f"tf.repeat(tf.constant({blocks}, DTYPE), {units})"
    else:
        value = f"tf.{'ones' if start.value == 1 else 'zeros'}({start.shape[0]}, DTYPE)"
    return f"tf.Variable({value})"


def _pads(window: convolution.Window, at: Place) -> str:
    """The margins of all axes, "" where there are none."""
    margins = window.margins(at.shape[:-1])
    return repr([(0, 0), *margins, (0, 0)]) if any(map(any, margins)) else ""


def _pooled(kind: str, window: convolution.Window, x: str) -> str:
    return f'tf.nn.{kind}_pool({x}, {window.size}, {window.stride}, "VALID")'
