"""The growth of our server as small SVG charts, to be read on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Each is told apart from white and from black.
INK, FAINT, FIRST, SECOND = "#7d8590", "#7d859055", "#2f81f7", "#db6d28"
SIZE = (5.2, 3.1)


def draw_growth(found: dict[str, list[dict[str, Any]]], folder: Path) -> list[Path]:
    """One file for each; none, and no error, where matplotlib is not there."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sabueso", "font.family": "sans-serif"})
    matplotlib.rcParams.update({"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK})
    matplotlib.rcParams.update({"xtick.color": INK, "ytick.color": INK, "axes.titlesize": 10})
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _one(
            folder / "picture-size.svg",
            "Time of one JPEG, one client (ms)",
            "megapixels",
            found["picture_size"],
            "megapixels",
            {"p50": "p50_ms", "p99": "p99_ms"},
            log=True,
        ),
        _one(
            folder / "rows-a-call.svg",
            "Rows a second, one client, CSV",
            "rows in one call",
            found["rows_a_call"],
            "rows",
            {"": "rows_per_s"},
            log=True,
        ),
        _one(
            folder / "pipelines.svg",
            "Memory with all pipelines loaded (MB, PSS)",
            "pipelines",
            found["pipelines"],
            "pipelines",
            {"": "pss_mb"},
        ),
        _one(
            folder / "pipelines-start.svg",
            "Start until all pipelines answer (s)",
            "pipelines",
            found["pipelines"],
            "pipelines",
            {"": "cold_s"},
        ),
        _one(
            folder / "replicas.svg",
            f"Calls a second at 8 clients, {found['replicas'][0]['cores']} cores",
            "replicas",
            found["replicas"],
            "replicas",
            {"rows": "tabular_rps_c8", "pictures": "image_rps_c8"},
        ),
    ]


def _one(
    path: Path,
    title: str,
    across: str,
    each: Sequence[dict[str, Any]],
    x: str,
    lines: dict[str, str],
    log: bool = False,
) -> Path:
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = pyplot.subplots(figsize=SIZE, layout="constrained")
    places = [one[x] for one in each]
    for colour, (name, key) in zip((FIRST, SECOND), lines.items(), strict=False):
        values = [one[key] for one in each]
        axes.plot(places, values, color=colour, marker="o", markersize=4, linewidth=1.6)
        if name:
            axes.annotate(name, (places[-1], values[-1]), (6, 0), textcoords="offset points", color=colour, va="center")
    if log:
        for axis, set_scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            set_scale("log")
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if axis is axes.yaxis else (1,)))
            axis.set_major_formatter("{x:,g}")
            axis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
        axes.set_xticks(places)
    axes.set_title(title, loc="left")
    axes.set_xlabel(across)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    pyplot.close(figure)
    return path
