// The section with the map: loads it, keeps its marks, its tip and its texts.
import * as api from "./api.js";
import { byId } from "./dom.js";
import { CatalogueMap } from "./map.js";

const number = new Intl.NumberFormat();

export class Catalogue {
  /** `open`: shows the item of an id and a title. */
  constructor(open) {
    this.titles = [];
    this.ids = [];
    this.index = new Map();
    this.marked = { lit: [], shelf: [], own: [] };
    this.times = [];
    this.map = new CatalogueMap(byId("canvas"), {
      open: (n) => open({ item_id: this.ids[n], title: this.titles[n], category: this.categories[n] }),
      hover: (n, x, y) => this.#tip(n, x, y),
      middle: (n) => {
        byId("map-status").textContent = n < 0 ? "No item in the middle" : `In the middle: ${this.titles[n]}`;
      },
      title: (n) => this.titles[n],
      drawn: (milliseconds) => this.#drawn(milliseconds),
    });
    byId("zoom-in").onclick = () => this.map.zoom(1.5);
    byId("zoom-out").onclick = () => this.map.zoom(1 / 1.5);
    byId("zoom-all").onclick = () => this.map.all();
    this.recolour();
  }

  /** Load the map of the chosen bundle. */
  async load() {
    const { item_ids: ids, titles, xy, category } = await api.map();
    [this.ids, this.titles, this.categories] = [ids, titles, category];
    this.index = new Map(ids.map((id, n) => [id, n]));
    this.times = [];
    this.map.setPoints(xy);
    this.mark({});
  }

  /** Light up the points of items: any of `lit`, `shelf` and `own`, lists of ids. */
  mark(ids) {
    Object.assign(this.marked, ids);
    const indices = (list) => list.map((id) => this.index.get(id)).filter((n) => n !== undefined);
    const { lit, shelf, own } = this.marked;
    this.map.mark({ lit: indices(lit), shelf: indices(shelf), own: indices(own) });
  }

  /** Take the colours of the theme from the legend. */
  recolour() {
    const colour = (selector) => getComputedStyle(document.querySelector(selector)).color;
    this.map.setColours({
      point: colour(".swatch.plain"),
      lit: colour(".swatch.lit"),
      shelf: colour(".swatch.shelf-point"),
      own: colour(".swatch.own"),
      text: colour("main"),
      ground: getComputedStyle(byId("canvas")).backgroundColor,
    });
  }

  #tip(n, x, y) {
    const tip = byId("tip");
    tip.hidden = n < 0;
    byId("canvas").style.cursor = n < 0 ? "" : "pointer";
    if (n < 0) return;
    tip.textContent = this.titles[n];
    const left = Math.min(x + 14, byId("canvas").clientWidth - tip.offsetWidth - 8);
    tip.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, y - 38)}px)`;
  }

  #drawn(milliseconds) {
    this.times = [...this.times.slice(-29), milliseconds];
    const median = [...this.times].sort((a, b) => a - b)[this.times.length >> 1];
    byId("map-facts").textContent = `${number.format(this.ids.length)} items, ${median.toFixed(1)} ms per frame`;
  }
}
