"""Two dialects trained from the same tapes: what is the same, what is not, and what is told of it."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

import conformance
from conformance.adapters.numpy import NumpyAdapter
from conformance.cli import app
from conformance.equivalence import words
from conformance.equivalence.asking import ask
from conformance.equivalence.compared import hold
from conformance.equivalence.student import DIFFERENT, EQUIVALENT, UNDECIDED
from conformance.equivalence.trainings import first_apart, pairs
from conformance.runs.outcome import Incomplete


def command(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture
def small(here, small_recipe, tmp_path):
    """A file of the small recipe, whose trainings are made in this process."""
    file = tmp_path / "small.json"
    file.write_text(small_recipe.model_dump_json(), encoding="utf-8")
    return file


def test_the_same_formulation_is_equivalent_and_another_rate_is_not(here, small_recipe):
    found = conformance.compare_dialects("keras.SGD", "torch.SGD(lr=1.0)", recipe=small_recipe, seeds=3, margin=0.1)
    shipped, same = found.outcomes
    assert (shipped.verdict, same.verdict, found.verdict) == (DIFFERENT, EQUIVALENT, DIFFERENT)
    assert [step for _, step in shipped.apart] == [2, 2, 2]  # the first step's cost is that of the same parameters
    assert [step for _, step in same.apart] == [0, 0, 0]
    assert shipped.differing == (("learning_rate", "0.01", "1.0"),)
    assert same.differing == ()
    assert found.curves.groupby("situation")["step"].max().tolist() == [6, 6]


def test_each_seed_draws_its_own_tape_and_both_dialects_have_it(small_recipe):
    asked = ask("keras.Adam", "torch.Adam", recipe=small_recipe, seeds=3, dtype="float64")
    found = list(pairs(asked.situations[0].recipes, asked.seeds, "float64", NumpyAdapter("cpu"), lambda: None))
    assert [pair.first.costs[0] == pair.second.costs[0] for pair in found] == [True] * 3
    assert len({pair.first.costs[0] for pair in found}) == 3
    assert all((pair.first.costs[1:] != pair.second.costs[1:]).all() for pair in found)


def test_rounding_alone_parts_no_two_trainings(small_recipe):
    """Of the same mathematics, in another order: an accumulation that is scaled by the rate."""
    asked = ask("keras.SGD(momentum=0.9)", "torch.SGD(momentum=0.9)", recipe=small_recipe, same_learning_rate=True)
    made = pairs(asked.situations[0].recipes, asked.seeds[:3], "float32", NumpyAdapter("cpu"), lambda: None)
    found = [((pair.first.costs != pair.second.costs).any(), first_apart(pair)) for pair in made]
    assert any(differs for differs, _ in found)
    assert [step for _, step in found] == [0, 0, 0]


def test_a_training_that_diverges_is_different_and_two_that_do_are_undecided():
    nan = math.nan
    assert hold("cost", [1.0, 2.0, 1.5], [1.0, nan, 1.5], 1.0).verdict == DIFFERENT
    both = hold("cost", [1.0, nan, nan], [1.0, nan, math.inf], 1.0)
    assert (both.verdict, both.tested, both.means[0]) == (UNDECIDED, None, "2 of 3 diverge")
    assert hold("cost", [1.0, 2.0, nan], [1.0, 2.0, nan], 1.0).verdict == EQUIVALENT


def test_the_margin_is_the_spread_of_the_first_and_of_an_accuracy_at_least_one_example():
    first, second = [1.0, 2.0, 3.0], [1.1, 2.1, 3.1]
    assert hold("cost", first, second, 2.0).margin == pytest.approx(2 * np.std(first, ddof=1))
    assert hold("accuracy", [100.0] * 3, [100.0, 98.0, 100.0], 1.0, 2.0).margin == 2.0


def test_the_words_say_how_many_more_seeds_would_do(here, small_recipe):
    found = conformance.compare_dialects("keras.SGD", "torch.SGD(lr=0.04)", recipe=small_recipe, seeds=3, margin=0.6)
    held = hold("cost of the last epoch", [1.0, 2.0, 3.0], [1.4, 2.0, 3.5], 0.6)
    outcome = found.outcomes[0].__class__("as they ship", (), (held,), ((0, 2), (1, 0)), ())
    assert held.tested.further == 2
    assert words.conclusion(outcome) == (
        "as they ship: undecided with 3 seeds: 2 more would do if they differ as these do"
    )
    assert words.sentence(held, found).startswith(
        "cost of the last epoch: undecided whether within ± 0.6 (0.6 standard"
    )
    assert words.parting(outcome).endswith("rounding: 2, none (seeds 0, 1)")


def test_the_command_tells_the_verdict_and_writes_the_files(small, tmp_path):
    files = {name: tmp_path / f"found.{name}" for name in ("html", "svg", "csv")}
    result = command(
        "keras.SGD", "torch.SGD(lr=1.0)", "--recipe", small, "--seeds", 3, "--margin", 0.1,
        "--html", files["html"], "--figure", files["svg"], "--csv", files["csv"],
    )  # fmt: skip
    assert result.exit_code == 1, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "keras.SGD and torch.SGD(lr=1.0)"
    assert "as they ship: different: on this training it matters which of the two is taken" in lines
    assert "cost of the last epoch: equivalent: the same for every seed" in lines
    assert "learning_rate 0.01 1.0" in lines
    page = files["html"].read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64,") == 2
    assert not any(sign in page for sign in ("<script", "http://", "https://", "href="))
    assert files["svg"].read_text(encoding="utf-8").startswith("<?xml")
    rows = files["csv"].read_text(encoding="utf-8").splitlines()
    assert rows[0] == "situation,dialect,seed,step,cost"
    assert len(rows) == 1 + 2 * 2 * 3 * 6


def test_equivalent_has_status_0_and_the_json_has_every_number(small):
    result = command("keras.Adam", "torch.Adam", "--recipe", small, "--seeds", 3, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    assert found["verdict"] == "equivalent"
    (situation,) = found["situations"]
    cost = situation["quantities"][0]
    assert cost["lower"] <= cost["difference"] <= cost["upper"]
    assert abs(cost["upper"]) < cost["margin"]
    assert {row["keyword"] for row in situation["differing"]} >= {"epsilon", "epsilon_position"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["keras.Adam"], "two dialects are compared: 1 was given"),
        (["keras.Adam", "torch.Adam", "optax.adam"], "two dialects are compared: 3 were given"),
        (["keras.Adam", "."], "a dialect is compared with a dialect, and a run with a run: not 'keras.Adam' with '.'"),
        (["keras.Adam", "nowhere"], "dialect='nowhere' is not allowed: must be an optimizer of torch, keras or optax"),
        (["kears.Adam", "trch.Adam"], "kears.Adam: is not the folder of a run: it has no run.sqlite; did you mean 'k"),
        ([".", ".", "--seeds", "4"], "--seeds is not allowed for runs: it is for two dialects"),
        (["momentum", "adam"], "has no run.sqlite; an optimizer without a framework is no dialect: must be a built-in"),
        (["keras.Adam", "torch.Adam", "--set", "x"], "must be ARGUMENT=VALUE"),
        (["keras.Adam", "torch.Adam", "--recipe", "moonss"], "recipe='moonss' is not known"),
        (["keras.Adam", "torch.Adam", "--figure", "a.txt"], "must be one of '.svg', '.png', '.pdf'"),
        (["keras.Adam", "torch.Adam", "--csv", "no/where.csv"], "must be a file that can be written"),
        (["keras.Adam", "torch.Adam", "--implementation", "pytorch"], "did you mean 'torch'"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_in_a_line(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_trainings_that_are_broken_off_have_status_3(monkeypatch, small_recipe):
    def broken(*_):
        raise Incomplete("torch: its process ended: killed by SIGKILL")

    monkeypatch.setattr("conformance.equivalence.compare.train_all", broken)
    result = command("keras.Adam", "torch.Adam", "--implementation", "torch")
    assert (result.exit_code, result.stderr) == (3, "conformance: torch: its process ended: killed by SIGKILL\n")


def test_what_was_named_is_escaped_on_the_page(here, small_recipe):
    hostile = "torch.Adam(betas=(0.9, 0.5), lr=0.2)"
    found = conformance.compare_dialects("keras.Adam", hostile, recipe=small_recipe, seeds=3)
    changed = found.__class__(("<b>", found.names[1]), "<i>", found.asked, found.outcomes)
    text = changed._repr_html_()
    assert "&lt;b&gt;" in text
    assert "<b>" not in text


@pytest.mark.parametrize("implementation", ["numpy", pytest.param("torch", marks=pytest.mark.slow),
                                            pytest.param("tf", marks=pytest.mark.slow),
                                            pytest.param("jax", marks=pytest.mark.slow)])  # fmt: skip
def test_a_process_of_their_own_makes_the_same_trainings(implementation, here, small_recipe):
    from conformance.equivalence.asking import Asked
    from conformance.equivalence.process import train_all
    from conformance.runs.answers import Limits

    asked: Asked = ask("keras.SGD", "torch.SGD", recipe=small_recipe, seeds=3, implementation=implementation)
    told = []
    found = train_all(asked, Limits(300.0), lambda worker, done, total: told.append((worker, done, total)))
    here_made = list(pairs(asked.situations[0].recipes, asked.seeds, "float32", NumpyAdapter("cpu"), lambda: None))
    assert told == [(implementation, done, 6) for done in range(7)]
    for one, other in zip(found[0], here_made, strict=True):
        np.testing.assert_allclose(one.second.costs, other.second.costs, rtol=1e-5)
        assert (one.first.accuracy, one.test_examples) == (other.first.accuracy, 8)


@pytest.mark.slow
def test_a_process_that_takes_too_long_is_ended(small_recipe):
    with pytest.raises(Incomplete, match=r"numpy: no answer within 0\.01 s"):
        conformance.compare_dialects("keras.SGD", "torch.SGD", recipe=small_recipe, seconds=0.01)
