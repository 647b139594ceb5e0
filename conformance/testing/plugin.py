"""The plugin of pytest: ``pytest --conformance package.module:attribute`` has a test for each check of it.

Nothing of the harness, and no framework, is imported until it is used.
"""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("conformance", "own code held against the oracle of framework-conformance")
    group.addoption(
        "--conformance",
        action="append",
        default=[],
        metavar="TARGET",
        help="package.module:attribute, a wrapped subject or an adapter class; may be repeated",
    )
    group.addoption(
        "--conformance-recipe",
        action="append",
        metavar="FILE|NAME",
        help="what it should be; may be repeated; by default as `conformance check` chooses",
    )
    group.addoption(
        "--conformance-dtype", metavar="NAMES", help="precisions, with commas; by default each recipe's own"
    )
    group.addoption("--conformance-device", default="cpu", metavar="NAME", help="cpu, gpu or tpu")
    group.addoption("--conformance-known-differences", metavar="FILE", help="what may differ, each with its reason")


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by -k and --last-failed
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the tests that ``--conformance`` asks for."""
    if not config.getoption("conformance"):
        return
    from conformance.testing.collecting import conformance_tests

    _show_paths_to_workers(config)
    items.extend(conformance_tests(session))


def _show_paths_to_workers(config: pytest.Config) -> None:
    """Let what pytest finds by its setting ``pythonpath`` be found by other processes too, until it ends."""
    paths = [str(config.rootpath / path) for path in config.getini("pythonpath")]
    patch = pytest.MonkeyPatch()
    for path in reversed(paths):
        patch.setenv("PYTHONPATH", path, prepend=os.pathsep)
    config.add_cleanup(patch.undo)
