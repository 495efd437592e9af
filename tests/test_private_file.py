"""Files with people or keys in them: whole or not at all, and for their owner alone."""

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sesight import private_file
from sesight.domain.errors import SettingsError
from sesight.settings import Settings, StoreSettings, recipient_key


@pytest.fixture(autouse=True)
def _open_to_all() -> Iterator[None]:
    """Let new files be for everybody, unless they are made otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    """Return what a file or folder may be to whom."""
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return [path.name for path in folder.iterdir()]


def test_write(tmp_path: Path) -> None:
    """A file is written for its owner alone, also in place of one that all could read."""
    file = tmp_path / "people.csv"
    file.write_text("old")
    private_file.write(file, b"new")
    assert (file.read_bytes(), mode(file), names(tmp_path)) == (b"new", 0o600, ["people.csv"])


def test_a_link(tmp_path: Path) -> None:
    """What a link names is written, and the link stays."""
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    private_file.write(link, b"new")
    assert (link.is_symlink(), file.read_bytes()) == (True, b"new")


def test_no_file() -> None:
    """What is no file is written to, and stays what it is."""
    null = Path(os.devnull)
    private_file.write(null, b"new")
    assert null.is_char_device()


def test_cut_off(tmp_path: Path) -> None:
    """What fails half way leaves the file as it was, and nothing beside it."""
    file = tmp_path / "people.csv"
    file.write_text("old")
    with pytest.raises(TypeError), private_file.written(file) as out:
        out.writelines([b"new", "no bytes"])
    assert (file.read_text(), names(tmp_path)) == ("old", ["people.csv"])


def test_write_new(tmp_path: Path) -> None:
    """A file that is there stays; a new one is its owner's alone."""
    file = tmp_path / "key"
    for data in (b"first", b"second"):
        private_file.write_new(file, data)
    assert (file.read_bytes(), mode(file), names(tmp_path)) == (b"first", 0o600, ["key"])


def test_opened(tmp_path: Path) -> None:
    """A file that is opened to be written anew is its owner's alone, whatever it was before."""
    file = tmp_path / "report"
    file.touch(0o666)
    with open(file, "w", opener=private_file.opener):
        assert mode(file) == 0o600


def test_make_folder(tmp_path: Path) -> None:
    """A new folder is its owner's alone; one that is there stays as it is."""
    folder = tmp_path / "new"
    for _ in range(2):
        private_file.make_folder(folder)
        private_file.make_folder(tmp_path)
    assert mode(folder) == 0o700


def settings_in(folder: Path) -> Settings:
    """Return settings of a store in a folder, whose key is kept beside it."""
    return Settings(store=StoreSettings(url=f"sqlite:///{folder}/sesight.db"))


def test_a_key_on_a_full_disk(tmp_path: Path) -> None:
    """A disk without room for the key of recipient ids is a sentence and leaves no file; with room there
    is a key.
    """

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    program = (
        "import sys\n"
        "from sesight.settings import *\n"
        "settings = Settings(store=StoreSettings(url=sys.argv[1]))\n"
        "try: recipient_key(settings, lambda name: '')\n"
        "except SettingsError as error: print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{tmp_path}/sesight.db"],
        preexec_fn=full,
        capture_output=True,
        text=True,
        check=True,
    )
    file = tmp_path / "sesight.db.key"
    assert ended.stdout == f"The recipient key {file} cannot be read or created: File too large.\n"
    assert names(tmp_path) == []
    assert len(recipient_key(settings_in(tmp_path), str)) == 32
    assert mode(file) == 0o600


@pytest.mark.parametrize("held", [b"", b"5e5e", b"\xff" * 32])
def test_a_damaged_key(tmp_path: Path, held: bytes) -> None:
    """A key's file that is empty or holds something else is named, with the ways out of it, and stays."""
    file = tmp_path / "sesight.db.key"
    file.write_bytes(held)
    with pytest.raises(SettingsError) as refused:
        recipient_key(settings_in(tmp_path), str)
    said = str(refused.value)
    assert said.startswith(f"The recipient key is damaged: {file} does not hold 64 hex digits.")
    assert "sesight backup" in said
    assert "delete the file" in said
    assert file.read_bytes() == held


def test_a_pipe_by_its_number() -> None:
    """What is a pipe behind a link, as /dev/stdout is, is written to as it is."""
    out, into = os.pipe()
    with os.fdopen(out, "rb") as pipe:
        with private_file.written(Path(f"/dev/fd/{into}")) as file:
            file.write(b"rows")
        os.close(into)
        assert pipe.read() == b"rows"
