"""How large the installation of an implementation is: the files of the packages that it needs, by their own records."""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

PROJECT = "framework-conformance"
_REQUIREMENT = re.compile(r"^\s*(?P<name>[\w.-]+)\s*(?:\[(?P<extras>[^]]*)\])?[^;]*(?:;(?P<marker>.*))?$")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w.-]+)['"]""")


def installed_bytes(implementation: str) -> int | None:
    """Bytes of all files of the packages that an implementation needs, directly or not; Python itself is not counted.

    None where this project or one of these packages has no record of its files.
    """
    try:
        own = distribution(PROJECT)
    except PackageNotFoundError:  # a copy that was never installed
        return None
    sizes = [_bytes(each) for each in needed(own, {implementation}).values()]
    return None if not sizes or None in sizes else sum(size for size in sizes if size is not None)


def needed(project: Distribution, extras: set[str]) -> dict[str, Distribution]:
    """The installed distributions that a project with these extras requires, directly or not, by normalised name.

    What a marker asks of the machine is taken as true of what is installed, and false of what is not.
    """
    found: dict[str, Distribution] = {}
    waiting = list(_required(project, extras))
    while waiting:
        name, wanted = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        waiting += _required(found[name], wanted)
    return found


def _required(project: Distribution, extras: set[str]) -> Iterator[tuple[str, set[str]]]:
    """Names of what a distribution requires with these extras, with the extras that it requires of it."""
    for text in project.requires or ():
        parsed = _REQUIREMENT.match(text)
        if parsed is None:
            continue
        of_extra = _EXTRA.findall(parsed["marker"] or "")
        if not of_extra or extras & set(of_extra):
            yield _normalised(parsed["name"]), {each.strip() for each in (parsed["extras"] or "").split(",") if each}


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _bytes(package: Distribution) -> int | None:
    if package.files is None:
        return None
    size = 0
    for file in package.files:
        try:
            size += int(file.locate().stat().st_size)  # type: ignore[attr-defined]
        except OSError:  # recorded, and removed since
            continue
    return size
