"""What the figures of one run must come to, as ratios between servers of that run; medians of its rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

KINDS = ("image", "tabular")
BULK_ROWS = 100_000
OURS, FLOOR, MLFLOW = "ours", "floor", "mlflow"
Found = Mapping[str, Any]


@dataclass(frozen=True)
class Bar:
    """One bar: what is held against what. `met` is None where the run has not measured it."""

    told: str
    wanted: str
    figure: float | None
    met: bool | None

    def as_dict(self) -> dict[str, Any]:
        return {"bar": self.told, "wanted": self.wanted, "figure": self.figure, "met": self.met}


def medians(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The median of each figure over the rounds that have it; of what is no number, the last."""
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for one in rounds for key in one):
        values = [one[key] for one in rounds if one.get(key) is not None]
        numbers = values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        found[key] = round(median(values), 3) if numbers else (values[-1] if values else None)
    return found


def bars(found: Found) -> list[Bar]:
    """Every bar of the figures of a run."""
    rows = _at(found, "bulk", "rows") or BULK_ROWS
    return [
        _least("pictures, 8 clients: calls a second, ours / MLflow's", 100, _against(found, "image", _mlflow)),
        _least("pictures, 8 clients: calls a second, ours / the best peer's", 1.5, _against(found, "image", _best)),
        _most("pictures: CPU of a call, ours / the floor's", 3, _cpu(found)),
        _most("pictures, 8 clients: p99 / p50", 3, _tail(found)),
        _least("rows, 8 clients: calls a second, ours / MLflow's", 80, _against(found, "tabular", _mlflow)),
        _least("rows, 8 clients: calls a second, ours / the best peer's", 1.3, _against(found, "tabular", _best)),
        _least(f"rows a second, {rows:,.0f} in one CSV", 50_000, _at(found, "bulk", "rows_per_s")),
        _most("seconds to the first right answer, the bundle on disk", 0.7, _worst(found, "cold_s")),
        _most("seconds to the first right answer, fetched from MLflow", 1.2, _worst(found, "cold_mlflow_s")),
        _most("MB (PSS) with both pipelines", 75, _worst(found, "pss_mb")),
        _most("MB more at the peak of a 12-megapixel picture", 60, _at(found, "image", OURS, "peak_12mp_mb")),
        _most("an answer with ?explain=1 / a plain one", 3, _at(found, "explain", "ratio")),
    ]


def _least(told: str, bound: float, figure: float | None) -> Bar:
    return Bar(told, f">= {bound:,g}", figure, None if figure is None else figure >= bound)


def _most(told: str, bound: float, figure: float | None) -> Bar:
    return Bar(told, f"<= {bound:,g}", figure, None if figure is None else figure <= bound)


def _at(found: Any, *keys: str) -> float | None:
    """The figure at that place, or None."""
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, int | float) else None


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else round(one / other, 3)


def _against(found: Found, kind: str, other: Callable[[Found, str], float | None]) -> float | None:
    return _ratio(_at(found, kind, OURS, "rps_c8"), other(found, kind))


def _mlflow(found: Found, kind: str) -> float | None:
    return _at(found, kind, MLFLOW, "rps_c8")


def _best(found: Found, kind: str) -> float | None:
    """Of all peers, in whatever configuration."""
    names = [name for name in found.get(kind, {}) if name not in (OURS, FLOOR, MLFLOW)]
    rates = [rate for name in names if (rate := _at(found, kind, name, "rps_c8")) is not None]
    return max(rates, default=None)


def _cpu(found: Found) -> float | None:
    return _ratio(_at(found, "image", OURS, "cpu_ms_c8"), _at(found, "image", FLOOR, "cpu_ms"))


def _tail(found: Found) -> float | None:
    return _ratio(_at(found, "image", OURS, "p99_ms_c8"), _at(found, "image", OURS, "p50_ms_c8"))


def _worst(found: Found, key: str) -> float | None:
    values = [value for kind in KINDS if (value := _at(found, kind, OURS, key)) is not None]
    return max(values, default=None)
