"""An archive in S3, such as Firehose writes: its objects as sources of a replay, read as they come."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, NamedTuple, cast

from sesight.domain.errors import SettingsError
from sesight.ingest.transport.files import Source

TRIES = 5
"""How often an object is asked for again from where it broke off."""


class Place(NamedTuple):
    """Where an archive is: `s3://BUCKET/PREFIX`, of a local engine with `?endpoint=URL`."""

    bucket: str
    prefix: str
    endpoint: str | None


def is_archive(path: str) -> bool:
    """Return whether a path names an archive."""
    return path.startswith("s3://")


def place_of(url: str) -> Place:
    """Read an archive's URL. Raises SettingsError for one without a bucket."""
    path, _, endpoint = url.removeprefix("s3://").partition("?endpoint=")
    bucket, _, prefix = path.partition("/")
    if not bucket:
        raise SettingsError(f"The archive {url!r} is not of the form s3://BUCKET/PREFIX.")
    return Place(bucket, prefix, endpoint or None)


class Archive:
    """The objects under a prefix of a bucket, over a botocore client that it is given."""

    def __init__(self, client: Any, place: Place, broken: tuple[type[Exception], ...]) -> None:
        """Take a client, the place and what the client raises."""
        self._client = client
        self._place = place
        self.broken = broken

    def sources(self) -> list[Source]:
        """Return the objects in order of their keys, which for Firehose is that of time.

        Raises SettingsError for a bucket that cannot be read, or nothing in it to read.
        """
        bucket, prefix, _ = self._place
        found: list[Source] = []
        try:
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                found += [
                    ArchivedObject(f"s3://{bucket}/{each['Key']}", each["Size"], self, each["Key"])
                    for each in page.get("Contents", [])
                    if each["Size"]
                ]
        except self.broken as error:
            raise SettingsError(f"The bucket {bucket} cannot be listed: {error}") from None
        if not found:
            raise SettingsError(f"There is nothing under s3://{bucket}/{prefix}.")
        return found

    def get(self, key: str, start: int, tag: str | None) -> Any:
        """Ask for an object from a byte on; `tag` is what it must still be known by."""
        more = {"IfMatch": tag} if tag is not None else {}
        return self._client.get_object(
            Bucket=self._place.bucket, Key=key, Range=f"bytes={start}-", **more
        )


class ArchivedObject(Source, frozen=True):
    """One object of an archive."""

    archive: Archive
    key: str

    def open(self) -> BinaryIO:
        """Open it for reading."""
        found = _Bytes(self.archive, self.key, self.size or 0)
        return cast("BinaryIO", io.BufferedReader(found, 1 << 20))


class _Bytes(io.RawIOBase):
    """An object's bytes in order, asked for again where the connection broke off."""

    def __init__(self, archive: Archive, key: str, size: int) -> None:
        self._archive = archive
        self._key = key
        self._size = size
        self._at = 0
        self._body: Any = None
        self._tag: str | None = None

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def readinto(self, into: Any, /) -> int:
        view = memoryview(into)
        data = self._read(len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, most: int) -> bytes:
        tries = 0
        while self._at < self._size:
            try:
                if self._body is None:
                    answer = self._archive.get(self._key, self._at, self._tag)
                    self._body, self._tag = answer["Body"], answer["ETag"]
                data: bytes = self._body.read(most)
                if data:
                    return data
                problem = "it ended early"
            except self._archive.broken as error:
                problem = str(error)
            self._body = None
            tries += 1
            if tries == TRIES:
                raise OSError(problem)
        return b""

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
        super().close()
