// The shelf: cards that keep their place in the document while they move, so that the focus is not lost.
import { button, make, meta, price } from "./dom.js";
import { reason, stackedBar } from "./parts.js";

const MOVE = { duration: 260, easing: "cubic-bezier(.2,.7,.2,1)" };
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** A small number that is always the same for a text: the tint of a cover. */
const tint = (text) => [...text].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 9973, 7) % 4;

export class Shelf {
  /** `actions`: functions `open`, `add` and `dislike` of an item. */
  constructor(list, actions) {
    this.list = list;
    this.actions = actions;
    this.cards = new Map();
  }

  /** Show items, best first. `order` is the order of the parts in the legend. */
  show(items, order) {
    const before = new Map([...this.cards].map(([id, card]) => [id, card.node.getBoundingClientRect()]));
    const kept = new Map(items.map((item) => [item.item_id, this.cards.get(item.item_id) ?? this.#card(item)]));
    for (const [id, card] of this.cards) if (!kept.has(id)) this.#remove(card);
    this.cards = kept;
    items.forEach((item, place) => {
      const card = kept.get(item.item_id);
      card.update(item, place + 1, order);
      const there = this.list.children[place];
      if (there !== card.node) this.list.insertBefore(card.node, there ?? null);
    });
    if (!still.matches) for (const [id, card] of kept) this.#move(card.node, before.get(id));
  }

  /** Remove a card at once, before the server has answered. */
  drop(itemId) {
    const card = this.cards.get(itemId);
    if (!card) return;
    this.cards.delete(itemId);
    this.#remove(card);
  }

  /** Take a card out; the focus, if it is inside, goes to the next card. */
  #remove(card) {
    const hadFocus = card.node.contains(document.activeElement);
    const next = card.node.nextElementSibling ?? card.node.previousElementSibling;
    card.node.remove();
    if (hadFocus) (next?.querySelector("button") ?? document.getElementById("shelf-heading")).focus();
  }

  #move(node, from) {
    if (!from) {
      node.animate([{ opacity: 0, transform: "translateY(8px)" }, { opacity: 1, transform: "none" }], MOVE);
      return;
    }
    const to = node.getBoundingClientRect();
    const [x, y] = [from.left - to.left, from.top - to.top];
    if (x || y) node.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], MOVE);
  }

  #card(first) {
    const current = { item: first };
    const rank = make("span.rank", {});
    const badge = make("span.badge", {}, "New");
    const why = make("div.why-line", {});
    const { open, add, dislike } = this.actions;
    const node = make(
      "li.card",
      { "data-id": first.item_id },
      make(
        "div",
        { class: `cover tint-${tint(first.category ?? first.title)}` },
        make("p.card-top", {}, rank, badge),
        make("h3", {}, button("link", first.title, () => open(current.item))),
      ),
      make("p.line", {}, make("span.meta", {}, meta(first)), price(first) && make("span.price", {}, price(first))),
      why,
      make(
        "p.actions",
        {},
        button("button", "Add", () => add(current.item), { "aria-label": `Add to your history: ${first.title}` }),
        button("quiet", "Not this", () => dislike(current.item), { "aria-label": `Not this: ${first.title}` }),
      ),
    );
    const update = (item, place, order) => {
      current.item = item;
      rank.textContent = place;
      badge.hidden = !item.is_new;
      const text = reason(item.parts);
      why.replaceChildren(...(text ? [stackedBar(item.parts, order), make("p.reason", {}, text)] : []));
    };
    return { node, update };
  }
}
