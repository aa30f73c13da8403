"""The type of what JSON can hold: for answers, log facts and documents of others that are read key by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, Union

# Read-only types are covariant: a dict[str, int] is a JsonObject.
Json: TypeAlias = Union[str, int, float, bool, Sequence["Json"], Mapping[str, "Json"], None]  # noqa: UP007
JsonObject: TypeAlias = Mapping[str, Json]
