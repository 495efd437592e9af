"""Two stores that were told the same answer the API alike, byte for byte but for cursors and `meta`."""

from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from sesight.app import App
from sesight.ingest.replay.replay import replay
from sesight.ingest.transport.files import input_files
from sesight.settings import Settings, StoreSettings
from sesight_simulator.traffic.plan import Plan
from sesight_simulator.traffic.recording import write
from tests.asgi import ask
from tests.builders import NOW
from tests.store.engine import url_of

KEY = "ab" * 32
OF_A_STORE = ("meta", "nextCursor", "newerCursor")


@pytest.fixture
def apps(dynamodb: str, tmp_path: Path):
    """The app on SQLite and on DynamoDB, the same traffic taken in by both."""
    file = tmp_path / "mail.ndjson"
    write(Plan(seed=5, end=NOW, days=12, messages=400, campaigns=4, multi_recipient=0.02), file)
    found = []
    for url in (f"sqlite:///{tmp_path / 'alike.db'}", url_of(dynamodb)):
        app = App(Settings(recipient_key=KEY, store=StoreSettings(url)), clock=lambda: NOW)
        replay(app.pipeline, input_files([file]), app.known_sets)
        app.store.settle()
        found.append(app)
    yield found
    for app in found:
        app.close()


def data(app: App, path: str, **query: str) -> tuple[int, bytes]:
    """Return status and answer, without what is each store's own."""
    status, body = ask(app.api(), path, query)
    answer = msgspec.json.decode(body)
    for name in OF_A_STORE:
        answer.pop(name, None)
    return status, msgspec.json.encode(answer)


def test_alike(apps: list[App]) -> None:
    """Lists, figures, campaigns, months and people are the same from SQLite and from DynamoDB."""
    sqlite, dynamodb = apps
    asked = [
        ("/api/campaigns", {}),
        ("/api/overview", {"step": "day"}),
        ("/api/overview", {"step": "hour"}),
        ("/api/financial/months", {}),
        ("/api/outreach/tracking-data-ses", {"limit": "500"}),
        ("/api/financial/tracking-data", {"limit": "500"}),
        ("/api/messages", {"outcome": "not_delivered"}),
        ("/api/messages", {"event": "Click", "limit": "7"}),
        ("/api/messages", {"from": "2026-11-20", "to": "2026-11-22"}),
    ]
    _, body = ask(sqlite.api(), "/api/campaigns")
    for card in msgspec.json.decode(body)["data"]:
        path = f"/api/campaigns/{card['stream']}/{quote(card['campaign'])}"
        asked += [(path, {}), (path, {"step": "day"})]
        asked.append(("/api/messages", {"stream": card["stream"], "campaign": card["campaign"]}))
    _, body = ask(sqlite.api(), "/api/messages", {"limit": "40"})
    for one in msgspec.json.decode(body)["data"][::4]:
        asked.append((f"/api/messages/{one['messageId']}", {}))
        if one["recipientId"] is not None:
            asked.append((f"/api/recipients/{one['recipientId']}", {}))
    answers = [(path, query, data(sqlite, path, **query)) for path, query in asked]
    assert {status for _, _, (status, _) in answers} == {200}
    for path, query, answer in answers:
        assert data(dynamodb, path, **query) == answer, (path, query)
