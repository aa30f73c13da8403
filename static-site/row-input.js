import { Problem } from "./api.js";
import { el } from "./dom.js";
import { formatNumber, inCurrentLanguage, t } from "./language.js";

/**
 * The form of a tabular pipeline, built from the input schema of its model card. Every input returns an object with
 * - element
 * - read(): {body, type} to send; throws a Problem if the input is not valid
 * - showErrors(errors): shows each error at its field and returns the errors that belong to no field
 * - pictures(): [{url, name, aspectRatio}]; the ratio is NaN if the browser can't show the picture
 */
export function rowInput(card, onChange) {
  const { properties, required } = card.input.schema;
  const fields = Object.entries(properties).map(([name, column], index) =>
    createField(`field-${index}`, name, column, required.includes(name)));
  const element = el("div", { class: "row-input" }, el("div", { class: "fields" }, ...fields.map((field) => field.element)));
  const exampleCount = Math.max(0, ...fields.map((field) => field.exampleCount));
  let example = 0;
  const fillFields = () => fields.forEach((field) => field.fillExample(example));
  fillFields();
  if (exampleCount > 1) {
    const button = el("button", { type: "button", class: "secondary" }, () => t("anotherExample"));
    button.addEventListener("click", () => {
      example += 1;
      fillFields();
      onChange();
    });
    element.append(button);
  }
  element.addEventListener("input", onChange);

  return { element, read: () => readRow(fields), showErrors: (errors) => showErrors(fields, errors), pictures: () => [] };
}

function readRow(fields) {
  const invalid = fields.filter((field) => !field.validate());
  if (invalid.length) {
    invalid[0].input.focus();
    throw new Problem("page", { text: () => t("checkFields") });
  }
  const entries = fields.filter((field) => field.input.value !== "").map((field) => [field.name, field.value()]);
  return { body: JSON.stringify(Object.fromEntries(entries)), type: "application/json" };
}

function showErrors(fields, errors) {
  const byName = new Map(fields.map((field) => [field.name, field]));
  const ofFields = errors.filter((error) => byName.has(error.field));
  for (const { field: name, detail } of ofFields) byName.get(name).showError(() => detail, "en");
  if (ofFields.length) byName.get(ofFields[0].field).input.focus();
  return errors.filter((error) => !byName.has(error.field));
}

function createField(id, name, column, required) {
  const input = column.enum ? createSelect(column) : column.type === "number" ? createNumberBox(column) : createTextBox(id, column);
  const error = el("p", { class: "field-error", id: `${id}-error`, hidden: true });
  const hint = createHint(column, `${id}-hint`);
  input.id = id;
  input.name = name;
  input.required = required;
  input.setAttribute("aria-describedby", hint ? `${hint.id} ${error.id}` : error.id);

  function showError(text, lang = null) {
    error.replaceChildren(el("span", { lang }, text));
    error.hidden = false;
    input.setAttribute("aria-invalid", "true");
  }
  function clearError() {
    error.hidden = true;
    error.replaceChildren();
    input.removeAttribute("aria-invalid");
  }
  input.addEventListener("input", clearError);

  return {
    name,
    input,
    showError,
    exampleCount: column.examples?.length ?? 0,
    value: () => (column.type === "number" ? Number(input.value) : input.value),
    fillExample(index) {
      if (!column.examples?.length) return;
      input.value = String(column.examples[index % column.examples.length]);
      clearError();
    },
    validate() {
      clearError();
      const { badInput, valueMissing, valid } = input.validity;
      if (badInput) showError(() => t("notANumber"));
      else if (valueMissing) showError(() => t("valueMissing"));
      else if (!valid) showError(() => t("outOfRange", { range: formatRange(column) }));
      return valid;
    },
    element: el("div", { class: "field" },
      el("label", { for: id }, () => inCurrentLanguage(column["x-title"]), column.unit ? el("span", { class: "unit" }, ` (${column.unit})`) : null),
      input,
      column["x-known"] ? createDatalist(`${id}-known`, column["x-known"]) : null,
      hint,
      error),
  };
}

function createNumberBox({ minimum = null, maximum = null }) {
  // The decimal keyboard of some phones has no minus sign.
  const inputmode = minimum !== null && minimum >= 0 ? "decimal" : null;
  return el("input", { type: "number", step: "any", inputmode, min: minimum, max: maximum });
}

function createSelect(column) {
  const options = column.enum.map((value) => el("option", { value }, value));
  return el("select", {}, el("option", { value: "" }, () => t("select")), ...options);
}

function createTextBox(id, column) {
  return el("input", { type: "text", list: column["x-known"] ? `${id}-known` : null, autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
}

const createDatalist = (id, values) => el("datalist", { id }, ...values.map((value) => el("option", { value })));

function formatRange({ minimum, maximum }) {
  if (minimum !== undefined && maximum !== undefined) return t("range", { low: formatNumber(minimum), high: formatNumber(maximum) });
  return minimum !== undefined ? t("atLeast", { low: formatNumber(minimum) }) : t("atMost", { high: formatNumber(maximum) });
}

function createHint(column, id) {
  if (column.type === "number" && !column.enum && (column.minimum ?? column.maximum) !== undefined) {
    return el("p", { class: "hint", id }, () => formatRange(column));
  }
  return column["x-known"] && !column.enum ? el("p", { class: "hint", id }, () => t("openList")) : null;
}
