"""A loop of one's own over ``train_step`` is ``fit`` to the bit, in each package, with all that a step can have."""

import importlib.util

import numpy as np
import pytest

from .training_settings import OBJECTIVE, UPDATE

EXAMPLES, EPOCHS, BATCH = 10, 3, 4  # the last batch of an epoch is a small one
GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((EXAMPLES, 3)).astype(np.float32)
Y = GENERATOR.integers(0, 2, (EXAMPLES, 1)).astype(np.float32)
WEIGHTS = GENERATOR.random(EXAMPLES).astype(np.float32)
ORDER = np.stack([GENERATOR.permutation(EXAMPLES) for _ in range(EPOCHS)])
MASKS = {1: GENERATOR.random((EPOCHS, EXAMPLES, 5)) < 0.7}
PACKAGES = {"reference_numpy": "numpy", "impl_torch": "torch", "impl_tf": "tf", "impl_jax": "jax"}
COMPILED = ("impl_tf", "impl_jax")  # which takes long; the loops of docs/reuse.md are run every day


class Package:
    """A package's parts, and its model at its first parameters."""

    def __init__(self, name):
        self.name = name
        for part in ("models", "optimizers", "regularizers", "schedules", "training"):
            setattr(self, part, importlib.import_module(f"{name}.{part}"))
        reference = importlib.import_module("reference_numpy.models")
        described = reference.deep_network((3, 5, 1), normalization="batch_norm", keep_probability=0.7)
        self.parameters = reference.initialize(described, np.random.default_rng(1), dtype=np.float32)
        self.model = self.models.deep_network((3, 5, 1), normalization="batch_norm", keep_probability=0.7)
        if self.in_place:
            self.begin()

    @property
    def in_place(self):
        """Whether the module holds the parameters."""
        return self.name in ("impl_torch", "impl_tf")

    def begin(self):
        """The module's parameters are the first ones."""
        if self.name == "impl_tf":
            tf = importlib.import_module("tensorflow")
            self.models.initialize(self.model, tf.random.Generator.from_seed(0), dtype=tf.float32)
            for name, variable in self.model.parameter_dict().items():
                variable.assign(self.parameters[name])
            return
        torch = importlib.import_module("torch")
        with torch.no_grad():
            for name, parameter in self.model.parameter_dict().items():
                parameter.copy_(torch.tensor(self.parameters[name]))

    def array(self, values):
        """The framework's tensor; of integers and truth values too."""
        return importlib.import_module("torch").tensor(values) if self.name == "impl_torch" else values

    def settings(self):
        """``(objective, update)``."""
        r, held = self.regularizers, [self.model.parameters()] if self.name == "impl_torch" else []
        settings = {
            "loss": "binary_cross_entropy",
            "reduction": "sum",
            "penalties": (r.l2(0.3),),
            "optimizer": self.optimizers.adam(*held, 0.05),
            "schedule": self.schedules.exponential(0.05),
            "schedule_unit": "step",
            "clipping": r.clip_by_global_norm(0.5),
            "constraint": r.max_norm(0.9),
            "frozen_biases": True,
        }
        objective = {name: value for name, value in settings.items() if name in OBJECTIVE}
        update = {name: value for name, value in settings.items() if name in UPDATE}
        return self.training.Objective(**objective), self.training.Update(**update)


def own_loop(package, objective, update):
    """``(costs, norms, parameters, statistics)`` of a loop over ``train_step``."""
    training, model, steps = package.training, package.model, []
    held = [] if package.in_place else [package.parameters]
    state = training.start(model, *held, update)

    def step(x, y, weights, masks, rate):
        given = (model,) if package.in_place else (model, state)
        return training.train_step(
            *given, x, y, loss=objective, optimizer=update, learning_rate=rate, masks=masks, example_weights=weights
        )

    if package.name == "impl_tf":
        tf = importlib.import_module("tensorflow")
        compiled = tf.function(step)

        def step(*given):
            return compiled(*given[:-1], tf.constant(given[-1], tf.float64))

    for epoch, order in enumerate(ORDER):
        for first in range(0, EXAMPLES, BATCH):
            places = slice(first, first + BATCH)
            rows = order[places]
            batch = (package.array(values[rows]) for values in (X, Y, WEIGHTS))
            masks = {layer: package.array(mask[epoch][places]) for layer, mask in MASKS.items()}
            made = step(*batch, masks, update.schedule(len(steps)))
            if package.name == "impl_jax":
                state, made = made
            steps.append((float(made.cost), float(made.gradient_norm)))
    kept = (
        (model.parameter_dict(), model.statistics_dict()) if package.in_place else (state.parameters, state.statistics)
    )
    return (*np.transpose(steps), *map(plain, kept))


def fit(package, objective, update, monitor=None):
    """The history of the same training, from the same parameters."""
    training = package.training
    if package.in_place:
        package.begin()
    held = [] if package.in_place else [package.parameters]
    tape = training.Tape(batch_order=ORDER, dropout_masks=MASKS)
    return training.fit(
        package.model, *held, package.array(X), package.array(Y), loss=objective, optimizer=update, epochs=EPOCHS,
        batch_size=BATCH, sampling=training.Sampling(example_weights=package.array(WEIGHTS), tape=tape),
        monitor=monitor,
    )  # fmt: skip


def plain(tensors):
    """NumPy copies."""
    tensors = {name: w.detach() if hasattr(w, "detach") else w for name, w in tensors.items()}
    return {name: np.array(w.numpy() if hasattr(w, "numpy") else w) for name, w in tensors.items()}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in COMPILED else n for n in PACKAGES])
@pytest.mark.usefixtures("graphs_as_written")
def test_a_loop_of_one_s_own_is_fit_to_the_bit(name):
    pytest.importorskip({"tf": "tensorflow"}.get(PACKAGES[name], PACKAGES[name]))
    package = Package(name)
    objective, update = package.settings()
    costs, norms, parameters, statistics = own_loop(package, objective, update)
    history = fit(package, objective, update, monitor=package.training.Monitor(gradient_norms=True))
    assert costs.tolist() == history.costs.tolist()
    assert norms.tolist() == history.gradient_norms.tolist()
    for mine, theirs in ((parameters, history.parameters), (statistics, history.statistics)):
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(w, plain(theirs)[n]) for n, w in mine.items())


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in COMPILED else n for n in PACKAGES])
@pytest.mark.usefixtures("graphs_as_written")
def test_norms_are_recorded_where_they_are_asked_for_and_move_no_bit_of_a_training(name):
    pytest.importorskip({"tf": "tensorflow"}.get(PACKAGES[name], PACKAGES[name]))
    package = Package(name)
    objective, update = package.settings()
    asked = fit(package, objective, update, monitor=package.training.Monitor(gradient_norms=True))
    ends = plain(asked.parameters)  # copies, for the next training changes the model in place
    unasked = fit(package, objective, update)
    assert (asked.gradient_norms.shape, unasked.gradient_norms.shape) == (asked.costs.shape, (0,))
    assert unasked.costs.tolist() == asked.costs.tolist()
    assert all(np.array_equal(w, plain(unasked.parameters)[n]) for n, w in ends.items())
    with pytest.raises(ValueError, match="gradient_norms='yes' is not allowed: must be one of False, True"):
        package.training.Monitor(gradient_norms="yes")


@pytest.mark.parametrize("name", PACKAGES)
def test_masks_of_a_step_that_fit_no_layer_are_refused(name):
    pytest.importorskip({"tf": "tensorflow"}.get(PACKAGES[name], PACKAGES[name]))
    package = Package(name)
    objective, update = package.settings()
    given = [package.model] if package.in_place else [package.model, package.parameters]
    state = package.training.start(*given, update)
    given = [package.model] if package.in_place else [package.model, state]
    for layer, shape, message in (
        (2, (4, 1), "masks=2 is not allowed: must be one of 1"),
        (1, (4, 1), r"masks\[1\] has shape \(4, 1\): must be \(4, 5\)"),
    ):
        with pytest.raises(ValueError, match=message):
            package.training.train_step(
                *given, package.array(X[:4]), package.array(Y[:4]), loss=objective, optimizer=update,
                learning_rate=0.05, masks={layer: package.array(np.ones(shape, bool))},
            )  # fmt: skip
