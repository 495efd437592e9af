"""What tests of stores share: AWS's DynamoDB Local, one for each process that runs tests."""

from collections.abc import Iterator

import pytest

from tests.store.engine import dynamodb_local


@pytest.fixture(scope="session")
def dynamodb() -> Iterator[str]:
    """The address of a DynamoDB engine of this session's own."""
    with dynamodb_local() as address:
        yield address
