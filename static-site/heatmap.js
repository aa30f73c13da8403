import { el } from "./dom.js";
import { formatList, localize, t } from "./language.js";

// From dark and cool to light and warm. Lightness (OKLab) rises in even steps on black, grey and white pictures alike, so
// the order can be seen without the hue.
const COLOUR_RAMP = [[16, 20, 60], [106, 40, 112], [202, 66, 74], [246, 142, 52], [255, 226, 110]];
const OPACITY = 0.58;
const PIXELS_PER_CELL = 32; // the browser scales the canvas to its size on the page
const MAX_CANVAS_PIXELS = 512; // per side
const MAX_HEIGHT_REM = 20;

const PLACES = ["TopLeft", "Top", "TopRight", "Left", "Middle", "Right", "BottomLeft", "Bottom", "BottomRight"];
const STRONG_SHARE = 0.5; // of the strongest cell
const MAX_PLACES = 3;
const WHOLE_PICTURE = [0, 0, 1, 1];
const LEGEND_VALUES = [Array.from({ length: 33 }, (_, step) => step / 32)];

/**
 * A heatmap over the picture. `values`: rows of cells, 0 to 1. `region`: the area that the model sees, as left, top, right and
 * bottom shares of the picture's sides; older versions of classify do not send it. `title()`: the label's title.
 */
export function renderHeatmap({ values, region = WHOLE_PICTURE }, title, picture) {
  if (!values.flat().some((value) => value > 0)) return el("p", {}, () => t("heatmapNone", { title: title() }));
  const description = () => t("heatmapPlaces", { title: title(), places: strongestPlaces(values, region) });
  const canvas = paint(el("canvas", { class: "heatmap", role: "img", "aria-label": description }), values);
  const legend = paint(el("canvas", { class: "heatmap-scale" }), LEGEND_VALUES);
  const caption = () => [t("heatmapCaption", { title: title() }), ...(isWholePicture(region) ? [] : [t("heatmapRegion")])].join(" ");
  return el("figure", {},
    renderFrame(canvas, region, picture),
    el("figcaption", {},
      el("span", {}, caption),
      el("small", { class: "heatmap-legend", "aria-hidden": "true" },
        el("span", {}, () => t("heatmapLess")), legend, el("span", {}, () => t("heatmapMore")))),
    renderToggle(canvas));
}

/** The picture under the canvas, as large as fits; only the canvas if the browser can't show the picture. */
function renderFrame(canvas, [left, top, right, bottom], { url, name, aspectRatio }) {
  if (!(aspectRatio > 0)) return el("div", {}, canvas, el("p", { class: "no-preview" }, () => t("noPreview")));
  const frame = el("div", { class: "heatmap-frame" }, el("img", { src: url, alt: () => t("preview", { name }) }), canvas);
  frame.style.aspectRatio = String(aspectRatio);
  frame.style.width = `min(100%, ${MAX_HEIGHT_REM * aspectRatio}rem)`;
  Object.assign(canvas.style, { left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top) });
  return frame;
}

const isWholePicture = (region) => region.every((side, index) => side === WHOLE_PICTURE[index]);
const percent = (share) => `${100 * share}%`;

function renderToggle(canvas) {
  const text = el("span");
  const button = el("button", { type: "button", class: "secondary" }, text);
  const updateText = () => localize(text, () => t(canvas.hidden ? "heatmapShow" : "heatmapHide"));
  button.addEventListener("click", () => {
    canvas.hidden = !canvas.hidden;
    updateText();
  });
  updateText();
  return button;
}

function paint(canvas, values) {
  const scale = Math.max(1, Math.min(PIXELS_PER_CELL, Math.floor(MAX_CANVAS_PIXELS / Math.max(values.length, values[0].length))));
  canvas.width = values[0].length * scale;
  canvas.height = values.length * scale;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  for (let y = 0, offset = 0; y < canvas.height; y += 1) {
    for (let x = 0; x < canvas.width; x += 1, offset += 4) {
      pixels.data.set(colourOf(interpolate(values, (y + 0.5) / scale - 0.5, (x + 0.5) / scale - 0.5)), offset);
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Bicubic interpolation between the centres of the cells (Catmull and Rom 1974). */
function interpolate(values, row, column) {
  const columnWeights = cubicWeights(column, values[0].length);
  return cubicWeights(row, values.length).reduce((sum, [i, rowWeight]) =>
    sum + rowWeight * columnWeights.reduce((rowSum, [j, weight]) => rowSum + weight * values[i][j], 0), 0);
}

/** [index, weight] of the four cells around `position`; beyond the edge the last cell repeats. */
function cubicWeights(position, count) {
  const first = Math.floor(position);
  const x = position - first;
  const weights = [((2 - x) * x - 1) * x, (3 * x - 5) * x * x + 2, ((4 - 3 * x) * x + 1) * x, (x - 1) * x * x];
  return weights.map((weight, offset) => [Math.min(Math.max(first - 1 + offset, 0), count - 1), weight / 2]);
}

/** Red, green, blue and alpha, each 0 to 255, of a value from 0 to 1. */
function colourOf(value) {
  const step = Math.min(Math.max(value, 0), 1) * (COLOUR_RAMP.length - 1);
  const low = Math.min(Math.floor(step), COLOUR_RAMP.length - 2);
  const channels = COLOUR_RAMP[low].map((channel, index) => channel + (COLOUR_RAMP[low + 1][index] - channel) * (step - low));
  return [...channels, 255 * OPACITY];
}

/** For screen readers: names the ninths of the picture that hold the strongest cells, strongest first. */
function strongestPlaces(values, [left, top, right, bottom]) {
  const strongest = [];
  const thirdOf = (index, count, from, to) => Math.floor(3 * (from + ((index + 0.5) / count) * (to - from)));
  values.forEach((row, i) => row.forEach((value, j) => {
    const ninth = 3 * thirdOf(i, values.length, top, bottom) + thirdOf(j, row.length, left, right);
    strongest[ninth] = Math.max(strongest[ninth] ?? 0, value);
  }));
  const ninths = Object.entries(strongest); // fewer than nine with few cells or a small region
  const max = Math.max(...ninths.map(([, value]) => value));
  const strong = ninths.filter(([, value]) => value >= STRONG_SHARE * max).sort(([, a], [, b]) => b - a);
  if (strong.length > (2 / 3) * ninths.length) return t("placeAll");
  return formatList(strong.slice(0, MAX_PLACES).map(([ninth]) => t(`place${PLACES[ninth]}`)));
}
