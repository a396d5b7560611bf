// Keeps grades in this browser, and saves them to a file that `osum rate score` reads.
"use strict";
const sheet = document.body.dataset.sheet;
const store = `osum-ratings-${sheet}`;
const rater = document.getElementById("rater");
const state = document.getElementById("state");

function collected() {
  const grades = {};
  for (const item of document.querySelectorAll(".item"))
    for (const field of item.querySelectorAll("fieldset")) {
      const chosen = field.querySelector("input:checked");
      if (chosen) (grades[item.dataset.number] ??= {})[field.dataset.grade] = Number(chosen.value);
    }
  return { sheet, rater: rater.value.trim(), grades };
}

function show() {
  const whole = [...document.querySelectorAll(".item")].filter((item) =>
    [...item.querySelectorAll("fieldset")].every((field) => field.querySelector("input:checked")));
  state.textContent = `${whole.length} of ${document.querySelectorAll(".item").length} graded`;
}

function keep() {
  try { localStorage.setItem(store, JSON.stringify(collected())); } catch { /* a browser that keeps nothing */ }
  show();
}

function restore() {
  let kept = null;
  try { kept = JSON.parse(localStorage.getItem(store)); } catch { /* nothing was kept */ }
  if (!kept) return;
  rater.value = kept.rater;
  for (const [number, grades] of Object.entries(kept.grades))
    for (const [name, grade] of Object.entries(grades)) {
      const input = document.querySelector(`input[name="${name}-${number}"][value="${grade}"]`);
      if (input) input.checked = true;
    }
}

function save() {
  const found = collected();
  if (!found.rater) {
    state.textContent = "Write your name or number first.";
    rater.focus();
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(found, null, 1)], { type: "application/json" }));
  link.download = `ratings-${found.rater.replace(/[^\p{L}\p{N}-]+/gu, "_")}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
}

restore();
show();
document.addEventListener("change", keep);
document.getElementById("save").addEventListener("click", save);
