"""What every layer is, and layers of layers.

Tensors are named by paths, which are the keys of ``state_dict``: ``"3.W"`` is ``W`` of the third layer, ``"5.1.W"``
that of the first layer of the fifth.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter, is_lazy

from . import initializers
from ._common import check_choice, named

Options = Mapping[str, Any]
Shape = tuple[int, ...]  # of one example, without m
Value = TypeVar("Value")


class Layer(nn.Module):
    """A module that maps ``x: (m, *shape)`` to ``y: (m, *output_shape(shape))``.

    Its parameters have no shape until :meth:`build`, a first forward pass or ``load_state_dict`` gives them one, as in
    PyTorch's lazy modules. Use the functions of ``layers.py`` to make one: they check their arguments.
    """

    parameter_names: tuple[str, ...] = ()
    buffer_names: tuple[str, ...] = ()
    draws_mask = False  # whether it takes one from `fed`

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings
        for name, value in settings.items():
            setattr(self, name, value)
        for name in self.parameter_names:
            setattr(self, name, UninitializedParameter())
        for name in self.buffer_names:
            self.register_buffer(name, torch.empty(0))  # UninitializedBuffer cannot be copied
        self._drawn: dict[str, Any] = {}  # what `fed` gives
        self._note: Callable[[str, Tensor], None] | None = None  # what `layer_values` is told by
        self._averages_move = True  # in training mode, unless all is `decided`

    @property
    def passes_mask(self) -> bool:
        """Whether the output has the time axis of the input, so that the mask of its steps fits what follows."""
        return True

    def next_mask(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        """The mask for what follows, of an input ``x`` of which ``mask`` is that of its steps."""
        return mask if self.passes_mask else None

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one output for that of one input. Raises ValueError if the layer cannot take it."""
        return tuple(shape)

    def parts(self, shape: Shape) -> Iterator[tuple[str, nn.Module, Shape]]:
        """The layers that this one is made of: name, layer, and the shape of what it is given."""
        return iter(())

    @torch.no_grad()
    def build(
        self, shape: Iterable[int], *, generator: torch.Generator | None = None, dtype: torch.dtype | None = None
    ) -> Shape:
        """Make the parameters for inputs ``(m, *shape)`` and draw them, anew if there are any.

        Returns the shape of one output. ``generator`` None means PyTorch's default one, ``dtype`` None the
        module's own. Plain modules of PyTorch inside are left as they are. Raises ValueError if a layer cannot take
        what it is given.
        """
        shape = tuple(shape)
        output_shape = self.output_shape(shape)
        for _, part, given in self.parts(shape):
            if isinstance(part, Layer):
                part.build(given, generator=generator, dtype=dtype)
        held = self._held()
        if self.parameter_names:
            values = self.initial_values(generator, shape, dtype or next(iter(held.values())).dtype)
            for name, tensor in held.items():
                _fill(tensor, values[name])
        return output_shape

    def initial_values(self, generator: torch.Generator | None, shape: Shape, dtype: torch.dtype) -> dict[str, Tensor]:
        """What parameters and buffers start from, by name; biases too where there are none."""
        return {}

    def draw(self, generator: torch.Generator | None, examples: int, shape: Shape) -> dict[str, Tensor]:
        """What is random in a training pass of ``examples``, by path: dropout's ``"mask"``, bool ``(m, *shape)``."""
        drawn: dict[str, Tensor] = {}
        for name, part, given in self.parts(tuple(shape)):
            if isinstance(part, Layer):
                drawn |= named(part.draw(generator, examples, given), name)
        return drawn

    def note(self, **values: Tensor) -> None:
        """Tell :func:`layer_values` of these, if it listens."""
        if self._note is not None:
            for name, value in values.items():
                self._note(name, value)

    def built_for(self, x: Tensor) -> None:
        """Build the layer in its first forward pass."""
        if self.is_unbuilt:
            self.build(x.shape[1:])

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())

    def refuse(self, shape: Iterable[int], must: str) -> NoReturn:
        """Raise the ValueError that the layer cannot take examples of this shape."""
        raise ValueError(f"{type(self).__name__} cannot take examples of shape {tuple(shape)}: must be {must}")

    @property
    def is_unbuilt(self) -> bool:
        """Whether its own parameters have no shape yet."""
        return any(isinstance(held, UninitializedParameter) for held in self._parameters.values())

    def _held(self) -> dict[str, Any]:
        """The layer's own parameters and buffers, those that are there."""
        return {name: held for name, held in (self._parameters | self._buffers).items() if held is not None}

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        if self.is_unbuilt:
            for name, held in self._held().items():
                if prefix + name in state_dict:
                    _fill(held, torch.empty(state_dict[prefix + name].shape, dtype=held.dtype))
        super()._load_from_state_dict(state_dict, prefix, *others)


def passes_mask(module: nn.Module) -> bool:
    """Whether what follows ``module`` gets its mask; PyTorch's own modules are taken to keep the steps."""
    return module.passes_mask if isinstance(module, Layer) else True


def next_mask(module: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor | None:
    """The mask for what follows ``module``, which is given ``x`` and ``mask``."""
    return module.next_mask(x, mask) if isinstance(module, Layer) else mask


def called(module: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    """The output of ``module``, which gets the mask if it is a :class:`Layer`."""
    return module(x, mask=mask) if isinstance(module, Layer) else module(x)


def shape_after(module: nn.Module, shape: Shape) -> Shape:
    """The shape of one output; a module of PyTorch's own is asked by a pass of zeros through a copy."""
    if isinstance(module, Layer):
        return module.output_shape(shape)
    with torch.no_grad(), torch.random.fork_rng(devices=()):  # lazy ones draw
        return tuple(copy.deepcopy(module).eval()(an_example(module, shape)).shape[1:])


def an_example(module: nn.Module, shape: Shape) -> Tensor:
    """Zeros ``(1, *shape)`` of the kind that a module of PyTorch's own takes."""
    like = next(module.parameters(), torch.empty(0))
    dtype = torch.long if isinstance(module, nn.Embedding) else like.dtype
    return torch.zeros((1, *shape), dtype=dtype, device=like.device)


class Sequence(nn.Sequential, Layer):
    """See :func:`layers.sequence`. An ``nn.Sequential`` that counts from 1 and passes masks."""

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        if len(layers) == 1 and isinstance(layers[0], OrderedDict):  # nn.Sequential's slices come so
            layers = tuple(layers[0].values())
        self._place(layers)

    def _place(self, layers: Iterable[nn.Module]) -> None:
        layers = tuple(layers)
        self._modules.clear()
        for place, layer in enumerate(layers, start=1):
            self.add_module(str(place), layer)

    @property
    def passes_mask(self) -> bool:
        return all(map(passes_mask, self))

    def parts(self, shape: Shape) -> Iterator[tuple[str, nn.Module, Shape]]:
        for name, layer in self._modules.items():
            yield name, layer, shape
            shape = shape_after(layer, shape)

    def output_shape(self, shape: Shape) -> Shape:
        for layer in self:
            shape = shape_after(layer, shape)
        return tuple(shape)

    def next_mask(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        for place, layer in enumerate(self):
            if place == 0:
                mask = next_mask(layer, x, mask)
            elif not passes_mask(layer):
                return None
        return mask

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for name, layer in self._modules.items():
            y = called(layer, x, mask)
            self.note(**{f"{name}.A": y})
            x, mask = y, next_mask(layer, x, mask)
        return x

    def insert(self, index: int, module: nn.Module) -> "Sequence":
        layers = list(self)
        layers.insert(index, module)
        self._place(layers)
        return self

    def append(self, module: nn.Module) -> "Sequence":
        return self.insert(len(self), module)

    def __delitem__(self, index: int | slice) -> None:
        layers = list(self)
        del layers[index]
        self._place(layers)

    def __add__(self, other: Iterable[nn.Module]) -> "Sequence":
        return Sequence(*self, *other)

    def __iadd__(self, other: Iterable[nn.Module]) -> "Sequence":
        return self.extend(other)


class Around(Layer):
    """A layer around another that adds no level to its paths: it has that layer's parameters, buffers and children.

    The layer itself is none of the children, but among :meth:`named_modules`, at the same path.
    """

    layer: nn.Module

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.__dict__["layer"] = layer  # past nn.Module, which would make it a child
        self._parameters, self._buffers, self._modules = layer._parameters, layer._buffers, layer._modules

    @property
    def passes_mask(self) -> bool:
        return passes_mask(self.layer)

    def next_mask(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        return next_mask(self.layer, x, mask)

    def parts(self, shape: Shape) -> Iterator[tuple[str, nn.Module, Shape]]:
        yield "", self.layer, shape

    def named_modules(self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True) -> Iterator:
        memo = set() if memo is None else memo
        if self not in memo:
            if remove_duplicate:
                memo.add(self)
            yield prefix, self
            yield from self.layer.named_modules(memo, prefix, remove_duplicate)

    def train(self, mode: bool = True) -> "Around":
        self.layer.train(mode)
        return super().train(mode)

    def extra_repr(self) -> str:
        return "" if self._modules else repr(self.layer)


class Residual(Around):
    """See :func:`layers.residual`."""

    def output_shape(self, shape: Shape) -> Shape:
        self._check(shape, shape_after(self.layer, shape))
        return tuple(shape)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = called(self.layer, x, mask)
        self._check(x.shape[1:], y.shape[1:])
        return x + y

    def _check(self, shape: Iterable[int], found: Iterable[int]) -> None:
        if tuple(found) != tuple(shape):
            self.refuse(shape, f"what its layer gives, which is {tuple(found)}")


class Parallel(Layer):
    """See :func:`layers.parallel`. Its layers are named ``"1"``, ``"2"``, ..."""

    join: str
    _modules: dict[str, nn.Module]  # type: ignore[assignment]  # children() leaves out one that is there twice

    def __init__(self, layers: Iterable[nn.Module], join: str) -> None:
        super().__init__(join=join)
        for place, layer in enumerate(layers, start=1):
            self.add_module(str(place), layer)

    @property
    def passes_mask(self) -> bool:
        return all(map(passes_mask, self._modules.values()))

    def parts(self, shape: Shape) -> Iterator[tuple[str, nn.Module, Shape]]:
        yield from ((name, layer, shape) for name, layer in self._modules.items())

    def output_shape(self, shape: Shape) -> Shape:
        return self._joined(shape, [tuple(shape_after(layer, shape)) for layer in self._modules.values()])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        outputs = [called(layer, x, mask) for layer in self._modules.values()]
        self.note(**{f"{name}.A": y for name, y in zip(self._modules, outputs, strict=True)})
        self._joined(x.shape[1:], [tuple(y.shape[1:]) for y in outputs])
        return torch.cat(outputs, dim=-1) if self.join == "concatenate" else sum(outputs[1:], start=outputs[0])

    def _joined(self, shape: Iterable[int], shapes: list[Shape]) -> Shape:
        alike = {found[:-1] if self.join == "concatenate" else found for found in shapes}
        if len(alike) > 1 or len({len(found) for found in shapes}) > 1:
            self.refuse(shape, f"such that outputs can be joined by {self.join!r}, which are {shapes}")
        return (*shapes[0][:-1], sum(found[-1] for found in shapes)) if self.join == "concatenate" else shapes[0]


@contextmanager
def fed(module: nn.Module, drawn: Mapping[str, Any]) -> Iterator[None]:
    """Within, the layers of ``module`` take from ``drawn`` what they would draw, in training mode or not.

    ``drawn``: by path, as :meth:`Layer.draw` returns it: dropout's masks, ``{"7.mask": (m, *shape)}``, bool tensors or
    arrays; what is not there is drawn as ever. Raises ValueError for a path at which nothing is drawn.

    >>> from impl_torch import layers
    >>> net = layers.sequence(layers.activation("relu"), layers.dropout(0.5))
    >>> with fed(net, {"2.mask": torch.tensor([[True, False, True]])}):
    ...     net(torch.tensor([[1.0, 2.0, -3.0]]))
    tensor([[2., 0., 0.]])
    """
    drawing = {
        f"{path}.mask" if path else "mask": part
        for path, part in module.named_modules(remove_duplicate=False)
        if isinstance(part, Layer) and part.draws_mask
    }
    for name in drawn:
        if name not in drawing:
            raise ValueError(f"drawn has {name!r}, which is not drawn: must be among {', '.join(drawing) or 'nothing'}")
    before = [(layer, layer._drawn) for layer in drawing.values()]
    try:
        for name, mask in drawn.items():
            drawing[name]._drawn = {"mask": mask}
        yield
    finally:
        for layer, given in before:
            layer._drawn = given


@contextmanager
def decided(module: nn.Module, training: bool | None, drawn: Mapping[str, Any]) -> Iterator[None]:
    """Within, ``module`` draws nothing: dropout is that of ``drawn``, as in :func:`fed`, none where nothing is there.

    ``training`` says whether batch norm takes the batch's statistics, whatever the mode, and running averages stay;
    None leaves both to the mode. Modules of PyTorch's own are in the mode that ``training`` says, and do all of it.
    """
    before: list[tuple[nn.Module, str, bool]] = []
    try:
        for part in module.modules():
            mode = part.training if training is None else training
            if isinstance(part, Layer):
                mode = mode and not part.draws_mask
                if part.buffer_names and training is not None:
                    before.append((part, "_averages_move", part._averages_move))
                    part._averages_move = False
            if mode != part.training:
                before.append((part, "training", part.training))
                part.training = mode
        with fed(module, drawn) if drawn else nullcontext():
            yield
    finally:
        for part, name, value in reversed(before):
            setattr(part, name, value)


def layer_values(module: nn.Module, x: Tensor, *, mask: Tensor | None = None) -> dict[str, Tensor]:
    """The values on the way of ``x: (m, *shape)`` through ``module``, by path; they have gradients.

    ``"3.A"``: the output of the third layer of a sequence; ``"h"``, ``"c"``: the states of a recurrent layer,
    ``(m, t, n)``; ``"weights"``: those of attention, ``(m, heads, t, t)``; ``"batch_mean"``, ``"batch_variance"`` of
    batch norm in training mode. It is one forward pass: running averages move as in any other.

    >>> from impl_torch import layers
    >>> net = layers.sequence(layers.activation("relu"), layers.flatten())
    >>> layer_values(net, torch.tensor([[[1.0, -2.0]]]))
    {'1.A': tensor([[[1., 0.]]]), '2.A': tensor([[1., 0.]])}
    """
    values: dict[str, Tensor] = {}

    def note(path: str, name: str, value: Tensor) -> None:
        values[f"{path}.{name}" if path else name] = value

    def note_output(path: str, part: nn.Module, given: Any, output: Tensor) -> None:
        values[path] = output

    with ExitStack() as stack:
        for path, part in module.named_modules():
            if isinstance(part, Layer):
                vars(part)["_note"] = partial(note, path)  # nn.Module's own way to set it takes longer
                stack.callback(vars(part).update, _note=None)
            else:  # a container of PyTorch's own, if its children have places
                for place, child in part.named_children():
                    if place.isdigit():
                        output = f"{path}.{place}.A" if path else f"{place}.A"
                        stack.enter_context(child.register_forward_hook(partial(note_output, output)))
        called(module, x, mask)
    return values


def initial_weights(
    initializer: str, options: Options, generator: torch.Generator | None, shape: Shape, dtype: torch.dtype
) -> Tensor:
    """Weights of ``shape`` from a named initializer."""
    return initializers.INITIALIZERS[initializer](generator, shape, dtype=dtype, **options)


def _fill(held: Any, value: Tensor) -> None:
    if is_lazy(held):
        held.materialize(value.shape, dtype=value.dtype)
    held.data = value.to(held.device)


def check_initializer(name: str, value: Any, options: Options | None = None) -> dict[str, Any]:
    """The options as a dict. Raises ValueError for an unknown initializer or an option it refuses."""
    check_choice(name, value, tuple(initializers.INITIALIZERS))
    options = dict(options or {})
    initializers.INITIALIZERS[value](torch.Generator(), (1, 1), **options)
    return options
