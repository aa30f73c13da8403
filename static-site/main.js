import { Problem, getModelCard, getPipelines } from "./api.js";
import { renderClassifyPanel } from "./classify-panel.js";
import { el } from "./dom.js";
import { inCurrentLanguage, localize, startLanguage, t } from "./language.js";
import { renderModelCard } from "./model-card.js";
import { renderProblem } from "./problem.js";

const nav = document.getElementById("pipelines");
const main = document.getElementById("main");
let pipelines = [];
let currentView = new AbortController();

/** The pipeline named in the address, as in #pets. */
function pipelineInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1);
  }
}

async function loadPipelines() {
  const signal = startView();
  showLoading();
  try {
    ({ pipelines } = await getPipelines(signal));
  } catch (error) {
    if (!signal.aborted) showProblem(error);
    return;
  }
  showPipeline();
}

/** Cancels what the previous view was waiting for, and returns the signal of the new one. */
function startView() {
  currentView.abort();
  currentView = new AbortController();
  return currentView.signal;
}

function showLoading() {
  main.replaceChildren(el("p", { class: "muted-note", role: "status" }, () => t("loading")));
}

function renderNav(chosen) {
  nav.replaceChildren(el("ul", {}, ...pipelines.map((pipeline) => el("li", {},
    el("a", { href: `#${encodeURIComponent(pipeline.name)}`, "aria-current": pipeline === chosen ? "page" : null },
      el("b", {}, () => inCurrentLanguage(pipeline.title)),
      el("small", { class: pipeline.ready ? null : "not-ready" },
        () => `${t(pipeline.kind === "image" ? "kindImage" : "kindTabular")} · ` +
          (pipeline.ready ? t("ready", { version: pipeline.version }) : t("notReady"))))))));
}

async function showPipeline() {
  const signal = startView();
  const name = pipelineInAddress();
  const chosen = name
    ? pipelines.find((pipeline) => pipeline.name === name)
    : (pipelines.find((pipeline) => pipeline.ready) ?? pipelines[0]);
  renderNav(chosen);
  localize(document.querySelector("title"), () => (chosen ? `${inCurrentLanguage(chosen.title)} · Sabueso` : "Sabueso"));
  if (!chosen) {
    showProblem(new Problem("page", { text: () => (pipelines.length ? t("noSuchPipeline", { name }) : t("noPipelines")) }));
    return;
  }
  if (!name) history.replaceState(null, "", `#${encodeURIComponent(chosen.name)}`);
  showLoading();
  try {
    const card = await getModelCard(chosen.name, signal);
    if (signal.aborted) return;
    const cardArea = el("div", {}, renderModelCard(card));
    main.replaceChildren(cardArea, renderClassifyPanel(card, signal, () => reloadModelCard(chosen.name, cardArea, signal)));
  } catch (error) {
    if (!signal.aborted) showProblem(error);
  }
}

/** Shows the card of a new champion. If it can't be loaded, the old card stays. */
async function reloadModelCard(name, cardArea, signal) {
  try {
    cardArea.replaceChildren(renderModelCard(await getModelCard(name, signal)));
  } catch (error) {
    if (!(error instanceof Problem) && !signal.aborted) throw error;
  }
}

function showProblem(problem) {
  if (!(problem instanceof Problem)) throw problem;
  main.replaceChildren(renderProblem(problem, { retry: loadPipelines }));
}

function linkMlflow() {
  const url = document.querySelector('meta[name="sabueso-mlflow"]').content;
  if (!url) return;
  document.getElementById("footer").append(el("p", {}, el("a", { href: url, rel: "noopener" }, () => t("mlflow"))));
}

localize(nav, () => t("pipelines"), "aria-label");
linkMlflow();
startLanguage();
document.querySelector(".skip-link").addEventListener("click", (event) => {
  event.preventDefault(); // the hash of the address names the pipeline
  main.focus();
});
addEventListener("hashchange", showPipeline);
loadPipelines();
