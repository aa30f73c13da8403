"""Two deployments for scripts/backup and scripts/restore: one with data, one empty."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_site import Site
from conftest import wait_until
from servers import Minio, Mysql

# Scripts for `stand_in`. WAIT % gate: waits for that file, then works.
# HANG % (word, file): if an argument contains the word, writes its id and arguments to the file, then hangs.
WAIT = '[ "$1" = --version ] || while [ ! -e %s ]; do sleep 0.05; done; exec "$real" "$@"'
HANG = '[ "$1" = --version ] || case "$*" in *%s*) echo "$$ $*" > %s; exec sleep 600;; esac; exec "$real" "$@"'


def make_site(home: Path) -> Site:
    for name in ("minio", "mysql"):
        (home / name).mkdir()
    return Site(home, Minio(home / "minio"), Mysql(home / "mysql")).start()


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A deployment with data, which tests do not change."""
    site = make_site(tmp_path_factory.mktemp("full"))
    site.fill()
    yield site
    site.stop()


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = make_site(tmp_path_factory.mktemp("other"))
    yield site
    site.stop()


@pytest.fixture
def empty(other: Site) -> Site:
    """Other servers, empty."""
    other.empty()
    return other


@pytest.fixture(scope="session")
def made(full: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of `full`."""
    folder = tmp_path_factory.mktemp("made") / "new" / "backup"
    code, output = full.run("backup", folder)
    assert code == 0, output
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(made, tmp_path / "copy")


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[..., Path]:
    """A folder with a program that replaces or wraps a real one."""

    def make(name: str, script: str) -> Path:
        folder = tmp_path / "programs"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/bash\nreal={shutil.which(name)}\n{script}\n")
        (folder / name).chmod(0o755)
        return folder

    return make


def begun(file: Path) -> str:
    """Wait for the program that hangs (HANG); its process id."""
    wait_until(lambda: file.exists() and "\n" in file.read_text(), 60)
    return file.read_text().split()[0]


def arguments_of(settings: Path) -> argparse.Namespace:
    return argparse.Namespace(env=settings, s3_endpoint=None, database_host=None, database_port=None)
