"""A loss of which not every answer has a gradient."""

import numpy as np

from conformance.identification import losses
from reference_numpy.losses import LOSSES


class PartlySloped:
    """A squared error that gives a gradient of a batch of one example alone."""

    target, kind, given = "a:B", "loss", {}

    def ask(self, question, arrays):
        outputs, targets = arrays["a0"], arrays["a1"]
        if outputs.shape != np.shape(targets):
            raise losses.Declined("another shape")
        value = np.asarray(LOSSES["mean_squared_error"](outputs, targets))
        return {"value": value} | ({"gradient": 2 * (outputs - targets)} if len(outputs) == 1 else {})


def test_a_loss_with_a_gradient_of_some_batches_alone_is_compared_by_its_values():
    found = losses.identify(PartlySloped())
    assert found.found.name == "mean_squared_error"
