"""How hard the laws are tried: 2,000 examples each, 200 with HYPOTHESIS_PROFILE=quick. And AWS's
own DynamoDB engine and moto's of other services, one of each for every process that runs tests.
"""

import functools
import os
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.aws import aws_local
from tests.reception import Reception
from tests.store.engine import dynamodb_local


@pytest.fixture(scope="session")
def dynamodb() -> Iterator[str]:
    """The address of a DynamoDB engine of this session's own."""
    with dynamodb_local() as address:
        yield address


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The address of this session's own SQS, S3 and Secrets Manager."""
    with aws_local() as address:
        yield address


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    """A new store and the pipeline into it."""
    made = Reception(tmp_path)
    yield made
    made.store.close()


SLOW = [
    Path(__file__).parent / name
    for name in (
        *("cli", "server"),  # they start the product as a process of its own
        *("test_blast.py", "test_readme.py", "test_scripts.py"),
        *("laws/test_addresses.py", "send/test_at_most_once.py", "send/test_outage.py"),
    )
]
"""Tests that `make test-quick` leaves out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the DynamoDB engine, and those that are slow."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        parameters = callspec.params.values() if callspec is not None else ()
        if "dynamodb" in getattr(item, "fixturenames", ()) or "dynamodb" in parameters:
            item.add_marker("dynamodb")
        if any(item.path.is_relative_to(path) for path in SLOW):
            item.add_marker("slow")


class Connection(sqlite3.Connection):
    """A connection that warns, with the test that opened it, when it is dropped without having been
    closed. Python warns by itself since 3.13, without the test.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self.opened_by = os.environ.get("PYTEST_CURRENT_TEST")
        super().__init__(*arguments, **more)

    def __del__(self) -> None:
        try:
            _ = self.total_changes
        except sqlite3.ProgrammingError:
            return  # it is closed
        self.close()
        warnings.warn(f"{self.opened_by} left a database open", ResourceWarning, stacklevel=1)


sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)


# A busy machine makes examples slow, which says nothing about the code: hence no deadline and
# no check for slowness.
for profile, examples in {"quick": 200, "laws": 2_000}.items():
    settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "laws"))
