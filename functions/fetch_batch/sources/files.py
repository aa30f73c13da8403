"""The files of a source: a local path or folder, an archive, a URL, an S3 prefix. Sources are only read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from urllib.parse import urlsplit

import requests

from common.errors import StoreUnavailable, WrongSettings
from common.redaction import shown_url
from common.storage.open_store import open_store
from fetch_batch.errors import SourceUnavailable
from fetch_batch.settings import FetchSettings

MAX_DOWNLOAD = 20_000_000_000
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class File:
    """One file of a source: `name` with '/' between folders; `open` opens it for reading."""

    name: str
    open: Callable[[], BinaryIO]

    def read(self) -> bytes:
        with self.open() as file:
            return file.read()


def list_files(location: str, settings: FetchSettings) -> Iterator[File]:
    """Every file at a location, in any order. Raises SourceUnavailable, naming what is missing."""
    shown = shown_url(location)
    if location.startswith(("http://", "https://")):
        try:
            location = str(_download(location, settings))
        except OSError as error:
            raise SourceUnavailable(f"{shown} can't be kept in {settings.scratch}: {error}") from None
    if location.startswith("s3://"):
        yield from _s3_files(location, settings)
        return
    path = Path(location)
    try:
        if path.is_dir():
            yield from _folder_files(path)
        elif not path.is_file():
            raise SourceUnavailable(f"there is no file or folder {shown}")
        elif location.endswith(ARCHIVES):
            yield from _folder_files(_unpack(path, settings))
        else:
            yield File(path.name, lambda: path.open("rb"))
    except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise SourceUnavailable(f"{shown} can't be read: {error}") from None


def _folder_files(folder: Path) -> Iterator[File]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _hidden(path.relative_to(folder)):
            yield File(path.relative_to(folder).as_posix(), lambda path=path: path.open("rb"))  # type: ignore[misc]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _unpack(path: Path, settings: FetchSettings) -> Path:
    """The archive's files in a folder of the scratch folder, unpacked once for each state of the archive."""
    state = path.stat()
    version = f"{path.resolve()}:{state.st_size}:{state.st_mtime_ns}"
    target = settings.scratch / "unpacked" / hashlib.sha256(version.encode()).hexdigest()[:16]
    if target.is_dir():
        return target
    part = target.with_suffix(f".{os.getpid()}")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(part)  # noqa: S202 (it drops absolute names and "..")
    else:
        with tarfile.open(path) as archive:
            _untar(archive, part)
    try:
        part.rename(target)
    except OSError:
        shutil.rmtree(part)  # another process was faster
    return target


def _untar(archive: tarfile.TarFile, folder: Path) -> None:
    """Extract files and folders only, none outside the folder. Raises TarError."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
        return
    # Python before 3.11.4, as in Debian 12, has no filters.
    members = [member for member in archive if member.isfile() or member.isdir()]
    for member in members:
        if not (folder / member.name).resolve().is_relative_to(folder.resolve()):
            raise tarfile.TarError(f"{member.name} would be written outside of the folder")
    archive.extractall(folder, members=members)  # noqa: S202 (checked above)


def _s3_files(location: str, settings: FetchSettings) -> Iterator[File]:
    shown = shown_url(location)

    def fetch(key: str) -> BinaryIO:
        try:
            settings.scratch.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(tempfile.TemporaryFile(dir=settings.scratch))
                if not objects.read_into(key, file):
                    raise SourceUnavailable(f"{shown}/{key} was deleted during the fetch")
                file.seek(0)
                stack.pop_all()  # the reader closes it
                return cast(BinaryIO, file)
        except StoreUnavailable as error:
            raise SourceUnavailable(error.detail) from None
        except OSError as error:
            raise SourceUnavailable(f"{shown}/{key} can't be kept in {settings.scratch}: {error}") from None

    try:
        objects = open_store(settings, location)
        for key in objects.list(""):
            yield File(key, lambda key=key: fetch(key))  # type: ignore[misc]
    except (StoreUnavailable, WrongSettings) as error:
        raise SourceUnavailable(error.detail) from None


def _download(url: str, settings: FetchSettings) -> Path:
    """The file at a URL, kept in the scratch folder and downloaded again only if it changed (ETag)."""
    shown = shown_url(url)
    folder = settings.scratch / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:16]
    target, etag = folder / (PurePosixPath(urlsplit(shown).path).name or "file"), folder / ".etag"
    folder.mkdir(parents=True, exist_ok=True)
    known = {"If-None-Match": etag.read_text()} if etag.exists() and target.exists() else {}
    try:
        with requests.get(url, headers=known, timeout=settings.source_timeout_s, stream=True) as answer:
            if answer.status_code == 304:
                return target
            if answer.status_code != 200:
                raise SourceUnavailable(f"{shown} answered {answer.status_code}")
            part = folder / ".part"
            size = 0
            with part.open("wb") as file:
                for chunk in answer.iter_content(1 << 20):
                    size += len(chunk)
                    if size > MAX_DOWNLOAD:
                        raise SourceUnavailable(f"{shown} is larger than {MAX_DOWNLOAD} bytes")
                    file.write(chunk)
            part.replace(target)
            etag.write_text(answer.headers.get("ETag", ""))
    except (requests.RequestException, ValueError) as error:  # ValueError: a URL that can't be one
        raise SourceUnavailable(f"{shown} can't be fetched: {type(error).__name__}") from None
    return target
