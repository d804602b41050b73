// What every page does by itself: ages and times, messages, forms that are sent without leaving the page, the help.
// Every page also works without it. list.js and reading.js, which pages load after it, use what is here.
"use strict";

const me = document.querySelector('meta[name="who"]')?.content;
const DEAF = 1000;  // milliseconds in which what has just come under the pointer takes no click
let renew = async () => false;  // where a page can: another token for its forms, since the session is a new one
let sessionOver = () => location.reload();  // to the sign-in, and back

const token = () => document.querySelector('meta[name="csrf"]')?.content ?? "";
if (!me) sessionStorage.clear();  // what it has of a list (studies' identifiers) is for as long as somebody is signed in

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

// Messages lie over the page, wherever it is scrolled to, and stay until they are closed or no longer true.
const notices = document.createElement("div");
notices.className = "notices";
document.querySelector("main")?.append(notices);
const told = new Map();
function notice(key, text, { quiet = false, link = null, lasts = 0 } = {}) {
  const old = told.get(key);
  if (old && old.dataset.text === text) return;
  old?.remove();
  told.delete(key);
  if (!text) return;
  const said = document.createElement("div"), words = document.createElement("span"), close = document.createElement("button");
  said.className = quiet ? "notice" : "notice bad";
  said.setAttribute("role", quiet ? "status" : "alert");
  said.dataset.text = words.textContent = text;
  close.type = "button";
  close.className = "quiet";
  close.textContent = "Close";
  close.addEventListener("click", () => notice(key, ""));
  said.append(words, ...(link ? [link] : []), close);
  told.set(key, said);
  notices.append(said);
  if (lasts) setTimeout(() => told.get(key) === said && notice(key, ""), lasts);
}
const complain = (text) => notice("wrong", text);
const connected = (yes) => notice("connection", yes ? "" : "Not connected. What you see may be old.");

// Parts of a page that are replaced as a whole, and only where they differ: a reader hears each change once.
const shown = {};
function showPart(name, written) {
  const made = document.createElement("template");
  made.innerHTML = written;
  const html = made.innerHTML;  // as browsers write it
  if (shown[name] === html) return false;
  const part = document.getElementById(name);
  if (shown[name] !== undefined || part.textContent.trim() || html.trim()) part.innerHTML = html;
  shown[name] = html;
  tellTimes();
  return true;
}

// Buttons that stand where another was a moment ago take no click at first: the second half of a slow double click.
function deafen(part) {
  for (const button of part.querySelectorAll("[data-quiet]")) {
    button.disabled = true;
    setTimeout(() => { button.disabled = false; }, DEAF);
  }
}
deafen(document);

// Forms that keep the page: what was typed is there still when it could not be sent.
const post = (path, body) => fetch(path, {
  method: "POST",
  headers: { Accept: "application/json", "Content-Type": "application/x-www-form-urlencoded" },
  body: String(body),
}).catch(() => null);
const busy = new Set();
async function send(form, button) {
  if (busy.has(form)) return null;
  busy.add(form);
  try {
    const body = new URLSearchParams(new FormData(form, button));
    const path = button?.getAttribute("formaction") ?? form.getAttribute("action");
    let answer = await post(path, body);
    if (answer?.status === 403 && await renew()) {
      body.set("csrf", token());
      answer = await post(path, body);
    }
    const said = await answer?.json().catch(() => null);
    if (!answer) complain("Not connected: nothing was sent. Try again.");
    else if (answer.status === 401) sessionOver();
    else if (!answer.ok) complain(said?.detail ?? "It could not be done. Try again.");
    else notice("wrong", "");
    return answer?.ok ? said : null;
  } finally {
    busy.delete(form);
  }
}
for (const form of document.querySelectorAll('form[data-send="reload"]')) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = await send(form, event.submitter);
    if (!said) return;
    form.reset();
    if (said.to?.startsWith("#")) history.replaceState(null, "", said.to);
    if (said.to && !said.to.startsWith("#")) location.assign(said.to);
    else location.reload();
  });
}

// Help and search; never while somebody types. A dialog that was closed has the focus until the page is next drawn.
const isTyping = (event) =>
  event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox], [type=range], [type=radio]), select, textarea, dialog[open]");
const keys = document.getElementById("keys");
for (const button of document.querySelectorAll("[data-keys]")) {
  button.hidden = !keys;
  button.addEventListener("click", () => keys.showModal());
}
addEventListener("keydown", (event) => {
  if (isTyping(event)) return;
  const search = document.getElementById("q");
  if (event.key === "?" && keys) keys.showModal();
  else if (event.key === "/" && search) {
    if (narrowing) narrowing.open = true;
    search.focus();
  } else return;
  event.preventDefault();
});
