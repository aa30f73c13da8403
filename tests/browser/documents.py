"""What the stand-in gateway answers: documents of the shapes in functions/schemas."""

from copy import deepcopy
from typing import Any

Document = dict[str, Any]

PETS_TITLE = {"en": "Cats and dogs", "es": "Gatos y perros"}
COVER_TITLE = {"en": "Forest cover", "es": "Cobertura forestal"}
EMPTY_TITLE = {"en": "Mushrooms", "es": "Setas"}
PET_LABELS = [{"value": "cat", "en": "Cat", "es": "Gato"}, {"value": "dog", "en": "Dog", "es": "Perro"}]
COVER_LABELS = [
    {"value": "0", "en": "Spruce/Fir", "es": "Pícea y abeto"},
    {"value": "1", "en": "Lodgepole pine", "es": "Pino contorto"},
    {"value": "2", "en": "Ponderosa pine", "es": "Pino ponderosa"},
    {"value": "3", "en": "Cottonwood/Willow", "es": "Álamo y sauce"},
    {"value": "4", "en": "Aspen", "es": "Álamo temblón"},
    {"value": "5", "en": "Douglas fir", "es": "Abeto de Douglas"},
    {"value": "6", "en": "Krummholz", "es": "Krummholz"},
]
MAX_BYTES = 200_000


def number(en: str, es: str, **more: Any) -> Document:
    return {"type": "number", "title": {"en": en, "es": es}, **more}


COLUMNS: Document = {
    "Elevation": number("Elevation", "Elevación", unit="m", minimum=0, maximum=5000, examples=[2596, 3010.5]),
    "Aspect": number(
        "Aspect", "Orientación", unit="°", minimum=0, maximum=360, examples=[51, 120], **{"x-cyclic": 360}
    ),
    "Slope": number("Slope", "Pendiente", unit="°", minimum=0, maximum=90, examples=[3, 17]),
    "Hydrology": number("Vertical distance to water", "Distancia vertical al agua", unit="m", examples=[-6, 42]),
    "Fire": number("Distance to fire points", "Distancia a puntos de incendio", unit="m", minimum=0),
    "Wilderness_Area": {
        "type": "string",
        "title": {"en": "Wilderness area", "es": "Área silvestre"},
        "enum": ["Rawah", "Neota", "Commanche", "Cache"],
        "examples": ["Rawah", "Neota"],
    },
    "Soil_Type": {
        "type": "string",
        "title": {"en": "Soil type", "es": "Tipo de suelo"},
        "x-known": ["C7745", "C4758", "C7756"],
        "examples": ["C7745", "C4758"],
    },
}


def interval(value: float, width: float = 0.02) -> Document:
    return {"value": value, "low": round(value - width, 4), "high": round(value + width, 4)}


def index() -> Document:
    rows = [
        ("pets", "image", PETS_TITLE, "3"),
        ("covertype", "tabular", COVER_TITLE, "12"),
        ("mushrooms", "tabular", EMPTY_TITLE, None),
    ]
    listed = [
        {"name": name, "kind": kind, "title": title, "ready": version is not None, "version": version}
        for name, kind, title, version in rows
    ]
    return {"pipelines": listed, "request_id": "r-index"}


def card(pipeline: str) -> Document:
    if pipeline == "pets":
        types = ["image/jpeg", "image/png", "image/webp"]
        taken: Document = {"kind": "image", "content_types": types, "max_bytes": MAX_BYTES}
        title, labels, version, accuracy = PETS_TITLE, PET_LABELS, "3", 0.962
    else:
        required = [name for name in COLUMNS if name != "Fire"]
        schema = {
            "type": "object",
            "properties": deepcopy(COLUMNS),  # a test may change its own card
            "required": required,
            "additionalProperties": False,
        }
        taken = {"kind": "tabular", "schema": schema}
        title, labels, version, accuracy = COVER_TITLE, COVER_LABELS, "12", 0.801
    return {
        "pipeline": pipeline,
        "kind": taken["kind"],
        "title": title,
        "model": {"name": pipeline, "version": version},
        "labels": labels,
        "input": taken,
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
            {"label": one["value"], "support": 350, "precision": interval(0.77), "recall": interval(0.74)}
            for one in labels
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
        label, shares, version = PET_LABELS[0], {"dog": 0.019, "cat": 0.981}, "3"
    else:
        label, version = COVER_LABELS[1], "12"
        shares = {"0": 0.21, "1": 0.64, "2": 0.01, "3": 0.0, "4": 0.1, "5": 0.03, "6": 0.01}
    return {
        "pipeline": pipeline,
        "model": {"name": pipeline, "version": version},
        "predictions": [
            {
                "label": label["value"],
                "title": {"en": label["en"], "es": label["es"]},
                "status": "sure" if pipeline == "pets" else "uncertain",
                "confidence": max(shares.values()),
                "probabilities": shares,
            }
        ],
        "request_id": "r-7f3a",
    }


REGION = [0.0, 0.0, 1.0, 1.0]
HEAT = [
    [0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.3, 0.6, 0.0, 0.0],
    [0.0, 0.6, 1.0, 0.4, 0.0],
    [0.0, 0.1, 0.4, 0.2, 0.0],
]


def effect(column: str, value: float | str, typical: float | str, share: float) -> Document:
    return {"column": column, "value": value, "typical": typical, "effect": share}


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
        return {"kind": "heatmap", "label": "cat", "values": [list(row) for row in HEAT], "region": list(REGION)}
    return {"kind": "effects", "label": "1", "effects": [dict(one) for one in EFFECTS]}


def explained(answer: Document, explanation: Document) -> Document:
    """The answer as `?explain=1` gives it."""
    return answer | {"predictions": [one | {"explanation": explanation} for one in answer["predictions"]]}


# What classify says with each status, in the pages' tests.
KINDS = {
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
        "type": f"urn:sabueso:problem:{KINDS[status]}",
        "status": status,
        "title": "Problem",
        "detail": detail,
        "request_id": "r-problem",
        "errors": errors or [],
    }
