// The page of a study while it is open: how the study stands, who reads it, the way to the next one, what was typed.
"use strict";

const now = document.getElementById("now");
const LOOK = 5000;  // milliseconds
const judge = document.getElementById("feedback");
const first = now.cloneNode(true);  // as it came: what deafens buttons is no change
for (const button of first.querySelectorAll("[disabled]")) button.disabled = false;
shown.now = first.innerHTML;

const typed = () => Boolean(judge && ([...judge.querySelectorAll("textarea")].some((field) => field.value.trim()) || judge.querySelector("input:checked")));

// Nothing of the patient is shown once the session is over; what the reader has typed is kept, until it can be sent.
sessionOver = () => {
  if (!typed()) return location.reload();
  document.body.classList.add("ended");
  const link = document.createElement("a");
  link.href = "/login";
  link.target = "_blank";
  link.rel = "noopener";
  link.textContent = "Sign in in another tab";
  notice("ended", "Your session has ended. What you have typed is still here, and can be sent once you have signed in again.", { link });
};

function renewed(told) {
  document.querySelector('meta[name="csrf"]').content = told.csrf;
  for (const field of document.querySelectorAll('input[name="csrf"]')) field.value = told.csrf;
  document.body.classList.remove("ended");
  notice("ended", "");
}

// With what was typed, which lies in the tab for no longer than the page takes to come.
function again() {
  const fields = judge ? [...new FormData(judge)].filter(([name]) => name !== "csrf") : [];
  sessionStorage.setItem("typed", JSON.stringify([location.pathname, fields]));
  location.reload();
}
function takeBack() {
  const [path, fields] = JSON.parse(sessionStorage.getItem("typed") ?? "[]");
  sessionStorage.removeItem("typed");
  if (!judge || path !== location.pathname) return;
  for (const [name, value] of fields) {
    const choice = [...judge.elements].find((one) => one.name === name && one.type === "radio" && one.value === value);
    if (choice) choice.checked = true;
    else if (judge.elements[name]?.tagName === "TEXTAREA") judge.elements[name].value = value;
  }
}
takeBack();

function tellChanged(told) {
  if (told.mark === now.dataset.mark) return notice("changed", "");
  const link = document.createElement("button");
  link.type = "button";
  link.textContent = "Show it as it is now";
  link.addEventListener("click", again);
  notice("changed", `This study has changed since the page was made: it is ${told.priority}, and its images or its result may be others.`, { link });
}

let looking = null;
function look() {
  looking ??= ask().finally(() => { looking = null; });
  return looking;
}
async function ask() {
  const answer = await fetch(`/condition?study=${now.dataset.study}`, { headers: { Accept: "application/json" } }).catch(() => null);
  connected(Boolean(answer) && answer.status < 500);
  if (answer?.status === 401) sessionOver();
  if (!answer?.ok) return false;
  const told = await answer.json();
  if (told.who !== me) {  // somebody else has signed in: neither the page nor what was typed is theirs
    judge?.reset();
    location.reload();
    return false;
  }
  renewed(told);
  showPart("trouble", told.trouble);
  const focused = now.contains(document.activeElement);
  if (showPart("now", told.now)) {
    deafen(now);
    if (focused) now.focus({ preventScroll: true });
  }
  tellChanged(told);
  return true;
}
renew = look;
setInterval(() => { if (!document.hidden) look(); }, LOOK);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });

// Claiming and its likes leave the page as it is.
document.getElementById("reading")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const focused = now.contains(document.activeElement);
  await send(event.target, event.submitter);
  await look();
  if (focused) now.focus({ preventScroll: true });
});

// The way back to the list, and to the studies beside this one in it.
const kept = JSON.parse(sessionStorage.getItem("list") ?? "null");
const ways = { back: kept?.address, previous: null, next: null };
const place = kept?.order.indexOf(now.dataset.study) ?? -1;
if (place > 0) ways.previous = `/studies/${kept.order[place - 1]}`;
if (place >= 0 && place + 1 < kept.order.length) ways.next = `/studies/${kept.order[place + 1]}`;
for (const [name, address] of Object.entries(ways)) {
  if (!address) continue;
  const link = document.getElementById(name);
  link.href = address;
  link.hidden = false;
}
if (place >= 0) sessionStorage.setItem("list", JSON.stringify({ ...kept, selected: now.dataset.study }));

// Times in the browser's zone, which the page names.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const format = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: zone });
for (const time of document.querySelectorAll("time[data-moment]")) time.textContent = format.format(new Date(time.dateTime));
document.getElementById("zone-of-times").textContent = `in ${zone}`;

function claimByKey() {
  const button = now.querySelector("[data-claim]:not(:disabled)");
  if (!button) notice("asked", now.querySelector("[data-claim]") ? "" : now.querySelector(".said")?.textContent ?? "", { quiet: true, lasts: 8000 });
  else if (button.name === "from" && document.activeElement !== button) {
    button.focus();
    notice("asked", `${now.querySelector(".said").textContent} Press c again to take it over.`, { quiet: true, lasts: 15000 });
  } else button.click();
}
addEventListener("keydown", (event) => {
  if (isTyping(event)) return;
  if (event.key === "j") document.querySelector("#next:not([hidden])")?.click();
  else if (event.key === "k") document.querySelector("#previous:not([hidden])")?.click();
  else if (event.key === "u") document.getElementById("back").click();
  else if (event.key === "c" && document.body.classList.contains("reader")) claimByKey();
  else if (event.key === "f") (judge?.querySelector("input[type=radio]") ?? judge)?.focus();
  else return;
  event.preventDefault();
});
