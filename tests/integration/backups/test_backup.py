"""scripts/backup with real servers: the contents of a backup, and that an incomplete one is not a backup."""

from __future__ import annotations

import contextlib
import gzip
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_site import Site
from backups.buckets import Bucket, copy_out
from backups.command import BackupError, Progress
from backups.deployment import Deployment, read_deployment
from backups.make import Backup
from backups.manifest import Manifest
from conftest import wait_until
from integration.backups.conftest import HANG, WAIT, arguments_of, begun
from servers import ROOT
from shapes import validate

pytestmark = [pytest.mark.integration, pytest.mark.full]


def test_a_backup_lists_its_contents_and_only_its_owner_can_read_it(full: Site, made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    validate(manifest, "backup_manifest")
    assert manifest["database"]["rows"] == {"experiments": 2, "a_run": 4}
    assert manifest["vanished"] == 0
    found = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert found == {"manifest.json", *manifest["files"]}
    assert not full.secrets_in((made / "manifest.json").read_text())
    dump = gzip.decompress((made / "mysql.sql.gz").read_bytes()).decode()
    assert not full.secrets_in(dump)
    assert "/*M!999999" not in dump  # MySQL's client can't read it
    assert {path.stat().st_mode & 0o077 for path in (made, *made.rglob("*"))} == {0}


def test_the_environment_overrides_the_file(full: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "settings"
    settings.write_text(
        "\n".join(f"export {name}='{value}'" for name, value in full.values.items()) + "\nMYSQL_PORT=\n"
    )
    arguments = arguments_of(settings)
    monkeypatch.setenv("MYSQL_PASSWORD", "from the environment")
    address = read_deployment(arguments).database.address
    assert (address.password, address.port, address.user) == ("from the environment", full.mysql.port, "mlflow")


def test_the_file_of_make_env_is_sufficient(tmp_path: Path) -> None:
    subprocess.run([ROOT / "scripts" / "make-env", tmp_path / "env"], check=True, capture_output=True)
    deployment = read_deployment(arguments_of(tmp_path / "env"))
    assert str(deployment.database.address) == "mlflow at 127.0.0.1:3306 (account mlflow)"
    assert [store.where for store in deployment.stores.values()] == ["s3://sabueso/", "s3://mlflow/"]
    for store in deployment.stores.values():
        store.close()


def test_all_mistakes_of_the_settings_are_reported_together(full: Site, tmp_path: Path) -> None:
    wrong = {"MYSQL_PASSWORD": "", "MINIO_ROOT_USER": "", "SABUESO_STORE": "file:///data"}
    code, output = full.run("backup", tmp_path / "new", **wrong)
    assert code == 2
    assert all(name in output for name in wrong), output
    assert not (tmp_path / "new").exists()
    code, output = full.run("backup", tmp_path / "new", MLFLOW_BACKEND_STORE_URI="sqlite:////mlflow.db")
    assert (code, "sqlite: neither mysql nor postgresql" in output) == (2, True), output
    spoilt = "postgresql://mlflow:se/cret@127.0.0.1/mlflow"
    code, output = full.run("backup", tmp_path / "new", "--database-port", 1, MLFLOW_BACKEND_STORE_URI=spoilt)
    assert (code, "write special characters as %XX" in output, "cret" in output) == (2, True, False), output
    code, output = full.run("backup", tmp_path / "new", SABUESO_STORE="s3://mlflow/data")
    assert (code, "the same bucket as MLflow's" in output) == (2, True), output


def test_a_folder_that_is_not_empty_is_refused_and_not_changed(full: Site, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    code, output = full.run("backup", tmp_path)
    assert (code, "not empty" in output) == (2, True), output
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"MYSQL_PASSWORD": "wrong"}, "Access denied"),
        ({"MYSQL_PORT": "9"}, "Can't connect"),
        ({"MINIO_ROOT_PASSWORD": "wrong-wrong"}, "SignatureDoesNotMatch"),
        ({"MINIO_PORT": "9"}, "no connection"),
        ({"MLFLOW_BUCKET_URL": "s3://none"}, "NoSuchBucket"),
    ],
)
def test_servers_that_refuse_leave_no_backup(full: Site, tmp_path: Path, wrong: dict[str, str], message: str) -> None:
    code, output = full.run("backup", tmp_path / "new", **wrong)
    assert (code, message in output) == (1, True), output
    assert "infra/.env" in output or "--database-port" in output, output
    assert not (tmp_path / "new" / "manifest.json").exists()
    if "MYSQL_PASSWORD" in wrong:  # execution records were copied before
        assert "is incomplete (no manifest.json): remove it" in output
        code, output = full.run("restore", tmp_path / "new")
        assert (code, "is not a complete backup" in output) == (1, True), output


@pytest.mark.parametrize("script", ["backup", "restore"])
def test_a_missing_client_program_is_named_with_its_package(
    full: Site, empty: Site, made: Path, tmp_path: Path, script: str
) -> None:
    folder = tmp_path / "new" if script == "backup" else made
    process = full.begin("backup", folder, search="") if script == "backup" else empty.begin(script, folder, search="")
    code, output = full.end(process)
    assert (code, "apt install mariadb-client" in output) == (1, True), output


def backed_up_through(kind: type[Bucket], site: Site, folder: Path) -> Manifest:
    """Back up a site through another kind of store, to folder/new."""
    (folder / "settings").write_text("\n".join(f"{name}={value}" for name, value in site.values.items()))
    deployment = read_deployment(arguments_of(folder / "settings"))
    data = deployment.stores["data"]
    through = kind(data.bucket, data.prefix.strip("/"), data._settings)
    (folder / "new").mkdir()
    backup = Backup(folder / "new", Deployment(deployment.database, {**deployment.stores, "data": through})).make()
    for store in (through, *deployment.stores.values()):
        store.close()
    return backup


class Vanishing(Bucket):
    """A store in which a checkpoint is deleted right after it was listed."""

    def list(self, prefix: str) -> Iterator[str]:
        keys = list(super().list(prefix))
        for key in keys:
            if key.endswith("cleared") and prefix != "datasets/":  # not in the listing for intents
                self.delete(key)
        return iter(keys)


def test_an_object_deleted_during_the_backup_is_left_out_and_counted(empty: Site, tmp_path: Path) -> None:
    empty.put("data", {"datasets/1": b"1", "datasets/cleared": b"2", "jobs/cleared": b"3", "jobs/1": b"4"})
    backup = backed_up_through(Vanishing, empty, tmp_path)
    assert backup.vanished == 2
    assert sorted(backup.objects_of("data")) == ["datasets/1", "jobs/1"]
    assert not list(tmp_path.rglob("*cleared"))


class Collecting(Bucket):
    """A store into which a sample and then its intent are written right after datasets were listed."""

    def list(self, prefix: str) -> Iterator[str]:
        keys = list(super().list(prefix))
        still_open = [key for key in keys if "/intents/" in key and self._body(key) == b"open"]
        if still_open:
            self.put(still_open[0].replace("/intents/", "/samples/1/"), b"sample")
            self.put(still_open[0], b"stored")
        return iter(keys)

    def _body(self, key: str) -> bytes:
        found = self.get(key)
        return found.body if found else b""


def test_an_intent_that_says_stored_has_its_sample_in_the_backup(empty: Site, tmp_path: Path) -> None:
    root = "datasets/pets"
    empty.put("data", {f"{root}/intents/{number}": b"open" for number in range(5)} | {f"{root}/source.json": b"{}"})
    backup = backed_up_through(Collecting, empty, tmp_path)
    held = backup.objects_of("data")
    said = {key: (tmp_path / "new" / path).read_bytes() for key, path in held.items() if "/intents/" in key}
    assert len(said) == 5 and b"stored" in said.values() and f"{root}/source.json" in held
    stored = {key.replace("/intents/", "/samples/1/") for key, text in said.items() if text == b"stored"}
    assert stored <= set(held)


@pytest.mark.parametrize("key", ["../../outside", "/tmp/outside", "a//b", "a/"])  # noqa: S108
def test_a_key_that_can_t_be_a_file_name_is_refused(full: Site, tmp_path: Path, key: str) -> None:
    (tmp_path / "settings").write_text("\n".join(f"{name}={value}" for name, value in full.values.items()))
    stores = read_deployment(arguments_of(tmp_path / "settings")).stores
    with pytest.raises(BackupError, match="not from Sabueso"):
        copy_out(stores["data"], [key], tmp_path / "new" / "objects", Progress("data", 1))
    for store in stores.values():
        store.close()
    assert [path.name for path in tmp_path.rglob("*")] == ["settings"]


def test_objects_written_during_the_dump_are_consistent_with_it(
    empty: Site, tmp_path: Path, stand_in: Callable[..., Path]
) -> None:
    # A training that ends now may or may not be in the dump, but no record says "finished" without a version.
    empty.put("data", {"jobs/pets/runs/1.json": b"running"})
    done = {"jobs/pets/runs/1.json": b"finished", "jobs/pets/runs/2.json": b"new", "datasets/pets/snapshots/1": b"1"}
    gate = tmp_path / "gate"
    programs = stand_in("mariadb-dump", WAIT % gate)
    process = empty.begin("backup", tmp_path / "new", path=programs)
    wait_until(lambda: (tmp_path / "new" / "mysql.sql.gz").exists(), 60)
    empty.put("data", done)
    empty.put("artifacts", {"1/models/m-1/network": b"network"})
    gate.touch()
    code, output = empty.end(process)
    assert code == 0, output
    root = tmp_path / "new" / "objects"
    assert (root / "sabueso/some/prefix/jobs/pets/runs/1.json").read_bytes() == b"running"
    assert not (root / "sabueso/some/prefix/jobs/pets/runs/2.json").exists()
    assert (root / "sabueso/some/prefix/datasets/pets/snapshots/1").read_bytes() == b"1"
    assert (root / "mlflow/1/models/m-1/network").read_bytes() == b"network"


def test_a_dump_is_consistent_and_blocks_nobody(empty: Site, tmp_path: Path, stand_in: Callable[..., Path]) -> None:
    empty.sql("CREATE TABLE a (id INT PRIMARY KEY, body TEXT);\nCREATE TABLE z (id INT PRIMARY KEY)")
    empty.sql("INSERT INTO a SELECT seq, REPEAT('x', 10000) FROM seq_1_to_200")  # more than fits into a pipe
    began, gate = tmp_path / "began", tmp_path / "gate"
    slow = f'"$real" "$@" | {{ head -c 9999; touch {began}; while [ ! -e {gate} ]; do sleep 0.05; done; cat; }}'
    programs = stand_in("mariadb-dump", f'set -o pipefail; [ "$1" = --version ] && exec "$real" "$@"; {slow}')
    process = empty.begin("backup", tmp_path / "new", path=programs)
    wait_until(began.exists, 60)
    empty.sql("SET lock_wait_timeout = 5; INSERT INTO a VALUES (0, 'late'); INSERT INTO z VALUES (0)")
    gate.touch()
    code, output = empty.end(process)
    assert (code, "200 rows of 1 tables" in output) == (0, True), output


def test_a_store_that_stops_during_the_backup_leaves_no_backup(
    empty: Site, tmp_path: Path, stand_in: Callable[..., Path]
) -> None:
    empty.put("data", {"datasets/1": b"1", "jobs/1": b"4"})
    gate = tmp_path / "gate"
    process = empty.begin("backup", tmp_path / "new", path=stand_in("mariadb-dump", WAIT % gate))
    wait_until(lambda: (tmp_path / "new" / "mysql.sql.gz").exists(), 60)
    empty.minio.stop()
    gate.touch()
    code, output = empty.end(process)
    empty.minio.start()
    assert (code, "can't be used" in output, "is incomplete" in output) == (
        1,
        True,
        True,
    ), output
    assert not (tmp_path / "new" / "manifest.json").exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_backup_is_not_a_backup(
    full: Site, tmp_path: Path, stand_in: Callable[..., Path], how: signal.Signals
) -> None:
    process = full.begin("backup", tmp_path / "new", path=stand_in("mariadb-dump", HANG % ("mlflow", tmp_path / "pid")))
    hanging = begun(tmp_path / "pid")
    process.send_signal(how)
    if how is signal.SIGKILL:
        process.communicate()
        subprocess.run(["kill", hanging], check=True)
        assert not full.temporary_files()
    else:
        code, output = full.end(process)
        assert (code, "stopped." in output, "is incomplete" in output) == (
            1,
            True,
            True,
        ), output
        assert not Path(f"/proc/{hanging}").exists()
    code, output = full.run("restore", "--check", tmp_path / "new")
    assert (code, "is not a complete backup" in output) == (1, True), output
    code, output = full.run("backup", tmp_path / "new")
    assert (code, "not empty" in output) == (2, True), output


def test_a_dump_that_fails_is_not_a_backup(full: Site, tmp_path: Path, stand_in: Callable[..., Path]) -> None:
    breaks = (
        '[ "$1" = --version ] && exec "$real" "$@"; "$real" "$@" | head -c 2000; echo "lost connection" >&2; exit 3'
    )
    code, output = full.run("backup", tmp_path / "new", path=stand_in("mariadb-dump", breaks))
    assert (code, "lost connection" in output, "is incomplete" in output) == (1, True, True), output


def test_no_password_shows_in_the_list_of_processes(full: Site, tmp_path: Path, stand_in: Callable[..., Path]) -> None:
    process = full.begin("backup", tmp_path / "new", path=stand_in("mariadb-dump", HANG % ("mlflow", tmp_path / "pid")))
    hanging = begun(tmp_path / "pid")
    shown = ""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # the process has ended
            shown += path.read_text(errors="replace")
    process.terminate()
    full.end(process)
    assert "backups.make" in shown
    assert hanging
    arguments = (tmp_path / "pid").read_text()
    assert "--defaults-file=" in arguments
    assert not full.secrets_in(shown + arguments)


def test_a_full_disk_is_reported(full: Site, tmp_path: Path) -> None:
    code, output = full.run("backup", tmp_path / "new", max_bytes=1_000_000)
    assert (code, "network.tflite: File too large" in output, "is incomplete" in output) == (1, True, True), output
