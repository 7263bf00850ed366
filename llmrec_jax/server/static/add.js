// The form that adds an item, and the place that it gets for the present history.
import * as api from "./api.js";
import { button, byId, make } from "./dom.js";

const FIELDS = ["title", "category", "brand", "description"];
const RANKED = 100; // places that are looked at

/** A new id from a title. */
const newId = (title) =>
  `${title.toLowerCase().normalize("NFKD").replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 40) || "item"}-${Date.now().toString(36)}`;

export class AddForm {
  /** `state` has the history; `changed` is called after the catalogue has changed, `open` shows an item. */
  constructor(state, { changed, open, fail }) {
    this.state = state;
    this.actions = { changed, open, fail };
    this.form = byId("add-form");
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.#guard(() => this.#add());
    };
    byId("fill").onclick = () => this.#guard(() => this.#fill());
  }

  async #guard(action) {
    const buttons = this.form.querySelectorAll("button");
    for (const one of buttons) one.setAttribute("aria-disabled", "true");
    try {
      await action();
    } catch (error) {
      this.actions.fail(error);
    } finally {
      for (const one of buttons) one.removeAttribute("aria-disabled");
    }
  }

  async #add() {
    const values = FIELDS.map((name) => [name, this.form.elements[name].value.trim()]).filter(([, value]) => value);
    const item = { item_id: newId(this.form.elements.title.value), ...Object.fromEntries(values) };
    await api.addItem(item);
    const history = this.state.history.map((own) => own.item_id);
    const { items } = await api.recommend({ history, disliked: this.state.disliked.map((own) => own.item_id), k: RANKED });
    const place = items.findIndex((found) => found.item_id === item.item_id) + 1;
    this.#say(item, place, history.length);
    this.form.reset();
    await this.actions.changed();
  }

  #say(item, place, length) {
    const from = length === 1 ? "1 item" : `${length} items`;
    const ranked = place
      ? `Rank ${place} for your history of ${from}. It is ranked by its text alone.`
      : `Not among the first ${RANKED} for your history of ${from}: its text is not similar to theirs.`;
    const text = length
      ? ranked
      : "With an empty history, items are ranked by popularity, and nobody has bought this one. Add something to your history.";
    byId("added").replaceChildren(
      make("p.place", {}, make("span.badge", {}, "New"), ` ${item.title}`),
      make("p", {}, text),
      make("p.actions", {},
        button("button", "Explanation and similar items", () => this.actions.open({ ...item, is_new: true })),
        button("quiet", "Remove it", () => this.#guard(() => this.#remove(item)))),
    );
  }

  async #remove(item) {
    await api.removeItem(item.item_id);
    byId("added").replaceChildren(make("p", {}, "Removed."));
    this.form.elements.title.focus();
    await this.actions.changed([item.item_id]);
  }

  /** An example that has something to do with the history: another volume of its last item. */
  async #fill() {
    const last = this.state.history.at(-1);
    const { items } = await api.items(last ? { query: last.title, limit: 1 } : { limit: 1 });
    const model = items[0] ?? last;
    if (!model) return;
    const { elements } = this.form;
    elements.title.value = `Return to ${model.title.replace(/^the /i, "the ")}`;
    elements.category.value = model.category ?? "";
    elements.brand.value = model.brand ?? "";
    elements.description.value = `A sequel to ${model.title}, out this morning.`;
    elements.title.focus();
  }
}
