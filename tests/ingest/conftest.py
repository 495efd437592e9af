"""A reception of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reception import Reception


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    """A new store and the pipeline into it."""
    made = Reception(tmp_path)
    yield made
    made.store.close()
