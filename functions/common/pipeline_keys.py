"""The keys a pipeline file may have, and what is wrong with one: pure, so that every mistake is told at once."""

from __future__ import annotations

import re
from typing import Any

from common.errors import FieldError

NUMBER = (int, float)
# key -> accepted types; a key not listed here is a mistake, most often a misspelt one.
TOP = {
    "name": str,
    "kind": str,
    "title": dict,
    "source": dict,
    "columns": list,
    "target": dict,
    "trigger": dict,
    "train": dict,
    "gate": dict,
}
SECTIONS: dict[str, dict[str, Any]] = {
    "title": {"en": str, "es": str},
    "source": {
        "type": str,
        "url": str,
        "path": str,
        "params": dict,
        "batches": int,
        "samples_per_batch": int,
        "examples_per_fetch": int,
        "min_interval_s": NUMBER,
    },
    "target": {"column": str, "labels": list},
    "trigger": {"new_examples": int},
    "train": {"budget_s": NUMBER, "seed": int, "image_size": int, "backbone": str, "weights": (dict, str)},
    "gate": {"metric": str, "floor": NUMBER, "min_gain": NUMBER},
}
COLUMN = {
    "name": str,
    "type": str,
    "unit": str,
    "min": NUMBER,
    "max": NUMBER,
    "cyclic": NUMBER,
    "values": list,
    "title": dict,
}
LABEL = {"value": str, "en": str, "es": str, "folders": list}
WEIGHTS = {"path": str, "sha256": str}
# What a network for pictures begins from: one whose weights are installed with train, those of keras.applications that
# train/fit/backbones.py builds, or nothing.
INSTALLED, NOTHING = "efficientnet_lite0", "none"
BACKBONES = (INSTALLED, "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_v2_b0", "resnet50", NOTHING)
IMAGENET = "imagenet"
SCHEMES = ("http://", "https://", "s3://")
RESERVED = ("openapi.json", "metrics", "healthz", "readyz")
NAME = re.compile(r"^[a-z][a-z0-9-]{0,40}$")
SHA256 = re.compile(r"^[0-9a-fA-F]{64}$")
POSITIVE = (
    ("source", "batches"),
    ("source", "samples_per_batch"),
    ("source", "examples_per_fetch"),
    ("trigger", "new_examples"),
    ("train", "budget_s"),
)


def _typed(where: str, raw: Any, keys: dict[str, Any]) -> list[FieldError]:
    if not isinstance(raw, dict):
        return [FieldError(where, "must be a table")]
    found = []
    prefix = f"{where}." if where else ""
    for key, value in raw.items():
        if key not in keys:
            found.append(FieldError(prefix + key, f"unknown key; known are: {', '.join(keys)}"))
        elif not isinstance(value, keys[key]) or isinstance(value, bool):
            wanted = keys[key] if isinstance(keys[key], tuple) else (keys[key],)
            found.append(FieldError(prefix + key, f"must be {' or '.join(one.__name__ for one in wanted)}"))
    return found


def _choice(where: str, value: Any, choices: tuple[str, ...]) -> list[FieldError]:
    return [] if value in choices else [FieldError(where, f"must be one of {', '.join(choices)}")]


def check(raw: dict[str, Any], stem: str) -> list[FieldError]:
    """Every mistake of a parsed pipeline file whose file name is `stem`.toml; none: the file can be used."""
    found = _typed("", raw, TOP)
    for section, keys in SECTIONS.items():
        if section in raw:
            found += _typed(section, raw[section], keys)
    found += [FieldError(key, "missing") for key in ("name", "kind", "title", "source", "target") if key not in raw]
    if found:
        return found
    if raw["name"] != stem:
        found.append(FieldError("name", f"must be the file's name, {stem!r}"))
    if not NAME.match(raw["name"]) or raw["name"] in RESERVED:
        found.append(FieldError("name", "must be lower-case letters, digits and '-', and no address of ours"))
    if "en" not in raw["title"]:
        found.append(FieldError("title.en", "missing"))
    found += _choice("kind", raw["kind"], ("image", "tabular"))
    for section, key in POSITIVE:
        if raw.get(section, {}).get(key, 1) <= 0:
            found.append(FieldError(f"{section}.{key}", "must be above 0"))
    if not 32 <= raw.get("train", {}).get("image_size", 160) <= 512:
        found.append(FieldError("train.image_size", "must be from 32 to 512"))
    if raw.get("source", {}).get("min_interval_s", 0) < 0:
        found.append(FieldError("source.min_interval_s", "must not be below 0"))
    found += _choice("gate.metric", raw.get("gate", {}).get("metric", "macro_f1"), ("accuracy", "macro_f1"))
    found += _source(raw["source"], raw["kind"]) + _columns(raw) + _labels(raw["target"], raw["kind"])
    found += _beginning(raw.get("train", {}), raw["kind"])
    return found


def _source(source: dict[str, Any], kind: str) -> list[FieldError]:
    types = ("images",) if kind == "image" else ("batch-api", "table")
    found = _choice("source.type", source.get("type"), types)
    place = "url" if source.get("type") == "batch-api" else "path"
    if not source.get(place):
        found.append(FieldError(f"source.{place}", "missing"))
    if source.get("type") == "batch-api" and "batches" not in source:
        found.append(FieldError("source.batches", "missing: how many batches make the collection complete"))
    if not all(isinstance(value, str) for value in source.get("params", {}).values()):
        found.append(FieldError("source.params", "every value must be a string"))
    return found


def _beginning(train: dict[str, Any], kind: str) -> list[FieldError]:
    """What a network for pictures begins from: a backbone and its weights."""
    if kind == "tabular":
        why = "for pictures: a pipeline of kind tabular has none"
        keys = ("image_size", "backbone", "weights")
        return [FieldError(f"train.{key}", why) for key in keys if key in train]
    backbone, weights = train.get("backbone", INSTALLED), train.get("weights")
    found = _choice("train.backbone", backbone, BACKBONES)
    if weights is None or (weights == IMAGENET and backbone != NOTHING):
        return found
    if backbone == NOTHING:
        return [FieldError("train.weights", 'not with backbone = "none", which begins from nothing')]
    if isinstance(weights, str):
        return [*found, FieldError("train.weights", f'must be "{IMAGENET}", or a path and a sha256')]
    if backbone == INSTALLED:
        return [FieldError("train.weights", f"not with {INSTALLED}, whose weights are installed: leave them out")]
    wrong = _typed("train.weights", weights, WEIGHTS)
    found += wrong + [FieldError(f"train.weights.{key}", "missing") for key in WEIGHTS if key not in weights]
    return found if wrong else found + _weights(weights)


def _weights(weights: dict[str, str]) -> list[FieldError]:
    found = []
    path = weights.get("path", ".")
    if "${" in path:
        told = "is read as it stands: ${NAME} is put in for the source alone"
        found.append(FieldError("train.weights.path", told))
    elif not path or ("://" in path and not path.startswith(SCHEMES)):
        told = f"must be the path of a file, or begin with {', '.join(SCHEMES)}"
        found.append(FieldError("train.weights.path", told))
    if not SHA256.match(weights.get("sha256", "0" * 64)):
        found.append(FieldError("train.weights.sha256", "must be 64 hexadecimal digits, as `sha256sum FILE` prints"))
    return found


def _columns(raw: dict[str, Any]) -> list[FieldError]:
    columns = raw.get("columns", [])
    if raw["kind"] == "image":
        return [FieldError("columns", "a pipeline of kind image has none")] if columns else []
    if not columns:
        return [FieldError("columns", "missing: a tabular pipeline lists its columns")]
    found: list[FieldError] = []
    names: list[str] = []
    for number, column in enumerate(columns):
        where = f"columns[{number}]"
        wrong = _typed(where, column, COLUMN)
        wrong += [
            FieldError(f"{where}.{key}", "missing") for key in ("name", "type") if not wrong and key not in column
        ]
        if not wrong:
            wrong = _column(where, column, names)
            names.append(column["name"])
        found += wrong
    target = raw["target"].get("column")
    if not found and names == [target]:
        found.append(FieldError("columns", "must hold one beside the target at least"))
    if not found and target not in names:
        found.append(FieldError("target.column", f"must be one of the columns, not {target!r}"))
    return found


def _column(where: str, column: dict[str, Any], names: list[str]) -> list[FieldError]:
    found = _choice(f"{where}.type", column["type"], ("number", "category"))
    found += _typed(f"{where}.title", column.get("title", {}), SECTIONS["title"])
    if column["name"] in names:
        found.append(FieldError(f"{where}.name", f"{column['name']!r} is there twice"))
    wrong_keys = ("min", "max", "cyclic", "unit") if column["type"] == "category" else ("values",)
    found += [FieldError(f"{where}.{key}", f"not for a {column['type']}") for key in wrong_keys if key in column]
    if column.get("min", 0) > column.get("max", column.get("min", 0)):
        found.append(FieldError(f"{where}.min", "above max"))
    if column.get("cyclic", 1) <= 0:
        found.append(FieldError(f"{where}.cyclic", "must be above 0"))
    if not all(isinstance(value, str) for value in column.get("values", [])):
        found.append(FieldError(f"{where}.values", "every value must be a string"))
    return found


def _labels(target: dict[str, Any], kind: str) -> list[FieldError]:
    labels = target.get("labels", [])
    found: list[FieldError] = []
    for number, label in enumerate(labels):
        found += _typed(f"target.labels[{number}]", label, LABEL)
        if isinstance(label, dict) and "value" not in label:
            found.append(FieldError(f"target.labels[{number}].value", "missing"))
    values = [str(label.get("value")) for label in labels if isinstance(label, dict)]
    if len(values) < 2 or len(set(values)) != len(values):
        found.append(FieldError("target.labels", "must list two labels or more, each value once"))
    return found or _folders(labels, kind)


def _folders(labels: list[dict[str, Any]], kind: str) -> list[FieldError]:
    """Further names of the folders that a label's pictures are in; case counts for nothing."""
    found: list[FieldError] = []
    taken = {label["value"].casefold(): label["value"] for label in labels}
    for number, label in enumerate(labels):
        where = f"target.labels[{number}].folders"
        if "folders" in label and kind != "image":
            found.append(FieldError(where, "for pictures: a pipeline of kind tabular has none"))
        for name in label.get("folders", []):
            if not isinstance(name, str) or not name or "/" in name:
                found.append(FieldError(where, "every one must be the name of a folder"))
            elif taken.setdefault(name.casefold(), label["value"]) != label["value"]:
                found.append(FieldError(where, f"{name!r} is a folder of {taken[name.casefold()]!r}"))
    return found
