"""Which calls of a framework come near a formulation: the inverse of ``conformance.recipes.spelling``.

A built-in comes near if it is the same optimizer. Its numbers are set by its own arguments; what it cannot be told is
what it differs in. Two differences are none where they are seen to: a rate in another place is the same as long as
the rate does not change, and an epsilon before the bias correction is one of another size at every step.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from conformance.identification.optimizers import effective
from conformance.identification.searching import tidy
from conformance.recipes.dialects import Dialect
from conformance.recipes.spelling import Call, Form, forms

BUILTINS = {
    "torch": "torch",
    "tf": "keras",
    "jax": "optax",
}  # whose built-ins an implementation of this project is beside
EPSILONS = ("before_correction", "outside_root")  # places between which an epsilon for each step leads
PER_STEP = ("torch", "optax")  # where a number can be set at every step
UNROUNDED = "float32"  # the precision in which Keras takes the betas of its corrections


class Candidate(NamedTuple):
    """A call, and in what it is not the formulation: ``differing`` is ``{keyword: (wanted, its own)}``.

    ``epsilon``: its epsilon has to be set at every step. ``constant``: the same only as long as the rate is constant.
    """

    call: Call
    form: Form
    differing: dict[str, tuple[Any, Any]]
    epsilon: bool = False
    constant: bool = False

    @property
    def exact(self) -> bool:
        """Whether it computes the formulation, up to what is rounded."""
        return not self.differing


def candidates(formulation: Dialect, framework: str) -> list[Candidate]:
    """The calls of a framework's built-ins that are the same optimizer, the nearest and plainest first.

    >>> from conformance.recipes.spelling import formulated, parse
    >>> found = candidates(formulated(parse("torch.SGD(momentum=0.9, lr=0.1)")), "optax")
    >>> str(found[0].call), found[0].exact
    ('optax.sgd(learning_rate=0.1, momentum=0.9)', True)
    """
    found: dict[str, Candidate] = {}
    for wanted in _alike(formulation):
        for form in forms(framework):
            candidate = _candidate(wanted, form)
            if candidate is not None:
                found.setdefault(str(candidate.call), candidate)
    return sorted(found.values(), key=_plainness)


def _plainness(candidate: Candidate) -> tuple[int, bool, bool, int]:
    return len(candidate.differing), candidate.constant, candidate.epsilon, len(candidate.call.arguments)


def _alike(formulation: Dialect) -> Iterator[Dialect]:
    """The formulation, and what it is in other words."""
    yield formulation
    own = formulation.keywords
    if formulation.optimizer == "adamw" and not own["weight_decay"]:
        kept = {name: value for name, value in own.items() if name != "decay_scale"}
        yield formulation._replace(optimizer="adam", keywords=kept)
    averaged = own.get("accumulation") == "average" and not own["bias_correction"]
    if averaged and not (own["weight_decay"] and own["decoupled_weight_decay"]) and "learning_rate" in own:
        rate = float(f"{own['learning_rate'] * (1 - own['beta']):.15g}")  # without what the product is off by
        yield formulation._replace(keywords=own | {"accumulation": "sum", "learning_rate": rate})


def _candidate(wanted: Dialect, form: Form) -> Candidate | None:
    """A form with the formulation's numbers; None where it is another optimizer, or made for a decay that is none."""
    keywords, has = effective(wanted.optimizer, wanted.keywords), form.dialect.keywords
    decays = form.numbers.get("weight_decay", ())
    if form.dialect.optimizer != wanted.optimizer or (form.required & set(decays) and not keywords["weight_decay"]):
        return None
    arguments = {name: form.call.arguments[name] for name in form.call.arguments if form.keyword_of(name) is None}
    differing = {}
    for keyword, value in keywords.items():
        names = form.numbers.get(keyword, ())
        if names and (keyword == "learning_rate" or form.required & set(names) or value != has.get(keyword)):
            arguments |= {name: _argument(wanted, form, keyword, value) for name in names}
        elif not names and value != has.get(keyword):
            differing[keyword] = (value, has.get(keyword))
    if has.get("amsgrad") != keywords.get("amsgrad"):
        differing["amsgrad"] = (keywords.get("amsgrad"), has.get("amsgrad"))
    arguments |= _unrounded(wanted, form, arguments)
    return _excused(
        Candidate(Call(form.call.framework, form.call.builtin, _in_order(form, arguments)), form, differing)
    )


def _in_order(form: Form, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments in the order of the table, and no place of a tuple without the others."""
    names = [name for own in form.numbers.values() for name in own]
    tuples = {name.partition("[")[0] for name in arguments if "[" in name}
    whole = {
        name: form.dialect.keywords[str(form.keyword_of(name))] for name in names if name.partition("[")[0] in tuples
    }
    return {name: (whole | arguments)[name] for name in (*names, *arguments) if name in whole or name in arguments}


def _excused(candidate: Candidate) -> Candidate:
    """A candidate without the differences that are none, or that can be made up for."""
    differing = {name: pair for name, pair in candidate.differing.items() if name != "correction_precision"}
    constant = differing.pop("learning_rate_position", None) is not None
    places = differing.get("epsilon_position", ())
    epsilon = set(places) == set(EPSILONS) and candidate.call.framework in PER_STEP
    if epsilon:
        del differing["epsilon_position"]
    return candidate._replace(differing=differing, epsilon=epsilon, constant=constant)


def _argument(wanted: Dialect, form: Form, keyword: str, value: Any) -> Any:
    """A number as it has to be typed: for a built-in that rounds it, short if it comes to the same, else unrounded."""
    if keyword not in form.dialect.in_float32 or not isinstance(value, float):
        return value
    return tidy(value) if float(np.float32(value)) == value else np.float64(value)


def _unrounded(wanted: Dialect, form: Form, arguments: dict[str, Any]) -> dict[str, Any]:
    """The betas, so that they are not rounded, where the built-in would and the formulation does not."""
    own, others = form.dialect.keywords.get("correction_precision"), wanted.keywords.get("correction_precision")
    if own != UNROUNDED or others == UNROUNDED:
        return {}
    betas = {keyword: names[0] for keyword, names in form.numbers.items() if keyword.startswith("beta")}
    return {name: np.float64(wanted.keywords[keyword]) for keyword, name in betas.items()}
