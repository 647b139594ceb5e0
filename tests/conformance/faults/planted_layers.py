"""A layer of each package in a situation, with faults planted in it or without: what it gives, as arrays by name.

``"y"``: the output in training; ``"y in use"``: with running averages and without draws; ``"d W"``: gradients of
``sum(y dy)``, ``"d x"`` that of the input; ``"average running_mean"``: after the pass; ``"initial b"``: parameters and
running averages before training.
"""

import importlib
import inspect
from types import SimpleNamespace

import numpy as np

from conformance.faults.injection import PACKAGES, injected_module
from reference_numpy import layers as reference

AROUND = ("models.py", "training.py")


def layers_with(implementation, edits):
    """The ``layers`` module of a copy of a package with ``edits``; those around layers show in none of them."""
    within = [edit for edit in edits if edit.file not in AROUND]
    return injected_module(importlib.import_module(f"{PACKAGES[implementation]}.layers"), *within)


def parts(situation):
    """Every layer that a situation makes, with its name and all keywords. A mask that is given counts as a layer's."""
    made = [SimpleNamespace(name="masking", keywords={})] if situation.masked else []

    def recorded(name, make):
        def record(*arguments, **keywords):
            bound = inspect.signature(make).bind(*arguments, **keywords)
            bound.apply_defaults()
            made.append(SimpleNamespace(name=name, keywords=_as_in_a_recipe(bound.arguments)))
            return make(*arguments, **keywords)

        return record

    situation.make(SimpleNamespace(**{name: recorded(name, make) for name, make in reference.LAYERS.items()}))
    return made


def _as_in_a_recipe(keywords):
    """One number for each axis of a window; and a recipe calls the activation's name ``function``."""
    axes = len(keywords.get("kernel", keywords.get("window", ())))
    sizes = {name: keywords[name] for name in ("stride", "dilation", "padding") if isinstance(keywords.get(name), int)}
    named = {"function": keywords["name"]} if "name" in keywords else {}
    return dict(keywords) | {name: (size,) * axes for name, size in sizes.items()} | named


class Pose:
    """What goes into a situation's layer: an input, parameters, averages and draws, the gradient of the output."""

    def __init__(self, situation):
        self.make, self.shape = situation.make, situation.shape
        self.x, self.mask = situation.inputs()
        generator, layer = np.random.default_rng(1), situation.make(reference)
        made, averages = layer.initialize(generator, self.shape), layer.initial_statistics(self.shape)
        self.parameters = {path: generator.uniform(-1, 1, array.shape) for path, array in made.items()}
        self.averages = {path: generator.uniform(0.5, 2, array.shape) for path, array in averages.items()}
        self.drawn = layer.draw(generator, len(self.x), self.shape)
        self.dy = generator.standard_normal((len(self.x), *layer.output_shape(self.shape)))


def numpy_results(layers, pose):
    layer = pose.make(layers)
    y, values = layer.forward(pose.parameters, pose.x, drawn=pose.drawn, mask=pose.mask)
    in_use, _ = layer.forward(pose.parameters, pose.x, statistics=pose.averages, mask=pose.mask)
    found = {"y": y, "y in use": in_use} | _named("average", layer.updated_statistics(pose.averages, values))
    found |= _named("initial", layer.initialize(np.random.default_rng(2), pose.shape))
    found |= _named("initial", layer.initial_statistics(pose.shape))
    if y.shape == pose.dy.shape:
        dx, gradients = layer.backward(pose.parameters, values, pose.dy, drawn=pose.drawn, mask=pose.mask)
        found |= _named("d", gradients) | ({} if dx is None else {"d x": dx})
    return found


def torch_results(layers, pose):
    import torch

    layer = pose.make(layers)
    layer.build(pose.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    layer.double()
    found = _named("initial", {name: tensor.clone() for name, tensor in layer.state_dict().items()})
    layer.load_state_dict({name: torch.as_tensor(a) for name, a in (pose.parameters | pose.averages).items()})
    mask = None if pose.mask is None else torch.as_tensor(pose.mask)
    x = torch.as_tensor(pose.x).clone()
    leaves = dict(layer.named_parameters()) | ({"x": x.requires_grad_()} if x.is_floating_point() else {})
    found["y in use"] = layer.eval()(x, mask=mask)
    with layers.fed(layer, pose.drawn):
        y = found["y"] = layer.train()(x, mask=mask)
    if y.shape == pose.dy.shape and leaves:
        gradients = torch.autograd.grad((y * torch.as_tensor(pose.dy)).sum(), list(leaves.values()))
        found |= _named("d", dict(zip(leaves, gradients, strict=True)))
    found |= _named("average", dict(layer.named_buffers()))
    return {name: tensor.detach().numpy() for name, tensor in found.items()}


def tf_results(layers, pose):
    import tensorflow as tf

    layer = pose.make(layers)
    layer.build(pose.shape, generator=tf.random.Generator.from_seed(2), dtype="float64")
    variables = layer.parameter_dict() | layer.statistics_dict()
    found = _named("initial", {name: variable.numpy() for name, variable in variables.items()})
    for name, array in (pose.parameters | pose.averages).items():
        variables[name].assign(array)
    x, mask = tf.convert_to_tensor(pose.x), None if pose.mask is None else tf.convert_to_tensor(pose.mask)
    sources = layer.parameter_dict() | ({"x": x} if x.dtype.is_floating else {})
    found["y in use"] = layer(x, mask=mask)
    with layers.fed(layer, pose.drawn), tf.GradientTape() as tape:
        tape.watch(list(sources.values()))
        y = found["y"] = layer(x, training=True, mask=mask)
        functional = tf.reduce_sum(y * pose.dy) if y.shape == pose.dy.shape else None
    if functional is not None:
        found |= _named("d", tape.gradient(functional, sources))
    found |= _named("average", layer.statistics_dict())
    return {name: np.asarray(tensor) for name, tensor in found.items()}


def jax_results(layers, pose):
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True), jax.disable_jit():
        layer = pose.make(layers)
        found = _named("initial", layer.initialize(jax.random.key(2), pose.shape))
        found |= _named("initial", layer.initial_statistics(pose.shape))
        parameters, averages, drawn = (
            {name: jnp.asarray(array) for name, array in arrays.items()}
            for arrays in (pose.parameters, pose.averages, pose.drawn)
        )
        x, mask = jnp.asarray(pose.x), None if pose.mask is None else jnp.asarray(pose.mask)
        found["y in use"] = layer.apply(parameters, x, statistics=averages, mask=mask)

        def passed(parameters, x):
            return layer.forward(parameters, x, drawn=drawn, mask=mask)

        y, back, values = jax.vjp(passed, parameters, x, has_aux=True)
        found |= {"y": y} | _named("average", layer.updated_statistics(averages, values))
        if y.shape == pose.dy.shape:
            gradients, dx = back(jnp.asarray(pose.dy))
            found |= _named("d", gradients) | ({} if dx.dtype == jax.dtypes.float0 else {"d x": dx})
        return {name: np.asarray(array) for name, array in found.items()}


RESULTS = {"numpy": numpy_results, "torch": torch_results, "tf": tf_results, "jax": jax_results}


def distance(found, expected):
    """How far results are from others, at most: beside the largest number of each, or beside 0.1 if all are smaller."""
    if found.keys() != expected.keys():
        return np.inf
    return max(_distance(found[name], expected[name]) for name in expected)


def _distance(found, expected):
    if found.shape != expected.shape or not np.isfinite(found).all():
        return np.inf
    scale = max(np.abs(found).max(initial=0.1), np.abs(expected).max(initial=0.1))
    return np.abs(found - expected).max(initial=0.0) / scale


def _named(what, tensors):
    return {f"{what} {path}": tensor for path, tensor in tensors.items()}
