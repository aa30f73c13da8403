"""Answers of the fake gateway, valid against functions/schemas."""

from copy import deepcopy
from typing import Any

Document = dict[str, Any]

PETS_TITLE = {"en": "Cats and dogs", "es": "Gatos y perros"}
COVERTYPE_TITLE = {"en": "Forest cover", "es": "Cobertura forestal"}
MUSHROOMS_TITLE = {"en": "Mushrooms", "es": "Setas"}
PETS_LABELS = [{"value": "cat", "en": "Cat", "es": "Gato"}, {"value": "dog", "en": "Dog", "es": "Perro"}]
COVERTYPE_LABELS = [
    {"value": "0", "en": "Spruce/Fir", "es": "Pícea y abeto"},
    {"value": "1", "en": "Lodgepole pine", "es": "Pino contorto"},
    {"value": "2", "en": "Ponderosa pine", "es": "Pino ponderosa"},
    {"value": "3", "en": "Cottonwood/Willow", "es": "Álamo y sauce"},
    {"value": "4", "en": "Aspen", "es": "Álamo temblón"},
    {"value": "5", "en": "Douglas fir", "es": "Abeto de Douglas"},
    {"value": "6", "en": "Krummholz", "es": "Krummholz"},
]
MAX_BYTES = 200_000


def number_column(en: str, es: str, **keys: Any) -> Document:
    return {"type": "number", "x-title": {"en": en, "es": es}, **keys}


COLUMNS: Document = {
    "Elevation": number_column("Elevation", "Elevación", unit="m", minimum=0, maximum=5000, examples=[2596, 3010.5]),
    "Aspect": number_column(
        "Aspect", "Orientación", unit="°", minimum=0, maximum=360, examples=[51, 120], **{"x-cyclic": 360}
    ),
    "Slope": number_column("Slope", "Pendiente", unit="°", minimum=0, maximum=90, examples=[3, 17]),
    "Hydrology": number_column("Vertical distance to water", "Distancia vertical al agua", unit="m", examples=[-6, 42]),
    "Fire": number_column("Distance to fire points", "Distancia a puntos de incendio", unit="m", minimum=0),
    "Wilderness_Area": {
        "type": "string",
        "x-title": {"en": "Wilderness area", "es": "Área silvestre"},
        "enum": ["Rawah", "Neota", "Commanche", "Cache"],
        "examples": ["Rawah", "Neota"],
    },
    "Soil_Type": {
        "type": "string",
        "x-title": {"en": "Soil type", "es": "Tipo de suelo"},
        "x-known": ["C7745", "C4758", "C7756"],
        "examples": ["C7745", "C4758"],
    },
}


def interval(value: float, half_width: float = 0.02) -> Document:
    return {"value": value, "low": round(value - half_width, 4), "high": round(value + half_width, 4)}


def index() -> Document:
    pipelines = [
        ("pets", "image", PETS_TITLE, "3"),
        ("covertype", "tabular", COVERTYPE_TITLE, "12"),
        ("mushrooms", "tabular", MUSHROOMS_TITLE, None),
    ]
    entries = [
        {"name": name, "kind": kind, "title": title, "ready": version is not None, "version": version}
        for name, kind, title, version in pipelines
    ]
    return {"pipelines": entries, "request_id": "r-index"}


def model_card(pipeline: str) -> Document:
    if pipeline == "pets":
        types = ["image/jpeg", "image/png", "image/webp"]
        input_: Document = {"kind": "image", "content_types": types, "max_bytes": MAX_BYTES}
        title, labels, version, accuracy = PETS_TITLE, PETS_LABELS, "3", 0.962
    else:
        required = [name for name in COLUMNS if name != "Fire"]
        schema = {
            "type": "object",
            "properties": deepcopy(COLUMNS),  # tests change their card
            "required": required,
            "additionalProperties": False,
        }
        input_ = {"kind": "tabular", "schema": schema}
        title, labels, version, accuracy = COVERTYPE_TITLE, COVERTYPE_LABELS, "12", 0.801
    return {
        "pipeline": pipeline,
        "kind": input_["kind"],
        "title": title,
        "model": {"name": pipeline, "version": version},
        "labels": labels,
        "input": input_,
        "metrics": {
            "holdout_size": 2453,
            "accuracy": interval(accuracy, 0.011),
            "macro_f1": interval(accuracy - 0.03, 0.014),
            "log_loss": interval(0.312),
            "calibration_error": interval(0.021, 0.006),
            "calibration_error_ideal": interval(0.016, 0.005),
            "sure_share": interval(0.81),
            "sure_error": interval(0.013, 0.005),
            "unknown_share": interval(0.006, 0.003),
        },
        "per_class": [
            {"label": label["value"], "support": 350, "precision": interval(0.77), "recall": interval(0.74)}
            for label in labels
        ],
        "thresholds": {"sure": 0.72, "error": 0.02, "novelty": 11.5},
        "trained_at": "2026-03-02T12:30:00Z",
        "snapshot": "c0ffee" + "0" * 58,
        "examples": 12265,
        "made_up": pipeline == "pets",
        "stale_since": None,
        "request_id": "r-card",
    }


def predictions(pipeline: str) -> Document:
    if pipeline == "pets":
        label, probabilities, version = PETS_LABELS[0], {"dog": 0.019, "cat": 0.981}, "3"
    else:
        label, version = COVERTYPE_LABELS[1], "12"
        probabilities = {"0": 0.21, "1": 0.64, "2": 0.01, "3": 0.0, "4": 0.1, "5": 0.03, "6": 0.01}
    return {
        "pipeline": pipeline,
        "model": {"name": pipeline, "version": version},
        "predictions": [
            {
                "label": label["value"],
                "title": {"en": label["en"], "es": label["es"]},
                "status": "sure" if pipeline == "pets" else "uncertain",
                "confidence": max(probabilities.values()),
                "probabilities": probabilities,
            }
        ],
        "request_id": "r-7f3a",
    }


WHOLE_PICTURE = [0.0, 0.0, 1.0, 1.0]
HEATMAP_VALUES = [
    [0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.3, 0.6, 0.0, 0.0],
    [0.0, 0.6, 1.0, 0.4, 0.0],
    [0.0, 0.1, 0.4, 0.2, 0.0],
]


def effect(column: str, value: float | str, typical: float | str, effect: float) -> Document:
    return {"column": column, "value": value, "typical": typical, "effect": effect}


EFFECTS = [
    effect("Elevation", 2596, 2996.25, 0.312),
    effect("Aspect", 51, 155, -0.0251),
    effect("Slope", 3, 14, 0.0049),
    effect("Hydrology", -6, 46, 0.0),
    effect("Fire", 1200, 1980, -0.0021),
    effect("Wilderness_Area", "Rawah", "Commanche", -0.18),
    effect("Soil_Type", "C7745", "C7756", 0.005),
]


def explanation(pipeline: str) -> Document:
    if pipeline == "pets":
        values = [list(row) for row in HEATMAP_VALUES]
        return {"kind": "heatmap", "label": "cat", "values": values, "region": list(WHOLE_PICTURE)}
    return {"kind": "effects", "label": "1", "effects": [dict(entry) for entry in EFFECTS]}


def explained(answer: Document, explanation: Document) -> Document:
    """The answer to `?explain=1`."""
    predictions = [prediction | {"explanation": explanation} for prediction in answer["predictions"]]
    return answer | {"predictions": predictions}


PROBLEM_KINDS = {
    400: "malformed",
    404: "not-found",
    413: "too-large",
    415: "wrong-type",
    422: "unusable",
    429: "too-many-requests",
    500: "internal",
    503: "no-model",
}


def problem(status: int, detail: str, errors: list[Document] | None = None) -> Document:
    return {
        "type": f"urn:sabueso:problem:{PROBLEM_KINDS[status]}",
        "status": status,
        "title": "Problem",
        "detail": detail,
        "request_id": "r-problem",
        "errors": errors or [],
    }
