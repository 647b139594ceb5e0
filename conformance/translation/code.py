"""The code that makes an optimizer: as it is printed, and as the module that is run before it is printed."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.faults.injection import PACKAGES
from conformance.identification.optimizers import effective
from conformance.recipes.dialects import Dialect
from conformance.recipes.spelling import CHAIN, Call, functions_of, literals
from conformance.translation.candidates import BUILTINS, Candidate
from reference_numpy.optimizers import OPTIMIZERS

RATE = "learning_rate"  # the argument of what makes an optimizer, in a module that is run
MAKE = "make"  # the function in it
MODULES = {"torch": ("torch", "torch.optim"), "keras": ("keras", "keras.optimizers"), "optax": ("optax", "optax")}
# What a module needs to be known as one of its framework, and Keras to compute in one precision.
_KNOWN_BY = {"torch": "import torch", "tf": "import keras", "jax": "import optax", "numpy": "import numpy as np"}

_TORCH_EPSILON = """\
def set_epsilon(optimizer, args, kwargs):
    for group in optimizer.param_groups:
        group["steps_taken"] = group.get("steps_taken", 0) + 1
        group["eps"] = {epsilon} {sign} (1 - {beta2} ** group["steps_taken"]) ** 0.5
"""
_OPTAX_EPSILON = """\
def epsilon(step):
    return {epsilon} {sign} (-jnp.expm1((step + 1) * math.log({beta2}))) ** 0.5
"""
_TORCH_MOMENTUM = """\
def keep_velocity(optimizer, args, kwargs):
    for group in optimizer.param_groups:
        group["momentum"] = {beta} * group.get("last_lr", group["lr"]) / group["lr"]
        group["last_lr"] = group["lr"]
"""


@dataclass(frozen=True)
class Code:
    """What makes an optimizer of ``framework``: imports, a helper, an expression, and a line for afterwards.

    The expression has ``{rate}`` where the learning rate stands, ``rate`` is that number.
    """

    framework: str
    imports: tuple[str, ...]
    expression: str
    rate: str
    helper: str = ""
    after: str = ""

    @property
    def shown(self) -> str:
        """As somebody would write it."""
        parts = ["\n".join(self.imports), *([f"\n{self.helper}"] if self.helper else [])]
        made = f"optimizer = {self.expression.replace('{rate}', self.rate)}"
        return "\n\n".join([*parts, made]) + (f"\n{self.after}" if self.after else "")

    def module(self, dtype: str) -> str:
        """A module with a function that makes it, of parameters in PyTorch, for JAX with its rate as an argument."""
        argument = {"torch": "params", "jax": f"{RATE}={self.rate}"}.get(self.framework, "")
        rate = RATE if self.framework == "jax" else self.rate
        floatx = [f'    keras.config.set_floatx("{dtype}")'] if self.framework == "tf" else []
        body = [*floatx, f"    optimizer = {self.expression.replace('{rate}', rate)}"]
        body += [f"    {self.after}"] if self.after else []
        made = "\n".join([f"def {MAKE}({argument}):", *body, "    return optimizer"])
        known = _KNOWN_BY[self.framework]
        imports = [line for line in self.imports if line != known]
        return "\n".join([known, *imports, self.helper, made, ""])


def of_a_builtin(call: Call, injected: Mapping[str, str] | None = None) -> Code:
    """The code for a call as it is. Its rate is the argument that is called so, in PyTorch ``lr``.

    ``injected``: of a function of optax that is to take schedules, by its name, the arguments that are none.
    """
    framework = next(name for name, own in BUILTINS.items() if own == call.framework)
    package, module = MODULES[call.framework]
    rates = [name for name in call.arguments if name.rpartition(".")[2] in (RATE, "lr")]
    rate = repr(call.arguments[rates[0]]) if rates else ""
    arguments = call.arguments | {name: _Rate() for name in rates}
    unrounded = any(isinstance(value, np.generic) for value in arguments.values())
    imports = (f"import {package}", *(["import numpy as np"] if unrounded else []))
    return Code(framework, imports, _expression(call._replace(arguments=arguments), module, injected or {}), rate)


class _Rate:
    """Stands for the learning rate in an expression."""

    def __repr__(self) -> str:
        return "{rate}"


def _expression(call: Call, module: str, injected: Mapping[str, str]) -> str:
    inside = [_call_text(one, module, injected) for one in functions_of(call)]
    return f"{module}.{CHAIN}({', '.join(inside)})" if call.builtin.startswith(f"{CHAIN}(") else inside[0]


def _call_text(call: Call, module: str, injected: Mapping[str, str]) -> str:
    first = ["params"] if call.framework == "torch" else []
    named = [f"{name}={text}" for name, text in literals(call.arguments).items()]
    function = f"{module}.{call.builtin}"
    if call.builtin in injected:
        function = f"{module}.inject_hyperparams({function}, static_args={injected[call.builtin]})"
    return f"{function}({', '.join([*first, *named])})"


def of_a_candidate(candidate: Candidate, formulation: Dialect) -> Code:
    """The code for a candidate, its epsilon set at every step where that is needed."""
    if not candidate.epsilon:
        return of_a_builtin(candidate.call)
    own, (argument,) = formulation.keywords, candidate.form.numbers["epsilon"]
    sign = "/" if own["epsilon_position"] == "before_correction" else "*"
    numbers = {"epsilon": own["epsilon"], "beta2": own["beta2"], "sign": sign}
    others = {name: value for name, value in candidate.call.arguments.items() if name != argument}
    if candidate.call.framework == "torch":
        plain = of_a_builtin(candidate.call._replace(arguments=others))
        after = "optimizer.register_step_pre_hook(set_epsilon)"
        return _changed(plain, _TORCH_EPSILON.format(**numbers), after=after)
    call = candidate.call._replace(arguments=others | {argument: _Name("epsilon")})
    function = argument.rpartition(".")[0] or call.builtin
    own_names = [
        name.rpartition(".")[2] for (name,) in candidate.form.numbers.values() if name.startswith(argument[:-3])
    ]
    static = repr(tuple(name for name in own_names if name not in ("learning_rate", "eps")))
    injected = of_a_builtin(call, {function: static})
    imports = ("import math", "", "import jax.numpy as jnp", "import optax")
    return _changed(injected, _OPTAX_EPSILON.format(**numbers), imports=imports)


class _Name:
    """A name in an expression."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def with_momentum_kept(candidate: Candidate, formulation: Dialect) -> Code | None:
    """For a rate that changes: PyTorch's momentum such that the velocity keeps the rates that it was made with."""
    own = formulation.keywords
    inside = own.get("learning_rate_position") == "inside"
    if candidate.call.framework != "torch" or formulation.optimizer != "momentum" or not inside or own["nesterov"]:
        return None
    after = "optimizer.register_step_pre_hook(keep_velocity)"
    return _changed(of_a_builtin(candidate.call), _TORCH_MOMENTUM.format(beta=own["beta"]), after=after)


def _changed(code: Code, helper: str, *, after: str = "", imports: tuple[str, ...] = ()) -> Code:
    return Code(code.framework, imports or code.imports, code.expression, code.rate, helper, after)


def of_this_project(formulation: Dialect, framework: str) -> Code:
    """The code for this project's own implementation of a formulation, with the keywords that are no defaults."""
    name, package = formulation.optimizer, PACKAGES[framework]
    made = (
        f"{name}({', '.join(['params'] * (framework == 'torch') + ['{rate}', *_keywords(name, formulation.keywords)])})"
    )
    imports = [f"from {package}.optimizers import {name}"]
    if framework == "tf":
        imports.insert(0, f"from {package}.keras_optimizer import keras_optimizer")
        made = f"keras_optimizer({made})"
    return Code(framework, tuple(imports), made, repr(formulation.keywords["learning_rate"]))


def _keywords(name: str, keywords: Mapping[str, Any]) -> list[str]:
    defaults = inspect.signature(OPTIMIZERS[name]).parameters
    own = {keyword: value for keyword, value in effective(name, keywords).items() if keyword != "learning_rate"}
    return [f"{keyword}={_text(value)}" for keyword, value in own.items() if value != defaults[keyword].default]


def _text(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
