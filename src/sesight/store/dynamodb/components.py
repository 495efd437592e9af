"""The components of a DynamoDB store, which its operations share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sesight.domain.ports import Clock
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.store.dynamodb.backfill import Backfills
from sesight.store.dynamodb.cards import Cards
from sesight.store.dynamodb.client import DynamoClient
from sesight.store.dynamodb.message_log import MessageLog
from sesight.store.dynamodb.metadata import DynamoMetadata
from sesight.store.dynamodb.open_dimensions import RegisteredValues
from sesight.store.dynamodb.quarantine import Quarantine
from sesight.store.dynamodb.rollups import RollupRows
from sesight.store.dynamodb.send_log import DynamoSendLog
from sesight.store.dynamodb.suppressions import SuppressionTables
from sesight.store.dynamodb.tables import StreamTables, control_table
from sesight.store.retention import Retention


class Components(NamedTuple):
    """The components of one store."""

    client: DynamoClient
    streams: Mapping[str, StreamTables]
    clock: Clock
    policy: SuppressionPolicy
    metadata: DynamoMetadata
    retention: Retention
    message_log: MessageLog
    rollups: RollupRows
    registered_values: RegisteredValues
    cards: Cards
    suppressions: SuppressionTables
    quarantine: Quarantine
    send_log: DynamoSendLog
    backfills: Backfills


def open_components(
    client: DynamoClient,
    streams: Mapping[str, StreamTables],
    prefix: str,
    retention_days: int | None,
    policy: SuppressionPolicy,
    clock: Clock,
    *,
    is_local: bool,
) -> Components:
    """Return the components of a store whose tables exist. Raises StoreUnavailable, ClientError."""
    control = control_table(prefix).name
    metadata = DynamoMetadata(client, control, sweeps=is_local)
    retention = Retention(metadata, clock, retention_days)
    rollups = RollupRows(client, streams)
    suppressions = SuppressionTables(client, streams)
    return Components(
        client=client,
        streams=streams,
        clock=clock,
        policy=policy,
        metadata=metadata,
        retention=retention,
        message_log=MessageLog(client, streams, metadata),
        rollups=rollups,
        registered_values=RegisteredValues(client, streams),
        cards=Cards(client, streams),
        suppressions=suppressions,
        quarantine=Quarantine(client, control),
        send_log=DynamoSendLog(client, control, streams, suppressions),
        backfills=Backfills(streams, metadata, rollups, retention, clock),
    )
