"""The services over a real store, at noon of 24 November 2026."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sesight.domain.ports import Store
from sesight.ingest.pipeline import Pipeline
from sesight.services import Services
from sesight.services.intake_health import IntakeStatus
from sesight.services.suppressions import SuppressionService
from sesight.store import open_store
from tests.builders import COUNTING, NOW, POLICY
from tests.reception import RULES


def suppressions_of(store: Store) -> SuppressionService:
    """Return the suppression list of a store."""
    pipeline = Pipeline(store, RULES, lambda: NOW, None)
    return SuppressionService(store, pipeline.decide, COUNTING, POLICY, lambda: NOW)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    store = open_store(f"sqlite:///{tmp_path}/sesight.db", clock=lambda: NOW, durability="normal")
    ids = iter(f"{n:016x}" for n in range(1, 1_000_000))
    yield Services(
        store=store,
        suppressions=suppressions_of(store),
        counting=COUNTING,
        policy=POLICY,
        clock=lambda: NOW,
        recipient_key=bytes(range(64)),
        intake=lambda: IntakeStatus(state="ok", sentences=["Intake is working."]),
        metrics=lambda: b"# HELP sesight_up Up.\n",
        region="eu-west-1",
        providers=("ses", "legacy"),
        hosts=frozenset({"sesight.example.com"}),
        new_request_id=lambda: next(ids),
    )
    store.close()


@pytest.fixture
def store(services: Services) -> Any:
    return services.store
