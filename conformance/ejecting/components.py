"""One component as one file: an activation, a loss, an optimizer and the like in exactly one formulation."""

import ast
from collections.abc import Callable, Mapping
from textwrap import fill
from typing import Any

from conformance.data.wording import listed, nearest, shown
from conformance.ejecting.declared import default_of
from conformance.ejecting.naming import version_of
from conformance.ejecting.packages import Package, full_name
from conformance.ejecting.program import Program
from conformance.ejecting.text import Source
from conformance.ejecting.writing import LINE_LENGTH, written
from conformance.recipes.components import NORMALIZATIONS
from conformance.recipes.resolving import resolve
from reference_numpy import activations, initializers, losses, optimizers, regularizers, schedules

# Where each kind of component is defined, and what it is called in a recipe.
_KINDS: dict[str, tuple[str, str, Mapping[str, Callable[..., Any]]]] = {
    "optimizer": ("optimizers", "optimizer", optimizers.OPTIMIZERS),
    "loss": ("losses", "loss", losses.LOSSES),
    "activation": ("activations", "model.activation", activations.ACTIVATIONS),
    "schedule": ("schedules", "schedule", schedules.SCHEDULES),
    "initializer": ("initializers", "initializer", initializers.INITIALIZERS),
    "penalty": ("regularizers", "regularizers", regularizers.PENALTIES),
    "change": ("regularizers", "regularizers", {**regularizers.CLIPPINGS, **regularizers.CONSTRAINTS}),
    "normalization": ("normalization", "model.normalization", NORMALIZATIONS),
    "augmentation": ("regularizers", "regularizers", regularizers.AUGMENTATIONS),
    "dropout": ("regularizers", "regularizers", {"inverted_dropout": regularizers.inverted_dropout}),
    "stopping": ("regularizers", "regularizers", {"early_stopping": regularizers.early_stopping}),
}
# What goes with a component that is of no use without it.
_BESIDE = {"batch_norm": ("batch_statistics", "running_average"), "inverted_dropout": ("dropout_mask",)}
COMPONENTS = tuple(name for _, _, table in _KINDS.values() for name in table)

_MAKE = {
    "numpy": "np.array({})", "torch": "torch.tensor({})", "tf": "tf.constant({})", "jax": "jnp.array({})",
}  # fmt: skip
_GENERATOR = {
    "numpy": "np.random.default_rng(0)", "torch": "torch.Generator().manual_seed(0)",
    "tf": "tf.random.Generator.from_seed(0)", "jax": "jax.random.key(0)",
}  # fmt: skip
_IMPORTS = {"numpy": {"np"}, "torch": {"torch"}, "tf": {"tf"}, "jax": {"jax", "jnp"}}


def component(framework: str, name: str, keywords: Mapping[str, Any], command: str) -> str:
    """The text of a file with a component of a framework, by its name and keywords, and an example.

    Raises ValueError for an unknown name or keyword, or a value that is not allowed.
    """
    kind = next((kind for kind, (_, _, table) in _KINDS.items() if name in table), None)
    if kind is None:
        raise ValueError(
            f"component={shown(name)} is not known: must be one of {listed(COMPONENTS)}{nearest(name, COMPONENTS)}"
        )
    module, field, table = _KINDS[kind]
    resolved = {key: value for key, value in resolve(field, {"name": name, **keywords}, table).items() if key != "name"}
    root = full_name(module, name)
    own = [root, *(full_name(module, other) for other in _BESIDE.get(name, ()))]
    given = {f"{each}.{key}": value for each in own for key, value in resolved.items()}
    kept = [full_name(framework, "Optimizer")] if kind == "optimizer" and framework != "torch" else []
    elementwise = {full_name(framework, "ELEMENTWISE"): name != "lbfgs"}
    program = Program(Package(framework, {}), [*own, *kept], given | elementwise, kept=kept)
    for each in own:
        program.text = _with_defaults(program.text, each, resolved)
        program.chosen[each] = resolved
    program.modules.add(framework)
    title = f"{name.replace('_', ' ').capitalize()} in {framework}, by framework-conformance"
    made = (
        f"Written by framework-conformance {version_of('framework-conformance')}, whose MIT licence it has and of which"
        " it needs nothing. Arguments are not checked. Made by:"
    )
    head = f"{title}.\n\n{fill(made, LINE_LENGTH)}\n\n    {command}\n"
    return written(program, head, {}, _example(framework, kind, root, name, resolved))


def _with_defaults(text: str, root: str, given: Mapping[str, Any]) -> str:
    """The numbers that were given as the defaults of a function."""
    source = Source(text)
    function = next(each for each in source.tree.body if isinstance(each, ast.FunctionDef) and each.name == root)
    edits = []
    for argument in (*function.args.args, *function.args.kwonlyargs):
        if argument.arg in given:
            default = default_of(function, argument.arg)
            node: Any = argument if default is None else default
            value = repr(given[argument.arg])
            edits.append(source.replaced(node, f"{source.segment(argument)} = {value}" if default is None else value))
    return source.edited(edits)


def _example(framework: str, kind: str, root: str, name: str, keywords: Mapping[str, Any]) -> str:
    """What the file does when it is run: a few numbers through the component."""
    array = _MAKE[framework].format
    if kind == "activation":
        lines = [f"print({root}({array('[[-2.0, -0.5, 0.0, 0.5, 2.0]]')}))"]
    elif kind == "loss" and "categorical" in name:
        outputs = (
            "[[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]]" if "probabilities" in name else "[[2.0, 0.5, -1.0], [0.0, 0.0, 0.3]]"
        )
        lines = [f"print({root}({array(outputs)}, {array('[0, 2]')}))  # one number for each example"]
    elif kind == "loss":
        outputs = "[[0.7], [0.2]]" if "probabilities" in name else "[[2.0], [-0.5]]"
        lines = [f"print({root}({array(outputs)}, {array('[[1.0], [0.0]]')}))  # one number for each example"]
    elif kind == "schedule":
        lines = [f"rate = {root}(0.1)", "print([rate(t) for t in range(5)])"]
    elif kind == "initializer":
        lines = [f"print({root}({_GENERATOR[framework]}, (2, 3)))"]
    elif kind == "penalty":
        value = ".value" if framework == "numpy" else ""
        lines = [f"print({root}(){value}([{array('[[1.0, -2.0]]')}], 4))  # of these weights, in a batch of 4 examples"]
    elif kind in _EXAMPLES:
        lines = _EXAMPLES[kind](framework, root)
    elif kind == "change":
        lines = [f"print({root}()({{'W1': {array('[[3.0, -4.0], [0.1, 0.2]]')}}}))"]
    else:
        lines = _steps(framework, root, keywords)
    return "\n".join(['if __name__ == "__main__":', *(f"    {line}" for line in lines)])


def _steps(framework: str, root: str, keywords: Mapping[str, Any]) -> list[str]:
    """Three steps of an optimizer on ``w_1^2 + w_2^2``."""
    rate = repr(keywords["learning_rate"])
    if framework == "torch":
        return [
            "w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))", f"optimizer = {root}([w])", "for _ in range(3):",
            "    optimizer.zero_grad()", "    w.square().sum().backward()", "    optimizer.step()",
            "    print(w.tolist())",
        ]  # fmt: skip
    if framework == "tf":
        return [
            "w = tf.Variable([1.0, -2.0])", f"optimizer = {root}()", 'optimizer.build({"w": w})', "for _ in range(3):",
            f'    optimizer.update({{"w": 2 * w}}, {{"w": w}}, tf.constant({rate}, tf.float64))',
            "    print(w.numpy())",
        ]  # fmt: skip
    library = "np" if framework == "numpy" else "jnp"
    make = [
        f"w, optimizer = {library}.array([1.0, -2.0]), {root}()",
        f"slots = {{slot: {library}.full_like(w, value) for slot, value in optimizer.initial_slots.items()}}",
        "for t in range(1, 4):",
    ]
    if framework == "numpy":
        return [*make, f"    optimizer.update_array(w, 2 * w, slots, t, {rate})", "    print(w)"]
    return [
        *make,
        f"    count, rate = jnp.asarray(t, w.dtype), jnp.asarray({rate}, w.dtype)",
        "    step, slots = optimizer.update_array(w, 2 * w, slots, count, rate)",
        "    w = w + step",
        "    print(w)",
    ]


def _normalized(framework: str, root: str) -> list[str]:
    array, module = _MAKE[framework].format, root.partition("__")[0]
    lines = [f"z, ones, zeros = {array('[[1.0, 2.0], [3.0, 6.0]]')}, {array('[1.0, 1.0]')}, {array('[0.0, 0.0]')}"]
    if root.endswith("layer_norm"):
        return [*lines, f"print({root}(z, ones, zeros))"]
    return [
        *lines,
        f"batch = {module}__batch_statistics(z)",
        f"print({root}(z, ones, zeros, *batch))",
        f"print({module}__running_average((zeros, ones), batch, len(z)))  # of mean and variance",
    ]


def _augmented(framework: str, root: str) -> list[str]:
    shape = "" if root.endswith("gaussian_noise") else "(2, 3)"
    images = _MAKE[framework].format("[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]]")
    return [
        f"augmentation = {root}({shape})",
        f"images = {images}",
        f"print(augmentation.apply(images, augmentation.draw({_GENERATOR[framework]}, 2, 6)))",
    ]


def _dropped(framework: str, root: str) -> list[str]:
    activations = _MAKE[framework].format("[[1.0, 2.0, 3.0, 4.0]]")
    module = root.partition("__")[0]
    return [f"mask = {module}__dropout_mask({_GENERATOR[framework]}, (1, 4))", f"print({root}({activations}, mask))"]


def _stopped(framework: str, root: str) -> list[str]:
    return [
        f"monitor = {root}()",
        "for cost in (1.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1):",
        "    print(cost, monitor.improved(cost), monitor.stop)",
    ]


_EXAMPLES = {"normalization": _normalized, "augmentation": _augmented, "dropout": _dropped, "stopping": _stopped}
