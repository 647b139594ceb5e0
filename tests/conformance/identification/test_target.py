"""How targets are written: what is read, and what is refused with which words."""

import pytest

from conformance.identification.target import Target, load, parse


def test_a_target_is_a_module_and_an_attribute():
    assert parse("torch.optim:SGD") == Target("torch.optim", "SGD", {}, False)


def test_arguments_are_literals_given_by_name():
    assert parse("optax:adam(b1=0.8, nesterov=True)").keywords == {"b1": 0.8, "nesterov": True}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("torch.optim.SGD", "must be package.module:attribute"),
        ("torch optim:SGD", "must be package.module:attribute"),
        ("torch.optim:SGD(0.1)", "every argument must be given by name"),
        ("torch.optim:SGD(**{})", "every argument must be given by name"),
        ("torch.optim:SGD(lr=open('x'))", "lr is not allowed: must be a literal"),
        ("torch.optim:1 + 1", "must name an attribute"),
        ("torch.optim:SGD(", "cannot be read after the colon"),
    ],
)
def test_what_is_no_target_is_refused(text, said):
    with pytest.raises(ValueError, match="target=") as error:
        parse(text)
    assert said in str(error.value)


def test_a_name_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"no 'addam' there; did you mean 'adam'"):
        load(parse("reference_numpy.optimizers:addam"))
