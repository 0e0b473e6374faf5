/** A photograph on the page: its state, the slider between before and after, and what can be done with it. */

/**
 * @typedef {object} Handlers
 * @property {(saturation: number) => Promise<Blob>} recolour The picture to show, at another saturation.
 * @property {(format: "png" | "jpeg", saturation: number, tell: (done: number) => void) => Promise<void>} download
 * @property {() => void} remove
 */

/**
 * @typedef {object} Shown
 * @property {Blob} before
 * @property {Blob} after
 * @property {"png" | "jpeg"} format What the download is at first.
 * @property {boolean} alpha Whether there is transparency, which JPEG does not have.
 * @property {string} scene What the network took it for, and what else is to be said; "" for nothing.
 */

/**
 * @param {HTMLOListElement} list
 * @param {string} name
 * @param {Handlers} handlers
 */
export function card(list, name, handlers) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById("photo"));
  const element = /** @type {HTMLElement} */ (template.content.cloneNode(true)).firstElementChild;
  if (!(element instanceof HTMLElement)) throw new Error("the page has no template of a photograph");
  const { one, progress, text } = parts(element);
  const compare = one(".compare", HTMLElement);
  const split = one(".split", HTMLInputElement);
  const before = one(".before", HTMLImageElement);
  const after = one(".after", HTMLImageElement);
  const saturation = one(".saturation input", HTMLInputElement);
  const format = one(".format select", HTMLSelectElement);
  const download = one(".download", HTMLButtonElement);
  const remove = one(".remove", HTMLButtonElement);
  const urls = new Map();

  one("h2", HTMLElement).textContent = name;
  remove.setAttribute("aria-label", `Remove ${name}`);
  download.setAttribute("aria-label", `Download ${name} in colour`);
  split.setAttribute("aria-label", `${name}: how much of it is shown as it was`);
  list.append(element);

  /** @param {string} said @param {number | null} [done] null: nobody knows; undefined: nothing is going on. */
  function state(said, done) {
    text.textContent = said;
    progress.hidden = done === undefined;
    progress.setAttribute("aria-label", `${name}: ${said}`);
    if (done == null) progress.removeAttribute("value");
    else progress.value = done;
    one(".state", HTMLElement).hidden = !said;
  }

  /** @param {HTMLImageElement} image @param {Blob} picture */
  async function show(image, picture) {
    const former = urls.get(image);
    const url = URL.createObjectURL(picture);
    urls.set(image, url);
    image.src = url;
    await image.decode().catch(() => {});
    if (former) URL.revokeObjectURL(former);
  }

  function moved() {
    compare.style.setProperty("--split", `${split.value}%`);
    split.setAttribute("aria-valuetext", `${split.value} % as it was, the rest in colour`);
  }
  split.addEventListener("input", moved);

  let wanted = 0;
  saturation.addEventListener("input", async () => {
    const percent = `${Math.round(100 * saturation.valueAsNumber)} %`;
    one(".saturation output", HTMLOutputElement).value = percent;
    saturation.setAttribute("aria-valuetext", percent);
    const mine = ++wanted;
    await new Promise((resolve) => setTimeout(resolve, 60));
    if (mine !== wanted) return;
    try {
      const picture = await handlers.recolour(saturation.valueAsNumber);
      if (mine === wanted) await show(after, picture);
    } catch (error) {
      state(`That did not work: ${/** @type {Error} */ (error).message}`);
    }
  });

  download.addEventListener("click", async () => {
    download.disabled = true;
    const kind = format.value === "jpeg" ? "jpeg" : "png";
    const told = (/** @type {number} */ done) => state("Colouring at full size", done);
    told(0);
    try {
      await handlers.download(kind, saturation.valueAsNumber, told);
      state("");
    } catch (error) {
      const hint = kind === "jpeg" ? " Try PNG, which needs less memory." : "";
      state(`The download could not be made: ${/** @type {Error} */ (error).message}.${hint}`);
    } finally {
      download.disabled = false;
    }
  });

  remove.addEventListener("click", () => {
    handlers.remove();
    for (const url of urls.values()) URL.revokeObjectURL(url);
    const next = element.nextElementSibling ?? element.previousElementSibling ?? document.getElementById("choose");
    element.remove();
    if (next instanceof HTMLElement) next.focus();
  });

  return {
    state,
    /** @param {string} message What is wrong; it follows the name. */
    failed(message) {
      element.classList.add("failed");
      state(`${name} ${message}`);
    },
    /** @param {Shown} shown */
    async done(shown) {
      await Promise.all([show(before, shown.before), show(after, shown.after)]);
      before.alt = `${name} as it was`;
      after.alt = `${name} in colour`;
      format.value = shown.format;
      for (const option of format.options) option.disabled = shown.alpha && option.value === "jpeg";
      one(".scene", HTMLElement).textContent = shown.scene;
      one(".scene", HTMLElement).hidden = !shown.scene;
      compare.hidden = one(".controls", HTMLElement).hidden = false;
      moved();
      state("");
    },
  };
}

/** @param {HTMLElement} element */
function parts(element) {
  /**
   * @template {HTMLElement} T
   * @param {string} selector
   * @param {new () => T} kind
   * @returns {T}
   */
  function one(selector, kind) {
    const found = element.querySelector(selector);
    if (!(found instanceof kind)) throw new Error(`the page has no ${selector}`);
    return found;
  }
  return { one, progress: one("progress", HTMLProgressElement), text: one(".state span", HTMLElement) };
}
