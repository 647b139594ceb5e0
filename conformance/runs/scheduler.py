"""A scheduler that is named on the command line: which library's, and where it is."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from conformance.adapters.installation import install_command
from conformance.data.wording import nearest, shown

DASK = "dask"
PACKAGE = "distributed"  # what dask's scheduler is imported from


@dataclass(frozen=True)
class Scheduler:
    """Dask's. ``address``: ``tcp://host:port`` or a scheduler file; "" for one with workers of this machine alone."""

    address: str = ""

    @property
    def elsewhere(self) -> bool:
        """Whether its workers may be on other machines, with other files."""
        return bool(self.address)

    def __str__(self) -> str:
        return f"{DASK}={self.address}" if self.address else DASK

    @classmethod
    def named(cls, text: str) -> "Scheduler":
        """The scheduler ``dask`` or ``dask=ADDRESS``. Raises ValueError, also where its package is not installed.

        >>> Scheduler.named("dusk")
        Traceback (most recent call last):
        ValueError: scheduler='dusk' is not allowed: must be dask or dask=ADDRESS; did you mean 'dask'?
        """
        name, equals, address = text.partition("=")
        if name != DASK:
            hint = nearest(name, [DASK])
            raise ValueError(f"scheduler={shown(text)} is not allowed: must be {DASK} or {DASK}=ADDRESS{hint}")
        if (equals and not address) or (address and "://" not in address and not Path(address).is_file()):
            raise ValueError(
                f"scheduler={shown(text)} is not allowed: ADDRESS must be tcp://host:port, or a scheduler file that is"
                " there"
            )
        if find_spec(PACKAGE) is None:
            raise ValueError(f"{PACKAGE} not found; scheduler={shown(text)} needs: {install_command(DASK)}")
        return cls(address)
