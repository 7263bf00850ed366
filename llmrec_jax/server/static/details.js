// The sheet of one item: why it is on the shelf, and similar items by text, by purchase and by the model.
import * as api from "./api.js";
import { button, byId, make, meta, price, row } from "./dom.js";
import { bars, partName, shares } from "./parts.js";

const SIMILAR = [
  ["text", "By its text", "Words and meaning"],
  ["purchase", "By purchases", "Bought by the same people"],
  ["model", "By the model", "Vectors of the trained model"],
];
const NUM_SIMILAR = 6;
const NUM_REASONS = 8;

export class Details {
  /** `state` has the history; `actions` are functions `add` and `dislike` of an item. */
  constructor(state, actions) {
    this.state = state;
    this.actions = actions;
    this.dialog = byId("details");
    byId("details-close").onclick = () => this.dialog.close();
    this.dialog.onclick = (event) => {
      if (event.target === this.dialog) this.dialog.close(); // a click beside the sheet
    };
    this.dialog.onclose = () => this.request?.abort();
  }

  /** Show an item. From the lists in the sheet one can go on to other items. */
  open(item) {
    this.request?.abort();
    this.request = new AbortController();
    const { signal } = this.request;
    byId("details-title").textContent = item.title;
    byId("details-meta").textContent = [meta(item), price(item)].filter(Boolean).join(" · ");
    byId("details-actions").replaceChildren(...this.#buttons(item));
    byId("details-why").replaceChildren(make("h3", {}, "Why it is recommended"));
    byId("details-similar").replaceChildren(...SIMILAR.map((column) => this.#column(item, column, signal)));
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
    byId("details-title").focus();
    this.#fill(byId("details-why"), () => this.#why(item, signal));
  }

  #buttons(item) {
    const leave = (action) => () => {
      this.dialog.close();
      action(item);
    };
    if (this.state.history.some((own) => own.item_id === item.item_id)) return ["It is in your history."];
    return [
      button("button.primary", "Add to history", leave(this.actions.add)),
      button("button", "Not this", leave(this.actions.dislike)),
    ];
  }

  /** Fill a place with what a request gives, or with its error. */
  async #fill(place, request) {
    place.setAttribute("aria-busy", "true");
    try {
      place.append(...(await request()));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof api.ServerError)) throw error;
      place.append(make("p.note", {}, error.message));
    } finally {
      place.removeAttribute("aria-busy");
    }
  }

  async #why(item, signal) {
    const history = this.state.history.map((own) => own.item_id);
    if (!history.length) {
      return [make("p.note", {}, "With an empty history, items are ranked by popularity. Add an item to see an explanation.")];
    }
    const found = await api.explain(history, item.item_id, signal);
    const block = (title, list) => make("div", {}, make("h4", {}, title), list);
    const blocks = [
      block("Parts of the score", bars("Parts of the score", shares(found.parts).map(({ name, share }) => [partName(name), share]))),
    ];
    if (found.history.length) {
      const rows = found.history.slice(0, NUM_REASONS).map((own) => [own.title, own.share]);
      blocks.push(block("Contribution of your history", bars("Items of your history", rows)));
    }
    if (found.words.length) {
      const rows = found.words.slice(0, NUM_REASONS).map(({ word, share }) => [word, share]);
      blocks.push(block("Contribution of its words", bars("Words", rows)));
    }
    return [make("div.columns", {}, ...blocks)];
  }

  #column(item, [by, title, note], signal) {
    const column = make("div", {}, make("h4", {}, title), make("p.note", {}, note));
    this.#fill(column, async () => {
      const { items } = await api.similar(item.item_id, by, NUM_SIMILAR, signal);
      if (!items.length) return [make("p.note", {}, "None.")];
      return [make("ol.rows", { "aria-label": title }, ...items.map((other) => row(other, (next) => this.open(next))))];
    });
    return column;
  }
}
