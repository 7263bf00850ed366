// The map of the catalogue on a canvas: pan, zoom, hover, points lit by a search. Draws 12,000 points within a frame.

import { listen } from "./gestures.js";

const FONT = "13px system-ui, sans-serif";
const NEAR = 14; // CSS pixels within which a point is hit
const MOST_CIRCLES = 2500; // more visible points are drawn as squares, which is faster

export class CatalogueMap {
  /**
   * @param canvas
   * @param actions `open(index)`, `hover(index or -1, x, y)`, `middle(index or -1)` and `drawn(milliseconds)`.
   */
  constructor(canvas, actions) {
    this.canvas = canvas;
    this.actions = actions;
    this.context = canvas.getContext("2d");
    this.xy = new Float32Array(0);
    this.marks = { lit: [], shelf: [], own: [] };
    this.hovered = -1;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    listen(this);
    this.all();
  }

  /** Coordinates [x, y] of the points. They are scaled to fit. */
  setPoints(points) {
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const [x, y] of points) {
      [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
    }
    const [width, height] = [right - left || 1, bottom - top || 1];
    this.xy = new Float32Array(2 * points.length);
    points.forEach(([x, y], n) => {
      this.xy[2 * n] = (x - left) / width - 0.5;
      this.xy[2 * n + 1] = 0.5 - (y - top) / height;
    });
    this.redraw();
  }

  /** Light points up: indices of the search results, of the shelf, of the history. */
  mark(marks) {
    this.marks = marks;
    this.redraw();
  }

  /** Colours by name: point, lit, shelf, own, text, ground. */
  setColours(colours) {
    this.colours = colours;
    this.redraw();
  }

  /** Show the whole map. */
  all() {
    this.view = { x: 0, y: 0, zoom: 1 };
    this.redraw();
  }

  /** Zoom around a place of the canvas, by default its middle. */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const { view } = this;
    const zoom = Math.min(60, Math.max(0.8, view.zoom * factor));
    const change = 1 / (this.#unit() * view.zoom) - 1 / (this.#unit() * zoom);
    view.x += ((x - this.width / 2) * change) / this.#stretch();
    view.y += (y - this.height / 2) * change;
    view.zoom = zoom;
    this.redraw();
  }

  /** Move by CSS pixels. */
  pan(dx, dy) {
    const unit = this.#unit() * this.view.zoom;
    this.view.x = Math.min(0.6, Math.max(-0.6, this.view.x - dx / unit / this.#stretch()));
    this.view.y = Math.min(0.6, Math.max(-0.6, this.view.y - dy / unit));
    this.redraw();
  }

  /** The point nearest to a place of the canvas, or -1 if none is near. */
  nearest(x, y, radius = NEAR) {
    let [best, distance] = [-1, radius * radius];
    const [sx, sy, ox, oy] = this.#transform();
    for (let n = 0; n < this.xy.length / 2; n++) {
      const [dx, dy] = [this.xy[2 * n] * sx + ox - x, this.xy[2 * n + 1] * sy + oy - y];
      const squared = dx * dx + dy * dy;
      if (squared < distance) [best, distance] = [n, squared];
    }
    return best;
  }

  /** Ring a point, or none for -1, and show its tip. */
  hover(n, x, y) {
    if (n !== this.hovered) {
      this.hovered = n;
      this.redraw();
    }
    this.actions.hover(n, x, y);
  }

  /** Draw before the next frame. */
  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.#draw();
    });
  }

  // The map is as wide as the canvas: distances across are stretched.
  #stretch() {
    return Math.max(1, (0.92 * this.width) / this.#unit());
  }

  #unit() {
    return 0.88 * (this.height || 1);
  }

  /** Scale and offset of x and y from points to the canvas. */
  #transform() {
    const unit = this.#unit() * this.view.zoom;
    const across = unit * this.#stretch();
    return [across, unit, this.width / 2 - this.view.x * across, this.height / 2 - this.view.y * unit];
  }

  #resize() {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    [this.width, this.height] = [clientWidth, clientHeight];
    [this.canvas.width, this.canvas.height] = [clientWidth * ratio, clientHeight * ratio];
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#draw();
  }

  #draw() {
    if (!this.width || !this.colours) return;
    const started = performance.now();
    const { context, colours, marks } = this;
    context.clearRect(0, 0, this.width, this.height);
    this.#points();
    this.#circles(marks.lit, 4, colours.lit, true);
    this.#circles(marks.shelf, 4.5, colours.shelf, true);
    this.#circles(marks.own, 6, colours.own, false);
    if (document.activeElement === this.canvas) this.#cross();
    if (this.hovered >= 0) this.#circles([this.hovered], 8, colours.text, false);
    this.actions.drawn(performance.now() - started);
  }

  #points() {
    const { context, xy, width, height } = this;
    const [sx, sy, ox, oy] = this.#transform();
    const seen = [];
    for (let n = 0; n < xy.length; n += 2) {
      const [x, y] = [xy[n] * sx + ox, xy[n + 1] * sy + oy];
      if (x > -5 && y > -5 && x < width + 5 && y < height + 5) seen.push(x, y);
    }
    context.fillStyle = this.colours.point;
    if (seen.length / 2 > MOST_CIRCLES) {
      const size = Math.min(3, 1.5 + this.view.zoom / 4);
      for (let n = 0; n < seen.length; n += 2) context.fillRect(seen[n] - size / 2, seen[n + 1] - size / 2, size, size);
      return;
    }
    const radius = Math.min(4, 2.2 + this.view.zoom / 8);
    context.beginPath();
    for (let n = 0; n < seen.length; n += 2) {
      context.moveTo(seen[n] + radius, seen[n + 1]);
      context.arc(seen[n], seen[n + 1], radius, 0, 2 * Math.PI);
    }
    context.fill();
  }

  #circles(indices, radius, colour, isFilled) {
    const { context, xy } = this;
    const [sx, sy, ox, oy] = this.#transform();
    context.fillStyle = isFilled ? colour : "transparent";
    context.strokeStyle = isFilled ? this.colours.ground : colour;
    context.lineWidth = isFilled ? 1 : 2;
    for (const n of indices) {
      context.beginPath();
      context.arc(xy[2 * n] * sx + ox, xy[2 * n + 1] * sy + oy, radius, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
  }

  /** The middle, to which Enter applies, and the title of the item there. */
  #cross() {
    const { context, width, height } = this;
    const [x, y] = [Math.round(width / 2) + 0.5, Math.round(height / 2) + 0.5];
    context.strokeStyle = this.colours.text;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x - 8, y);
    context.lineTo(x + 8, y);
    context.moveTo(x, y - 8);
    context.lineTo(x, y + 8);
    context.stroke();
    const n = this.middle();
    if (n < 0) return;
    const title = this.actions.title(n);
    context.font = FONT;
    context.fillStyle = this.colours.text;
    context.fillText(title.length > 60 ? `${title.slice(0, 59)}…` : title, x + 12, y - 12);
    this.#circles([n], 8, this.colours.text, false);
  }

  /** The point to which Enter applies, or -1. */
  middle() {
    return this.nearest(this.width / 2, this.height / 2, 80);
  }
}
