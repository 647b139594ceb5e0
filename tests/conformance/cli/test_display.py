"""What is printed: names as they are, tables whole in a pipe, progress as plain lines."""

import contextlib
import io
import pty
import sys
from itertools import count

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from conformance.cli import display
from conformance.cli.display import Exit

NAMES = ["[bold]out[/bold]", ":smile:", "[/]", "[link=x]y", "a" * 300, "plain name"]


def on_a_terminal(write):
    """What ``write`` prints on a terminal of 40 columns."""
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        patch.setenv("COLUMNS", "40")
        patch.setenv("TERM", "xterm")
        write()
    text = b""
    with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # nobody holds the other end any more
        while part := terminal.read(4096):
            text += part
    return text.decode()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_said_as_it_is(name, capsys):
    display.say(("who", "bold red"), f" {name}")
    with pytest.raises(typer.Exit) as ended:
        display.stop(Exit.BAD_INPUT, name)
    assert ended.value.exit_code == 2
    out, err = capsys.readouterr()
    assert out == f"who {name}\n"
    assert err == f"conformance: {name}\n"
    assert name in on_a_terminal(lambda: display.say(f"{name}"))


@pytest.mark.parametrize("name", NAMES)
def test_a_table_in_a_pipe_is_whole_and_on_a_terminal_folded(name, capsys):
    rows = [{"name": name, "number": "7"}, {"name": "other", "number": "1234"}]
    display.show_rows(rows, right=["number"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["name", "number"], [*name.split(), "7"], ["other", "1234"]]
    assert len({len(line) for line in lines}) == 1
    folded = on_a_terminal(lambda: display.show_rows(rows))
    assert name.replace(" ", "") in "".join(folded.replace("7", "").split())


def test_what_steers_a_terminal_or_ends_a_row_is_written_out(capsys):
    display.show_rows([{"name": "a\x1b[31mb\nc\udcff"}])
    assert capsys.readouterr().out.splitlines()[1] == r"a\x1b[31mb\nc\udcff"


@given(st.text())
def test_any_text_can_be_printed(text):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    display._write(stream, text)
    assert "\x1b" not in stream.buffer.getvalue().decode("ascii")


def test_progress_without_a_terminal_is_a_plain_line_at_each_tenth(capsys):
    with display.progress_bars() as progress:
        for done in range(1001):
            progress("plug:[bold]X[/bold]", done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"plug:[bold]X[/bold]: {done} of 1000" for done in range(0, 1001, 100)]


def test_slow_progress_is_told_in_between(capsys):
    ticks = count(step=20)
    progress = display.plain_progress(clock=lambda: next(ticks))
    for done in range(6):
        progress("numpy", done, 1000)
        progress("numpy", done, 1000)
    assert 3 <= len(capsys.readouterr().err.splitlines()) <= 6


def test_no_work_at_all_is_no_division_by_zero(capsys):
    display.plain_progress()("numpy", 0, 0)
    assert capsys.readouterr().err == "numpy: 0 of 0\n"


def test_bars_on_a_terminal_name_a_worker_as_it_is():
    def show():
        with display.progress_bars() as progress:
            progress("plug:[bold]X", 1, 2)

    assert "plug:[bold]X" in on_a_terminal(show)
