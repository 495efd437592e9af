"""How hard the laws are tried: 2,000 examples each, 200 with HYPOTHESIS_PROFILE=quick. And AWS's
own DynamoDB engine and moto's of other services, one of each for every process that runs tests.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.aws import aws_local
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
