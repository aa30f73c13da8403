"""The interface of the object store; folder.py and s3.py implement it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

# Reserved names: the lock file, and files that are being written.
LOCK, WRITING = ".lock", ".writing-"


@dataclass(frozen=True)
class StoredObject:
    """A stored object. `age_s`: seconds since its last write, by the store's clock."""

    body: bytes
    etag: str
    age_s: float


class ObjectStore(Protocol):
    """Keys are relative paths with '/' as separator.

    All methods raise StoreUnavailable if the store does not answer or refuses, and ValueError for an invalid key.
    """

    where: str

    def get(self, key: str) -> StoredObject | None:
        """The object, or None if the key does not exist."""

    def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write atomically; returns the ETag. Raises Conflict if the condition does not hold."""

    def read_into(self, key: str, file: BinaryIO) -> bool:
        """Stream an object of any size into a seekable file at its position. False if the key does not exist."""

    def write_from(self, key: str, file: BinaryIO) -> str:
        """Stream the rest of a file into an object, atomically, replacing any old one; returns the ETag."""

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with the prefix ("" for all), in the order of their UTF-8 bytes."""

    def delete(self, key: str) -> None:
        """Delete the object; no error if it does not exist. Never used on leases or samples."""


def check_key(key: str) -> str:
    """The key. Raises ValueError if a segment is empty, '.' or '..', or a reserved name."""
    segments = key.split("/")
    if key == LOCK or any(segment in ("", ".", "..") or segment.startswith(WRITING) for segment in segments):
        raise ValueError(f"not a key: {key!r}")
    return key
