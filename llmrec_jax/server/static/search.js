// The search: free text, compared by the server with the text of every item.
import * as api from "./api.js";
import { announce, button, byId, later, make, row } from "./dom.js";

const NUM_FOUND = 12;
const NOTHING = "Nothing found: no item has these words. Words that all items have do not count.";

export class Search {
  /** `state` has the history; `actions`: functions `open`, `add` and `remove` of an item, `found` of ids, and `fail`. */
  constructor(state, actions) {
    this.state = state;
    this.actions = actions;
    this.found = [];
    byId("search").onsubmit = (event) => {
      event.preventDefault();
      this.run().catch(actions.fail);
    };
    byId("query").oninput = later(() => this.run(), 200, actions.fail);
  }

  /** Search for what is in the field; without any text, there are no results. */
  async run() {
    this.pending?.abort();
    this.pending = new AbortController();
    const query = byId("query").value.trim();
    const { items } = query ? await api.search(query, NUM_FOUND, this.pending.signal) : { items: [] };
    this.found = items;
    byId("skip-results").hidden = !items.length;
    const rows = items.map((item) => row(item, this.actions.open, this.#toggle(item)));
    if (query && !items.length) rows.push(make("li.meta", {}, NOTHING));
    byId("results").replaceChildren(...rows);
    this.showPressed();
    this.actions.found(items.map((item) => item.item_id));
    if (query) announce(`${items.length} found. First: ${items[0]?.title ?? "none"}.`);
  }

  /** Show which results are in the history. */
  showPressed() {
    this.found.forEach((item, place) => {
      const isPressed = this.#isOwn(item);
      const icon = byId("results").children[place].querySelector(".icon");
      icon.setAttribute("aria-pressed", isPressed);
      icon.textContent = isPressed ? "✓" : "+";
    });
  }

  #isOwn(item) {
    return this.state.history.some((own) => own.item_id === item.item_id);
  }

  /** A button that puts a result into the history and takes it out. */
  #toggle(item) {
    const { add, remove } = this.actions;
    const change = () => (this.#isOwn(item) ? remove(item) : add(item));
    return button("icon", "", change, { "aria-label": `In your history: ${item.title}` });
  }
}
