// The page: its state, and what each control does to it. The server is asked by `api`; the sections draw themselves.
import { AddForm } from "./add.js";
import * as api from "./api.js";
import { Catalogue } from "./catalogue.js";
import { Details } from "./details.js";
import { announce, button, byId, later, make, row } from "./dom.js";
import { capital, partName } from "./parts.js";
import { Search } from "./search.js";
import { Shelf } from "./shelf.js";
import { switchTheme } from "./switch.js";

const PAGE = 12; // items of the shelf
const SAVED = "llmrec-state";
const number = new Intl.NumberFormat();

const state = { info: null, bundle: null, shop: null, history: [], disliked: [], k: PAGE };
const actions = { open: (item) => details.open(item), add, dislike };
const shelf = new Shelf(byId("cards"), actions);
const details = new Details(state, actions);
const catalogue = new Catalogue(actions.open);
const search = new Search(state, { ...actions, remove, found: (lit) => catalogue.mark({ lit }), fail });
new AddForm(state, { changed: catalogueChanged, open: actions.open, fail });

const has = (list, item) => list.some((other) => other.item_id === item.item_id);
const without = (list, item) => list.filter((other) => other.item_id !== item.item_id);
const brief = ({ item_id, title, category, brand, attributes }) => ({ item_id, title, category, brand, attributes });
const ids = (list) => list.map((item) => item.item_id);
const facts = () => state.info.bundles[state.bundle];
const REGIMES = {
  full: () => "The model is trained on the histories of this shop.",
  "few-shot": (others) => `The model is trained on ${others} and on some histories of this shop.`,
  transductive: (others) => `The model is trained on ${others} only; histories of this shop are used for counts.`,
  "zero-shot": (others) => `The model is trained on ${others} only; no history of this shop is used.`,
};

/** Show an error of the server; any other error is a fault of this page. */
function fail(error) {
  if (error.name === "AbortError") return;
  if (!(error instanceof api.ServerError)) throw error;
  byId("alert").textContent = error.message;
  byId("alert").hidden = false;
}

// ---- the state

function add(item) {
  if (has(state.history, item)) return;
  state.history.push(brief(item));
  state.disliked = without(state.disliked, item);
  shelf.drop(item.item_id);
  changed(`Added: ${item.title}.`);
}

function dislike(item) {
  state.history = without(state.history, item);
  if (!has(state.disliked, item)) state.disliked.push(brief(item));
  shelf.drop(item.item_id);
  changed(`Not this: ${item.title}.`);
}

function remove(item) {
  state.history = without(state.history, item);
  state.disliked = without(state.disliked, item);
  changed(`Removed: ${item.title}.`);
}

function changed(text = "") {
  state.k = PAGE;
  showLists();
  save();
  refresh(text).catch(fail);
}

/** After items were added or `removed`: their lists, the map and the search are out of date. */
async function catalogueChanged(removed = []) {
  for (const item_id of removed) [state.history, state.disliked] = [state.history, state.disliked].map((list) => without(list, { item_id }));
  showLists();
  save();
  state.info = await api.info();
  showFacts();
  await Promise.all([refresh(), catalogue.load(), search.run()]);
}

function save() {
  const { bundle, history, disliked } = state;
  sessionStorage.setItem(SAVED, JSON.stringify({ bundle, history, disliked }));
}

function restore() {
  try {
    const saved = JSON.parse(sessionStorage.getItem(SAVED));
    if (saved?.bundle in state.info.bundles) Object.assign(state, saved);
  } catch {
    sessionStorage.removeItem(SAVED);
  }
}

// ---- the shelf

let pending = null;

async function refresh(text = "") {
  pending?.abort();
  pending = new AbortController();
  const shop = state.shop === facts().target ? null : state.shop;
  const request = {
    history: ids(state.history), disliked: ids(state.disliked), k: state.k,
    diversity: Number(byId("variety").value), new: 1, explain: true, shop,
  };
  byId("cards").setAttribute("aria-busy", "true");
  const found = await api.recommend(request, pending.signal);
  byId("cards").removeAttribute("aria-busy");
  byId("alert").hidden = true;
  if (found.unknown.length) forgetUnknown(found.unknown);
  const order = Object.keys(facts().parts);
  for (const item of found.items) for (const part of Object.keys(item.parts ?? {})) if (!order.includes(part)) order.push(part);
  shelf.show(found.items, order);
  showLegend(found.fallback ? [] : order.filter((part) => found.items.some((item) => item.parts?.[part] > 0)), order);
  byId("shelf-note").textContent = shelfNote(found.fallback, shop);
  byId("more").hidden = found.items.length < state.k || state.k >= 120;
  catalogue.mark({ shelf: shop ? [] : ids(found.items), own: ids(state.history) });
  announce(`${text} ${found.items.length} items recommended. First: ${found.items[0]?.title ?? "none"}.`);
}

function forgetUnknown(unknown) {
  const isKnown = (item) => !unknown.includes(item.item_id);
  [state.history, state.disliked] = [state.history.filter(isKnown), state.disliked.filter(isKnown)];
  showLists();
  save();
}

function shelfNote(isFallback, shop) {
  if (isFallback) return "The most popular items, until you add something to your history.";
  const from = state.history.length === 1 ? "1 item" : `${state.history.length} items`;
  if (shop) return `Items of ${shop}, ranked by the trained model for your history of ${from}.`;
  return `Ranked for your history of ${from}, best first.`;
}

function showLegend(parts, order) {
  byId("legend").hidden = !parts.length;
  byId("legend").replaceChildren(
    ...parts.map((part) => make("li", {}, make("i", { class: `swatch shade-${order.indexOf(part) % 5}` }), partName(part))),
  );
}

function showLists() {
  const forget = (item) => {
    byId("history-heading").focus(); // the button is about to go
    remove(item);
  };
  const rows = (list) => list.map((item) => row(item, actions.open, button("icon", "×", () => forget(item), { "aria-label": `Remove ${item.title}` })));
  byId("history").replaceChildren(...rows(state.history));
  byId("disliked").replaceChildren(...rows(state.disliked));
  byId("disliked-section").hidden = !state.disliked.length;
  const isEmpty = !state.history.length;
  byId("history-empty").hidden = byId("example").hidden = !isEmpty;
  search.showPressed();
  byId("clear").hidden = isEmpty && !state.disliked.length;
}

// ---- the shop

function showFacts() {
  const { target, items, regime, verdict, shops } = facts();
  byId("shop").textContent = capital(target);
  document.title = `${capital(target)} · llmrec`;
  const others = shops.filter((shop) => shop !== target).join(", ") || "other shops";
  byId("facts").textContent = `${number.format(items)} items. ${REGIMES[regime]?.(others) ?? ""}`;
  byId("verdict").hidden = !verdict;
  byId("verdict").querySelector("p").textContent = verdict ?? "";
  byId("version").textContent = `llmrec ${state.info.version} ·`;
  byId("shops").hidden = shops.length < 2;
  const choices = [target, ...shops.filter((shop) => shop !== target)].map((shop) =>
    make("label", {}, make("input", { type: "radio", name: "shop", value: shop, checked: shop === state.shop }), capital(shop)),
  );
  byId("shops").replaceChildren(byId("shops").firstElementChild, ...choices);
}

async function useBundle(name) {
  state.bundle = name;
  state.shop = facts().target;
  api.useBundle(name === state.info.default ? null : name);
  showFacts();
  showLists();
  await Promise.all([refresh(), catalogue.load(), search.run()]);
}

/** A history to begin with: an item drawn at random and two that the model takes for alike. */
async function example() {
  const { items } = facts();
  const { items: drawn } = await api.items({ offset: Math.floor(Math.random() * items), limit: 1 });
  const { items: alike } = await api.similar(drawn[0].item_id, "model", 2);
  state.history = [...alike, ...drawn].map(brief);
  byId("history-heading").focus();
  changed("An example.");
}

// ---- controls

function listen() {
  byId("variety").oninput = later(refresh, 100, fail);
  byId("example").onclick = () => example().catch(fail);
  byId("clear").onclick = () => {
    [state.history, state.disliked] = [[], []];
    byId("history-heading").focus();
    changed("Cleared.");
  };
  byId("more").onclick = () => {
    state.k += PAGE;
    refresh().catch(fail);
  };
  byId("shops").onchange = (event) => {
    state.shop = event.target.value;
    refresh().catch(fail);
  };
  byId("bundle").onchange = (event) => {
    [state.history, state.disliked] = [[], []];
    useBundle(event.target.value).then(save).catch(fail);
  };
  api.onTimed((server, whole) => {
    const inAll = make("span.whole", {}, ` · ${whole.toFixed(0)} ms in total`);
    byId("latency").replaceChildren(`${server.toFixed(server < 10 ? 1 : 0)} ms server`, inAll);
  });
}

async function start() {
  listen();
  switchTheme(() => catalogue.recolour());
  state.info = await api.info();
  const names = Object.keys(state.info.bundles);
  state.bundle = state.info.default;
  restore();
  byId("bundles").hidden = names.length < 2;
  byId("bundle").replaceChildren(...names.map((name) => make("option", { selected: name === state.bundle }, name)));
  await useBundle(state.bundle);
}

start().catch(fail);
