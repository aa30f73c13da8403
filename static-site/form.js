import { Problem } from "./api.js";
import { el } from "./dom.js";
import { inLanguage, number, t } from "./i18n.js";

/**
 * The form of a tabular pipeline, built from its input schema.
 * Like every input it gives: element, take() -> {body, type} or throws a Problem, point(errors) -> those without a field here,
 * pictures() -> [{address, name, shape}] as they are shown: width / height, NaN of one that the browser can't show.
 */
export function tabularInput(card, changed) {
  const { properties, required } = card.input.schema;
  const fields = Object.entries(properties).map(([name, column], index) =>
    field(`field-${index}`, name, column, required.includes(name)));
  const element = el("div", { class: "row-input" }, el("div", { class: "fields" }, ...fields.map((one) => one.element)));
  const examples = Math.max(0, ...fields.map((one) => one.examples));
  let shown = 0;
  fields.forEach((one) => one.fill(shown));
  if (examples > 1) {
    const another = el("button", { type: "button", class: "quiet another" }, () => t("anotherExample"));
    another.addEventListener("click", () => {
      shown += 1;
      fields.forEach((one) => one.fill(shown));
      changed();
    });
    element.append(another);
  }
  element.addEventListener("input", changed);

  return { element, take: () => take(fields), point: (errors) => point(fields, errors), pictures: () => [] };
}

function take(fields) {
  const wrong = fields.filter((one) => !one.check());
  if (wrong.length) {
    wrong[0].input.focus();
    throw new Problem("here", { words: () => t("checkFields") });
  }
  const row = fields.filter((one) => one.input.value !== "").map((one) => [one.name, one.value()]);
  return { body: JSON.stringify(Object.fromEntries(row)), type: "application/json" };
}

function point(fields, errors) {
  const byName = new Map(fields.map((one) => [one.name, one]));
  const here = errors.filter((error) => byName.has(error.field));
  for (const { field: name, detail } of here) byName.get(name).complain(() => detail, "en");
  if (here.length) byName.get(here[0].field).input.focus();
  return errors.filter((error) => !byName.has(error.field));
}

function field(id, name, column, required) {
  const input = column.enum ? select(column) : column.type === "number" ? numberBox(column) : textBox(id, column);
  const error = el("p", { class: "field-error", id: `${id}-error`, hidden: true });
  const hint = hintOf(column, `${id}-hint`);
  input.id = id;
  input.name = name;
  input.required = required;
  input.setAttribute("aria-describedby", hint ? `${hint.id} ${error.id}` : error.id);

  function complain(words, lang = null) {
    error.replaceChildren(el("span", { lang }, words));
    error.hidden = false;
    input.setAttribute("aria-invalid", "true");
  }
  function calm() {
    error.hidden = true;
    error.replaceChildren();
    input.removeAttribute("aria-invalid");
  }
  input.addEventListener("input", calm);

  return {
    name,
    input,
    complain,
    examples: column.examples?.length ?? 0,
    value: () => (column.type === "number" ? Number(input.value) : input.value),
    fill(which) {
      if (!column.examples?.length) return;
      input.value = String(column.examples[which % column.examples.length]);
      calm();
    },
    check() {
      calm();
      const { badInput, valueMissing, valid } = input.validity;
      if (badInput) complain(() => t("needNumber"));
      else if (valueMissing) complain(() => t("needValue"));
      else if (!valid) complain(() => t("needRange", { range: rangeOf(column) }));
      return valid;
    },
    element: el("div", { class: "field" },
      el("label", { for: id }, () => inLanguage(column.title), column.unit ? el("span", { class: "unit" }, ` (${column.unit})`) : null),
      input,
      column["x-known"] ? datalist(`${id}-known`, column["x-known"]) : null,
      hint,
      error),
  };
}

function numberBox({ minimum = null, maximum = null }) {
  return el("input", { type: "number", step: "any", inputmode: minimum !== null && minimum >= 0 ? "decimal" : null, min: minimum, max: maximum });
}

function select(column) {
  const options = column.enum.map((value) => el("option", { value }, value));
  return el("select", {}, el("option", { value: "" }, () => t("pick")), ...options);
}

function textBox(id, column) {
  return el("input", { type: "text", list: column["x-known"] ? `${id}-known` : null, autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
}

const datalist = (id, values) => el("datalist", { id }, ...values.map((value) => el("option", { value })));

function rangeOf({ minimum, maximum }) {
  if (minimum !== undefined && maximum !== undefined) return t("range", { low: number(minimum), high: number(maximum) });
  return minimum !== undefined ? t("from", { low: number(minimum) }) : t("upTo", { high: number(maximum) });
}

function hintOf(column, id) {
  if (column.type === "number" && !column.enum && (column.minimum ?? column.maximum) !== undefined) {
    return el("p", { class: "hint", id }, () => rangeOf(column));
  }
  return column["x-known"] && !column.enum ? el("p", { class: "hint", id }, () => t("openList")) : null;
}
