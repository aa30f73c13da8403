"""scripts/restore with real servers: the data come back; damaged backups and servers in use are refused."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from backup_site import BODIES, Site
from conftest import wait_until
from integration.backups.conftest import HANG, begun
from ports import free_port

pytestmark = [pytest.mark.integration, pytest.mark.full]
OBJECT = "objects/sabueso/some/prefix/datasets/pets/source.json"


def change(folder: Path, how: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    how(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_backup_is_restored_byte_for_byte_into_empty_servers(full: Site, empty: Site, made: Path) -> None:
    code, output = empty.run("restore", made)
    assert code == 0, output
    assert output.splitlines()[-1].startswith("restored: 1020 objects and the database")
    assert empty.objects() == full.objects() == BODIES
    assert empty.rows() == full.rows()
    assert len(empty.rows()["a_run"][1]) == 4


def test_a_complete_backup_passes_the_check_without_servers(full: Site, made: Path) -> None:
    code, output = full.run("restore", "--check", made, MYSQL_PORT=str(free_port()), MINIO_PORT=str(free_port()))
    assert code == 0, output
    assert output.splitlines()[-1].startswith(f"complete: {made}, made 2")


def test_restored_data_may_go_to_another_prefix_and_bucket(empty: Site, made: Path) -> None:
    code, output = empty.run("restore", made, SABUESO_STORE="s3://elsewhere")
    assert code == 0, output
    assert set(empty.keys("elsewhere")) == set(BODIES["data"])


def test_a_database_with_tables_is_not_changed(empty: Site, made: Path) -> None:
    empty.sql("CREATE TABLE mine (id INT)")
    code, output = empty.run("restore", made)
    assert (code, "has 1 tables" in output, "Empty the database and the buckets" in output) == (1, True, True), output
    assert list(empty.rows()) == ["mine"]
    assert empty.objects() == {"data": {}, "artifacts": {}}


@pytest.mark.parametrize("store", ["data", "artifacts"])
def test_a_bucket_with_objects_is_not_changed(empty: Site, made: Path, store: str) -> None:
    empty.put(store, {"mine": b"mine"})
    code, output = empty.run("restore", made)
    bucket = {"data": "s3://sabueso/some/prefix", "artifacts": "s3://mlflow"}[store]
    assert (code, f"{bucket} holds objects" in output.replace("mlflow/ ", "mlflow ")) == (1, True), output
    assert empty.rows() == {}
    assert empty.objects() == {"data": {}, "artifacts": {}, store: {"mine": b"mine"}}


def damage(how: str, folder: Path) -> None:
    path = folder / OBJECT
    if how == "a byte":
        path.write_bytes(b"[}")
    elif how == "a byte of the dump":
        dump = bytearray((folder / "mysql.sql.gz").read_bytes())
        dump[len(dump) // 2] ^= 1
        (folder / "mysql.sql.gz").write_bytes(dump)
    elif how == "cut":
        path.write_bytes(b"{")
    elif how == "a file is missing":
        path.unlink()
    elif how == "no manifest":
        (folder / "manifest.json").unlink()
    elif how == "half a manifest":
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text[: len(text) // 2])
    elif how == "another format":
        change(folder, lambda manifest: manifest.update(format=2))
    elif how == "a field is missing":
        change(folder, lambda manifest: manifest.pop("stores"))
    elif how == "no dump":
        change(folder, lambda manifest: manifest["files"].pop("mysql.sql.gz"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("a byte", f"{OBJECT}: altered: 2 bytes with another sha256"),
        ("a byte of the dump", "mysql.sql.gz: altered"),
        ("cut", f"{OBJECT}: altered: 1 bytes, not 2"),
        ("a file is missing", f"{OBJECT}: missing"),
        ("no manifest", "it has no manifest.json, which is written last"),
        ("half a manifest", "is not JSON"),
        ("another format", "does not have format 1"),
        ("a field is missing", "is not a manifest"),
        ("no dump", "mysql.sql.gz: not in manifest.json"),
    ],
)
def test_a_damaged_backup_is_refused_before_anything_is_written(
    empty: Site, copy: Path, how: str, message: str
) -> None:
    damage(how, copy)
    for arguments in (["--check", copy], [copy]):
        code, output = empty.run("restore", *arguments)
        assert (code, message in output) == (1, True), output
    assert (empty.rows(), empty.objects()) == ({}, {"data": {}, "artifacts": {}})


@pytest.mark.parametrize(
    "name",
    ["objects/sabueso/some/prefix/../../../../outside", "objects/sabueso/some/prefix//x", "/etc/hostname", "outside"],
)
def test_a_manifest_can_t_name_files_outside_the_backup(full: Site, copy: Path, name: str) -> None:
    (copy / "outside").write_bytes(b"{}")
    change(copy, lambda manifest: manifest["files"].update({name: manifest["files"][OBJECT]}))
    code, output = full.run("restore", "--check", copy)
    assert (code, f"{name}: not a file of a backup" in output) == (1, True), output


def test_a_link_in_a_backup_is_not_followed(full: Site, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"{}")
    (copy / OBJECT).unlink()
    (copy / OBJECT).symlink_to(tmp_path / "outside")
    code, output = full.run("restore", "--check", copy)
    assert (code, f"{OBJECT}: a link" in output) == (1, True), output


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_restore_is_reported_until_both_are_emptied(
    empty: Site, made: Path, tmp_path: Path, stand_in: Callable[..., Path], how: signal.Signals
) -> None:
    process = empty.begin("restore", made, path=stand_in("mariadb", HANG % ("sandbox", tmp_path / "pid")))
    hanging = begun(tmp_path / "pid")
    process.send_signal(how)
    if how is signal.SIGKILL:
        process.communicate()
        subprocess.run(["kill", hanging], check=True)
        assert not empty.temporary_files()
    else:
        code, output = empty.end(process)
        assert (code, "did not finish. Empty the database and the buckets" in output) == (1, True), output
    code, output = empty.run("restore", made)
    assert (code, "A restore that began at 2" in output, "Empty the database" in output) == (1, True, True), output
    code, output = empty.run("backup", tmp_path / "new")
    assert (code, "An earlier restore into this system did not finish" in output) == (1, True), output
    empty.empty()
    code, output = empty.run("restore", made)
    assert code == 0, output


def test_missing_rows_are_noticed(empty: Site, made: Path, stand_in: Callable[..., Path]) -> None:
    loses = (
        'case "$*" in *sandbox*) grep -av "INSERT INTO .a_run. VALUES (.3" | "$real" "$@";; *) exec "$real" "$@";; esac'
    )
    code, output = empty.run("restore", made, path=stand_in("mariadb", loses))
    assert (code, "a_run: 3 rows, not 4" in output, "Empty the database" in output) == (1, True, True), output


@pytest.mark.parametrize("concurrent", [{"other": b"new"}, {"1/many/0001": b"others'"}])
def test_objects_of_another_program_are_noticed(
    empty: Site, made: Path, tmp_path: Path, stand_in: Callable[..., Path], concurrent: dict[str, bytes]
) -> None:
    began, gate = tmp_path / "began", tmp_path / "gate"
    waits = (
        f'case "$*" in *sandbox*) touch {began}; while [ ! -e {gate} ]; do sleep 0.05; done;; esac; exec "$real" "$@"'
    )
    process = empty.begin("restore", made, path=stand_in("mariadb", waits))
    wait_until(began.exists, 60)
    empty.put("artifacts", concurrent)
    gate.touch()
    code, output = empty.end(process)
    assert (code, "1 objects, the first is" in output, next(iter(concurrent)) in output) == (1, True, True), output


def test_a_password_may_have_any_character(empty: Site, made: Path) -> None:
    password = "a \\ \" # ' ; $HOME `x` é\\n"
    with contextlib.closing(empty.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER 'o''dd'@'%%' IDENTIFIED BY %s", (password,))
        cursor.execute("GRANT ALL ON mlflow.* TO 'o''dd'@'%'")
    uri = f"mysql+pymysql://o%27dd:{quote(password, safe='')}@127.0.0.1:{empty.mysql.port}/mlflow"
    code, output = empty.run("restore", made, MLFLOW_BACKEND_STORE_URI=uri)
    assert code == 0, output
