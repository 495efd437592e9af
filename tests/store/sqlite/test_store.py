"""Opening the SQLite store."""

import pytest

from sesight.domain.errors import SettingsError
from sesight.store import open_store


@pytest.mark.parametrize("url", ["sqlite://x.db", "sqlite:///", "postgres:///x", "x.db", ""])
def test_unknown_url(url: str) -> None:
    """A URL of an unknown form is refused with the right form."""
    with pytest.raises(SettingsError, match="sqlite:///PATH"):
        open_store(url)
