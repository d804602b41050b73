// The images of a study: window, inversion, zoom, two side by side, and the evidence map. Without scripts they are shown as they are.
"use strict";

const pressed = (button) => button?.getAttribute("aria-pressed") === "true";
const evidence = document.getElementById("evidence");
const beside = document.getElementById("beside");
const views = [...document.querySelectorAll(".view:not(#evidence-picture)")];
const renders = [];
const LARGEST = 4;  // times its pane
const MOST_TRIES = 5, LONGEST_WAIT = 30;  // seconds

// Brightness and contrast are shown at once and then rendered by the server from the image's full depth.
for (const view of views) {
  const image = view.querySelector("[data-image]");
  if (!image) continue;
  const pane = view.querySelector(".pane"), base = image.dataset.image;
  const level = view.querySelector("[data-level]"), width = view.querySelector("[data-width]");
  const invert = view.querySelector("[data-invert]");
  const nearer = view.querySelector('[data-zoom="in"]'), farther = view.querySelector('[data-zoom="out"]');
  let waiting = 0, times = 1, tries = 0;
  function render() {
    // In the middle of both: the whole range as it is. To the left less contrast than that, to the right more.
    const middle = 1 - level.value / 100, half = 0.5 * 2 ** ((50 - width.value) / 25);
    const mapped = Boolean(evidence?.checked) && image.dataset.mapped !== undefined;
    const asked = new URLSearchParams({
      size: times > 1 ? 4096 : pressed(beside) ? 2048 : 1024,
      low: (middle - half).toFixed(3),
      high: (middle + half).toFixed(3),
      inverted: pressed(invert),
    });
    if (mapped) asked.set("evidence", "true");
    image.src = `${base}?${asked}`;
    image.alt = mapped ? `${image.dataset.alt}, with its evidence map` : image.dataset.alt;
  }
  renders.push(render);
  function soon() {
    image.style.filter = `brightness(${level.value / 50}) contrast(${2 ** ((width.value - 50) / 25)})`;
    clearTimeout(waiting);
    waiting = setTimeout(render, 250);
  }
  image.addEventListener("load", () => {
    image.style.filter = "";
    tries = 0;
    explain("");
  });
  // What is busy is asked again; what cannot be shown says why, and can be tried again.
  image.addEventListener("error", async () => {
    const failed = image.src;
    const answer = await fetch(failed, { headers: { Accept: "application/json" } }).catch(() => null);
    const gone = answer && !answer.ok && answer.status !== 503 && answer.status !== 429;
    if (gone || tries >= MOST_TRIES) {
      return explain((await answer?.json().catch(() => null))?.detail ?? "The image cannot be shown.", true);
    }
    tries++;
    explain("The image is not there yet. It is asked for again.");
    const seconds = Math.min(LONGEST_WAIT, Number(answer?.headers.get("Retry-After")) || 2);
    setTimeout(() => { if (image.src === failed) image.src = failed; }, (answer?.ok ? 0 : seconds) * 1000);
  });
  // What failed before this script ran fails again, for the listener above.
  if (image.getAttribute("src") && image.complete && !image.naturalWidth) image.dispatchEvent(new Event("error"));
  function explain(text, button = false) {
    pane.querySelector(".none")?.remove();
    image.hidden = Boolean(text);
    if (!text) return;
    const said = document.createElement("p");
    said.className = "none";
    said.textContent = text;
    if (button) {
      const retry = document.createElement("button");
      retry.type = "button";
      retry.textContent = "Try again";
      retry.addEventListener("click", () => { tries = 0; image.src = image.src; });
      said.append(" ", retry);
    }
    pane.append(said);
  }
  // Larger around a point of the pane, its middle unless one says otherwise: that point of the image stays where it is.
  function enlarge(wanted, x = pane.clientWidth / 2, y = pane.clientHeight / 2) {
    const shape = image.naturalWidth / image.naturalHeight || 1;
    const fitted = Math.min(pane.clientWidth, pane.clientHeight * shape);
    const before = image.getBoundingClientRect(), frame = pane.getBoundingClientRect();
    const drawn = { width: times > 1 ? before.width : fitted, height: times > 1 ? before.height : fitted / shape };
    const left = frame.left + x - before.left - (before.width - drawn.width) / 2;
    const top = frame.top + y - before.top - (before.height - drawn.height) / 2;
    const sharper = (wanted > 1) !== (times > 1);
    times = wanted;
    pane.classList.toggle("zoomed", times > 1);
    image.style.width = times > 1 ? `${fitted * times}px` : "";
    image.style.height = times > 1 ? `${(fitted / shape) * times}px` : "";
    pane.scrollLeft = (left / drawn.width) * fitted * times - x;
    pane.scrollTop = (top / drawn.height) * (fitted / shape) * times - y;
    if (times > 1) pane.tabIndex = 0;  // it is scrolled with the arrow keys
    else pane.removeAttribute("tabindex");
    nearer.disabled = times >= LARGEST;
    farther.disabled = times <= 1;
    if (sharper) render();
  }
  const at = (event) => [event.clientX - pane.getBoundingClientRect().left, event.clientY - pane.getBoundingClientRect().top];
  nearer.addEventListener("click", () => enlarge(Math.min(LARGEST, times * 2)));
  farther.addEventListener("click", () => enlarge(Math.max(1, times / 2)));
  pane.addEventListener("dblclick", (event) => enlarge(times >= LARGEST ? 1 : times * 2, ...at(event)));
  pane.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;  // the wheel alone scrolls, as everywhere
    event.preventDefault();
    const wanted = event.deltaY < 0 ? Math.min(LARGEST, times * 2) : Math.max(1, times / 2);
    if (wanted !== times) enlarge(wanted, ...at(event));
  }, { passive: false });
  // A mouse drags what is larger than its pane; a finger scrolls it anyway.
  pane.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse" || event.button || times === 1) return;
    event.preventDefault();
    pane.setPointerCapture(event.pointerId);
    pane.classList.add("dragged");
  });
  pane.addEventListener("pointermove", (event) => {
    if (!pane.classList.contains("dragged")) return;
    pane.scrollLeft -= event.movementX;
    pane.scrollTop -= event.movementY;
  });
  for (const end of ["pointerup", "pointercancel"]) pane.addEventListener(end, () => pane.classList.remove("dragged"));
  for (const field of [level, width]) field.addEventListener("input", soon);
  invert.addEventListener("click", () => {
    invert.setAttribute("aria-pressed", String(!pressed(invert)));
    render();
  });
  view.querySelector("[data-reset]").addEventListener("click", () => {
    level.value = width.value = 50;
    invert.setAttribute("aria-pressed", "false");
    enlarge(1);
    if (evidence?.checked || pressed(beside)) render();
    else image.src = base;
  });
}

// Where in the images the score comes from: off whenever a page is opened.
evidence?.addEventListener("change", () => {
  document.getElementById("evidence-said").hidden = !evidence.checked;
  const picture = document.getElementById("evidence-picture");
  if (picture) picture.hidden = !evidence.checked;
  for (const render of renders) render();
});

// Two images side by side over the page's whole width, each with its own window and zoom.
const picks = [...document.querySelectorAll("[data-pick]")];
function lay() {
  const on = pressed(beside);
  document.querySelector(".two").classList.toggle("beside", on);
  views.forEach((view, at) => {
    const place = picks.length ? picks.findIndex((pick) => Number(pick.value) === at) : at;
    view.classList.toggle("left", on && place === 0);
    view.classList.toggle("right", on && place === 1);
    view.hidden = on && place < 0;
  });
  for (const render of renders) render();
}
if (beside) {
  beside.addEventListener("click", () => {
    beside.setAttribute("aria-pressed", String(!pressed(beside)));
    lay();
  });
  for (const pick of picks) {
    pick.addEventListener("change", () => {
      const other = picks.find((one) => one !== pick);
      if (other.value === pick.value) other.value = String((Number(pick.value) + 1) % views.length);
      beside.setAttribute("aria-pressed", "true");
      lay();
    });
  }
}

// On paper there is nothing to open.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details.card")) part.open = true;
});

addEventListener("keydown", (event) => {
  if (isTyping(event)) return;
  if (event.key === "e" && evidence) evidence.click();
  else if (event.key === "s" && beside) beside.click();
  else return;
  event.preventDefault();
});
