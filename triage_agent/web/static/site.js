// Small helpers for the pages; every page also works without them.
"use strict";
for (const field of document.querySelectorAll("[data-submit]")) {
  field.addEventListener("change", () => field.form.requestSubmit());
}
