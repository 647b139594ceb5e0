"""The table of a run that goes on: verdicts so far, who is at what, the time left, at every size of a terminal."""

import io
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from conformance.cli import board as boards
from conformance.cli.board import Board
from conformance.cli.live import MARKS, LiveTable, without_middle
from conformance.recipes.suites import suite
from conformance.runs.plan import Plan
from conformance.runs.schedule import ORACLE
from conformance.runs.watching import WORST_FIRST, Event
from conformance.verdicts.compare import Verdict
from conformance.verdicts.order import LADDER

LONG = "a-very-" + "long-" * 14 + "one"
FOUR = ("numpy", "torch", "tf", "my_package.of_adapters:MyOwnAdapter")
CODE = re.compile(r"\x1b\[[0-9;]*m")


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def plan_of(recipes=6, implementations=FOUR):
    """A plan of so many recipes, the first with a long name."""
    names = [LONG, *(f"recipe-{number}" for number in range(1, recipes))]
    recipes = [("default", suite("quick")[0].model_copy(update={"name": name})) for name in names]
    targets = {name: f"somewhere:{name}" for name in implementations}
    return Plan(Path("somewhere"), recipes, targets, ["float64", "float32"], workers=2)


def judge(board, worker, recipe, verdict=Verdict.PASS, dtypes=("float64", "float32"), checks=LADDER):
    """A worker begins a training, comes to a verdict in each check, and leaves it."""
    for dtype in dtypes:
        board.take(Event("begun", worker, recipe, dtype))
        for check in checks:
            board.take(Event("begun", worker, recipe, dtype, check))
            board.take(Event("judged", worker, recipe, dtype, check, verdict))
        board.take(Event("left", worker, recipe, dtype))


def drawn(board, width=80, height=24, file=None):
    """Lines of what is drawn, with their colours."""
    console = Console(file=file or io.StringIO(), force_terminal=True, width=width, height=height)
    with console.capture() as capture:
        console.print(LiveTable(board))
    return capture.get().splitlines()


def plain(lines):
    return [CODE.sub("", line).rstrip() for line in lines]


@pytest.fixture
def under_way(clock):
    """A run of forty recipes of which some pass, one fails, one is inconclusive, and two workers are at work."""
    board = Board(plan_of(40), clock)
    judge(board, ORACLE, LONG, checks=("case",))
    judge(board, "numpy", LONG)
    judge(board, "torch", LONG, Verdict.INCONCLUSIVE)
    judge(board, "tf", "recipe-30", Verdict.FAIL, checks=LADDER[:3])
    board.take(Event("begun", "tf", "recipe-20", "float32"))
    board.take(Event("begun", "tf", "recipe-20", "float32", "gradients"))
    clock.now += 2
    board.take(Event("begun", ORACLE, "recipe-39", "float64"))
    clock.now += 3
    return board


@pytest.mark.parametrize("width", [80, 200])
def test_what_is_drawn_fits_a_terminal_of_any_height(under_way, width):
    for height in range(1, 60):
        lines = plain(drawn(under_way, width, height))
        assert len(lines) <= height
        assert max(map(cell_len, lines)) <= width
        assert "trainings" in lines[-1]


def test_where_there_is_room_every_recipe_is_shown_in_the_order_of_the_run(under_way):
    lines = plain(drawn(under_way, 200, 60))
    assert lines[0].split() == ["recipe", "numpy", "torch", "tf", "my_package…wnAdapter"]
    assert [line.split()[0] for line in lines[1:41]] == [LONG, *(f"recipe-{number}" for number in range(1, 40))]
    assert lines[1].split()[1:] == ["✓", "pass", "?", "inconclusive", "·", "·"]
    assert lines[21].split()[1:] == ["·", "·", "▸", f"0/{2 * len(LADDER)}", "·"]
    assert lines[31].split()[1:] == ["·", "·", "✗", "fail", f"6/{2 * len(LADDER)}", "·"]
    assert lines[41].split() == ["tf", "recipe-20", "float32", "gradients", "5", "s"]
    assert lines[42].split() == [ORACLE, "recipe-39", "float64", "makes", "the", "case", "3", "s"]
    assert lines[43] == "✓ 2 pass   ? 2 inconclusive"


def test_a_name_that_is_too_long_loses_its_middle(under_way):
    (row,) = [line for line in plain(drawn(under_way)) if line.startswith("a-very")]
    assert re.match(r"a-very-[a-z-]*…[a-z-]*-one  ✓ pass", row)


def test_where_there_is_little_room_those_come_first_that_are_at_work_and_that_fail(under_way):
    def rows(height):
        lines = plain(drawn(under_way, 80, height))
        return [re.sub("-l.*", "", line.split()[0]) for line in lines if re.match(r"(a-very|recipe-)", line)]

    assert [rows(height) for height in range(5, 10)] == [
        [],
        ["recipe-20"],
        ["recipe-20", "recipe-30"],
        ["recipe-20", "recipe-30"],
        ["a-very", "recipe-20", "recipe-30"],
    ]
    assert "and 37 more: 37 wait" in plain(drawn(under_way, 80, 9))
    assert "and 39 more: 1 fail, 1 in between, 37 wait" in plain(drawn(under_way, 80, 6))


@pytest.mark.parametrize("verdict", Verdict)
def test_a_verdict_has_a_sign_and_a_colour(verdict, monkeypatch):
    board = Board(plan_of(2))
    judge(board, "numpy", "recipe-1", verdict)
    mark = MARKS[verdict]
    (row,) = [line for line in drawn(board) if line.startswith("recipe-1")]
    code = {"green": "32", "yellow": "33", "bold red": "1;31"}[mark.style]
    assert f"\x1b[{code}m{mark.sign} {verdict}" in row
    monkeypatch.setenv("NO_COLOR", "1")
    (row,) = [line for line in drawn(board) if line.startswith("recipe-1")]
    assert f"{mark.sign} {verdict}" in row
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", row)


def test_every_verdict_has_its_mark_and_its_place():
    assert set(MARKS) == set(WORST_FIRST) == set(Verdict)


def test_a_terminal_that_has_ascii_alone_is_given_nothing_else(under_way):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    text = "\n".join(drawn(under_way, 80, 24, file))
    assert text.isascii()
    assert "x fail" in text
    assert "..." in text


@pytest.mark.parametrize("name", ["plug:[bold]X[/bold]", "plug::smile:", "plug:\x1b[31mX", "plug:[/]"])
def test_a_name_is_drawn_as_it_is(name):
    board = Board(plan_of(2, ("numpy", name)))
    judge(board, name, "recipe-1", checks=LADDER[:1])
    board.take(Event("begun", name, "recipe-1", "float64", "loss"))
    assert "\n".join(plain(drawn(board))).count(name.replace("\x1b", r"\x1b")) == 2


def test_a_training_is_as_good_as_its_worst_check_and_a_recipe_as_its_worst_precision():
    board = Board(plan_of(2, ("numpy",)))
    judge(board, "numpy", LONG, Verdict.UNSUPPORTED, checks=LADDER[:1])
    judge(board, "numpy", LONG, dtypes=["float64"])
    assert board.cell(LONG, "numpy").verdict == Verdict.UNSUPPORTED
    judge(board, "numpy", LONG, Verdict.TIMEOUT, dtypes=["float32"], checks=LADDER[-1:])
    assert board.cell(LONG, "numpy") == (len(LADDER) + 2, 2 * len(LADDER), Verdict.TIMEOUT, False)
    assert board.verdicts == {Verdict.UNSUPPORTED: 1}


def test_time_left_is_the_forecast_at_first_and_then_what_the_run_makes_of_it(clock, monkeypatch):
    monkeypatch.setattr(boards, "known_pace", lambda: {ORACLE: 6.0, "numpy": 10.0})
    board = Board(plan_of(10, ("numpy",)), clock)
    assert board.seconds_left is None
    assert "loading" in plain(drawn(board))[-1]
    board.take(Event("judged", ORACLE, LONG, "float64", "case", Verdict.PASS))
    board.take(Event("judged", ORACLE, LONG, "float32", "case", Verdict.PASS))
    board.take(Event("begun", "numpy", LONG, "float64"))
    forecast = (20 * 10.0 + 18 * 6.0) / 2
    assert board.seconds_left == pytest.approx(forecast)
    recipes = list(board.dtypes)
    for number, recipe in enumerate(recipes):
        judge(board, ORACLE, recipe, checks=["case"])
        judge(board, "numpy", recipe)
        clock.now += 2 * forecast / len(recipes)  # takes twice as long as was thought
        done = (number + 1) / len(recipes)
        if 0.4 < done < 1:
            assert board.seconds_left == pytest.approx(2 * forecast * (1 - done), rel=0.15)
    assert board.seconds_left == 0
    assert "writing the report" in plain(drawn(board))[-1]


def test_what_is_done_before_a_run_goes_on_is_no_part_of_its_forecast(clock, monkeypatch):
    monkeypatch.setattr(boards, "known_pace", lambda: {ORACLE: 0.0, "numpy": 10.0})
    board = Board(plan_of(2, ("numpy",)), clock)
    for check in LADDER:
        board.take(Event("judged", "numpy", LONG, "float64", check, Verdict.PASS))
    board.take(Event("begun", "numpy", LONG, "float32"))
    assert board.seconds_left == pytest.approx(30 / 2)


def test_a_run_that_was_asked_to_end_says_so(under_way):
    under_way.ended = "ended by SIGINT"
    assert "ended by SIGINT: writing the report" in plain(drawn(under_way))[-1]


@pytest.mark.parametrize("name", ["recipe", "デジタル信号処理の名前", "a" * 80])
@pytest.mark.parametrize("width", [1, 2, 5, 8, 40])
def test_a_shortened_name_is_never_wider_than_its_room(name, width):
    found = without_middle(name, width)
    assert cell_len(found) <= width
    assert found == name or "…" in found
