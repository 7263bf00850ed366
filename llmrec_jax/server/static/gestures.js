// Pointers, wheel and keys of the map.

const STEP = 60; // CSS pixels of an arrow key
const STILL = 5; // CSS pixels that a pointer may move during a click

/** Let a `CatalogueMap` be moved, zoomed, hovered and clicked. */
export function listen(map) {
  const { canvas } = map;
  listenToPointers(map);
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls
      event.preventDefault();
      map.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    },
    { passive: false },
  );
  for (const type of ["focus", "blur"]) canvas.addEventListener(type, () => map.redraw());
  canvas.addEventListener("keydown", (event) => onKey(map, event));
}

function listenToPointers(map) {
  const { canvas } = map;
  const pointers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (pointers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = [event.offsetX, event.offsetY];
    const from = pointers.get(event.pointerId);
    if (!from) {
      map.hover(map.nearest(x, y), x, y);
      return;
    }
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = ([a, b]) => Math.hypot(a - other[0], b - other[1]) || 1;
      map.zoom(apart([x, y]) / apart(from), ...other);
    } else {
      map.pan(x - from[0], y - from[1]);
    }
    moved += Math.abs(x - from[0]) + Math.abs(y - from[1]);
    pointers.set(event.pointerId, [x, y]);
  });
  const lift = (event) => {
    const isClick = pointers.delete(event.pointerId) && moved < STILL && event.type === "pointerup";
    const n = isClick ? map.nearest(event.offsetX, event.offsetY) : -1;
    if (n >= 0) map.actions.open(n);
  };
  for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, lift);
  canvas.addEventListener("pointerleave", () => map.hover(-1, 0, 0));
}

function onKey(map, event) {
  const keys = {
    ArrowLeft: () => map.pan(STEP, 0),
    ArrowRight: () => map.pan(-STEP, 0),
    ArrowUp: () => map.pan(0, STEP),
    ArrowDown: () => map.pan(0, -STEP),
    "+": () => map.zoom(1.4),
    "=": () => map.zoom(1.4),
    "-": () => map.zoom(1 / 1.4),
    0: () => map.all(),
  };
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter") {
    const n = map.middle();
    if (n >= 0) map.actions.open(n);
  } else if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
    map.actions.middle(map.middle());
  }
}
