"""A kit with files of every kind, written once."""

import pytest

from conformance.vectors.writing import chosen, write

FILES = (
    "optimizer/adam", "activation/[erst]*", "loss/binary", "loss/categorical", "normalization/*", "schedule/*",
    "penalty/l2", "clipping/*", "constraint/*", "dropout/*", "augmentation/*", "early_stopping/*",
)  # fmt: skip


@pytest.fixture(scope="session")
def kit(tmp_path_factory):
    """The folder of the kit, which no test may change."""
    folder = tmp_path_factory.mktemp("vectors")
    write(folder, chosen(FILES))
    return folder
