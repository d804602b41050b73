// The images of a study: window, inversion, zoom, two side by side, and the evidence map. Without scripts they are shown as they are.
"use strict";

const pressed = (button) => button?.getAttribute("aria-pressed") === "true";
const evidence = document.getElementById("evidence");
const beside = document.getElementById("beside");
const views = [...document.querySelectorAll(".view:not(#evidence-picture)")];
const renders = [];

// Brightness and contrast are shown at once and then rendered by the server from the image's full depth.
for (const view of views) {
  const image = view.querySelector("[data-image]");
  if (!image) continue;
  const pane = view.querySelector(".pane"), base = image.dataset.image;
  const level = view.querySelector("[data-level]"), width = view.querySelector("[data-width]");
  const invert = view.querySelector("[data-invert]"), zoom = view.querySelector("[data-zoom]");
  let waiting = 0;
  function render() {
    const middle = 1 - level.value / 100, half = (101 - width.value) / 100;
    const mapped = Boolean(evidence?.checked) && image.dataset.mapped !== undefined;
    const asked = new URLSearchParams({
      size: pressed(zoom) ? 4096 : pressed(beside) ? 2048 : 1024,
      low: Math.max(0, middle - half).toFixed(3),
      high: Math.min(1, middle + half).toFixed(3),
      inverted: pressed(invert),
    });
    if (mapped) asked.set("evidence", "true");
    image.src = `${base}?${asked}`;
    image.alt = mapped ? `${image.dataset.alt}, with its evidence map` : image.dataset.alt;
  }
  renders.push(render);
  function soon() {
    image.style.filter = `brightness(${level.value / 50}) contrast(${width.value / 50})`;
    clearTimeout(waiting);
    waiting = setTimeout(render, 250);
  }
  image.addEventListener("load", () => { image.style.filter = ""; });
  image.addEventListener("error", async () => {
    const answer = await fetch(image.src, { headers: { Accept: "application/json" } }).catch(() => null);
    const said = document.createElement("p");
    said.className = "none";
    said.textContent = (await answer?.json().catch(() => null))?.detail ?? "The image cannot be shown.";
    pane.replaceChildren(said);
  });
  function enlarge() {
    pane.classList.toggle("zoomed", pressed(zoom));
    if (pressed(zoom)) pane.tabIndex = 0;  // it is scrolled with the arrow keys
    else pane.removeAttribute("tabindex");
  }
  for (const field of [level, width]) field.addEventListener("input", soon);
  for (const button of [invert, zoom]) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(!pressed(button)));
      enlarge();
      render();
    });
  }
  view.querySelector("[data-reset]").addEventListener("click", () => {
    level.value = width.value = 50;
    for (const button of [invert, zoom]) button.setAttribute("aria-pressed", "false");
    enlarge();
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
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox], [type=range]), select, textarea, dialog")) return;
  if (event.key === "e" && evidence) evidence.click();
  else if (event.key === "s" && beside) beside.click();
  else return;
  event.preventDefault();
});
