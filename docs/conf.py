"""Settings of Sphinx. `make docs` builds the site into build/docs; nothing in it is loaded from elsewhere."""

from importlib.metadata import version as version_of

project = "framework-conformance"
author = "The framework-conformance authors"
project_copyright = "the framework-conformance authors"
release = version = version_of("framework-conformance")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3  # links to headings, as GitHub has them

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True

_ARRAY = "~numpy.ndarray[tuple[~typing.Any, ...], ~numpy.dtype[~typing.Any]]"


def _name_arrays(app, what, name, obj, options, signature, returned):
    """The types of arrays by the names that the source has for them."""
    return tuple(
        text
        and text.replace(_ARRAY, "Array").replace("dict[str, Array]", "Tensors").replace("dict[int, Array]", "Masks")
        for text in (signature, returned)
    )


def setup(app):
    app.connect("autodoc-process-signature", _name_arrays)


html_theme = "furo"
html_title = "framework-conformance"
html_copy_source = False
