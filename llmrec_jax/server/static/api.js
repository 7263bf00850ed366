// Requests to the server that sent this page. Keeps the key, if the server asks for one, until the tab is closed.
import { byId } from "./dom.js";

const KEY = "llmrec-key";
let bundle = null;
let timed = () => {};

/** Choose the bundle of later requests; null is the server's default. */
export const useBundle = (name) => {
  bundle = name;
};

/** Call `listener(serverMilliseconds, milliseconds)` after each request that says how long it took in the server. */
export const onTimed = (listener) => {
  timed = listener;
};

/** An answer that is not a success, with the server's message. */
export class ServerError extends Error {}

async function request(method, path, body, signal) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const started = performance.now();
  let response, text;
  try {
    response = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. Is it still running?");
  }
  if (response.status === 401) {
    await askForKey();
    return request(method, path, body, signal);
  }
  if (!response.ok) throw new ServerError(messageOf(text) ?? `The server answered with status ${response.status}.`);
  const answer = JSON.parse(text);
  if (answer.milliseconds !== undefined) timed(answer.milliseconds, performance.now() - started);
  return answer;
}

/** The message of an error of the server; undefined if it is of something before it, such as a proxy. */
function messageOf(text) {
  try {
    return JSON.parse(text).error?.message;
  } catch {
    return undefined;
  }
}

let asking = null;

function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key");
    dialog.onclose = () => {
      if (!byId("key-value").value) {
        dialog.showModal();
        return;
      }
      sessionStorage.setItem(KEY, byId("key-value").value);
      byId("key-value").value = "";
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}

const post = (path, body, signal) => request("POST", path, { bundle, ...body }, signal);

function get(path, parameters = {}, signal) {
  const query = new URLSearchParams(bundle === null ? parameters : { ...parameters, bundle });
  return request("GET", query.size ? `${path}?${query}` : path, undefined, signal);
}

export const info = () => request("GET", "/v1/info");
export const recommend = (body, signal) => post("/v1/recommend", body, signal);
export const search = (query, k, signal) => post("/v1/search", { query, k }, signal);
export const explain = (history, itemId, signal) => post("/v1/explain", { history, item_id: itemId }, signal);
export const similar = (itemId, by, k, signal) => get(`/v1/similar/${encodeURIComponent(itemId)}`, { by, k }, signal);
export const items = (parameters, signal) => get("/v1/items", parameters, signal);
export const map = () => get("/v1/map");
export const addItem = (item) => post("/v1/items", { items: [item] });
export const removeItem = (itemId) => request("DELETE", "/v1/items", { item_ids: [itemId], bundle });
