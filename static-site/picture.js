import { Problem } from "./api.js";
import { el } from "./dom.js";
import { size, t } from "./i18n.js";

/** The input of an image pipeline: choose, drop or paste one picture, see it, send it as it is. */
export function pictureInput(card, changed, refused, signal) {
  const types = card.input.content_types.filter((type) => type.startsWith("image/"));
  const limit = card.input.max_bytes;
  const names = types.map((type) => type.slice("image/".length).toUpperCase()).join(", ");
  let picture = null;
  let address = null;
  let image = null;

  const file = el("input", { type: "file", id: "picture", accept: "image/*", class: "unseen", "aria-describedby": "picture-limits" });
  const preview = el("div", { class: "preview", hidden: true });
  const zone = el("div", { class: "drop" },
    preview,
    file,
    el("label", { for: "picture", class: "button-like" },
      el("span", { class: "with-mouse" }, () => t("choose")),
      el("span", { class: "with-finger" }, () => t("chooseOrTake"))),
    el("p", { class: "hint with-mouse" }, () => t("dropHint")),
    el("p", { class: "hint", id: "picture-limits" }, () => t("limits", { types: names || t("kindImage"), size: size(limit) })));

  function refusal({ name, type, size: bytes }) {
    const taken = type.startsWith("image/") && (types.length === 0 || types.includes(type) || types.includes("image/*"));
    if (!taken) return new Problem("here", { words: () => t("notPicture", { name, types: names || t("kindImage") }) });
    if (bytes > limit) return new Problem("here", { words: () => t("tooBig", { name, size: size(bytes), limit: size(limit) }) });
    return null;
  }

  function forget() {
    if (address) URL.revokeObjectURL(address);
    picture = address = null;
    preview.hidden = true;
    preview.replaceChildren();
    zone.classList.remove("full");
  }

  function choose(chosen) {
    if (!chosen) return;
    forget();
    changed();
    const problem = refusal(chosen);
    if (problem) {
      refused(problem);
      return;
    }
    picture = chosen;
    address = URL.createObjectURL(chosen);
    image = el("img", { src: address, alt: () => t("preview", { name: chosen.name }) });
    image.addEventListener("error", () => image.replaceWith(el("p", { class: "no-preview" }, () => t("noPreview"))));
    preview.replaceChildren(image, el("p", { class: "file-name", role: "status" }, () => `${chosen.name} · ${size(chosen.size)}`));
    preview.hidden = false;
    zone.classList.add("full");
  }

  file.addEventListener("change", () => {
    choose(file.files[0]);
    file.value = ""; // so that choosing the same file again is a change
  });
  listen(zone, choose, signal);
  signal.addEventListener("abort", forget);

  return {
    element: zone,
    take() {
      if (!picture) throw new Problem("here", { words: () => t("needPicture") });
      return { body: picture, type: picture.type };
    },
    point: (errors) => errors,
    pictures: () => [{ address, name: picture.name, shape: image.naturalWidth / image.naturalHeight }],
  };
}

/** Drop and paste work anywhere in the window: a picture that misses the zone must not replace the page. */
function listen(zone, choose, signal) {
  const lit = (on) => zone.classList.toggle("lit", on);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    lit(true);
  }, { signal });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) lit(false);
  }, { signal });
  addEventListener("drop", (event) => {
    event.preventDefault();
    lit(false);
    choose(event.dataTransfer?.files[0]);
  }, { signal });
  addEventListener("paste", (event) => choose(event.clipboardData?.files[0]), { signal });
}
