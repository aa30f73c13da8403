"""infra/.env is read as Compose reads it, so that both see the same passwords."""

import pytest

from common.errors import WrongSettings
from deployment.env_file import read_deployment_variables, read_env


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=plain", "plain"),
        ("export NAME=plain", "plain"),
        ("NAME=value # a note", "value"),
        ("NAME=with#sign", "with#sign"),
        ("NAME='single # quoted' # a note", "single # quoted"),
        ('NAME="double quoted"', "double quoted"),
    ],
)
def test_a_line_is_read_as_compose_reads_it(line: str, value: str) -> None:
    assert read_env(line) == {"NAME": value}


@pytest.mark.parametrize("line", ["NAME=", "# NAME=value", "NAME= # a note", "no line at all"])
def test_a_name_without_a_value_is_not_set(line: str) -> None:
    assert read_env(line) == {}


def test_the_environment_overrides_the_file_unless_it_is_empty(tmp_path) -> None:
    file = tmp_path / "env"
    file.write_text("ONE=file\nTWO=file\n")
    assert read_deployment_variables(file, {"ONE": "shell", "TWO": ""}) == {"ONE": "shell", "TWO": "file"}
    with pytest.raises(WrongSettings, match="no file"):
        read_deployment_variables(tmp_path / "none", {})
