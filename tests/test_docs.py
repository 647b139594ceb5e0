"""Every block of commands or Python that a page shows is run, and what is shown after it is what comes out.

A page is run in an empty folder of its own, block after block. HTML comments before a block, which a reader does not
see, say what it is: ``<!-- file: NAME -->``, a file that the page has its reader write; ``<!-- slow: REASON -->``, to
be run by ``make slow`` alone; ``<!-- not run: REASON -->``; ``<!-- into: FILE -->``, see the test on adding an
optimizer. A block without a language that follows one is its output: ``...`` in it stands for anything, a line of it
for any number of lines.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from markdown_it import MarkdownIt

from conformance.recipes.files import load_recipe
from conformance.results.known import load_known

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*DOCS.rglob("*.md"), ROOT / "README.md"))
RUN = ("sh", "console", "python")  # languages of blocks that do something
# Pages whose blocks other tests run.
HELD_ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "docs/reuse.md": "tests/test_readme.py",
    "docs/frames.md": "tests/conformance/results/test_schema.py",
}

AT_ONCE = ("docs/tutorial.md",)  # run by `make test`, the others by `make slow`

COMMENT = re.compile(r"<!-- (file|into|slow|not run): (.+?) -->")


class Block(NamedTuple):
    """A fenced block: where, in which language, its text, what the comment before it says, and the output shown."""

    page: str
    line: int
    language: str
    text: str
    mark: str
    said: str
    output: str | None

    @property
    def is_synopsis(self) -> bool:
        """Whether it shows how a command is written, as the generated page of the command line does."""
        return self.language == "console" and "[OPTIONS]" in self.text

    @property
    def acts(self) -> bool:
        """Whether it is commands or Python, to be run as they stand."""
        return self.language in RUN and self.mark in ("", "slow", "not run") and not self.is_synopsis


def blocks(page: str, text: str) -> list[Block]:
    """The fenced blocks of a page, outputs with the block that they are of."""
    found: list[Block] = []
    before, after_block = ("", ""), False
    for token in MarkdownIt().parse(text):
        if token.type == "fence":
            if after_block and token.info == "" and not before[0]:
                found[-1] = found[-1]._replace(output=token.content)
            else:
                found.append(Block(page, token.map[0] + 1, token.info.strip(), token.content, *before, None))
            after_block = token.info in RUN
            before = ("", "")
        elif token.type == "html_block" and (comment := COMMENT.search(token.content)):
            before, after_block = comment.groups(), False
        elif token.type not in ("paragraph_open", "paragraph_close", "inline"):
            after_block = False
    return found


def blocks_of(page: str) -> list[Block]:
    return blocks(page, (ROOT / page).read_text(encoding="utf-8"))


def agree(shown: str, printed: str) -> bool:
    """Whether the output that a page shows is what was printed, but for spaces and empty lines."""
    lines = ["(?:.*\n)*" if line == "..." else f"{re.escape(line)}\n" for line in lines_of(shown)]
    pattern = "".join(lines).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines_of(printed))) is not None


def lines_of(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def perform(page_blocks: list[Block], folder: Path, *, slow: bool = False) -> None:
    """Write the files and run the blocks of a page in ``folder``. AssertionError for what is not as it is shown."""
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    plugin = {"PYTEST_PLUGINS": "conformance.testing.plugin"}  # as its entry point does where it is installed
    environment = os.environ | {"PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"} | plugin
    for block in page_blocks:
        if block.mark == "file":
            (folder / block.said).write_text(block.text, encoding="utf-8")
        if not block.acts or block.mark == "not run" or (block.mark == "slow" and not slow):
            continue
        command = [sys.executable, "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
        ended = subprocess.run([*command, block.text], capture_output=True, text=True, cwd=folder, env=environment)
        where = f"{block.page}, line {block.line}"
        assert ended.returncode == 0, f"{where}: exit status {ended.returncode}\n{ended.stdout}{ended.stderr}"
        if block.output is not None and not agree(block.output, ended.stdout):
            raise AssertionError(f"{where}: printed\n{ended.stdout}\nwhere the page shows\n{block.output}")


def pages_with(*marks: str) -> list[str]:
    return [page for page in PAGES if page not in HELD_ELSEWHERE and marks_of(page) & {*marks}]


def marks_of(page: str) -> set[str]:
    """The marks of the blocks that act; none for one that has its reader insert code, which has a test of its own."""
    found = blocks_of(page)
    return set() if any(block.mark == "into" for block in found) else {block.mark for block in found if block.acts}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty one, but for the recipes that come along."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    return tmp_path


@pytest.mark.parametrize(
    "page", [page if page in AT_ONCE else pytest.param(page, marks=pytest.mark.slow) for page in pages_with("")]
)
def test_a_page_does_what_it_shows(page, folder):
    perform(blocks_of(page), folder)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", pages_with("slow"))
def test_a_page_does_what_it_shows_where_that_takes_long(page, folder):
    perform(blocks_of(page), folder, slow=True)


@pytest.mark.slow
def test_an_optimizer_is_added_as_the_page_says(tmp_path, monkeypatch):
    page = blocks_of("docs/howto/add_an_optimizer.md")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("conformance", "reference_numpy", "impl_torch", "impl_tf", "impl_jax", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for block in page:
        if block.mark == "into":  # before the table that lists it
            file = tmp_path / block.said
            before, table, after = file.read_text(encoding="utf-8").partition("\nOPTIMIZERS: ")
            file.write_text(f"{before}\n{block.text}\n{table}{after}", encoding="utf-8")
    assert sum(block.mark == "into" for block in page) == 4
    perform(page, tmp_path)


@pytest.mark.slow
def test_the_example_of_a_workflow_runs_what_it_says(folder, monkeypatch):
    """Its own steps, on the implementation of the page that it refers to; what installs is left out."""
    text = (DOCS / "howto" / "conformance.yml").read_text(encoding="utf-8")
    steps = yaml.safe_load(text)["jobs"]["conformance"]["steps"]
    runs = {step["name"]: step["run"] for step in steps if "run" in step}
    assert list(runs) == ["Install", "Run", "Explain", "Summary"]
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary"))
    files = [block for block in blocks_of("docs/howto/test_my_implementation.md") if block.mark == "file"]
    commands = [Block("conformance.yml", 1, "sh", runs[name], "", "", None) for name in ("Run", "Explain", "Summary")]
    perform([*files, *commands], folder)
    assert "Every implementation conforms" in (folder / "summary").read_text(encoding="utf-8")


def test_every_block_is_run_or_says_why_not():
    every = [block for page in PAGES for block in blocks_of(page)]
    acting = [block for block in every if block.acts]
    put_off = [block for block in acting if block.mark]
    assert len(acting) > 40
    assert sum(block.mark == "not run" for block in put_off) < len(acting) / 4  # `make slow` runs the others
    assert all(len(block.said.split()) > 2 for block in put_off)  # a reason
    languages = {block.language for block in every if not block.language.startswith("{")}  # a directive of Sphinx
    assert languages <= {*RUN, "", "toml", "yaml", "text", "json", "js"}
    assert {*HELD_ELSEWHERE} <= {*PAGES}
    assert all((ROOT / test).exists() for test in HELD_ELSEWHERE.values())


def test_a_recipe_that_is_shown_can_be_read(tmp_path):
    shown = [block for page in PAGES for block in blocks_of(page) if block.language == "toml" and block.mark == "file"]
    assert len(shown) > 4
    for block in shown:
        path = tmp_path / block.said
        path.write_text(block.text, encoding="utf-8")
        if "[[difference]]" in block.text:
            assert load_known(path)
        elif "quasi_hyperbolic" not in block.text:  # until its page has been followed
            assert load_recipe(path).name


PAGE = """
<!-- file: greeting.txt -->
```text
hello
```

<!-- not run: nobody has a moon rocket -->
```sh
launch
```

```sh
cat greeting.txt && echo "took 3 s"
```

It prints

```
hello
took ... s
```
"""


def test_files_are_written_blocks_are_run_and_outputs_are_compared(tmp_path):
    file, launch, cat = blocks("page", PAGE)
    assert (file.said, launch.said, cat.output) == ("greeting.txt", "nobody has a moon rocket", "hello\ntook ... s\n")
    assert [block.acts for block in (file, launch, cat)] == [False, True, True]
    perform([file, launch, cat], tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("took ... s", "took ... ms", "page, line 12: printed\nhello\ntook 3 s"),
        ("cat greeting.txt &&", "cat greetings.txt &&", "page, line 12: exit status 1"),
        ("<!-- not run: nobody has a moon rocket -->", "", "page, line 8: exit status 127"),
    ],
)
def test_a_page_that_shows_something_else_is_seen(old, new, words, tmp_path):
    with pytest.raises(AssertionError, match=re.escape(words)):
        perform(blocks("page", PAGE.replace(old, new)), tmp_path)
