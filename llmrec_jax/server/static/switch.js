// The switch between the dark and the light theme; `theme.js` applies the choice of an earlier visit.
import { byId } from "./dom.js";

/** Make the switch work. `changed` is called when the theme has changed. */
export function switchTheme(changed) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => {
    byId("theme").textContent = isDark() ? "Light theme" : "Dark theme";
    changed();
  };
  byId("theme").onclick = () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("llmrec-theme", root.dataset.theme);
    } catch {
      // Storage is off: the choice holds until the page is left.
    }
    show();
  };
  system.onchange = show;
  show();
}
