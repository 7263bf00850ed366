// The parts of a score: their names in plain words, their share, and bars that show it.
import { make } from "./dom.js";

const NAMES = {
  text: "Text",
  structure: "Series or edition",
  co_purchase: "Bought together",
  popularity: "Popular now",
  model: "Trained model",
  disliked: "Not this",
};

/** "co_purchase" as "Co purchase". */
export const capital = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

/** A part in plain words. */
export const partName = (part) => NAMES[part] ?? capital(part);

/** The parts of an item, largest first, with their share of the sum of all sizes; a negative part has a negative share. */
export function shares(parts) {
  const entries = Object.entries(parts ?? {}).filter(([, value]) => value !== 0);
  const sum = entries.reduce((total, [, value]) => total + Math.abs(value), 0);
  return entries.map(([name, value]) => ({ name, share: value / sum })).sort((a, b) => b.share - a.share);
}

/** "62 %", with a minus sign below zero. */
export const percent = (share) => `${share < 0 ? "−" : ""}${Math.round(Math.abs(share) * 100)} %`;

/** One bar made of the parts that speak for an item. `order` gives each part its shade. */
export function stackedBar(parts, order) {
  const bar = make("div.stack", { "aria-hidden": "true" });
  const found = shares(parts).filter(({ share }) => share > 0);
  const sum = found.reduce((total, { share }) => total + share, 0);
  for (const { name, share } of found) {
    const segment = make("i", { class: `shade-${order.indexOf(name) % 5}` });
    segment.style.width = `${(100 * share) / sum}%`;
    bar.append(segment);
  }
  return bar;
}

/** The two strongest reasons in words. */
export function reason(parts) {
  const strongest = shares(parts).filter(({ share }) => share >= 0.05).slice(0, 2);
  return strongest.map(({ name, share }) => `${partName(name)} ${percent(share)}`).join(" · ");
}

/** A list of labelled bars for `[label, value]`. Bars are relative to the largest, percentages to the sum of sizes. */
export function bars(label, rows) {
  const sum = rows.reduce((total, [, value]) => total + Math.abs(value), 0) || 1;
  const largest = Math.max(...rows.map(([, value]) => Math.abs(value)), 1e-12);
  const list = make("ul.bars", { "aria-label": label });
  for (const [name, value] of rows) {
    const bar = make(value < 0 ? "i.against" : "i", {});
    bar.style.width = `${(100 * Math.abs(value)) / largest}%`;
    list.append(
      make("li", {}, make("span.name", {}, name), make("span.value", {}, percent(value / sum)),
        make("span.track", { "aria-hidden": "true" }, bar)),
    );
  }
  return list;
}
