// The audit console: times in the reader's own zone, and how far a verification is. The pages also work without it.
"use strict";

// Who has named no zone gets the browser's: times are shown in it, and what is typed is asked for in it.
const zoneField = document.querySelector("[data-zone]");
const zoneSaid = document.getElementById("zone-said");
const named = new URLSearchParams(location.search).get("zone");
if (zoneSaid && !named) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const typed = [...document.querySelectorAll("#from, #to")].some((field) => field.value);
  if (!typed) {  // what was typed without a zone was taken for UTC
    if (zoneField) zoneField.value = zone;
    const format = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: zone });
    for (const time of document.querySelectorAll("time[data-moment]")) time.textContent = format.format(new Date(time.dateTime));
    zoneSaid.textContent = `Times are in ${zone}.`;
  }
}

// On a phone the records come first, also where a window becomes that narrow; a form with something wrong in it is shown.
const filters = document.querySelector(".narrowing");
const narrow = matchMedia("(max-width: 44rem)");
const mistaken = filters?.querySelector("[aria-invalid]");
const fold = () => { if (filters) filters.open = !narrow.matches || Boolean(mistaken); };
narrow.addEventListener("change", fold);
fold();
mistaken?.focus();

const progress = document.querySelector("progress[data-watch]");
async function look() {
  const answer = await fetch("/api/audit/chain", { headers: { Accept: "application/json" } }).catch(() => null);
  const job = answer?.ok ? await answer.json() : null;
  if (job && !job.running) location.reload();
  else {
    if (job) progress.value = job.percent;
    setTimeout(look, 1000);
  }
}
if (progress) setTimeout(look, 500);
