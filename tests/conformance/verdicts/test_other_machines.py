"""Sums as other machines take them: a graphics processor, as is published of it, stays well inside the allowances."""

from fractions import Fraction

import numpy as np
import pytest

from conformance.adapters.numpy import NumpySession
from conformance.checks import CHECKS
from conformance.checks.case import build_case
from conformance.problems.preparation import prepare
from conformance.recipes.suites import suite
from conformance.verdicts import floors
from conformance.verdicts.compare import Verdict, compare
from conformance.verdicts.rerounding import Rerounded
from conformance.verdicts.summation import SLICE, THREADS, ParallelNetwork, fused, total_by_threads, tree
from reference_numpy.arithmetic import rounded_otherwise
from reference_numpy.models import DenseNetwork

DTYPES = ("float32", "float64")
SPLITS = 4  # of a long sum, other than the re-rounded runs take it


@pytest.mark.parametrize("terms", [1, 2, 3, SLICE, SLICE + 1, 5 * SLICE + 7])
def test_a_product_in_slices_is_the_product(terms):
    generator = np.random.default_rng(terms)
    a, b = (generator.integers(-9, 10, shape).astype(np.float32) for shape in ((4, terms), (terms, 3)))
    network = ParallelNetwork((2, 1), "tanh", "sigmoid")
    np.testing.assert_array_equal(network.product(a, b), a @ b)
    out = np.empty((4, 3), np.float32)
    assert network.product(a, b, out=out) is out
    np.testing.assert_array_equal(out, a @ b)


@pytest.mark.parametrize("terms", [1, 2, 7, THREADS, THREADS + 1, 3 * THREADS + 5])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_a_sum_by_threads_is_the_sum(terms, axis):
    values = np.random.default_rng(terms).integers(-9, 10, (terms, 3)).astype(np.float64)
    expected = values.sum(axis=axis, keepdims=axis is not None)
    np.testing.assert_array_equal(total_by_threads(values, axis=axis), expected)
    np.testing.assert_array_equal(tree(values), values.sum(axis=0))


@pytest.mark.parametrize(("dtype", "places"), [("float32", 12), ("float64", 27)])
def test_a_fused_multiply_add_rounds_once(dtype, places):
    x = np.array(1 + 0.5**places, dtype)
    a, b = np.array([[[-1, x]]], dtype), np.array([[[1], [x]]], dtype)
    exact = Fraction(float(x)) ** 2 - 1
    assert Fraction(float(x * x - 1)) != exact  # in two roundings the last term is lost
    assert Fraction(float(fused(a, b)[0, 0, 0])) == exact


class Processor(Rerounded):
    """The reference in the working precision, with sums in few long slices, and functions two units off at most."""

    def __init__(self, problem):
        super().__init__(problem, 0)
        self.session.model = Long(**vars(self.session.model))

    def _run(self, function, *arguments, **keywords):
        with rounded_otherwise(total=by_warps, one_minus_power=in_float32(self.problem), value=two_units_off):
            return function(*arguments, **keywords)


class Long(DenseNetwork):
    """Matrix products with fused multiply-add, those of many terms in a few parts."""

    def product(self, a, b, *, out=None):
        parts = np.array_split(np.arange(a.shape[1]), SPLITS if a.shape[1] >= 64 * SPLITS else 1)
        found = [fused(np.ascontiguousarray(a[None, :, part]), b[None, part])[0] for part in parts]
        return np.positive(np.add.accumulate(found, axis=0)[-1], out=out)


def by_warps(values, *, axis=None):
    """Neighbours in warps of 32 first, then the warps in turn."""
    terms = values.ravel() if axis is None else np.moveaxis(values, axis, 0)
    warps = [tree(terms[start : start + 32]) for start in range(0, len(terms), 32)]
    total = np.add.accumulate(warps, axis=0)[-1]
    return total if axis is None else np.expand_dims(total, axis)


def in_float32(problem):
    """``1 - beta^t`` in the working precision, a unit off."""
    kind = problem.dtype.type

    def one_minus_power(beta, t):
        exact = kind(-np.expm1(kind(t) * kind(np.log(beta)))) if beta > 0 else kind(1)
        return float(exact * (1 + np.finfo(kind).eps))

    return one_minus_power


def two_units_off(kind, value):
    """A function's value, from two units in the last place below to two above: what NVIDIA's manual allows for tanh."""
    units = np.floor(5 * np.modf(np.abs(value.astype(np.float64)) * 777777.77)[0]) - 2
    step = (0.5 if kind == "one plus" else value) * (units * np.finfo(value.dtype).eps).astype(value.dtype)
    return value + step


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["moons-momentum-sum-nesterov", "housing-relu-neuron", "flower-shallow-tanh"])
def test_a_graphics_processor_keeps_half_of_every_allowance(name, dtype):
    (recipe,) = (recipe for recipe in suite("default") if recipe.name == name)
    problem = prepare(recipe, dtype)
    case = build_case(problem, NumpySession(problem.in_float64()))
    expected, processor = floors.measure(case), Processor(problem)
    for check in ("forward", "loss", "gradients", "teacher_forced", "free_running"):
        for found in compare(CHECKS[check](processor, case), expected[check]):
            assert found.verdict == Verdict.PASS, found
            assert found.key.kind == "decision" or found.error <= 0.5 * found.allowance, found
