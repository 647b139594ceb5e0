"""Weight decay and dampening by hand and beside PyTorch's own; gradients whose memory is laid out otherwise."""

import copy

import pytest
import torch
from torch import nn, optim

from impl_torch import optimizers

ROUNDOFFS = 64  # of float64, relative to the largest element: thirty steps of some roundings each
UNIT = 2.0**-53

# What each function with a coupled weight decay is in PyTorch, at these keywords.
COUPLED = {
    "gradient_descent": ({}, lambda p, **o: optim.SGD(p, lr=0.01, **o)),
    "momentum": ({"accumulation": "sum"}, lambda p, **o: optim.SGD(p, lr=0.01, momentum=0.9, **o)),
    "rmsprop": ({"momentum": 0.5}, lambda p, **o: optim.RMSprop(p, lr=0.01, alpha=0.9, momentum=0.5, **o)),
    "adagrad": ({}, lambda p, **o: optim.Adagrad(p, lr=0.01, eps=1e-8, **o)),
    "adadelta": ({}, lambda p, **o: optim.Adadelta(p, lr=0.01, **o)),
    "adam": ({}, lambda p, **o: optim.Adam(p, lr=0.01, **o)),
    "nadam": ({}, lambda p, **o: optim.NAdam(p, lr=0.01, **o)),
    "adamax": ({}, lambda p, **o: optim.Adamax(p, lr=0.01, **o)),
    "radam": ({"epsilon_position": "before_correction"}, lambda p, **o: optim.RAdam(p, lr=0.01, **o)),
}
# The same formulas where this package writes them out instead of returning a built-in.
WRITTEN_OUT = {
    "momentum": {"accumulation": "average"},
    "rmsprop": {"centered": True},
    "adagrad": {"epsilon_position": "inside_root"},
    "adam": {"epsilon_position": "inside_root"},
    "adamax": {"epsilon_position": "outside"},
    "nadam": {"schedule": "constant"},
}
DECOUPLED = {
    "momentum": {},
    "momentum, sum": {"accumulation": "sum"},
    "momentum, rate inside": {"learning_rate_position": "inside"},
    "momentum, Nesterov, corrected": {"nesterov": True, "bias_correction": True},
    "rmsprop": {},
    "rmsprop, momentum": {"momentum": 0.5},
    "rmsprop, momentum, rate inside": {"momentum": 0.5, "learning_rate_position": "inside"},
    "rmsprop, centred": {"centered": True},
    "adadelta": {},
}


@pytest.fixture(autouse=True)
def _double_precision():
    """Some built-ins keep products and steps in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def start():
    return nn.Parameter(torch.linspace(-1, 2, 6).reshape(2, 3))


def gradients(steps=30):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, generator=generator) for _ in range(steps)]


def path(optimizer, w, rate=lambda t: 0.01, change=lambda g, w: g):
    """``w`` after each of thirty steps."""
    positions = []
    for t, g in enumerate(gradients()):
        optimizer.param_groups[0]["lr"] = rate(t)
        w.grad = change(g, w.detach()).clone()
        optimizer.step()
        positions.append(w.detach().clone())
    return torch.stack(positions)


def assert_near(found, expected):
    assert found.dtype == expected.dtype
    assert (found - expected).abs().max() <= ROUNDOFFS * UNIT * expected.abs().max()


def made(name, w, **options):
    return optimizers.OPTIMIZERS[name.split(",")[0]]([w], 0.01, **options)


@pytest.mark.parametrize("name", COUPLED)
def test_coupled_decay_is_that_of_pytorch(name):
    (options, built_in), ours, theirs = COUPLED[name], start(), start()
    found = path(made(name, ours, weight_decay=0.3, **options), ours)
    assert_near(found, path(built_in([theirs], weight_decay=0.3), theirs))
    without = start()
    assert (found - path(made(name, without, **options), without)).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "options"), WRITTEN_OUT.items(), ids=WRITTEN_OUT)
def test_coupled_decay_is_a_term_of_the_gradient(name, options):
    ours, theirs = start(), start()
    found = path(made(name, ours, weight_decay=0.3, **options), ours)
    assert_near(found, path(made(name, theirs, **options), theirs, change=lambda g, w: g + 0.3 * w))


@pytest.mark.parametrize(("name", "options"), DECOUPLED.items(), ids=DECOUPLED)
def test_decoupled_decay_is_the_plain_step_less_the_rate_times_the_decay_times_the_weight(name, options):
    rate = lambda t: 0.1 / (1 + t)  # noqa: E731
    ours, plain = start(), start()
    decaying = made(name, ours, weight_decay=0.3, decoupled_weight_decay=True, **options)
    without = made(name, plain, **options)
    for t, g in enumerate(gradients()):
        before = ours.detach().clone()
        with torch.no_grad():
            plain.copy_(before)
        for optimizer, w in ((decaying, ours), (without, plain)):
            optimizer.param_groups[0]["lr"] = rate(t)
            w.grad = g.clone()
            optimizer.step()
        assert_near(ours.detach(), plain.detach() - rate(t) * 0.3 * before)


def test_one_step_by_hand():
    # v = 0.1 (1 + 0.5 2) = 0.2 coupled; decoupled v = 0.1, w - 0.1 (0.1 + 0.5 2).
    for options, expected in (
        ({}, 2 - 0.1 * 0.1),
        ({"weight_decay": 0.5}, 2 - 0.1 * 0.2),
        ({"weight_decay": 0.5, "decoupled_weight_decay": True}, 2 - 0.1 * 1.1),
        ({"weight_decay": 0.5, "decoupled_weight_decay": True, "learning_rate_position": "inside"}, 2 - 0.01 - 0.1),
    ):
        w = nn.Parameter(torch.tensor([2.0]))
        optimizer = optimizers.momentum([w], 0.1, **options)
        w.grad = torch.ones(1)
        optimizer.step()
        assert w.item() == pytest.approx(expected, rel=4 * UNIT)
        assert w.grad.item() == 1  # the gradient is the user's


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("dampening", [0.5, 1.0])
def test_dampening_is_that_of_pytorch(dampening, weight_decay):
    rate = lambda t: 0.1 / (1 + t)  # noqa: E731
    options = {"dampening": dampening, "weight_decay": weight_decay}
    ours, theirs = start(), start()
    found = path(optimizers.momentum([ours], 0.1, accumulation="sum", **options), ours, rate)
    assert_near(found, path(optim.SGD([theirs], lr=0.1, momentum=0.9, **options), theirs, rate))


def test_dampening_by_hand_with_the_rate_inside_and_without_momentum():
    # v: 1, 0.9 + 0.25 2; inside, each contribution is times its step's rate.
    for options, expected in (
        ({}, 1 - 0.1 * 1 - 0.1 * 1.4),
        ({"beta": 0.0}, 1 - 0.1 * 1 - 0.1 * 0.5),
        ({"learning_rate_position": "inside"}, 1 - 0.1 - (0.09 + 0.1 * 0.5)),
    ):
        w = nn.Parameter(torch.ones(1))
        optimizer = optimizers.momentum([w], 0.1, accumulation="sum", dampening=0.75, **options)
        for g in (1.0, 2.0):
            w.grad = torch.full((1,), g)
            optimizer.step()
        assert w.item() == pytest.approx(expected, rel=8 * UNIT)


def test_a_dampened_state_from_before_the_first_step_is_followed_by_a_first_step():
    for options in ({}, {"learning_rate_position": "inside"}):
        ends = []
        for load in (False, True):
            w = start()
            optimizer = optimizers.momentum([w], 0.1, accumulation="sum", dampening=0.75, **options)
            if load:
                optimizers.load_named_state(optimizer, {"w": w}, *optimizers.named_state(optimizer, {"w": w}))
            ends.append(path(optimizer, w))
        assert torch.equal(*ends)


REFUSED = {
    "dampening=0.5 is not allowed with accumulation='average': must be 0": {},
    "dampening=0.5 is not allowed with nesterov: must be 0": {"accumulation": "sum", "nesterov": True},
    "dampening=0.5 is not allowed with bias_correction: must be 0": {"accumulation": "sum", "bias_correction": True},
}


@pytest.mark.parametrize("message", REFUSED)
def test_dampening_is_refused_where_it_has_no_meaning(message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        optimizers.momentum([start()], dampening=0.5, **REFUSED[message])
    assert str(caught.value) == message


@pytest.mark.parametrize("name", COUPLED)
def test_decay_and_dampening_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=r"weight_decay=-0.1 is not allowed: must be a finite number >= 0"):
        made(name, start(), weight_decay=-0.1)
    if name in ("momentum", "rmsprop", "adadelta"):
        with pytest.raises(
            ValueError, match=r"decoupled_weight_decay='yes' is not allowed: must be one of False, True"
        ):
            made(name, start(), decoupled_weight_decay="yes")
    if name == "momentum":
        with pytest.raises(ValueError, match=r"dampening=1.5 is not allowed: must be in \[0, 1\]"):
            made(name, start(), accumulation="sum", dampening=1.5)


def test_a_built_in_is_returned_wherever_it_has_the_decay():
    w = [start()]
    decay = {"weight_decay": 0.1}
    assert type(optimizers.gradient_descent(w, **decay)) is optim.SGD
    assert type(optimizers.momentum(w, accumulation="sum", dampening=0.5, **decay)) is optim.SGD
    for name, built_in in (
        ("rmsprop", optim.RMSprop), ("adagrad", optim.Adagrad), ("adadelta", optim.Adadelta), ("adam", optim.Adam),
        ("adamax", optim.Adamax),
    ):  # fmt: skip
        assert type(optimizers.OPTIMIZERS[name](w, **decay)) is built_in
    for name in ("rmsprop", "adadelta"):
        assert type(optimizers.OPTIMIZERS[name](w, **decay, decoupled_weight_decay=True)).__module__.startswith("impl")


LAYOUTS = {
    "dense": lambda g: g.contiguous(),
    "transposed": lambda g: g.T.contiguous().T,
    "expanded": lambda g: g[:1].expand_as(g),
    "every other column": lambda g: torch.stack((g, -g), dim=-1).reshape(len(g), -1)[:, ::2],
}
RETURNED = {
    "gradient_descent": {},
    "momentum": {"accumulation": "sum", "weight_decay": 0.1},
    "momentum, dampened": {"accumulation": "sum", "dampening": 0.5},
    "adam": {"weight_decay": 0.1},
    "adam, AMSGrad": {"amsgrad": "raw_max"},
    "rmsprop": {"momentum": 0.5},
    "adagrad": {},
    "adadelta": {},
    "adamax": {},
    "adamw": {},
    "lbfgs": {},
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def laid_out_path(make, layout, by_closure=False, steps=4):
    """``w`` after steps with gradients of a layout, in float32, where a kernel takes eight elements at a time."""
    generator = torch.Generator().manual_seed(0)
    w = nn.Parameter(torch.randn(6, 5, generator=generator, dtype=torch.float32))
    optimizer = make(w)
    for _ in range(steps):
        g = layout(torch.randn(6, 5, generator=generator, dtype=torch.float32))

        def closure(g=g):
            w.grad = g
            return 0.0

        if by_closure:
            w.grad = None
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
    return w.detach()


@layouts
@pytest.mark.parametrize("by_closure", [False, True], ids=["", "closure"])
@pytest.mark.parametrize(("name", "options"), RETURNED.items(), ids=RETURNED)
def test_a_step_does_not_depend_on_the_layout_of_the_gradient(name, options, by_closure, layout):
    expected = laid_out_path(lambda w: made(name, w, **options), lambda g: layout(g).contiguous().clone())
    assert torch.equal(laid_out_path(lambda w: made(name, w, **options), layout, by_closure), expected)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam], ids=lambda make: make.__name__)
def test_pytorch_s_fused_kernels_alone_are_still_wrong_so_that_the_guard_is_still_needed(make):
    # When this fails, PyTorch has mended its kernels: _laid_out and what it calls can go from optimizers.py.
    found = laid_out_path(lambda w: make([w], lr=0.01, fused=True), LAYOUTS["transposed"])
    expected = laid_out_path(lambda w: make([w], lr=0.01, fused=False), LAYOUTS["transposed"])
    assert (found - expected).abs().max() > 1e-3, "PyTorch has mended its fused kernels: the guard can go"


@pytest.mark.parametrize("make", [optim.RMSprop, optim.Adagrad, optim.Adadelta, optim.Adamax], ids=lambda m: m.__name__)
def test_pytorch_s_foreach_kernels_need_no_guard(make):
    for layout in LAYOUTS.values():
        found = laid_out_path(lambda w: make([w], lr=0.01, foreach=True), layout)
        assert torch.equal(found, laid_out_path(lambda w: make([w], lr=0.01, foreach=False), layout))


@pytest.mark.parametrize(
    "view", [lambda a: a[:5, :6].clone().T, lambda a: a[:6, :10][:, ::2]], ids=["transposed", "gaps"]
)
@pytest.mark.parametrize("name", ["gradient_descent", "momentum", "adam"])
def test_a_step_does_not_depend_on_the_layout_of_the_weight(name, view):
    options = RETURNED[name]
    base = torch.randn(12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    ends = []
    for weight in (view(base.clone()), view(base.clone()).contiguous()):
        w = nn.Parameter(weight)
        optimizer = made(name, w, **options)
        generator = torch.Generator().manual_seed(1)
        for _ in range(4):
            w.grad = torch.randn(w.shape, generator=generator, dtype=torch.float32)
            optimizer.step()
        ends.append(w.detach().contiguous())
    torch.testing.assert_close(*ends, rtol=ROUNDOFFS * 2.0**-24, atol=0)


def test_a_gradient_of_the_weight_s_own_layout_is_not_copied():
    w = start()
    optimizer = optimizers.adam([w])
    w.grad = kept = torch.ones_like(w)
    optimizer.step()
    assert w.grad is kept


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_a_state_of_another_layout_is_given_that_of_its_weight(name):
    w = nn.Parameter(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)))
    optimizer = made(name, w, **RETURNED[name])
    w.grad = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    optimizer.step()
    step, slots = optimizers.named_state(optimizer, {"w": w})
    ends = []
    for layout in (lambda a: a, LAYOUTS["transposed"]):
        other = nn.Parameter(w.detach().clone())
        again = made(name, other, **RETURNED[name])
        laid_out = {slot: {"w": layout(arrays["w"])} for slot, arrays in slots.items()}
        optimizers.load_named_state(again, {"w": other}, step, laid_out)
        other.grad = w.grad.clone()
        again.step()
        ends.append(other.detach())
    assert torch.equal(*ends)


def test_an_optimizer_that_is_opened_from_a_state_dict_is_right_for_any_layout():
    model = nn.Linear(5, 6, bias=False)
    optimizer = optimizers.gradient_descent(model.parameters(), 1.0)
    state = copy.deepcopy(optimizer.state_dict())
    other = copy.deepcopy(model)
    reopened = optimizers.gradient_descent(other.parameters(), 1.0)
    reopened.load_state_dict(state)
    g = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)).T
    other.weight.grad = g
    reopened.step()
    assert torch.equal(other.weight, model.weight - g)
