"""How long records are kept, said by the command and changed by it."""

from pathlib import Path

from sesight.domain.timestamps import DAY, day_name
from sesight.store import open_store
from sesight_simulator.traffic.plan import now_ms
from tests.builders import delivery, fill
from tests.cli.conftest import Sesight, Start, eventually


def settled(folder: Path, days: int) -> None:
    """Write settings that name a retention."""
    (folder / "sesight.toml").write_text(f"[store]\nretention_days = {days}\n")


def test_a_shorter_retention(sesight: Sesight, start: Start, tmp_path: Path) -> None:
    """Fewer days in the settings end nothing by themselves: start-up and doctor say so, `shorten` sets a
    day's notice, and `keep` takes it back.
    """
    store = open_store(f"sqlite:///{tmp_path}/sesight.db")
    fill(store, [delivery(message="m", sent_at=now_ms() - 30 * DAY)])
    store.close()
    settled(tmp_path, 5)
    server = start("serve", "--port", 0)
    told = eventually(server.said)
    assert told.startswith(
        "The settings say retention_days = 5; the store keeps records for 90 days"
    )
    assert server.stop().code == 0
    (line,) = [each for each in sesight("doctor", "--json").json if each["what"] == "retention"]
    assert (line["ok"], line["said"] + "\n") == (False, told)
    shown = [sesight("retention", what, "--json").json for what in ("show", "shorten", "keep")]
    planned = {"days": 5, "from": f"{day_name(now_ms() // DAY + 2)}T00:00:00.000Z"}
    assert shown == [
        {"days": 90, "planned": None, "settings": 5},
        {"days": 90, "planned": planned, "settings": 5},
        {"days": 90, "planned": None, "settings": 5},
    ]
    assert len(sesight("tracking", "--json").json["data"]) == 1
    words = sesight("retention", "shorten").text
    assert "a stream's day each: 1." in words
    assert "sesight retention keep" in words


def test_nothing_to_shorten(sesight: Sesight, tmp_path: Path) -> None:
    """What is not shorter, or not said at all, is a sentence and code 1 or 2."""
    open_store(f"sqlite:///{tmp_path}/sesight.db").close()
    unsaid = sesight("retention", "shorten")
    settled(tmp_path, 90)
    same = sesight("retention", "shorten")
    settled(tmp_path, 400)
    longer = sesight("retention", "show", "--json")
    assert (unsaid.code, "set store.retention_days" in unsaid.err) == (1, True)
    assert (same.code, "is not shorter" in same.err) == (2, True)
    assert longer.json == {"days": 400, "planned": None, "settings": 400}
