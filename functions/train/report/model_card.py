"""The page of a version in MLflow, as Markdown: what it is for, how good it is, what it was made of, its limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from common.pictures import picture_view
from common.pipelines import Pipeline
from train.judge.gate import Verdict
from train.snapshot import PARTS

# Characters that MLflow's database takes of a description.
LIMIT = 5000
GATE_ROOM = 600
NOT_JUDGED = "Not judged yet."
GATE, AFTER_GATE = "## Gate\n\n", "\n\n## Load it"
NUMBER = "VERSION"
FEW = 30
LONGEST = 60


@dataclass(frozen=True)
class Making:
    """What a page tells beside the contract. `profile`: as in the dataset input; `how`: name -> value, in order."""

    source: dict[str, Any] | None
    profile: dict[str, Any]
    how: dict[str, Any]
    mlflow_url: str


def model_card(contract: Mapping[str, Any], making: Making, limit: int | None = LIMIT) -> str:
    """The page before the gate. With a limit, tables are cut until the page and the gate's words fit into it."""
    rows = len(contract["labels"])
    while True:
        text = "\n\n".join(
            [
                _head(contract),
                _figures(contract),
                _by_label(contract, rows),
                _answers(contract),
                _data(contract, making, rows),
                _how(contract, making),
                GATE.strip() + "\n\n" + NOT_JUDGED,
                _loading(contract, making),
                _limits(contract, making),
            ]
        )
        if limit is None or len(text) + GATE_ROOM <= limit:
            return text
        if rows == 0:
            return _cut(text, limit - GATE_ROOM)
        rows = rows * 3 // 4


def with_verdict(page: str, version: str, verdict: Verdict, limit: int | None = LIMIT) -> str:
    """The page with its version's number and the gate's result; what a person wrote elsewhere on it stays."""
    page = re.sub(rf'(load_model\("models:/[^/"]+/){NUMBER}"', rf'\g<1>{version}"', page)
    before, found, rest = page.partition(GATE)
    _, after, end = rest.partition(AFTER_GATE)
    if not found or not after:
        return page
    reason = verdict.reason
    if limit is not None:
        reason = _cut(reason, max(0, min(GATE_ROOM, limit - len(before + GATE + after + end)) - 40))
    return f"{before}{GATE}**{verdict.decision}**: {reason}{after}{end}"[:limit]


def about_model(pipeline: Pipeline) -> str:
    """The description of the registered model, over all its versions."""
    what = "pictures" if pipeline.kind == "image" else f"rows of {len(pipeline.inputs)} columns"
    return _cut(
        f"**{pipeline.title['en']}**: sorts {what} into {len(pipeline.labels)} labels "
        f"({_listed(pipeline.label_values)}). Made by the pipeline `{pipeline.name}` of Sabueso.\n\n"
        "The alias `champion` serves. It moves when a new version passes the gate "
        f"({pipeline.gate.metric} of at least {pipeline.gate.floor:g}, and better than the champion on the same "
        "holdout), or by hand. Every version has a page with its figures, data and limits; its tags `sabueso.*` tell "
        "programs the same.",
        LIMIT,
    )


def _head(contract: Mapping[str, Any]) -> str:
    made_up = "\n\n> **Trained on made-up data**: for trying things out, not for use." if contract["made_up"] else ""
    labels = [label["value"] for label in contract["labels"]]
    named = [
        f"{one['value']} ({one['en']})" if one["en"] != one["value"] else one["value"] for one in contract["labels"]
    ]
    columns = contract.get("columns") or []
    what = "a picture" if contract["kind"] == "image" else f"a row of {len(columns)} columns"
    return (
        f"# {_cut(contract['title']['en'], LONGEST)}{made_up}\n\n## What it is for\n\n"
        f"It says which of {len(labels)} labels {what} belongs to: {_listed(named)}. "
        f"Made by the pipeline `{contract['pipeline']}`, {contract['trained_at'][:16].replace('T', ' ')} UTC, "
        f"commit `{contract['git_commit'][:12]}`."
    )


def _figures(contract: Mapping[str, Any]) -> str:
    metrics = contract["metrics"]
    rows = [
        [name.replace("_", " "), f"{one['value']:.4f}", _interval(one)]
        for name, one in metrics.items()
        if isinstance(one, dict) and {"value", "low", "high"} <= one.keys()
    ]
    told = f"On {metrics['holdout_size']} examples of the holdout, which had no part in the training."
    return f"## How good it is\n\n{told}\n\n{_table(['metric', 'value', '95 % interval'], rows)}"


def _by_label(contract: Mapping[str, Any], most: int) -> str:
    """The labels of the lowest recall first, where not all have room."""
    found = list(contract["per_class"])
    shown = found if most >= len(found) else sorted(found, key=lambda one: one["recall"]["value"])[:most]
    rows = [
        [_cell(one["label"]), str(one["support"])]
        + [f"{one[name]['value']:.3f} ({_interval(one[name], 2)})" for name in ("precision", "recall")]
        for one in shown
    ]
    told = "" if len(shown) == len(found) else f"\n\n{_of(len(shown), len(found))} `per_class.json` of the run has all."
    if not rows:
        return f"## By label{told}"
    return f"## By label\n\n{_table(['label', 'holdout', 'precision', 'recall'], rows)}{told}"


def _of(shown: int, count: int) -> str:
    return f"The {shown} of {count} labels with the lowest recall." if shown else f"{count} labels."


def _answers(contract: Mapping[str, Any]) -> str:
    """What the three states mean, with this version's own numbers."""
    given = contract.get("thresholds", {})
    known = {name: value for name, value in given.items() if isinstance(value, int | float)}
    lines = []
    if known.get("sure", 1) >= 1:
        lines.append("- `sure`: no answer is, since too few examples showed how often one is wrong.")
    else:
        error = f", of which at most {known['error']:.1%} are wrong (with 95 % probability)" if "error" in known else ""
        lines.append(f"- `sure`: answers with a confidence of {known['sure']:.3f} or more{error}.")
    lines.append("- `uncertain`: every other that is not `unknown`; the label is a guess.")
    if "novelty" in known:
        lines.append(
            f"- `unknown`: novelty above {known['novelty']:.3g}: far from all that the training saw, maybe of no label."
        )
    others = [
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in known.items()
        if name not in ("sure", "error", "novelty")
    ]
    lines += [f"- Further: {', '.join(others)}."] if others else []
    if "temperature" in contract:
        lines.append(f"- Probabilities are at temperature {contract['temperature']:.3g}.")
    return (
        "## What its answers mean\n\nFitted on examples that the network that answers them has not seen.\n\n"
        + "\n".join(lines)
    )


def _data(contract: Mapping[str, Any], making: Making, most: int) -> str:
    profile = making.profile
    sizes = ", ".join(f"{name} {profile['parts'][name]}" for name in PARTS)
    labels = sorted(profile["labels"].items(), key=lambda one: -one[1])
    shown = labels[:most]
    rest = f" and {len(labels) - len(shown)} labels more" if len(shown) < len(labels) else ""
    balance = ", ".join(f"{_cell(name)} {count / max(1, profile['num_rows']):.1%}" for name, count in shown) + rest
    return (
        f"## Data\n\n"
        f"- Snapshot `{contract['snapshot']}`: {profile['num_rows']} examples of {profile['samples']} samples.\n"
        f"- Source: {source_in_words(making.source)}; {'made up' if contract['made_up'] else 'not made up'}.\n"
        f"- Parts, by hash: {sizes}.\n"
        f"- Balance: {balance}.\n"
        f"- Examples that came with contradicting labels: {profile['conflicting_labels']} (the commoner label counts)."
    )


def source_in_words(source: Mapping[str, Any] | None) -> str:
    """Kind and address of a source, without account, password and query."""
    if source is None:
        return "unknown"
    location = str(source.get("location", ""))
    parts = urlsplit(location)
    if parts.scheme and parts.netloc:
        location = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return f"{source.get('type', 'unknown')} `{_cut(location, 120)}`" if location else str(source.get("type"))


def _how(contract: Mapping[str, Any], making: Making) -> str:
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in making.how.items() if value is not None)
    return f"## How it was trained\n\n{_cut(told, 600)}. Settings `{contract['settings'][:12]}`."


def _loading(contract: Mapping[str, Any], making: Making) -> str:
    """Eight lines that need MLflow alone, and the packages that it names."""
    if contract["kind"] == "image":
        code = [
            "pictures = np.zeros((1, 120, 160, 3), dtype=np.uint8)  # any size, RGB",
            "print(model.predict(pictures))",
        ]
        imports = "import mlflow, numpy as np"
    else:
        row = {one["name"]: one["examples"][0] for one in contract["columns"]}
        code = [f"row = {row}", "print(model.predict(pd.DataFrame([row])))"]
        imports = "import mlflow, pandas as pd"
        if len(str(row)) > 700:
            code = ['frame = pd.read_csv("rows.csv")  # the raw columns', "print(model.predict(frame))"]
    lines = [
        imports,
        f'mlflow.set_tracking_uri("{making.mlflow_url}")',
        f'model = mlflow.pyfunc.load_model("models:/{contract["pipeline"]}/{NUMBER}")',
        *code,
    ]
    return AFTER_GATE.strip() + "\n\n```python\n" + "\n".join(lines) + "\n```"


def _limits(contract: Mapping[str, Any], making: Making) -> str:
    profile = making.profile
    few = [name for name, count in profile["labels"].items() if count < FEW]
    lines = [
        "- It knows its labels alone, and data like those of its source: other cameras, places or years may be harder.",
        f"- The holdout has {contract['metrics']['holdout_size']} examples of the same source; mind the intervals.",
    ]
    if few:
        lines.append(f"- Under {FEW} examples: {_listed(few)}. Little is known of these.")
    if contract["kind"] == "image":
        view = picture_view(contract["features"])
        how = "the largest square in the middle of a picture" if view.square else "a picture squeezed to a square"
        part = f"the middle {view.centre:.1%} of " if view.centre < 1 else ""
        lines.append(f"- It sees {part}{how}, as {view.size} x {view.size} points: what is small, or outside, is lost.")
    if profile["conflicting_labels"]:
        lines.append("- Some equal examples have different labels: no model can have all of them right.")
    lines.append("- `unknown` is a guess too: it misses some of what is of no label.")
    return "## Limits\n\n" + "\n".join(lines)


def _interval(one: Mapping[str, float], digits: int = 4) -> str:
    return f"{one['low']:.{digits}f} to {one['high']:.{digits}f}"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return _cut(text.replace("|", "\\|").replace("\n", " "), LONGEST)


def _listed(names: list[str] | tuple[str, ...], most: int = 10) -> str:
    shown = ", ".join(_cell(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: max(0, limit - 1)]}…"
