"use strict";
// A key stands for the button, link or field that names it; nothing is done while somebody writes, or with Ctrl, Alt or Meta held.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const at = document.activeElement;
  const writes = at instanceof HTMLInputElement || at instanceof HTMLTextAreaElement;
  if (writes) {
    if (event.key === "Escape") at.blur();
    else if (event.key === "Enter") event.preventDefault(); // no decision by accident: Escape, then its key
    return;
  }
  const found = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === event.key);
  if (!found) return;
  event.preventDefault();
  if (found instanceof HTMLInputElement) found.focus();
  else found.click();
});
// A decision is sent once, however often its button is pressed.
addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "1";
});
addEventListener("click", (event) => {
  const shows = event.target.closest?.("[data-shows]")?.dataset.shows;
  if (shows) for (const one of document.querySelectorAll(shows)) one.open = true;
});
