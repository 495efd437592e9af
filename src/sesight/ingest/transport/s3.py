"""An archive in S3, such as Firehose writes: its objects are replayed like files, read as a stream."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, NamedTuple, cast

from sesight.domain.errors import SettingsError
from sesight.ingest.transport.files import InputFile

TRIES = 5
"""Attempts to resume an object in one read. The first is at once: a connection that breaks off in the
middle is common, and botocore itself backs off when S3 throttles.
"""


class ArchiveLocation(NamedTuple):
    """An archive's bucket and prefix: `s3://BUCKET/PREFIX`, for a local engine with `?endpoint=URL`."""

    bucket: str
    prefix: str
    endpoint: str | None


def is_archive(path: str) -> bool:
    """Return whether a path is the URL of an archive."""
    return path.startswith("s3://")


def parse_archive_url(url: str) -> ArchiveLocation:
    """Parse an archive's URL. Raises SettingsError for one without a bucket."""
    path, _, endpoint = url.removeprefix("s3://").partition("?endpoint=")
    bucket, _, prefix = path.partition("/")
    if not bucket:
        raise SettingsError(f"The archive {url!r} is not of the form s3://BUCKET/PREFIX.")
    return ArchiveLocation(bucket, prefix, endpoint or None)


class Archive:
    """The objects under a prefix of a bucket, over a botocore client."""

    def __init__(
        self, client: Any, location: ArchiveLocation, errors: tuple[type[Exception], ...]
    ) -> None:
        """`errors` are the exceptions of the client."""
        self._client = client
        self._location = location
        self.errors = errors

    def input_files(self) -> list[InputFile]:
        """Return the objects in order of their keys, which Firehose writes in order of time.

        Raises SettingsError for a bucket that cannot be listed, or without any object.
        """
        bucket, prefix, _ = self._location
        objects: list[InputFile] = []
        try:
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                objects += [
                    ArchivedObject(f"s3://{bucket}/{item['Key']}", item["Size"], self, item["Key"])
                    for item in page.get("Contents", [])
                    if item["Size"]
                ]
        except self.errors as error:
            raise SettingsError(f"The bucket {bucket} cannot be listed: {error}") from None
        if not objects:
            raise SettingsError(f"There is nothing under s3://{bucket}/{prefix}.")
        return objects

    def get(self, key: str, start: int, etag: str | None) -> Any:
        """Get an object from a byte on; with an ETag, only if the object still has it."""
        condition = {"IfMatch": etag} if etag is not None else {}
        return self._client.get_object(
            Bucket=self._location.bucket, Key=key, Range=f"bytes={start}-", **condition
        )


class ArchivedObject(InputFile, frozen=True):
    """One object of an archive."""

    archive: Archive
    key: str

    def open(self) -> BinaryIO:
        """Open it for reading."""
        raw = _ObjectReader(self.archive, self.key, self.size or 0)
        return cast("BinaryIO", io.BufferedReader(raw, 1 << 20))


class _ObjectReader(io.RawIOBase):
    """The bytes of an object; a connection that breaks off is resumed from there."""

    def __init__(self, archive: Archive, key: str, size: int) -> None:
        self._archive = archive
        self._key = key
        self._size = size
        self._position = 0
        self._body: Any = None
        self._etag: str | None = None

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        data = self._read(len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, limit: int) -> bytes:
        tries = 0
        while self._position < self._size:
            try:
                if self._body is None:
                    answer = self._archive.get(self._key, self._position, self._etag)
                    self._body, self._etag = answer["Body"], answer["ETag"]
                data: bytes = self._body.read(limit)
                if data:
                    return data
                problem = "it ended early"
            except self._archive.errors as error:
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
