// The list: rows that change by themselves, claims, and the keys of PACS worklists.
"use strict";

const list = document.getElementById("list");
const rows = document.getElementById("rows");
const JUST = 700;  // milliseconds after a move in which a click was meant for another row
const LOOKED_UP = 5;  // studies that have left the list, of which it is said why

// Rows are replaced and moved, never the whole table, so that focus and scrolling stay.
function rowOf(html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  return made.content.querySelector("tr");
}
const nameOf = (row) => row.querySelector(".patient").textContent.trim();
const priorityOf = (row) => row.querySelector(".priority").lastChild.textContent.trim();

// One's own claim can be given back, another's only be taken over: the server writes a row for all alike.
function own(part) {
  for (const button of part.querySelectorAll("[data-of]")) button.hidden = button.dataset.of !== me;
  for (const button of part.querySelectorAll("[data-not-of]")) button.hidden = button.dataset.notOf === me;
}
own(rows);

// What lay under the pointer may be another study's by the time of the click.
let pointer = null, movedAt = -Infinity;
addEventListener("pointermove", (event) => { pointer = [event.clientX, event.clientY]; }, { passive: true });
const under = () => pointer && document.elementFromPoint(...pointer)?.closest("#rows tr")?.dataset.uid;
rows.addEventListener("click", (event) => {
  if (!event.detail || performance.now() - movedAt > JUST) return;  // keys act on what has the focus
  event.preventDefault();
  event.stopPropagation();
  notice("moved", "The list moved just then, and nothing was done. Look again before you click.", { quiet: true, lasts: 8000 });
}, { capture: true });

function show(told) {
  const pointed = under();
  const selected = rows.querySelector("tr.selected")?.dataset.uid;
  const before = new Map([...rows.children].map((row) => [row.dataset.uid, row]));
  const raised = [];
  let last = null;
  for (const uid of told.order) {
    const old = before.get(uid);
    let row = old;
    if (told.rows[uid] !== undefined) {
      row = rowOf(told.rows[uid]);
      own(row);
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
  const gone = [...rows.children].filter((row) => !wanted.has(row.dataset.uid));
  for (const row of gone) row.remove();
  for (const row of raised) row.classList.add("moved");
  if (pointed && under() !== pointed) movedAt = performance.now();
  document.getElementById("none").hidden = told.order.length > 0;
  for (const part of ["human", "trouble"]) if (told[part] !== undefined) showPart(part, told[part]);
  countAges();
  if (raised.length) tellRaised(raised.map((row) => `${nameOf(row)} to ${priorityOf(row)}`));
  if (gone.length) tellGone(gone.slice(0, LOOKED_UP));
}
const tellRaised = (said) => notice("raised", `Raised: ${said.slice(0, LOOKED_UP).join("; ")}${said.length > LOOKED_UP ? `, and ${said.length - LOOKED_UP} more` : ""}.`, { quiet: true, lasts: 60000 });

// A list of one priority loses what was raised: that is the last study that may vanish without a word.
async function tellGone(gone) {
  const said = [];
  for (const row of gone) {
    const answer = await fetch(`/condition?study=${row.dataset.uid}`).catch(() => null);
    const now = answer?.ok ? await answer.json() : null;
    if (now && !now.read && now.rank > Number(row.dataset.rank)) said.push(`${nameOf(row)} to ${now.priority}, so it is not in this list any more`);
  }
  if (said.length) tellRaised(said);
}

function watch() {
  const source = new EventSource(list.dataset.live);
  source.addEventListener("open", () => connected(true));
  source.addEventListener("list", (event) => {
    notice("away", "");
    show(JSON.parse(event.data));
  });
  source.addEventListener("away", () => notice("away", "The worklist is away. What you see may be old."));
  source.addEventListener("over", () => location.reload());  // the session: what is shown is nobody's any more
  source.addEventListener("error", () => {
    connected(false);
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(async () => {  // refused: the session may be over
      const answer = await fetch("/condition").catch(() => null);
      if (answer?.status === 401) location.reload();
      else watch();
    }, 5000);
  });
  addEventListener("pagehide", () => source.close(), { once: true });
}
if (list.dataset.live) watch();

// Claims: the buttons belong to one form, which sends them without leaving the list.
document.getElementById("claims")?.addEventListener("submit", (event) => {
  event.preventDefault();
  send(event.target, event.submitter);
});
let asked = null;
function claimByKey(row) {
  const buttons = [...row.querySelectorAll("[data-claim]")].filter((button) => !button.hidden);
  const owner = row.querySelector(".owner")?.textContent.trim();
  if (!buttons.length) {
    notice("wrong", owner ? `${owner} reads this study.` : "It cannot be claimed.");
  } else if (buttons[0].name === "from" && asked !== row.dataset.uid) {
    asked = row.dataset.uid;
    notice("asked", `${owner} has read this study for over an hour. Press c again to take it over from ${owner}.`, { quiet: true, lasts: 15000 });
  } else {
    asked = null;
    notice("asked", "");
    buttons[0].click();
  }
}

// The list as it is left, for the way back and to the next study: identifiers alone, in this tab alone, until the sign-out.
const here = location.pathname + location.search;
function keep(uid) {
  sessionStorage.setItem("list", JSON.stringify({ address: here, order: [...rows.children].map((row) => row.dataset.uid), selected: uid }));
}
addEventListener("pagehide", () => keep(rows.querySelector("tr.selected")?.dataset.uid));
rows.addEventListener("click", (event) => {
  if (event.target.closest("a.open")) select(event.target.closest("tr"));
});

function select(row) {
  if (!row) return;
  rows.querySelector("tr.selected")?.classList.remove("selected");
  row.classList.add("selected");
  row.querySelector("a.open").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}
function comeBack() {
  const kept = JSON.parse(sessionStorage.getItem("list") ?? "null");
  if (sessionStorage.getItem("from-top")) select(rows.firstElementChild);
  else if (kept?.address === here && kept.selected) select([...rows.children].find((row) => row.dataset.uid === kept.selected));
  sessionStorage.removeItem("from-top");
}
comeBack();

function further(selected) {
  const next = selected ? selected.nextElementSibling : rows.firstElementChild;
  const page = document.querySelector('.pages a[rel="next"]');
  if (next) select(next);
  else if (selected && page) {
    sessionStorage.setItem("from-top", "1");
    page.click();
  }
}
addEventListener("keydown", (event) => {
  if (isTyping(event)) return;
  const selected = rows.querySelector("tr.selected");
  if (event.key === "j") further(selected);
  else if (event.key === "k") select(selected?.previousElementSibling);
  else if (event.key === "c" && selected && document.body.classList.contains("reader")) claimByKey(selected);
  else return;
  event.preventDefault();
});
