"""The fallback as a file: it imports nothing of this project, and is the formulation that was asked for."""

import numpy as np
import pytest
from typer.testing import CliRunner

from conformance.cli import app
from conformance.translation.ejected import LOOP, ejected
from conformance.translation.translated import EXACT, OURS, REFUSED, Translation
from reference_numpy.optimizers import lion


def ours(kind, component, to="numpy", **keywords):
    return Translation("a.B", kind, to, OURS, "code", component=component, keywords=keywords)


def test_the_file_is_the_formulation_with_its_numbers_and_the_code_imports_it():
    text, found = ejected(ours("optimizer", "lion", learning_rate=0.5, beta1=0.7), "mine")
    assert found.code == "from mine import lion\n\noptimizer = lion()"
    assert not any(f"from {package}" in text for package in ("conformance", "reference_numpy", "impl_"))
    names = {"__name__": "mine"}
    exec(compile(text, "mine.py", "exec"), names)
    ends = []
    for optimizer in (names["lion"](), lion(0.5, beta1=0.7)):
        w, slots = np.array([1.0, -2.0]), {"momentum": np.zeros(2)}
        for t, g in enumerate(([0.1, 0.3], [-0.2, 0.1]), start=1):
            optimizer.update_array(w, np.array(g), slots, t, optimizer.learning_rate)
        ends.append(w)
    assert np.array_equal(*ends)
    assert np.array_equal(ends[0], [1.0, -3.0])


@pytest.mark.parametrize(
    ("translation", "last_line"),
    [
        (ours("optimizer", "lion", "torch", learning_rate=0.5), "optimizer = lion(params)"),
        (ours("activation", "gelu", "jax", approximate=True), "activation = gelu"),
        (ours("penalty", "l2", "torch", strength=0.1, convention="full"), "penalty = l2()"),
        (ours("schedule", "exponential", "torch", learning_rate=0.1, base=0.5), "schedule = exponential(0.1)"),
    ],
)
def test_what_is_made_of_it_is_written_by_its_kind(translation, last_line):
    assert ejected(translation, "mine")[1].code.splitlines() == [
        f"from mine import {translation.component}", "", last_line,
    ]  # fmt: skip


def test_of_a_keras_optimizer_it_is_told_that_the_file_is_for_a_loop():
    assert ejected(ours("optimizer", "lion", "tf", learning_rate=0.5), "mine")[1].notes == (LOOP,)


@pytest.mark.parametrize(
    ("translation", "module", "said"),
    [
        (ours("optimizer", "lion", learning_rate=0.5), "mi-ne", "must be one that can be imported"),
        (ours("normalization", "batch_norm"), "mine", "batch_norm cannot be ejected alone"),
    ],
)
def test_what_cannot_be_a_file_is_refused(translation, module, said):
    with pytest.raises(ValueError, match=said):
        ejected(translation, module)


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        (ours("optimizer", "lion", learning_rate=0.5), 0, "written: mine.py"),
        (Translation("a.B", "optimizer", "jax", EXACT, "code"), 0, "mine.py is not written: a built-in is the same"),
        (Translation("a.B", "optimizer", "jax", REFUSED), 1, "mine.py is not written: it is refused"),
        (ours("normalization", "batch_norm"), 2, "cannot be ejected alone"),
    ],
)
def test_the_command_writes_a_file_only_for_what_is_this_projects(found, status, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("conformance.translation.translate.translate", lambda *_, **__: found)
    command = ["translate", "a.B", "--to", "numpy", "--eject", "mine.py"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == status
    assert said in result.stderr
    assert (tmp_path / "mine.py").exists() == (said == "written: mine.py")
    if (tmp_path / "mine.py").exists():
        assert "is there already" in CliRunner().invoke(app, command).stderr
        assert CliRunner().invoke(app, [*command, "--force"]).exit_code == 0
