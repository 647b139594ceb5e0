"""The documentation as a site: built without a warning, nothing loaded from elsewhere, generated pages up to date."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from conformance.recipes import schema_page
from conformance.recipes.recipe import Recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOK = DOCS / "tutorial.ipynb"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    arguments = ["--quiet", "--fail-on-warning", "--keep-going", "--doctree-dir", folder / "doctrees"]
    command = [sys.executable, "-m", "sphinx", *arguments, DOCS, folder / "html"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder / "html"


class Loaded(HTMLParser):
    """The addresses that a page has a browser load by itself: all but the links that a reader may follow."""

    def __init__(self, text):
        super().__init__()
        self.addresses = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag != "a":
            self.addresses += [value for name, value in attrs if name in ("src", "srcset", "href", "data", "poster")]


def outside(text, suffix):
    """The addresses of other machines that a page or a style sheet has loaded."""
    found = Loaded(text).addresses if suffix == ".html" else re.findall(r"url\(([^)]*)\)|@import ([^;]*);", text)
    flat = [part for address in found for part in ([address] if isinstance(address, str) else address)]
    return [address for address in flat if re.match(r"""["' ]*(https?:)?//""", address)]


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site):
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > 25
    for path in files:
        assert outside(path.read_text(encoding="utf-8"), path.suffix) == [], path


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ('<script src="https://cdn.example/x.js"></script>', ".html"),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', ".html"),
        ("@font-face { src: url('http://fonts.example/x.woff') }", ".css"),
        ('@import "https://fonts.example/x.css";', ".css"),
    ],
)
def test_what_is_loaded_from_elsewhere_is_seen(text, suffix):
    assert len(outside(text, suffix)) == 1


def test_a_link_and_a_file_beside_the_page_are_no_requests():
    text = '<a href="https://example.org">x</a><img src="_static/x.png"><a href="other.html">y</a>'
    assert outside(text, ".html") == []
    assert outside("a { background: url(data:image/png;base64,xx) }", ".css") == []


@pytest.mark.slow
def test_every_page_is_in_the_table_of_contents(site):
    index = (site / "index.html").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        if page.stem != "index":
            assert f'href="{page.relative_to(DOCS).with_suffix(".html").as_posix()}"' in index, page


def test_the_page_of_the_command_line_is_the_one_that_is_generated_now():
    command = [sys.executable, "-m", "typer", "conformance.cli.app", "utils", "docs", "--name", "conformance"]
    made = subprocess.run([*command, "--title", "Command line"], cwd=ROOT, capture_output=True, text=True, check=True)
    page = (DOCS / "reference" / "command_line.md").read_text(encoding="utf-8")
    assert page == made.stdout, "run `make pages`"


def test_the_page_of_a_recipes_fields_is_the_one_that_is_generated_now():
    page = (DOCS / "reference" / "recipe_schema.md").read_text(encoding="utf-8")
    assert page == schema_page.page(), "run `make pages`"


def test_every_field_has_a_meaning_and_those_that_are_filled_in_can_be_left_out():
    fields = {f"{model.__name__}.{field}" for model in schema_page.MODELS.values() for field in model.model_fields}
    assert set(schema_page.MEANINGS) == fields
    given = {"name": "a", "dataset": {"name": "moons"}, "model": {"name": "logistic_regression"}}
    recipe = Recipe.model_validate(given | {"loss": "binary_cross_entropy", "optimizer": "adam"})
    put_in = [
        recipe.initializer.name,
        recipe.schedule.name,
        recipe.model.activation.name,
        recipe.model.output,
    ]
    assert put_in == ["he_normal", "constant", "identity", "sigmoid"]
    assert list(schema_page.FILLED_IN.values())[:2] == ['`"he_normal"`', '`"constant"`']


@pytest.mark.slow
def test_the_notebook_has_no_outputs_and_runs(tmp_path, monkeypatch):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.get("data", {}) for cell in code for output in cell.outputs]
    assert sum("image/png" in data for data in shown) == 2
    assert "rmsprop-of-keras  pass  pass" in str(shown)
    assert "inside_root" in shown[-1]["text/plain"]


def test_the_links_of_the_notebook_lead_somewhere():
    texts = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "markdown"]
    targets = re.findall(r"\]\(([^)#:]+)\)", "\n".join(texts))
    assert len(targets) > 1
    assert all((DOCS / target).exists() for target in targets)
