"""The page, the comparison and the command, of given measurements."""

import json
import re
import sys
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conformance.atlas import making, showing
from conformance.atlas.comparison import compare, text
from conformance.atlas.evidence import NOT_ASKED, UNMAPPED, Atlas
from conformance.atlas.making import write
from conformance.atlas.page import html, markdown
from conformance.atlas.tables import DECAY, DIGITS, formulation_of, owners, tables
from conformance.cli import app
from conformance.cli.charting import told
from conformance.runs.interpreter import Interpreter

sys.path.insert(0, str(Path(__file__).parent))

from atlases import HOSTILE, atlas, of

NUMBER = re.compile(r"-?\d[\d.]*(?:e[-+]\d+)?")
MEASURED = re.compile(rf"nearest .*? away|off by \S+|{DIGITS}: `[^`]*`")
CELLS = re.compile(r"(?<!\\)\|")


def command(*arguments):
    return CliRunner().invoke(app, ["atlas", *map(str, arguments)])


def test_whatever_a_framework_names_is_escaped_and_nothing_is_loaded():
    page = html(atlas())
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert not re.search(r"(?:src|href)=\"(?!#)", page)
    assert "<script>" not in re.sub("`[^`\n]*`", "", markdown(atlas()))


def test_every_link_of_the_page_leads_somewhere():
    page = html(atlas())
    links, there = re.findall(r'href="#([^"]*)"', page), re.findall(r'id="([^"]*)"', page)
    assert set(links) <= set(there)
    assert len(there) == len(set(there))


def test_what_differs_from_the_first_of_its_row_is_marked():
    table, *_ = tables(atlas())
    marked = {row: [cell.differs for cell in cells] for row, cells in table.rows}
    assert marked["formulation"] == [False, True]
    assert marked["gradient 1"] == [False, True]
    assert marked["defaults"] == [False, False]
    assert 'class="differs"' in html(atlas())
    assert '**adam(epsilon\\_position="before\\_correction")**' in markdown(atlas())


def layer(call, **facts):
    return of(call, f"{facts.get('component', 'gru')}()", kind="layer", component="gru", **facts)


def test_layers_are_rows_and_those_that_were_not_asked_are_listed():
    torch = layer("torch.nn.GRU", edges={"reset gate": "after"}, defaults={"bias": "True", "device": "None"})
    keras = layer("keras.layers.GRU", edges={"reset gate": "before"})
    other = of("torch.nn.Fold", "", kind="layer", component="", reason=NOT_ASKED)
    found = Atlas({"torch": {"torch": "1.0"}}, [torch, keras, other])
    page = markdown(found)
    assert "| `torch.nn.GRU` | gru() | bias=True | after |" in page
    assert "| `keras.layers.GRU` | gru() |  | **before** |" in page
    assert "- PyTorch: `torch.nn.Fold`" in page
    assert 'class="table turned"' in html(found)
    assert 'id="torch-nn-fold"' not in html(found)


def test_optimizers_with_a_weight_decay_stand_beside_the_penalties():
    coupled = of("torch.optim.SGD(weight_decay=0.1)", "sgd()", keywords={"weight_decay": 0.1})
    other = of(
        "keras.optimizers.SGD(weight_decay=0.1)",
        "sgd()",
        keywords={"weight_decay": 0.1, "decoupled_weight_decay": True},
    )
    plain, without = replace(other, component="gradient_descent"), of("torch.optim.SGD", "sgd()")
    *_, table = tables(Atlas({}, [coupled, other, plain, without]))
    assert (table.component, [each.call for each in table.columns]) == (DECAY, [coupled.call, other.call, plain.call])
    assert [cell.text.partition(":")[0] for cell in dict(table.rows)[DECAY]] == ["coupled", "decoupled", "either"]


def test_the_contents_lead_to_every_component():
    page = markdown(atlas())
    assert "- [Optimizers](#optimizers): [adam](#adam-optimizer), [adamw](#adamw-optimizer)" in page
    assert "### adam (optimizer)" in page


def test_two_that_differ_in_their_rate_alone_are_not_marked():
    inside = ("learning_rate=0.001", "", "learning_rate=0.01, epsilon=1e-07")
    (table,) = tables(
        Atlas({}, [of("torch.optim.Adam", f"adam({keywords})", framework="torch") for keywords in inside])
    )
    assert [cell.differs for cell in dict(table.rows)["formulation"]] == [False, False, True]


def test_what_each_framework_has_stands_at_the_head_of_the_optimizers():
    lion = of("optax.lion", "lion()", component="lion")
    muons = [of(call, "", component="", standing=UNMAPPED) for call in ("torch.optim.Muon", "optax.mu_on()")]
    decayed = of("optax.lion(weight_decay=0.1)", "adamw()", component="adamw")
    once = of("torch.optim.LBFGS(max_iter=1)", "lbfgs()", component="lbfgs")
    versions = {"torch": {"torch": "1.0"}, "optax": {"optax": "1.0"}, "jax": {}}
    found = Atlas(versions, [decayed, lion, once, *muons])
    assert owners(found) == {
        "lbfgs": {"torch": ["LBFGS"]}, "lion": {"optax": ["lion"]}, "muon": {"torch": ["Muon"], "optax": ["mu_on"]},
    }  # fmt: skip
    assert "| optimizer | PyTorch | optax |" in markdown(found)
    assert "| muon | `Muon` | `mu_on` |" in markdown(found)
    assert "<td>muon</td><td><code>Muon</code></td><td><code>mu_on</code></td>" in html(found)


def test_a_component_is_shown_with_the_catalogue_s_defaults():
    table = next(iter(tables(atlas())))
    assert table.defaults.startswith("adam(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08,")
    assert f"### adam (optimizer)\n\n`{table.defaults}`" in markdown(atlas())


def test_what_is_far_from_everything_has_no_nearest():
    far, near = (of("x", "", nearest="adam(beta1=0.12345678901)", distance=distance) for distance in (0.3, 0.001))
    assert formulation_of(far) == "none known"
    assert formulation_of(near) == "none known; nearest adam(beta1=0.123), 1e-03 away"


def test_each_number_has_a_command():
    page = html(atlas())
    commands = [each.command for each in (*atlas().evidence, *atlas().faults, *atlas().surprises)]
    plain = page.replace("&#34;", '"')
    assert [one for one in commands if "<" not in one and one not in plain] == []


def test_an_atlas_is_written_with_its_tables(tmp_path):
    files = {file.name for file in write(atlas(), tmp_path)}
    assert {"atlas.html", "atlas.md", "builtins.csv", "edges.csv", "surprises.csv"} <= files
    assert HOSTILE in (tmp_path / "builtins.csv").read_text(encoding="utf-8")


def folders(tmp_path, old, new):
    for name, one in (("old", old), ("new", new)):
        write(one, tmp_path / name)
    return tmp_path / "old", tmp_path / "new"


def test_what_changed_between_two_atlases_is_told(tmp_path):
    old = atlas(
        formulation="adam()", digits={"float64": 15.0}, defaults={"eps": "1e-08"},
        edges={"gradient 1": "-1", "gone": "0", "no elements": "refused: so"},
    )  # fmt: skip
    new = atlas(
        formulation="adam(epsilon=1e-07)", digits={"float64": 8.0},
        defaults={"eps": "1e-08", "nesterov": "False", "name": "None"},
        edges={"gradient 1": "-2", "no elements": "refused: otherwise"},
    )  # fmt: skip
    found = {change.what: (change.old, change.new) for change in compare(*folders(tmp_path, old, new))}
    assert found == {
        "formulation": ("adam()", "adam(epsilon=1e-07)"), "gradient 1": ("-1", "-2"), "digits64": ("15.0", "8.0"),
        "default nesterov": ("", "False"),
    }  # fmt: skip
    result = command("--compare", tmp_path / "old", tmp_path / "new")
    assert result.exit_code == 1
    assert "formulation: adam() -> adam(epsilon=1e-07)" in result.stdout


def test_a_new_built_in_and_one_that_is_gone_are_told(tmp_path):
    changes = compare(*folders(tmp_path, atlas(formulation="adam()"), atlas()))
    new = {change.call for change in changes if change.what == "built-in" and change.new == "there"}
    assert new == {f"torch.optim.{HOSTILE}"}  # Keras is in one of the two alone
    assert f"torch: torch.optim.{HOSTILE}" in text(changes)


def test_built_ins_of_a_package_that_one_environment_lacks_are_no_change(tmp_path):
    jax, flax = of("jax.nn.relu", "relu()", framework="jax"), of("flax.nnx.GRUCell", "gru()", framework="jax")
    old, new = Atlas({"jax": {"jax": "1"}}, [jax]), Atlas({"jax": {"jax": "1", "flax": "2"}}, [jax, flax])
    assert [change.call for change in compare(*folders(tmp_path, old, new))] == ["flax"]


def test_an_atlas_is_the_same_as_itself(tmp_path):
    result = command("--compare", *folders(tmp_path, atlas(), atlas()))
    assert (result.exit_code, result.stdout.strip()) == (0, "nothing changed")
    assert json.loads(command("--compare", tmp_path / "old", tmp_path / "new", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--framework", "toch"], "framework='toch' is not allowed"),
        (["--kind", "optimiser"], "did you mean 'optimizer'"),
        (["--python", "no-such-python"], "python='no-such-python' is not allowed"),
        (["--beside", "optax.adam"], "beside is not allowed without show"),
        (["--show", "no-such-thing"], "show='no-such-thing' is not allowed"),
        (["--compare", ".", "."], "compare='.' is not allowed: must be a folder"),
        (["--compare", ".", ".", "--show", "optax.adam"], "--compare and --show exclude each other"),
        (["--show", "optax.adam", "--output", "x", "--kind", "loss"], "--show and --output, --kind exclude each other"),
        (["--show", "optax.adam", "--beside", "no-such"], "beside='no-such' is not allowed: must be a call that the"),
        (["--output", __file__], "--output"),
    ],
)
def test_bad_usage_is_said(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_call_is_found_however_it_is_spaced_and_quoted(monkeypatch):
    asked = []

    def found(framework, kinds, interpreter, progress, only):
        asked.append(only)
        return {"torch": "2"}, []

    monkeypatch.setattr(showing, "of_framework", found)
    for call in (
        "torch.optim.SGD(momentum=0.9,nesterov=True)",
        'torch.nn.functional.gelu(approximate="tanh")',
        "torch.x(",
    ):
        with pytest.raises(ValueError, match="no built-in of torch is called so"):
            showing.of_name(call, Interpreter(), print)
    assert asked == [
        "torch.optim.SGD(momentum=0.9, nesterov=True)", "torch.nn.functional.gelu(approximate='tanh')", "torch.x(",
    ]  # fmt: skip


def test_of_a_pair_it_is_told_what_the_change_is_a_share_of(monkeypatch):
    def found(framework, kinds, interpreter, progress, only):
        keywords = {"learning_rate": 0.1, "epsilon": 1e-8 if framework == "torch" else 1e-3}
        return {framework: "2"}, [of(only, "adam()", keywords=keywords)]

    monkeypatch.setattr(showing, "of_framework", found)
    told = showing.of_pair("torch.optim.Adam", "keras.optimizers.Adam", Interpreter(), print)
    assert re.search(r"adam: change \S+ \(of how far the parameters moved\), last costs", told.text)
    assert told.as_dict["pairs"][0]["change"] > 0


def test_a_damaged_table_is_said(tmp_path):
    old, new = folders(tmp_path, atlas(), atlas())
    (new / "edges.csv").write_text("framework,call\ntorch,x\n", encoding="utf-8")
    result = command("--compare", old, new)
    assert result.exit_code == 2
    assert "edges.csv has no column situation, outcome" in result.stderr
    (new / "edges.csv").write_bytes(b"\xff\xfe\x00")
    assert command("--compare", old, new).exit_code == 2


def test_where_nothing_is_installed_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "make", lambda *arguments: Atlas({"torch": {}}, []))
    result = command("--output", tmp_path / "made")
    assert result.exit_code == 3
    assert "none of the frameworks is installed" in result.stderr
    assert not (tmp_path / "made").exists()


def test_the_command_says_what_is_not_installed_and_writes_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "make", lambda *arguments: atlas())
    result = command("--output", tmp_path / "made")
    assert result.exit_code == 0
    assert "keras is not installed there" in result.stdout
    assert (tmp_path / "made" / "atlas.html").exists()


def test_an_atlas_that_is_there_is_overwritten_where_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "make", lambda *arguments: atlas())
    assert command("--output", tmp_path).exit_code == 0
    again = command("--output", tmp_path)
    assert (again.exit_code, "is there already: must be another, or --force given" in again.stderr) == (2, True)
    assert command("--output", tmp_path, "--force").exit_code == 0


def steady(page):
    """A page without what goes with the machine: digits, distances, what was rounded, and the numbers of trainings."""
    lines, heading, place = [], "", None
    for line in page.splitlines():
        heading = line if line.startswith("## ") else heading
        if line.startswith("|  |") or not line:
            place = column(line, DIGITS)
        if place is not None and line.startswith("| `"):
            line = "|".join("#" if n == place else cell for n, cell in enumerate(CELLS.split(line)))
        if line.startswith(f"| {DIGITS}") or "| python " in line or "versions" in line:
            continue
        numbers = heading in ("## Surprises", "## Known faults")
        lines.append(NUMBER.sub("#", line) if numbers else MEASURED.sub("#", line))
    return lines


def column(header, name):
    """Which cell of a table's rows stands under a name."""
    names = [cell.strip() for cell in CELLS.split(header)]
    return names.index(name) if name in names else None


def test_what_goes_with_the_machine_is_left_out_of_a_table_of_rows():
    one, other = (
        f"|  | formulation | {DIGITS} | 0, 0 |\n|---|---|---|---|\n| `x` | a\\|b | {digits} | {edge} |\n\n| 16, 7 |"
        for digits, edge in (("16, 7", "0, 0"), ("15, 6", "0, 0"))
    )
    assert steady(one) == steady(other)
    assert steady(one) != steady(one.replace("| 0, 0 |\n\n", "| 0, 1 |\n\n"))
    assert steady(one) != steady(one.replace("a\\|b", "c"))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_page_of_the_documentation_is_what_is_measured_now():
    committed = (Path(__file__).parents[3] / "docs" / "atlas.md").read_text(encoding="utf-8")
    now = steady(markdown(making.make(progress=told)))
    assert [pair for pair in zip_longest(now, steady(committed)) if pair[0] != pair[1]] == []
