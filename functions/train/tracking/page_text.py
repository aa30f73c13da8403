"""The text of a version's page in MLflow, as Markdown: its purpose, metrics, data and limits.

Its metrics are the fields of `Metrics` (common/inference/contract.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.inference.contract import Contract, Interval
from common.inference.pictures import picture_view
from common.json_types import JsonObject
from common.pipelines import Pipeline
from common.storage.dataset import SourceDocument
from train.snapshot import SnapshotProfile

# The longest description that MLflow's database stores, in characters, and the part reserved for the gate's result.
LIMIT, GATE_RESERVE = 5000, 600
NOT_JUDGED = "Not judged yet."
GATE, AFTER_GATE = "## Gate\n\n", "\n\n## Load it"
# Replaced when the version is registered and has its number.
VERSION_PLACEHOLDER = "VERSION"
MIN_LABEL_EXAMPLES = 30
MAX_NAME = 60


@dataclass(frozen=True)
class Origin:
    """What the page shows besides the contract. `how`: the parameters of the training, in order."""

    source: SourceDocument | None
    profile: SnapshotProfile
    how: JsonObject
    mlflow_url: str


def version_page_text(contract: Contract, origin: Origin, limit: int | None = LIMIT) -> str:
    """The page before the gate. With a limit, tables are shortened until the page and the gate's result fit."""
    rows = len(contract.labels)
    while True:
        text = "\n\n".join(
            [
                _purpose(contract),
                _metrics(contract),
                _metrics_by_label(contract, rows),
                _statuses(contract),
                _data(contract, origin, rows),
                _training(contract, origin),
                GATE.strip() + "\n\n" + NOT_JUDGED,
                _loading(contract, origin),
                _limits(contract, origin),
            ]
        )
        if limit is None or len(text) + GATE_RESERVE <= limit:
            return text
        if rows == 0:
            return cut(text, limit - GATE_RESERVE)
        rows = rows * 3 // 4


def about_model(pipeline: Pipeline) -> str:
    """The description of the registered model, for all its versions."""
    inputs = "pictures" if pipeline.kind == "image" else f"rows of {len(pipeline.inputs)} columns"
    return cut(
        f"**{pipeline.title.en}**: classifies {inputs} into {len(pipeline.labels)} labels "
        f"({_listed(pipeline.label_values)}). Trained by Sabueso's pipeline `{pipeline.name}`.\n\n"
        "The version with the alias `champion` serves. The alias moves when a new version passes the gate "
        f"({pipeline.gate.metric} of at least {pipeline.gate.floor:g}, and better than the champion on the same "
        "holdout), or by hand. The page of each version shows its metrics, data and limits; its tags `sabueso.*` hold "
        "the same for programs.",
        LIMIT,
    )


def _purpose(contract: Contract) -> str:
    made_up = "\n\n> **Trained on made-up data**: for demonstration only, not for real use." if contract.made_up else ""
    labels = contract.labels
    names = [f"{label.value} ({label.en})" if label.en != label.value else label.value for label in labels]
    input_name = "a picture" if contract.kind == "image" else f"a row of {len(contract.columns)} columns"
    return (
        f"# {cut(contract.title.en, MAX_NAME)}{made_up}\n\n## What it is for\n\n"
        f"It predicts which of {len(labels)} labels {input_name} has: {_listed(names)}. "
        f"Trained by the pipeline `{contract.pipeline}`, {contract.trained_at[:16].replace('T', ' ')} UTC, "
        f"commit `{contract.git_commit[:12]}`."
    )


def _metrics(contract: Contract) -> str:
    metrics = contract.metrics
    intervals = metrics.intervals()
    rows = [[name.replace("_", " "), f"{metric.value:.4f}", _interval(metric)] for name, metric in intervals.items()]
    intro = f"Measured on {metrics.holdout_size} examples of the holdout, which training did not use."
    return f"## How good it is\n\n{intro}\n\n{_table(['metric', 'value', '95 % interval'], rows)}"


def _metrics_by_label(contract: Contract, limit: int) -> str:
    """All labels, or those with the lowest recall if there are more than `limit`."""
    labels = contract.per_class
    shown = labels if limit >= len(labels) else sorted(labels, key=lambda label: label.recall.value)[:limit]
    rows = [
        [_cell(label.label), str(label.support)]
        + [f"{metric.value:.3f} ({_interval(metric, 2)})" for metric in (label.precision, label.recall)]
        for label in shown
    ]
    note = ""
    if len(shown) < len(labels):
        note = f"\n\n{_shown_labels(len(shown), len(labels))} The run's `per_class.json` lists all."
    if not rows:
        return f"## By label{note}"
    return f"## By label\n\n{_table(['label', 'holdout', 'precision', 'recall'], rows)}{note}"


def _shown_labels(shown: int, count: int) -> str:
    return f"The {shown} of {count} labels with the lowest recall." if shown else f"{count} labels."


def _statuses(contract: Contract) -> str:
    """What the three statuses mean, with this version's thresholds."""
    thresholds = contract.thresholds
    if thresholds.sure >= 1:
        sure = "never: there are too few examples to show how often such answers are wrong."
    else:
        error = thresholds.error
        error_rate = "" if error is None else f"; at most {error:.1%} of them are wrong (with 95 % probability)"
        sure = f"answers with a confidence of {thresholds.sure:.3f} or more{error_rate}."
    lines = [
        f"- `sure`: {sure}",
        "- `uncertain`: any other answer that is not `unknown`; the label is a guess.",
        f"- `unknown`: novelty above {thresholds.novelty:.3g}: unlike the training data, perhaps none of the labels.",
        f"- Probabilities are calibrated with temperature {contract.temperature:.3g}.",
    ]
    return "## What its answers mean\n\nThe thresholds were chosen on unseen examples.\n\n" + "\n".join(lines)


def _data(contract: Contract, origin: Origin, limit: int) -> str:
    profile = origin.profile
    sizes = ", ".join(f"{name} {size}" for name, size in profile.parts.items())
    labels = sorted(profile.labels.items(), key=lambda item: -item[1])
    shown = labels[:limit]
    rest = f" and {len(labels) - len(shown)} more labels" if len(shown) < len(labels) else ""
    balance = ", ".join(f"{_cell(name)} {count / max(1, profile.num_rows):.1%}" for name, count in shown) + rest
    return (
        f"## Data\n\n"
        f"- Snapshot `{contract.snapshot}`: {profile.num_rows} examples of {profile.samples} samples.\n"
        f"- Source: {describe_source(origin.source)}; {'made up' if contract.made_up else 'not made up'}.\n"
        f"- Split, by hash: {sizes}.\n"
        f"- Balance: {balance}.\n"
        f"- Examples with conflicting labels: {profile.conflicting_labels} (the most frequent label counts)."
    )


def describe_source(source: SourceDocument | None) -> str:
    """Type and address of a source."""
    if source is None:
        return "unknown"
    return f"{source.type} `{cut(source.location, 120)}`" if source.location else source.type


def _training(contract: Contract, origin: Origin) -> str:
    params = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in origin.how.items() if value is not None)
    return f"## How it was trained\n\n{cut(params, 600)}. Settings `{contract.settings_fingerprint[:12]}`."


def _loading(contract: Contract, origin: Origin) -> str:
    """Example code that only needs MLflow and the packages that the model lists."""
    if contract.kind == "image":
        code = [
            "pictures = np.zeros((1, 120, 160, 3), dtype=np.uint8)  # any size, RGB",
            "print(model.predict(pictures))",
        ]
        imports = "import mlflow, numpy as np"
    else:
        row = {column.name: column.examples[0] for column in contract.columns}
        code = [f"row = {row}", "print(model.predict(pd.DataFrame([row])))"]
        imports = "import mlflow, pandas as pd"
        if len(str(row)) > 700:
            code = ['frame = pd.read_csv("rows.csv")  # the raw columns', "print(model.predict(frame))"]
    lines = [
        imports,
        f'mlflow.set_tracking_uri("{origin.mlflow_url}")',
        f'model = mlflow.pyfunc.load_model("models:/{contract.pipeline}/{VERSION_PLACEHOLDER}")',
        *code,
    ]
    return AFTER_GATE.strip() + "\n\n```python\n" + "\n".join(lines) + "\n```"


def _limits(contract: Contract, origin: Origin) -> str:
    profile = origin.profile
    rare = [name for name, count in profile.labels.items() if count < MIN_LABEL_EXAMPLES]
    lines = [
        "- It only knows its labels and data like its source: other cameras, places or years may be harder.",
        f"- The holdout has {contract.metrics.holdout_size} examples from the same source; mind the intervals.",
    ]
    if rare:
        lines.append(f"- Fewer than {MIN_LABEL_EXAMPLES} examples: {_listed(rare)}. Their metrics are unreliable.")
    if contract.kind == "image":
        view = picture_view(contract.picture_features)
        region = "the largest central square of a picture" if view.square else "a picture squeezed to a square"
        centre = f"the central {view.centre:.1%} of " if view.centre < 1 else ""
        lines.append(
            f"- It sees {centre}{region}, scaled to {view.size} x {view.size} pixels. "
            "Small details and everything outside are lost."
        )
    if profile.conflicting_labels:
        lines.append("- Some identical examples have different labels: no model can predict all of them.")
    lines.append("- `unknown` is an estimate too: it misses some inputs that have none of the labels.")
    return "## Limits\n\n" + "\n".join(lines)


def _interval(metric: Interval, digits: int = 4) -> str:
    return f"{metric.low:.{digits}f} to {metric.high:.{digits}f}"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return cut(text.replace("|", "\\|").replace("\n", " "), MAX_NAME)


def _listed(names: Sequence[str], limit: int = 10) -> str:
    shown = ", ".join(_cell(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: max(0, limit - 1)]}…"
