// Every sentence of the page, in English and Spanish, and how numbers and dates are written.

const WORDS = {
  en: {
    skip: "Skip to the form",
    tagline: "Show it something: it says what it is, and how sure it is.",
    footer: "What you send goes to the server, is classified, and is not kept.",
    mlflow: "Training runs in MLflow",
    pipelines: "What to classify",
    ready: "version {version}",
    notReady: "no model yet",
    noPipelines: "The server has no pipelines.",
    loading: "Loading…",
    kindImage: "picture",
    kindTabular: "table row",
    model: "Model",
    madeUp: "made-up data",
    madeUpMeans: "Trained on data made up for demonstration; its answers say nothing about the real world.",
    stale: "Out of date since {date}: a newer version may exist, but the server can't reach the registry and goes on with this one.",
    version: "Version",
    trained: "Trained",
    examples: "Examples",
    accuracy: "Accuracy",
    macroF1: "Macro F1",
    interval: "{low} to {high}",
    more: "More about this model",
    measured: "Measured on {n} held-out examples; the numbers in brackets are the interval.",
    label: "Class",
    support: "Examples",
    precision: "Precision",
    recall: "Recall",
    logLoss: "Log loss",
    calibration: "Calibration error",
    calibrationIdeal: "Calibration error if perfect",
    sureFrom: "Sure from",
    sureNever: "no confidence",
    sureErrorStated: "Sure answers wrong, at most",
    sureError: "Sure answers wrong, measured",
    sureShare: "Answers that are sure",
    unknownShare: "Known examples called unknown",
    snapshot: "Snapshot",
    yourPicture: "Your picture",
    yourRow: "Your row",
    choose: "Choose a picture",
    chooseOrTake: "Choose or take a picture",
    dropHint: "or drop it here, or paste it",
    limits: "{types}, up to {size}",
    preview: "The picture chosen: {name}",
    noPreview: "This file can't be shown as a picture.",
    classify: "Classify",
    classifying: "Classifying…",
    anotherExample: "Another example",
    pick: "Choose…",
    range: "{low} to {high}",
    from: "from {low}",
    upTo: "up to {high}",
    openList: "any text; the list shows those seen in training",
    needPicture: "Choose a picture first.",
    notPicture: "“{name}” is not a picture of a type that is taken here: {types}.",
    tooBig: "“{name}” has {size}; the most that is taken is {limit}.",
    needValue: "Fill this in.",
    needNumber: "This must be a number.",
    needRange: "This must be {range}.",
    checkFields: "Some fields need another look.",
    answer: "Answer",
    answerHere: "The answer will be shown here.",
    sniffing: "Following the scent…",
    sure: "Sure",
    uncertain: "Uncertain",
    unknown: "Unknown",
    sureLead: "It is",
    uncertainLead: "It could be",
    unknownLead: "The nearest known class is",
    sureMeans: "The confidence is above the threshold that was tuned for this model.",
    uncertainMeans: "The confidence is below the threshold that was tuned for this model: take it as a guess.",
    unknownMeans: "This does not look like anything the model was trained on: it is probably none of the classes.",
    confidence: "confidence",
    allProbabilities: "All probabilities",
    byModel: "{name}, version {version}",
    request: "request {id}",
    retry: "Try again",
    retryIn: "Try again in {s} s.",
    retryNow: "You can try again now.",
    noSuchPipeline: "There is no pipeline “{name}”. Choose one above.",
    problemNoModel: "No model yet.",
    problemTimeout: "No answer after {s} seconds. The server may be busy.",
    problemNetwork: "The server can't be reached. Check the network and try again.",
    problemGarbled: "The server's answer was not understood.",
    problem400: "The server could not read what was sent.",
    problem404: "The server does not know this pipeline.",
    problem413: "Too large for the server.",
    problem415: "The server does not take this type.",
    problem422: "The server understood it, but can't use it.",
    problem429: "Too many requests just now.",
    problem500: "Something went wrong in the server.",
    problem503: "The service is not available just now.",
    problemOther: "The server refused ({status}).",
  },
  es: {
    skip: "Saltar al formulario",
    tagline: "Muéstrale algo: dice qué es y qué tan seguro está.",
    footer: "Lo que envías va al servidor, se clasifica y no se guarda.",
    mlflow: "Entrenamientos en MLflow",
    pipelines: "Qué clasificar",
    ready: "versión {version}",
    notReady: "aún sin modelo",
    noPipelines: "El servidor no tiene pipelines.",
    loading: "Cargando…",
    kindImage: "imagen",
    kindTabular: "fila de una tabla",
    model: "Modelo",
    madeUp: "datos inventados",
    madeUpMeans: "Entrenado con datos inventados para demostración; sus respuestas no dicen nada del mundo real.",
    stale: "Sin actualizar desde {date}: puede haber una versión más nueva, pero el servidor no alcanza el registro y sigue con esta.",
    version: "Versión",
    trained: "Entrenado",
    examples: "Ejemplos",
    accuracy: "Exactitud",
    macroF1: "F1 macro",
    interval: "{low} a {high}",
    more: "Más sobre este modelo",
    measured: "Medido en {n} ejemplos reservados; los números entre paréntesis son el intervalo.",
    label: "Clase",
    support: "Ejemplos",
    precision: "Precisión",
    recall: "Exhaustividad",
    logLoss: "Pérdida logarítmica",
    calibration: "Error de calibración",
    calibrationIdeal: "Error de calibración si fuera perfecto",
    sureFrom: "Seguro desde",
    sureNever: "ninguna confianza",
    sureErrorStated: "Seguras pero erróneas, como mucho",
    sureError: "Seguras pero erróneas, medido",
    sureShare: "Respuestas seguras",
    unknownShare: "Ejemplos conocidos dados por desconocidos",
    snapshot: "Snapshot",
    yourPicture: "Tu imagen",
    yourRow: "Tu fila",
    choose: "Elegir una imagen",
    chooseOrTake: "Elegir o tomar una foto",
    dropHint: "o suéltala aquí, o pégala",
    limits: "{types}, hasta {size}",
    preview: "La imagen elegida: {name}",
    noPreview: "Este archivo no se puede mostrar como imagen.",
    classify: "Clasificar",
    classifying: "Clasificando…",
    anotherExample: "Otro ejemplo",
    pick: "Elegir…",
    range: "{low} a {high}",
    from: "desde {low}",
    upTo: "hasta {high}",
    openList: "cualquier texto; la lista muestra los vistos al entrenar",
    needPicture: "Primero elige una imagen.",
    notPicture: "«{name}» no es una imagen de un tipo que se acepte aquí: {types}.",
    tooBig: "«{name}» tiene {size}; lo máximo que se acepta es {limit}.",
    needValue: "Falta este dato.",
    needNumber: "Debe ser un número.",
    needRange: "Debe estar en el rango: {range}.",
    checkFields: "Hay que revisar algunos campos.",
    answer: "Respuesta",
    answerHere: "La respuesta aparecerá aquí.",
    sniffing: "Siguiendo el rastro…",
    sure: "Seguro",
    uncertain: "Dudoso",
    unknown: "Desconocido",
    sureLead: "Es",
    uncertainLead: "Podría ser",
    unknownLead: "La clase conocida más cercana es",
    sureMeans: "La confianza supera el umbral ajustado para este modelo.",
    uncertainMeans: "La confianza no llega al umbral ajustado para este modelo: tómalo como una conjetura.",
    unknownMeans: "No se parece a nada con lo que se entrenó el modelo: probablemente no es ninguna de las clases.",
    confidence: "confianza",
    allProbabilities: "Todas las probabilidades",
    byModel: "{name}, versión {version}",
    request: "petición {id}",
    retry: "Intentar de nuevo",
    retryIn: "Intenta de nuevo en {s} s.",
    retryNow: "Ya puedes intentar de nuevo.",
    noSuchPipeline: "No existe el pipeline «{name}». Elige uno arriba.",
    problemNoModel: "Aún no hay modelo.",
    problemTimeout: "Sin respuesta después de {s} segundos. Quizá el servidor está ocupado.",
    problemNetwork: "No se puede llegar al servidor. Revisa la red e intenta de nuevo.",
    problemGarbled: "No se entendió la respuesta del servidor.",
    problem400: "El servidor no pudo leer lo enviado.",
    problem404: "El servidor no conoce este pipeline.",
    problem413: "Es demasiado grande para el servidor.",
    problem415: "El servidor no acepta este tipo.",
    problem422: "El servidor lo entendió, pero no puede usarlo.",
    problem429: "Demasiadas peticiones en este momento.",
    problem500: "Algo falló en el servidor.",
    problem503: "El servicio no está disponible en este momento.",
    problemOther: "El servidor lo rechazó ({status}).",
  },
};

const MEMORY = "sabueso-language";
let current = remembered() ?? (navigator.language.toLowerCase().startsWith("es") ? "es" : "en");

function remembered() {
  try {
    const code = localStorage.getItem(MEMORY);
    return code in WORDS ? code : null;
  } catch {
    return null; // storage may be forbidden: the browser's own language is used
  }
}

/** The sentence `key` in the chosen language, with its {facts} filled in. */
export function t(key, facts = {}) {
  return WORDS[current][key].replace(/\{(\w+)\}/g, (_, name) => facts[name]);
}

export const has = (key) => key in WORDS.en;
export const inLanguage = (title) => title[current] ?? title.en;
export const number = (value, digits = 3) => new Intl.NumberFormat(current, { maximumFractionDigits: digits }).format(value);
export const date = (iso) => new Intl.DateTimeFormat(current, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
export const size = (bytes) => (bytes < 1e6 ? `${number(Math.ceil(bytes / 1e3), 0)} kB` : `${number(bytes / 1e6, 1)} MB`);

/** A share of 1 as a percentage; what is not quite certain is never written as 100 %. */
export function percent(share) {
  const format = new Intl.NumberFormat(current, { style: "percent", maximumFractionDigits: 1 });
  return share < 1 && share >= 0.9995 ? `> ${format.format(0.999)}` : format.format(share);
}

// What each element says, so that a change of language rewrites the page and loses nothing typed in it.
const said = new WeakMap();

/** Make `element` (its text, or one attribute) say `words()` now and after each change of language. */
export function say(element, words, attribute = "textContent") {
  said.set(element, { ...said.get(element), [attribute]: words });
  element.dataset.said = "";
  utter(element, attribute, words);
}

function utter(element, attribute, words) {
  if (attribute === "textContent") element.textContent = words();
  else element.setAttribute(attribute, words());
}

function speak() {
  document.documentElement.lang = current;
  for (const element of document.querySelectorAll("[data-said]")) {
    for (const [attribute, words] of Object.entries(said.get(element))) utter(element, attribute, words);
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === current));
  }
}

/** Wire the switch and everything the HTML marks with data-t. */
export function startLanguage() {
  for (const element of document.querySelectorAll("[data-t]")) say(element, () => t(element.dataset.t));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      current = button.dataset.language;
      try {
        localStorage.setItem(MEMORY, current);
      } catch {
        // not remembered, still switched
      }
      speak();
    });
  }
  speak();
}
