"""Activations where they are flat: a slope that is a difference of rounded values is as exact as they are."""

import numpy as np

from conformance.identification.activations import Values, inputs
from conformance.identification.fitting import Form, Manner, nearness

TANH = Form("tanh", {}, {})


def near(change):
    """How near tanh comes to itself with the slopes that ``change`` makes of the exact values."""
    z, upstream = inputs(0)
    a = np.tanh(z)
    model = Values(z, upstream, True)
    return nearness(model, TANH, {}, model.arranged(a, upstream * change(a)), Manner())


def test_a_library_whose_tanh_ends_one_unit_below_one_is_tanh():
    def slope(a):
        below = np.where(np.abs(a) == 1, np.nextafter(a, 0), a)
        return (1 - below) * (1 + below)

    assert near(slope).same


def test_a_slope_that_is_off_where_tanh_is_flat_is_still_seen():
    assert not near(lambda a: np.where(np.abs(a) == 1, 1e-12, 1 - a**2)).same
