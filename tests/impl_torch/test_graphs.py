"""Graphs of steps: a training by them is the training without them, to the bit, or there are none.

Where there is no GPU a tape of operations stands for its graphs, see ``operation_tape``.
"""

import contextlib

import numpy as np
import pytest
import torch

from impl_torch import graphs, layers, models, optimizers, regularizers, schedules, training
from tests.impl_torch.operation_tape import OperationTape

RATE, EPOCHS, EXAMPLES, BATCH = 0.01, 8, 23, 5
FULL, LAST = EPOCHS * (EXAMPLES // BATCH), EPOCHS  # batches of five, and of the three that are left
BY_ITSELF = 3


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(graphs, "BY_ITSELF", BY_ITSELF)


@pytest.fixture
def tapes(monkeypatch):
    monkeypatch.setitem(graphs.RECORDERS, "cpu", OperationTape)
    monkeypatch.setattr(OperationTape, "made", [])
    return OperationTape.made


@contextlib.contextmanager
def without_graphs():
    kept = dict(graphs.RECORDERS)
    graphs.RECORDERS.clear()
    try:
        yield
    finally:
        graphs.RECORDERS.update(kept)


def dense(**options):
    return models.softmax_classifier((4, 6, 3), **options)


def images():
    return models.network(
        [layers.convolution(3, (3, 3)), layers.batch_norm(), layers.activation("relu"), layers.max_pool((2, 2)),
         layers.flatten(), layers.dropout(0.8), layers.dense(3)], (6, 6, 1), output="softmax",
    )  # fmt: skip


def sequences():
    return models.network([layers.gru(5), layers.dense(3)], (4, 2), output="softmax")


class Annealed:
    """A penalty by Python, which is another one at every step."""

    steps = 0

    def __call__(self, weights, examples):
        self.steps += 1
        return 0.1 / self.steps * sum(w.square().sum() for w in weights)


def sgd(parameters):
    return optimizers.momentum(parameters, RATE, accumulation="sum")


def watched(parameters):
    optimizer = sgd(parameters)
    optimizer.register_step_post_hook(lambda *_: None)
    return optimizer


MAKERS = {name: (lambda parameters, make=make: make(parameters, RATE)) for name, make in optimizers.OPTIMIZERS.items()}
CLIPPED = {"clipping": regularizers.clip_by_global_norm(0.1), "constraint": regularizers.max_norm(0.8)}
PENALISED = {"penalties": (regularizers.l2(0.1), regularizers.l1(0.1))}
# What is trained, by what, with which objective and update; whether the optimizer's step is in the graph.
WHOLES = {
    "gradient_descent": (dense, MAKERS["gradient_descent"], {}, {}),
    "momentum": (dense, sgd, PENALISED, CLIPPED),
    "adam": (lambda: dense(normalization="batch_norm", keep_probability=0.8), MAKERS["adam"], PENALISED, CLIPPED),
    "frozen": (dense, MAKERS["adam"], {}, {"frozen_layers": 1}),
    "images": (images, MAKERS["adam"], {}, {}),
    "sequences": (sequences, sgd, {}, {}),
}
HALVES = {name: (dense, make, PENALISED, CLIPPED) for name, make in MAKERS.items() if name not in WHOLES} | {
    "schedule": (dense, MAKERS["adam"], {}, {"schedule": schedules.exponential(RATE), "schedule_unit": "step"}),
    "own average": (dense, MAKERS["momentum"], {}, {}),
    "hook": (dense, watched, {}, {}),
}


def trained(case, device="cpu", dtype=torch.float64, epochs=EPOCHS):
    make_model, make_optimizer, objective, rules = case
    model = models.initialize(make_model(), torch.Generator().manual_seed(0), dtype=dtype).to(device)
    shape = getattr(model, "input_shape", (4,))
    x = torch.randn((EXAMPLES, *shape), generator=torch.Generator().manual_seed(1), dtype=dtype).to(device)
    y = (torch.arange(EXAMPLES) % 3).to(device)
    update = training.Update(None, **rules)
    optimizer = make_optimizer(list(update.trained(model.parameter_dict(), model.depth).values()))
    return training.fit(
        model, x, y, loss=training.Objective("categorical_cross_entropy", **objective), epochs=epochs,
        optimizer=training.Update(optimizer, **rules), batch_size=BATCH,
        monitor=training.Monitor(gradient_norms=True, checkpoint_epochs=(2, epochs)),
    )  # fmt: skip


def flat(value, name=""):
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if not isinstance(value, dict):
        return {name: value.cpu().numpy() if torch.is_tensor(value) else np.asarray(value)}
    return {path: leaf for key, held in value.items() for path, leaf in flat(held, f"{name}.{key}").items()}


def assert_same(history, other):
    ours, theirs = flat(history), flat(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def plays(steps):
    """How often so many steps are played: one after BY_ITSELF is made both ways too."""
    return steps - BY_ITSELF


@pytest.mark.parametrize("case", (WHOLES | HALVES).values(), ids=WHOLES | HALVES)
def test_a_training_by_graphs_is_the_one_without_to_the_bit(tapes, case):
    by_graphs = trained(case)
    assert [tape.plays for tape in tapes] == [plays(FULL), plays(LAST)]
    with without_graphs():
        assert_same(by_graphs, trained(case))


@pytest.mark.parametrize("case", WHOLES | HALVES)
def test_the_optimizer_is_in_the_graph_where_it_computes_with_tensors_alone(tapes, case):
    trained((WHOLES | HALVES)[case])
    names = {str(operation) for operation, *_ in tapes[0].operations}
    assert any("_fused_" in name for name in names) == (case in WHOLES)


def test_single_precision_is_the_same_too(tapes):
    by_graphs = trained(WHOLES["adam"], dtype=torch.float32)
    assert [tape.plays for tape in tapes] == [plays(FULL), plays(LAST)]
    with without_graphs():
        assert_same(by_graphs, trained(WHOLES["adam"], dtype=torch.float32))


@pytest.mark.parametrize(
    ("objective", "rules"),
    [({"penalties": (Annealed(),)}, {}), ({}, {"clipping": lambda gradients: gradients})],
    ids=["penalty", "clipping"],
)
def test_what_others_wrote_is_not_recorded(tapes, objective, rules):
    trained((dense, sgd, objective, rules))
    assert tapes == []


def test_class_weights_from_the_host_s_memory_are_not_recorded(tapes):
    case = dense, sgd, {"loss_options": {"class_weights": (1.0, 2.0, 0.5)}}, {}
    history = trained(case)
    assert [tape.plays for tape in tapes] == [0, 0]
    with without_graphs():
        assert_same(history, trained(case))


def test_a_short_training_is_made_without_graphs(monkeypatch, tapes):
    monkeypatch.setattr(graphs, "BY_ITSELF", FULL)
    trained(WHOLES["adam"])
    assert [tape.plays for tape in tapes] == [0, 0]


def counting(change):
    """A recorded function that adds to what it keeps, its results for the inputs 1, 2, ..., and what it keeps."""
    kept = torch.zeros(3)
    step = 0

    def function(x):
        return [kept.add_(change(x, step)).sum()]

    recorded, sums = graphs.Recorded(function, lambda: [kept], OperationTape(kept.device)), []
    for step in range(1, 9):
        sums.append(recorded(torch.full((3,), float(step)))[0].item())
    return recorded, sums, kept


def test_a_function_of_tensors_alone_is_played():
    recorded, sums, kept = counting(lambda x, call: x)
    assert recorded.is_played
    assert sums == [3 * sum(range(t + 1)) for t in range(1, 9)]
    assert kept.tolist() == [36.0] * 3


@pytest.mark.parametrize(
    "change",
    [lambda x, call: x * call, lambda x, call: x * x.sum().item(), lambda x, call: x * torch.tensor(2.0)],
    ids=["a number that changes", "a wait", "the host's memory"],
)
def test_a_function_that_a_graph_would_be_wrong_of_is_never_played(monkeypatch, change):
    recorded, sums, _ = counting(change)
    assert not recorded.is_played
    monkeypatch.setattr(graphs, "BY_ITSELF", 100)
    _, expected, _ = counting(change)
    assert sums == expected


def test_what_is_no_number_is_the_same():
    recorded, sums, _ = counting(lambda x, call: x * float("nan"))
    assert recorded.is_played
    assert np.isnan(sums).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", (WHOLES | HALVES).values(), ids=WHOLES | HALVES)
def test_a_gpu_s_graphs_are_the_training_without_them(monkeypatch, case):
    recorded = []
    monkeypatch.setattr(graphs, "Recorded", lambda *given: recorded.append(graphs_of(*given)) or recorded[-1])
    by_graphs = trained(case, "cuda")
    assert [graph.is_played for graph in recorded] == [True, True]
    with without_graphs():
        assert_same(by_graphs, trained(case, "cuda"))


graphs_of = graphs.Recorded
