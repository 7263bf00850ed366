// Recommends in the browser with scorer.onnx. Titles are data from outside: they become text, never markup.
"use strict";

const SHOWN = 10;
const byId = (id) => document.getElementById(id);
let items = [], numTarget = 0, session = null, history = [], asked = 0;

async function start() {
  if (typeof ort === "undefined") {
    byId("status").textContent =
      "ort.wasm.min.js is missing. Put these files of the npm package onnxruntime-web (in dist/) beside this page: " +
      "ort.wasm.min.js, ort-wasm-simd-threaded.mjs and ort-wasm-simd-threaded.wasm.";
    return;
  }
  ort.env.wasm.numThreads = 1; // more would need headers that a plain file server does not send
  ort.env.wasm.wasmPaths = new URL("./", document.baseURI).href;
  const read = async (name) => (await fetch(name)).json();
  const manifest = await read("manifest.json");
  items = await read("items.json");
  numTarget = manifest.num_target;
  session = await ort.InferenceSession.create("scorer.onnx", { executionProviders: ["wasm"] });
  byId("query").disabled = byId("clear").disabled = false;
  byId("query").addEventListener("input", search);
  byId("clear").addEventListener("click", () => { history = []; update(); });
  await update();
}

function search() {
  const words = byId("query").value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [];
  for (let n = 0; words.length && n < items.length && rows.length < SHOWN; n++) {
    const title = items[n][1].toLowerCase();
    if (words.every((word) => title.includes(word))) rows.push(n);
  }
  byId("found").replaceChildren(...rows.map((n) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = items[n][1];
    button.addEventListener("click", () => { history.push(n); update(); });
    return inRow(button);
  }));
}

async function update() {
  const turn = ++asked;
  byId("shelf").setAttribute("aria-busy", "true");
  byId("history").replaceChildren(...history.map((n) => inRow(document.createTextNode(items[n][1]))));
  const began = performance.now();
  const numbers = BigInt64Array.from(history.length ? history : [-1], BigInt);
  const input = new ort.Tensor("int64", numbers, [1, numbers.length]);
  const scores = (await session.run({ history: input })).scores.data;
  if (turn !== asked) return; // a newer history is being scored
  const own = new Set(history);
  const isCandidate = (n) => !own.has(n) && scores[n] > -Infinity; // a removed item has -Infinity
  const best = [...Array(numTarget).keys()].filter(isCandidate).sort((a, b) => scores[b] - scores[a]);
  byId("shelf").replaceChildren(...best.slice(0, SHOWN).map((n) => {
    const score = document.createElement("span");
    score.className = "score";
    score.textContent = scores[n].toFixed(3);
    const row = inRow(document.createTextNode(items[n][1]));
    row.dataset.item = items[n][0];
    row.dataset.score = scores[n];
    row.append(score);
    return row;
  }));
  byId("shelf").setAttribute("aria-busy", "false");
  const what = history.length ? "for your history" : "the most popular items";
  byId("status").textContent = `${what}, in ${(performance.now() - began).toFixed(1)} ms`;
}

function inRow(node) {
  const row = document.createElement("li");
  row.append(node);
  return row;
}

start().catch((error) => { byId("status").textContent = `The model could not be loaded: ${error.message}`; });
