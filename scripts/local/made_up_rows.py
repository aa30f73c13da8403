"""Made-up rows in the form of the covertype data: plausible, but of no real place."""

import csv
import gzip
from pathlib import Path

import numpy as np

COLUMNS = [
    "Elevation",
    "Aspect",
    "Slope",
    "Horizontal_Distance_To_Hydrology",
    "Vertical_Distance_To_Hydrology",
    "Horizontal_Distance_To_Roadways",
    "Hillshade_9am",
    "Hillshade_Noon",
    "Hillshade_3pm",
    "Horizontal_Distance_To_Fire_Points",
    "Wilderness_Area",
    "Soil_Type",
    "Cover_Type",
]

# Share of the rows, mean and spread of the elevation in metres.
AREAS = {
    "Rawah": (0.42, 2950, 190),
    "Commanche": (0.40, 3010, 230),
    "Neota": (0.06, 3200, 120),
    "Cache": (0.12, 2270, 190),
}

# The first digit of a soil is its climatic zone (2 lower montane ... 8 alpine).
SOILS = [
    "C2702", "C2703", "C2704", "C2705", "C2706", "C2717", "C3501", "C3502", "C4201", "C4703",
    "C4704", "C4744", "C4758", "C5101", "C6101", "C6102", "C6731", "C7101", "C7102", "C7103",
    "C7201", "C7202", "C7700", "C7701", "C7702", "C7709", "C7710", "C7745", "C7746", "C7755",
    "C7756", "C7757", "C7790", "C8703", "C8707", "C8708", "C8771", "C8772", "C8776",
]  # fmt: skip
ZONE_ELEVATION = {"2": 2250, "3": 2400, "4": 2620, "5": 2700, "6": 2750, "7": 3000, "8": 3400}

# For each cover the best elevation and its spread in metres, and how common it is (log).
COVERS = [
    (3165, 150, 0.15),
    (2880, 180, 0.2),
    (2400, 170, 0.1),
    (2110, 100, 0.2),
    (2740, 70, -0.5),
    (2500, 130, -0.1),
    (3450, 110, 0.0),
]
# Log weight of each cover in an area, in the order of COVERS.
AREA_WEIGHT = {
    "Rawah": (0.0, 0.6, -3.0, -5.0, 0.6, -3.0, -0.3),
    "Commanche": (0.1, 0.0, 0.5, -3.0, 0.4, 0.3, 0.3),
    "Neota": (0.8, -0.8, -5.0, -5.0, -3.0, -5.0, 0.0),
    "Cache": (-5.0, -1.0, 0.6, 0.6, -3.0, 0.6, -5.0),
}
CERTAINTY = 4.0  # how strongly the features determine the cover; higher is easier to learn
SUNS = [(58, 112), (67, 180), (35, 252)]  # height and azimuth of the sun at 9, 12 and 15 h, in degrees


def made_up_rows(count: int, seed: int = 0) -> list[list[str]]:
    """Rows in the order of COLUMNS, all text; the same seed gives the same rows."""
    rng = np.random.default_rng(seed)
    shares, means, spreads = np.array(list(AREAS.values())).T
    area = rng.choice(len(AREAS), size=count, p=shares)
    elevation = np.clip(rng.normal(means[area], spreads[area]), 1876, 3848).round()
    aspect = (rng.normal(60, 95, count) % 360).round()
    slope = np.minimum(rng.gamma(3.6, 3.9, count), 57).round()
    hydrology = np.minimum(rng.gamma(1.5, 180, count), 1358).round()
    climb = hydrology * np.tan(np.radians(slope)) * rng.normal(0.55, 0.6, count)
    vertical = np.clip(climb, -166, 597).round()
    roads = np.minimum(rng.gamma(2.3, 1020, count), 7097).round()
    fire = np.minimum(rng.gamma(2.2, 900, count), 7140).round()
    soil = _soils(rng, elevation, area)
    shades = [_hillshade(aspect, slope, *sun) for sun in SUNS]
    cover = _covers(rng, elevation, aspect, slope, hydrology, roads, fire, area, soil)
    numbers = [elevation, aspect, slope, hydrology, vertical, roads, *shades, fire]
    columns = [np.char.mod("%d", column.astype(int)) for column in numbers]
    columns += [np.array(list(AREAS))[area], np.array(SOILS)[soil], np.char.mod("%d", cover)]
    return np.stack(columns, axis=1).tolist()


def _hillshade(aspect: np.ndarray, slope: np.ndarray, height: float, azimuth: float) -> np.ndarray:
    """Light on a slope, 0 to 254: the cosine of the angle between its normal and the sun."""
    tilt, zenith = np.radians(slope), np.radians(90 - height)
    turn = np.radians(azimuth - aspect)
    light = np.cos(zenith) * np.cos(tilt) + np.sin(zenith) * np.sin(tilt) * np.cos(turn)
    return np.clip(255 * light, 0, 254).round()


def _draw(rng: np.random.Generator, scores: np.ndarray) -> np.ndarray:
    """One choice per row with softmax probabilities (the Gumbel trick)."""
    return (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)


def _soils(rng: np.random.Generator, elevation: np.ndarray, area: np.ndarray) -> np.ndarray:
    """The index of a soil for each row: from a zone near the elevation; some are more common in an area."""
    rules = np.random.default_rng(1905)  # the rules of the made-up world are the same for every seed
    typical = np.array([ZONE_ELEVATION[code[1]] for code in SOILS]) + rules.normal(0, 60, len(SOILS))
    common = rules.normal(0, 1.2, (len(AREAS), len(SOILS)))
    return _draw(rng, common[area] - ((elevation[:, None] - typical) / 130) ** 2 / 2)


def _covers(
    rng: np.random.Generator,
    elevation: np.ndarray,
    aspect: np.ndarray,
    slope: np.ndarray,
    hydrology: np.ndarray,
    roads: np.ndarray,
    fire: np.ndarray,
    area: np.ndarray,
    soil: np.ndarray,
) -> np.ndarray:
    """The label of each row: mostly determined by the features, partly by chance."""
    rules = np.random.default_rng(1959)
    best, spread, common = np.array(COVERS).T
    # north slopes and places near water are as cold as higher places
    north = np.cos(np.radians(aspect)) * np.minimum(slope, 30) / 30
    felt = elevation + 60 * north - 0.06 * np.minimum(hydrology, 600)
    scores = common - ((felt[:, None] - best) / spread) ** 2 / 2
    scores += np.array(list(AREA_WEIGHT.values()))[area]
    scores += rules.normal(0, 0.6, (len(SOILS), len(COVERS)))[soil]
    scores[:, 1] += 0.25 * (fire < 1500) - 0.25 * (fire > 3500)  # lodgepole pine returns after fires
    scores[:, 0] += 0.2 * (roads > 3000)
    scores[:, 3] += 0.5 * (hydrology < 100)
    return _draw(rng, CERTAINTY * scores)


def read_rows(path: Path | str) -> list[list[str]]:
    """The rows of a CSV or CSV.gz with the header COLUMNS. Raises ValueError, naming the difference."""
    path = Path(path)
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if header != COLUMNS:
            raise ValueError(f"{path}: {_header_difference(header)}")
        rows = []
        for row in reader:
            if len(row) != len(COLUMNS):
                raise ValueError(f"{path}, line {reader.line_num}: {len(row)} columns, not {len(COLUMNS)}")
            rows.append(row)
    return rows


def _header_difference(header: list[str]) -> str:
    if not header:
        return "the file is empty: it has no header"
    missing = [name for name in COLUMNS if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    parts = []
    if missing:
        parts.append(f"missing columns: {', '.join(missing)}")
    if unknown:
        parts.append(f"unknown columns: {', '.join(unknown)}")
    if not parts:
        parts.append("the columns are not in the expected order, or repeated")
    return "; ".join(parts) + f" (expected: {','.join(COLUMNS)})"
