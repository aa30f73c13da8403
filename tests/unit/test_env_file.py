"""infra/.env is read as Compose reads it: one line must not become two passwords."""

import pytest

from common.errors import WrongSettings
from deployment.env_file import read_env, read_settings_of


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
def test_a_line_gives_what_compose_makes_of_it(line: str, value: str) -> None:
    assert read_env(line) == {"NAME": value}


@pytest.mark.parametrize("line", ["NAME=", "# NAME=value", "NAME= # a note", "no line at all"])
def test_a_name_without_a_value_is_not_there(line: str) -> None:
    assert read_env(line) == {}


def test_the_environment_counts_over_the_file_unless_it_is_empty(tmp_path) -> None:
    file = tmp_path / "env"
    file.write_text("ONE=file\nTWO=file\n")
    assert read_settings_of(file, {"ONE": "shell", "TWO": ""}) == {"ONE": "shell", "TWO": "file"}
    with pytest.raises(WrongSettings, match="no file"):
        read_settings_of(tmp_path / "none", {})
