"""The app put together: what it does by itself beside taking in and answering."""

from pathlib import Path

import pytest

from sesight.app import App
from sesight.domain.errors import SettingsError
from sesight.domain.stream import FINANCE, OUTREACH, Stream
from sesight.domain.suppression.manual import SuppressionRequest
from sesight.domain.timestamps import DAY
from sesight.send.stream_secrets import SesSecrets
from sesight.services.upkeep import SWEEP_INTERVAL_MS
from sesight.settings import SendingSettings, Settings, StoreSettings
from tests.builders import NOW, delivery, fill


def held(app: App) -> list[int]:
    """Return the send days before today of which the store still has records, swept or not."""
    days = range(NOW // DAY - 200, NOW // DAY)
    return [day for day in days if list(app.store.records_of_day("outreach", day))]


def test_first_sweep(tmp_path: Path) -> None:
    """Records that expired while no server ran go at the first quiet moment; later ones when it is
    time again.
    """
    now = NOW
    settings = Settings(store=StoreSettings(url=f"sqlite:///{tmp_path / 'sesight.db'}"))
    app = App(settings, clock=lambda: now)
    days = [NOW // DAY - ago for ago in (100, 90, 5)]
    fill(app.store, [delivery(message=f"m{day}", sent_at=day * DAY) for day in days])
    assert held(app) == days
    app.upkeep.run()
    assert held(app) == days[1:]
    now += DAY // 2
    app.upkeep.run()
    assert held(app) == days[2:]
    fill(app.store, [delivery(message="late", sent_at=days[1] * DAY)])
    now += SWEEP_INTERVAL_MS - 1
    app.upkeep.run()
    assert held(app) == days[1:]
    app.close()


@pytest.mark.parametrize("first", ["a look at the list", "a sender"])
def test_a_new_stream(tmp_path: Path, first: str) -> None:
    """A stream that is new in the settings has what reaches it before its list is read or it sends."""
    store = StoreSettings(url=f"sqlite:///{tmp_path / 'sesight.db'}")
    before = App(Settings(store=store), clock=lambda: NOW)
    before.suppressions.add([SuppressionRequest(address="ana@contoso.example")], "add-00001")
    before.close()
    partners = Stream("partners", "Partners", "marketing", "partners-tracking")
    sender = SesSecrets(stream="partners", from_address="news@example.com")
    sending = SendingSettings(endpoint="http://127.0.0.1:9", senders=[sender])
    settings = Settings(store=store, streams=[OUTREACH, FINANCE, partners], sending=sending)
    after = App(settings, clock=lambda: NOW)
    if first == "a sender":
        after.sending.sender("partners")
    else:
        _ = after.suppressions
    item = after.store.suppression("partners", "ana@contoso.example")
    assert item is not None
    assert item.counted == (NOW // DAY, "manual")
    after.close()


def test_no_key(tmp_path: Path) -> None:
    """An app that cannot be made lets go of the store: its write-ahead log is folded in."""
    file = tmp_path / "sesight.db"
    settings = Settings(store=StoreSettings(url=f"sqlite:///{file}"), recipient_key="short")
    with pytest.raises(SettingsError) as refused:  # which holds on to the app that was not made
        App(settings, journal=lambda _: None)
    assert str(refused.value) == "recipient_key does not hold 64 hex digits."
    assert sorted(each.name for each in tmp_path.iterdir()) == ["sesight.db"]
