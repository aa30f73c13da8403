import { Problem } from "./api.js";
import { el } from "./dom.js";
import { formatSize, t } from "./language.js";

/**
 * The input of an image pipeline: choose, drop or paste a picture. The file is sent unchanged.
 * row-input.js describes the returned object.
 */
export function pictureInput(card, onChange, onProblem, signal) {
  const acceptedTypes = card.input.content_types.filter((type) => type.startsWith("image/"));
  const maxBytes = card.input.max_bytes;
  const typeNames = acceptedTypes.map((type) => type.slice("image/".length).toUpperCase()).join(", ");
  let picture = null;
  let url = null;
  let image = null;

  const fileInput = el("input", { type: "file", id: "picture", accept: "image/*", class: "visually-hidden", "aria-describedby": "picture-limits" });
  const preview = el("div", { class: "preview", hidden: true });
  const dropZone = el("div", { class: "drop-zone" },
    preview,
    fileInput,
    el("label", { for: "picture", class: "label-button" },
      el("span", { class: "mouse-only" }, () => t("choose")),
      el("span", { class: "touch-only" }, () => t("chooseOrTake"))),
    el("p", { class: "hint mouse-only" }, () => t("dropHint")),
    el("p", { class: "hint", id: "picture-limits" }, () => t("limits", { types: typeNames || t("kindImage"), size: formatSize(maxBytes) })));

  function findProblem({ name, type, size }) {
    const accepted = type.startsWith("image/") && (acceptedTypes.length === 0 || acceptedTypes.includes(type) || acceptedTypes.includes("image/*"));
    if (!accepted) return new Problem("page", { text: () => t("wrongType", { name, types: typeNames || t("kindImage") }) });
    if (size > maxBytes) {
      return new Problem("page", { text: () => t("tooLarge", { name, size: formatSize(size), limit: formatSize(maxBytes) }) });
    }
    return null;
  }

  function clear() {
    if (url) URL.revokeObjectURL(url);
    picture = url = null;
    preview.hidden = true;
    preview.replaceChildren();
    dropZone.classList.remove("has-picture");
  }

  function choose(file) {
    if (!file) return;
    clear();
    onChange();
    const problem = findProblem(file);
    if (problem) {
      onProblem(problem);
      return;
    }
    picture = file;
    url = URL.createObjectURL(file);
    image = el("img", { src: url, alt: () => t("preview", { name: file.name }) });
    image.addEventListener("error", () => image.replaceWith(el("p", { class: "no-preview" }, () => t("noPreview"))));
    preview.replaceChildren(image, el("p", { class: "file-name", role: "status" }, () => `${file.name} · ${formatSize(file.size)}`));
    preview.hidden = false;
    dropZone.classList.add("has-picture");
  }

  fileInput.addEventListener("change", () => {
    choose(fileInput.files[0]);
    fileInput.value = ""; // otherwise choosing the same file again fires no event
  });
  listenForFiles(dropZone, choose, signal);
  signal.addEventListener("abort", clear);

  return {
    element: dropZone,
    read() {
      if (!picture) throw new Problem("page", { text: () => t("noPicture") });
      return { body: picture, type: picture.type };
    },
    showErrors: (errors) => errors,
    pictures: () => [{ url, name: picture.name, aspectRatio: image.naturalWidth / image.naturalHeight }],
  };
}

/** Listens on the whole window: otherwise the browser would replace the page with a picture dropped beside the zone. */
function listenForFiles(dropZone, choose, signal) {
  const highlight = (on) => dropZone.classList.toggle("drag-over", on);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    highlight(true);
  }, { signal });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) highlight(false);
  }, { signal });
  addEventListener("drop", (event) => {
    event.preventDefault();
    highlight(false);
    choose(event.dataTransfer?.files[0]);
  }, { signal });
  addEventListener("paste", (event) => choose(event.clipboardData?.files[0]), { signal });
}
