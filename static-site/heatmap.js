import { el } from "./dom.js";
import { list, say, t } from "./i18n.js";

// From cool and dark to warm and light: lightness (OKLab) rises in even steps over black, grey and white pictures, so that
// the order is seen without the hue too. The dark end dims what does not count.
const RAMP = [[16, 20, 60], [106, 40, 112], [202, 66, 74], [246, 142, 52], [255, 226, 110]];
const ALPHA = 0.58;
const DOTS = 32; // of the canvas for each part of the picture; the browser stretches the rest of the way
const MOST_DOTS = 512;
const TALLEST_REM = 20;

const PLACES = ["TopLeft", "Top", "TopRight", "Left", "Middle", "Right", "BottomLeft", "Bottom", "BottomRight"];
const STRONG = 0.5; // of the strongest part
const MOST_PLACES = 3;
const WHOLE = [0, 0, 1, 1]; // what versions of classify saw that did not say it
const LEGEND = [Array.from({ length: 33 }, (_, step) => step / 32)];

/**
 * Which parts of a picture speak for a label: `values` in rows, 0 to 1, over the `region` of it that was looked at: left,
 * top, right, bottom as shares of its sides. `title` says the label.
 */
export function renderHeatmap({ values, region = WHOLE }, title, picture) {
  if (!values.flat().some((value) => value > 0)) return el("p", {}, () => t("heatNone", { title: title() }));
  const words = () => t("heatPlaces", { title: title(), places: places(values, region) });
  const canvas = paint(el("canvas", { class: "heat", role: "img", "aria-label": words }), values);
  const legend = paint(el("canvas", { class: "heat-scale" }), LEGEND);
  return el("figure", {},
    frame(canvas, region, picture),
    el("figcaption", {},
      el("span", {}, () => [t("heatCaption", { title: title() }), ...(whole(region) ? [] : [t("heatEdge")])].join(" ")),
      el("small", { class: "heat-legend", "aria-hidden": "true" },
        el("span", {}, () => t("heatLess")), legend, el("span", {}, () => t("heatMore")))),
    toggle(canvas));
}

/** The picture as large as fits, small ones too, with the canvas over it; the canvas alone where it can't be shown. */
function frame(canvas, [left, top, right, bottom], { address, name, shape }) {
  if (!(shape > 0)) return el("div", {}, canvas, el("p", { class: "no-preview" }, () => t("noPreview")));
  const element = el("div", { class: "heat-frame" }, el("img", { src: address, alt: () => t("preview", { name }) }), canvas);
  element.style.aspectRatio = String(shape);
  element.style.width = `min(100%, ${TALLEST_REM * shape}rem)`;
  Object.assign(canvas.style, { left: share(left), top: share(top), width: share(right - left), height: share(bottom - top) });
  return element;
}

const whole = (region) => region.every((side, which) => side === WHOLE[which]);
const share = (number) => `${100 * number}%`;

function toggle(canvas) {
  const label = el("span");
  const button = el("button", { type: "button", class: "quiet" }, label);
  const name = () => say(label, () => t(canvas.hidden ? "heatShow" : "heatHide"));
  button.addEventListener("click", () => {
    canvas.hidden = !canvas.hidden;
    name();
  });
  name();
  return button;
}

function paint(canvas, values) {
  const dots = Math.max(1, Math.min(DOTS, Math.floor(MOST_DOTS / Math.max(values.length, values[0].length))));
  canvas.width = values[0].length * dots;
  canvas.height = values.length * dots;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  for (let y = 0, at = 0; y < canvas.height; y += 1) {
    for (let x = 0; x < canvas.width; x += 1, at += 4) {
      pixels.data.set(colour(between(values, (y + 0.5) / dots - 0.5, (x + 0.5) / dots - 0.5)), at);
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** The value at a place between the middles of the parts, by a curve through them all (Catmull and Rom 1974). */
function between(values, row, column) {
  const along = around(column, values[0].length);
  return around(row, values.length).reduce((sum, [down, weight]) =>
    sum + weight * along.reduce((line, [place, share]) => line + share * values[down][place], 0), 0);
}

/** The four parts around a place, each with its weight; beyond the edge the last one goes on. */
function around(place, count) {
  const first = Math.floor(place);
  const x = place - first;
  const weights = [((2 - x) * x - 1) * x, (3 * x - 5) * x * x + 2, ((4 - 3 * x) * x + 1) * x, (x - 1) * x * x];
  return weights.map((weight, at) => [Math.min(Math.max(first - 1 + at, 0), count - 1), weight / 2]);
}

/** Red, green, blue and alpha, 0 to 255, of a value from 0 to 1. */
function colour(value) {
  const step = Math.min(Math.max(value, 0), 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(step), RAMP.length - 2);
  const channels = RAMP[low].map((channel, which) => channel + (RAMP[low + 1][which] - channel) * (step - low));
  return [...channels, 255 * ALPHA];
}

/** In words, for who does not see it: the ninths of the picture in which its strongest parts lie, strongest first. */
function places(values, [left, top, right, bottom]) {
  const strongest = [];
  const third = (place, count, from, to) => Math.floor(3 * (from + ((place + 0.5) / count) * (to - from)));
  values.forEach((row, down) => row.forEach((value, along) => {
    const ninth = 3 * third(down, values.length, top, bottom) + third(along, row.length, left, right);
    strongest[ninth] = Math.max(strongest[ninth] ?? 0, value);
  }));
  const filled = Object.entries(strongest); // fewer than nine, of fewer than three rows or columns
  const most = Math.max(...filled.map(([, value]) => value));
  const strong = filled.filter(([, value]) => value >= STRONG * most).sort(([, one], [, other]) => other - one);
  if (strong.length > (2 / 3) * filled.length) return t("placeAll");
  return list(strong.slice(0, MOST_PLACES).map(([ninth]) => t(`place${PLACES[ninth]}`)));
}
