// What pages do by themselves: live rows, keys, claims, ages. Every page also works without it.
"use strict";

const token = document.querySelector('meta[name="csrf"]')?.content;
const me = document.querySelector('meta[name="who"]')?.content;
const state = document.getElementById("state");

for (const field of document.querySelectorAll("[data-submit]")) {
  field.addEventListener("change", () => field.form.requestSubmit());
}

// A phone shows the list first.
const narrowing = document.querySelector(".narrowing");
if (narrowing && matchMedia("(max-width: 44rem)").matches) narrowing.open = false;

// Ages, in the reader's own words for time; the server's clock is not asked again.
function age(since) {
  const seconds = Math.max(0, Math.floor((Date.now() - since) / 1000));
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  if (seconds < 60) return "now";
  if (hours < 1) return `${minutes} min`;
  if (days < 1) return `${hours} h ${minutes % 60} min`;
  return `${days} d ${hours % 24} h`;
}
function countAges() {
  for (const time of document.querySelectorAll("time[data-age]")) {
    const text = age(Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}
countAges();
setInterval(countAges, 10000);

function say(text) {
  if (state && state.textContent !== text) state.textContent = text;
}

// Parts of a page that are replaced as a whole, and only where they differ: a reader hears each change once.
const shown = {};
function showPart(name, html) {
  if (shown[name] === html) return;
  const part = document.getElementById(name);
  if (shown[name] !== undefined || part.textContent.trim() || html.trim()) part.innerHTML = html;
  shown[name] = html;
  tellTimes();
}

// Times of day in the reader's own zone; with the date where it is another day.
function tellTimes() {
  for (const time of document.querySelectorAll("time[data-clock]")) {
    const at = new Date(time.dateTime);
    const today = at.toDateString() === new Date().toDateString();
    const parts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    time.textContent = at.toLocaleString([], today ? parts : { ...parts, day: "numeric", month: "short" });
    time.title = at.toISOString();
  }
}
tellTimes();

// A page that nobody tells of changes asks, and shows nothing any more once its session is over.
const trouble = document.querySelector("#trouble[data-look]");
if (trouble) setInterval(async () => {
  const answer = await fetch(trouble.dataset.look).catch(() => null);
  if (answer?.status === 401) location.reload();
  else if (answer?.ok) showPart("trouble", await answer.text());
}, 15000);

// The list: rows are replaced and moved, never the whole table, so that focus and scrolling stay.
const list = document.getElementById("list");
const rows = document.getElementById("rows");

function rowOf(html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  return made.content.querySelector("tr");
}

function show(told) {
  const selected = rows.querySelector("tr.selected")?.dataset.uid;
  const before = new Map([...rows.children].map((row) => [row.dataset.uid, row]));
  const raised = [];
  let last = null;
  for (const uid of told.order) {
    const old = before.get(uid);
    let row = old;
    if (told.rows[uid] !== undefined) {
      row = rowOf(told.rows[uid]);
      if (old) {
        const focused = old.contains(document.activeElement);
        if (Number(row.dataset.rank) > Number(old.dataset.rank)) raised.push(row);
        old.replaceWith(row);
        if (focused) row.querySelector("a.open").focus({ preventScroll: true });
      } else if (before.size) {
        row.classList.add("moved");
      }
      if (uid === selected) row.classList.add("selected");
    }
    if (!row) continue;
    const place = last ? last.nextElementSibling : rows.firstElementChild;
    if (place !== row) {
      const focused = row.contains(document.activeElement) ? document.activeElement : null;
      rows.insertBefore(row, place);
      focused?.focus({ preventScroll: true });
    }
    last = row;
  }
  const wanted = new Set(told.order);
  for (const row of [...rows.children]) if (!wanted.has(row.dataset.uid)) row.remove();
  for (const row of raised) row.classList.add("moved");
  document.getElementById("none").hidden = told.order.length > 0;
  for (const part of ["human", "trouble"]) if (told[part] !== undefined) showPart(part, told[part]);
  countAges();
  say(raised.length ? `${raised.length} raised` : "");
}

function watch() {
  const source = new EventSource(list.dataset.live);
  source.addEventListener("list", (event) => show(JSON.parse(event.data)));
  source.addEventListener("away", () => say("The worklist is away. What you see may be old."));
  source.addEventListener("over", () => location.reload());  // the session: what is shown is nobody's any more
  source.addEventListener("error", () => {
    say("Not connected. What you see may be old.");
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(async () => {  // refused: the session may be over
      const answer = await fetch("/condition").catch(() => null);
      if (answer?.status === 401) location.reload();
      else watch();
    }, 5000);
  });
  addEventListener("pagehide", () => source.close(), { once: true });
}
if (list?.dataset.live && rows) watch();

// Claims.
async function claim(row) {
  const name = row.querySelector('[data-head="Reader"]').textContent.trim();
  const what = name === me ? "release" : "claim";
  const answer = await fetch(`/studies/${row.dataset.uid}/${what}`, {
    method: "POST",
    headers: { Accept: "application/json", "X-CSRF-Token": token, "Content-Type": "application/x-www-form-urlencoded" },
    body: "",
  });
  if (!answer.ok) say((await answer.json().catch(() => ({}))).detail ?? "It could not be claimed.");
}
rows?.addEventListener("click", (event) => {
  const button = event.target.closest("[data-claim]");
  if (button) claim(button.closest("tr"));
});

// Keys, as PACS worklists have them; never while somebody types.
function select(row) {
  if (!row) return;
  rows.querySelector("tr.selected")?.classList.remove("selected");
  row.classList.add("selected");
  row.querySelector("a.open").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
  const selected = rows?.querySelector("tr.selected");
  const keys = document.getElementById("keys");
  if (event.key === "?") keys?.showModal();
  else if (event.key === "/") document.getElementById("q")?.focus();
  else if (event.key === "f") (document.querySelector("#feedback input[type=radio]") ?? document.getElementById("feedback"))?.focus();
  else if (!rows) return;
  else if (event.key === "j") select(selected ? selected.nextElementSibling : rows.firstElementChild);
  else if (event.key === "k") select(selected?.previousElementSibling);
  else if (event.key === "c" && selected && document.body.classList.contains("reader")) claim(selected);
  else return;
  event.preventDefault();
});
