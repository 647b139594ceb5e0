"""What is asked of two dialects: rates, settings, and what is refused."""

import pytest

from conformance.equivalence.asking import SAME_RATE, SHIPPED, ask, is_dialect


def rates(asked):
    return {each.title: [recipe.optimizer.keywords["learning_rate"] for recipe in each.recipes] for each in asked}


@pytest.mark.parametrize(
    ("names", "options", "expected"),
    [
        (("keras.Adam", "torch.Adam"), {}, {SHIPPED: [0.001, 0.001]}),
        (("keras.SGD", "torch.SGD"), {}, {SHIPPED: [0.01, 0.001], SAME_RATE: [0.01, 0.01]}),
        (("keras.SGD", "torch.SGD"), {"same_learning_rate": True}, {SAME_RATE: [0.01, 0.01]}),
        (("keras.SGD", "torch.optim.SGD(lr=0.2)"), {}, {SHIPPED: [0.01, 0.2], SAME_RATE: [0.01, 0.01]}),
        (("keras.SGD", "torch.SGD"), {"settings": {"learning_rate": 0.3}}, {SHIPPED: [0.3, 0.3]}),
        (("optax.adam", "torch.SGD(lr=0.2)"), {}, {SHIPPED: [0.2, 0.2]}),  # which has none of its own
        (("optax.adam", "optax.sgd"), {}, {SHIPPED: [0.05, 0.05]}),  # the recipe's
    ],
)
def test_each_has_its_own_learning_rate_and_once_more_the_first_one_s(names, options, expected, small_recipe):
    slower = small_recipe.optimizer.model_copy(update={"learning_rate": 0.05})
    asked = ask(*names, recipe=small_recipe.model_copy(update={"optimizer": slower}), **options)
    assert rates(asked.situations) == expected


def test_the_rest_of_the_recipe_stays_and_settings_are_of_both(small_recipe):
    asked = ask("keras.Adam", "torch.Adam", recipe=small_recipe, settings={"beta1": 0.5}, seeds=4)
    first, second = asked.situations[0].recipes
    assert first.model_copy(update={"optimizer": second.optimizer}) == second
    assert first.optimizer.keywords["epsilon_position"] == "before_correction"
    assert {first.optimizer.keywords["beta1"], second.optimizer.keywords["beta1"]} == {0.5}
    assert (asked.seeds, asked.dtype) == ((0, 1, 2, 3), "float32")


def test_the_largest_seed_is_followed_by_the_smallest(small_recipe):
    last = small_recipe.model_copy(update={"seed": 2**64 - 1})
    assert ask("keras.Adam", "torch.Adam", recipe=last, seeds=3).seeds == (2**64 - 1, 0, 1)


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        (("kears.Adam", "torch.Adam"), {}, "dialect='kears.Adam' is not allowed: .*did you mean 'keras.Adam'"),
        (("torch.Adam", "keras.Adm"), {}, "dialect='keras.Adm' is not allowed: .*did you mean 'keras.Adam'"),
        (("torch.Adam", "torch.optim.Adam"), {}, "must be another than the first"),
        (("torch.Adam", "keras.Adam(lr=0.1)"), {}, "lr is no argument of keras.Adam: it is the spelling of torch"),
        (
            ("torch.Adam", "keras.Adam"),
            {"settings": {"beta1": 2.0}},
            r"optimizer: beta1=2.0 is not allowed: must be in",
        ),
        (("torch.Adam", "keras.Adam"), {"settings": {"lr": 1.0}}, "here it is 'learning_rate'"),
        (("torch.Adam", "keras.Adam"), {"seeds": 2}, "seeds=2 is not allowed: must be 3 to 1000"),
        (("torch.Adam", "keras.Adam"), {"margin": 0.0}, "margin=0.0 is not allowed: must be a number above 0"),
        (("torch.Adam", "keras.Adam"), {"dtype": "float16"}, "dtype='float16' is not allowed"),
        (("torch.Adam", "keras.Adam"), {"implementation": "pytorch"}, "did you mean 'torch'"),
        (("torch.Adam", "torch.LBFGS(max_iter=1)"), {}, "batch_size=10 is not allowed for 'lbfgs'"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(names, options, said, small_recipe):
    with pytest.raises(ValueError, match=said):
        ask(*names, recipe=small_recipe, **options)


def test_a_dialect_begins_with_its_framework():
    assert [is_dialect(name) for name in ("keras.Adm", "optax.adam", "reports/a", "adam")] == [True, True, False, False]
