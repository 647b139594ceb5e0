"""The ``conformance`` command, also ``python -m conformance``: imports the harness if all that it needs is there."""

import contextlib
import os
import sys
from importlib.util import find_spec

from conformance.adapters.installation import install_command

# What the extra of the harness brings, as imported.
NEEDED = ("h5py", "jinja2", "pandas", "PIL", "psutil", "pydantic", "rich", "safetensors", "sklearn", "typer")
BAD_INPUT, INCOMPLETE = 2, 3  # of conformance.cli.display.Exit, which cannot be imported yet


def main() -> None:
    """Entry point of the ``conformance`` command. Ends with status 2 and one line where a package is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        needs = f"{', '.join(missing)} not found; the harness needs: {install_command('conformance')}"
        with contextlib.suppress(OSError):  # nobody may read it, and the status says it too
            os.write(2, f"conformance: {needs}\n".encode())
        sys.exit(BAD_INPUT)
    try:
        from conformance.adapters.collecting import collect_rarely
        from conformance.cli import main as command

        collect_rarely()
        command()
    except KeyboardInterrupt:  # before a command has begun, which says so itself
        sys.exit(INCOMPLETE)


if __name__ == "__main__":
    main()
