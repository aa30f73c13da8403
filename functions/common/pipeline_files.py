"""Reads pipeline files. Every mistake of every file is reported, each with its key.

The checks of a single key are in pipelines.py; here are the checks between keys.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from common.documents import field_path
from common.errors import FieldError, WrongSettings
from common.pipelines import (
    FROM_SCRATCH,
    INSTALLED,
    SOURCE_TYPES,
    Column,
    Gate,
    Label,
    Pipeline,
    PipelineHead,
    Source,
    Target,
    Title,
    Train,
    Trigger,
    Weights,
    folder_name,
)

UNION_MEMBERS = ("file", "published", "int", "float")
ONLY_FOR = {"number": ("min", "max", "cyclic", "unit"), "category": ("values",)}
TABLES: dict[str, type[BaseModel]] = {
    "title": Title,
    "source": Source,
    "columns": Column,
    "target": Target,
    "labels": Label,
    "trigger": Trigger,
    "train": Train,
    "weights": Weights,
    "gate": Gate,
}
P = TypeVar("P", bound=PipelineHead)


def read_pipelines(folder: Path) -> dict[str, Pipeline]:
    """All pipelines of a folder by name. Raises WrongSettings with every mistake of every file, each with its key."""
    return _read_folder(folder, Pipeline)


def read_pipeline_heads(folder: Path) -> dict[str, PipelineHead]:
    """The same, of each file only what classify needs."""
    return _read_folder(folder, PipelineHead)


def parse_pipeline(raw: Mapping[str, Any], name: str) -> Pipeline:
    """A pipeline from a parsed file NAME.toml. Raises WrongSettings with every mistake."""
    pipeline, errors = _parse(raw, name, Pipeline)
    if pipeline is None:
        raise WrongSettings("The pipeline file", errors)
    return pipeline


def _read_folder(folder: Path, kind: type[P]) -> dict[str, P]:
    pipelines: dict[str, P] = {}
    errors: list[FieldError] = []
    files = sorted(folder.glob("*.toml"))
    if not files:
        errors.append(FieldError(str(folder), "holds no pipeline file (NAME.toml)"))
    for file in files:
        try:
            raw = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            errors.append(FieldError(file.name, f"not a TOML file: {error}"))
            continue
        pipeline, wrong = _parse(raw, file.stem, kind)
        errors += [FieldError(f"{file.name}: {error.field}", error.detail) for error in wrong]
        if pipeline is not None:
            pipelines[file.stem] = pipeline
    if errors:
        raise WrongSettings("The pipeline files", errors)
    return pipelines


def _parse(raw: Mapping[str, Any], name: str, kind: type[P]) -> tuple[P | None, list[FieldError]]:
    """The pipeline, or every mistake."""
    errors = [] if raw.get("name", name) == name else [FieldError("name", f"must be the file's name, {name!r}")]
    try:
        pipeline = kind.model_validate(raw)
    except ValidationError as error:
        return None, errors + _described(error)
    if isinstance(pipeline, Pipeline):
        errors += contradictions(pipeline)
    return (None, errors) if errors else (pipeline, [])


def contradictions(pipeline: Pipeline) -> list[FieldError]:
    """Keys that are valid alone but contradict each other."""
    errors = _source(pipeline) + _labels(pipeline)
    return errors + (_picture_keys(pipeline) if pipeline.kind == "image" else _tabular_keys(pipeline))


def _source(pipeline: Pipeline) -> list[FieldError]:
    source, allowed = pipeline.source, SOURCE_TYPES[pipeline.kind]
    errors = [] if source.type in allowed else [FieldError("source.type", f"must be one of {', '.join(allowed)}")]
    place = "url" if source.type == "batch-api" else "path"
    if not getattr(source, place):
        errors.append(FieldError(f"source.{place}", "missing"))
    if source.type == "batch-api" and source.batches is None:
        errors.append(FieldError("source.batches", "missing: how many batches make the collection complete"))
    return errors


def _labels(pipeline: Pipeline) -> list[FieldError]:
    values = pipeline.label_values
    if len(set(values)) != len(values):
        return [FieldError("target.labels", "must list each value once")]
    return []


def _picture_keys(pipeline: Pipeline) -> list[FieldError]:
    errors = [FieldError("columns", "a pipeline of kind image has none")] if pipeline.columns else []
    train, weights = pipeline.train, pipeline.train.weights
    if train.backbone == FROM_SCRATCH and weights is not None:
        errors.append(FieldError("train.weights", 'not with backbone = "none", which trains from scratch'))
    elif train.backbone == INSTALLED and isinstance(weights, Weights):
        errors.append(FieldError("train.weights", f"not with {INSTALLED}, whose weights are installed: leave it out"))
    owners = {label.value.casefold(): label.value for label in pipeline.labels}
    for number, label in enumerate(pipeline.labels):
        where = f"target.labels[{number}]"
        try:
            folder_name(label.value)
        except ValueError as error:
            errors.append(FieldError(f"{where}.value", str(error)))
        for folder in label.folders:
            owner = owners.setdefault(folder.casefold(), label.value)
            if owner != label.value:
                errors.append(FieldError(f"{where}.folders", f"{folder!r} is a folder of {owner!r}"))
    return errors


def _tabular_keys(pipeline: Pipeline) -> list[FieldError]:
    only_pictures = "for pictures: a pipeline of kind tabular has none"
    keys = [f"train.{key}" for key in ("image_size", "backbone", "weights") if getattr(pipeline.train, key) is not None]
    keys += [f"target.labels[{number}].folders" for number, label in enumerate(pipeline.labels) if label.folders]
    errors = [FieldError(key, only_pictures) for key in keys]
    if not pipeline.columns:
        return [*errors, FieldError("columns", "missing: a tabular pipeline lists its columns")]
    names: list[str] = []
    for number, column in enumerate(pipeline.columns):
        errors += _column(f"columns[{number}]", column, names)
        names.append(column.name)
    target = pipeline.target.column
    if names == [target]:
        errors.append(FieldError("columns", "must list at least one column besides the target"))
    if target not in names:
        errors.append(FieldError("target.column", f"must be one of the columns, not {target!r}"))
    return errors


def _column(where: str, column: Column, names: list[str]) -> list[FieldError]:
    other = "category" if column.type == "number" else "number"
    errors = [
        FieldError(f"{where}.{key}", f"not for a {column.type}")
        for key in ONLY_FOR[other]
        if getattr(column, key) is not None
    ]
    if column.name in names:
        errors.append(FieldError(f"{where}.name", f"{column.name!r} is listed twice"))
    if column.min is not None and column.max is not None and column.min > column.max:
        errors.append(FieldError(f"{where}.min", "above max"))
    return errors


def _described(error: ValidationError) -> list[FieldError]:
    """pydantic's errors in the words of a pipeline file, one per key."""
    details: dict[str, str] = {}
    for one in error.errors():
        # A union adds the name of the member that it tried.
        if one["type"] == "default_factory_not_called":  # follows from another mistake
            continue
        location = tuple(part for part in one["loc"] if part not in UNION_MEMBERS)
        detail = one["msg"].removeprefix("Value error, ").replace("Input should", "must")
        if one["type"] == "extra_forbidden":
            detail = f"unknown key; known are: {', '.join(_known_keys(location))}"
        elif one["type"] in ("missing", "model_type"):
            detail = "missing" if one["type"] == "missing" else "must be a table"
        elif one["loc"][-1] in ("int", "float"):
            detail = "must be a number"
        details.setdefault(field_path(location), detail)
    return [FieldError(path, detail) for path, detail in details.items()]


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the table that holds this one."""
    tables = [part for part in location[:-1] if isinstance(part, str)]
    return list((TABLES[tables[-1]] if tables else Pipeline).model_fields)
