// Applies the chosen theme before the first paint. Without a choice, the page follows the system.
"use strict";
try {
  const chosen = localStorage.getItem("llmrec-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is off: the page follows the system.
}
