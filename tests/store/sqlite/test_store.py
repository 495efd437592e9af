"""Opening the SQLite store."""

import pytest

from sesight.domain.errors import SettingsError
from sesight.store import open_store


@pytest.mark.parametrize("url", ["sqlite://x.db", "sqlite:///", "postgres:///x", "x.db", ""])
def test_unknown_url(url: str) -> None:
    """A URL of no known form is refused with the form there is."""
    with pytest.raises(SettingsError, match="sqlite:///PATH"):
        open_store(url)
