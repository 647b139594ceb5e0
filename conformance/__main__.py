"""The ``conformance`` command, also ``python -m conformance``: imports the harness if all that it needs is there."""

import sys
from importlib.util import find_spec

from conformance.adapters.installation import install_command

# What the extra of the harness brings, as imported.
NEEDED = ("h5py", "jinja2", "pandas", "PIL", "psutil", "pydantic", "rich", "safetensors", "sklearn", "typer")
BAD_INPUT = 2  # conformance.cli.display.Exit.BAD_INPUT, which cannot be imported yet


def main() -> None:
    """Entry point of the ``conformance`` command. Ends with status 2 and one line where a package is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"conformance: {', '.join(missing)} not found; the harness needs: {install_command('conformance')}",
            file=sys.stderr,
        )
        sys.exit(BAD_INPUT)
    from conformance.cli import main as command

    command()


if __name__ == "__main__":
    main()
