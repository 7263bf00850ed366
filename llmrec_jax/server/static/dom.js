// Builds elements. Texts become text nodes, never markup: titles are written by strangers.

/** The element with an id. */
export const byId = (id) => document.getElementById(id);

/**
 * An element: `make("button.quiet", { onclick, "aria-label": text }, child, ...)`. Functions become properties, other
 * values attributes; null and false are left out. Children are elements or texts, or
 * nothing: undefined, null, false or an empty text.
 */
export function make(spec, attributes = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element[name] = value;
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false && child !== ""));
  return element;
}

/** A button that does not submit a form. */
export const button = (spec, text, onclick, attributes = {}) =>
  make(`button.${spec}`, { type: "button", onclick, ...attributes }, text);

/** "Category · Brand" of an item, as far as it has them. */
export const meta = (item) => [item.category, item.brand].filter(Boolean).join(" · ");

/** The price of an item with two decimals, in the shop's currency; empty without one. */
export function price(item) {
  const given = item.attributes?.price;
  return typeof given === "number" ? given.toFixed(2) : (given ?? "");
}

/** A row of a list: the title opens the item; `actions` are buttons. */
export function row(item, open, ...actions) {
  return make(
    "li.row",
    {},
    make(
      "div",
      {},
      button("link", item.title, () => open(item)),
      item.is_new && make("span.badge", {}, "New"),
      meta(item) && make("p.meta", {}, meta(item)),
    ),
    ...actions,
  );
}

/** A function that runs an asynchronous `action` once it has not been called for some milliseconds. */
export function later(action, milliseconds, fail) {
  let waiting = 0;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => action().catch(fail), milliseconds);
  };
}

let timer = 0;

/** Say something to screen readers. */
export function announce(text) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    byId("status").textContent = text;
  }, 100);
}
