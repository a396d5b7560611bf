// Requests to the server of this page; a failure is an Error with the server's own words.

import { $ } from "./dom.js";

const BASE = new URL("../api/", import.meta.url).href;

async function ask(path, options, again = true) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const response = await fetch(BASE + path, { ...options, headers });
  if (response.status === 401 && again && (await newKey())) return ask(path, options, false);
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response) {
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error.message ?? message;
  } catch {
    // not our JSON: a proxy's page
  }
  return Object.assign(new Error(message), { status: response.status });
}

function newKey() {
  const dialog = $("key");
  dialog.showModal();
  return new Promise((done) =>
    dialog.addEventListener("close", () => {
      const key = dialog.querySelector("input").value;
      if (key) sessionStorage.setItem("key", key);
      done(Boolean(key));
    }, { once: true }),
  );
}

export const get = async (path, options = {}) => (await ask(path, options)).json();
export const bytes = async (path, options = {}) => (await ask(path, options)).blob();

/** Fields and files as a form; a list is repeated. */
export function post(path, fields, options = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each instanceof File) form.append(name, each, each.name);
      else if (each !== undefined) form.append(name, each);
    }
  }
  return ask(path, { method: "POST", body: form, ...options });
}

export function send(path, method, value, options = {}) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method, body: JSON.stringify(value), headers, ...options });
}

/** The lines of a response, each one JSON object, as they come. */
export async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const parts = (rest + (value ?? "")).split("\n");
    rest = done ? "" : parts.pop();
    for (const line of parts) if (line) yield JSON.parse(line);
    if (done) return;
  }
}
