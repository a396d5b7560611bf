const root = document.documentElement;
const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

const form = document.getElementById("search");
if (form) {
  const rows = [...document.querySelectorAll("#worst tbody tr")];
  const show = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const [set, model] = [row.cells[0].textContent, row.cells[1].textContent];
      const text = row.textContent.toLowerCase();
      row.hidden = !(
        (!form.elements.set.value || form.elements.set.value === set) &&
        (!form.elements.model.value || form.elements.model.value === model) &&
        words.every((word) => text.includes(word))
      );
      shown += !row.hidden;
    }
    form.elements.count.value = `${shown} of ${rows.length} errors`;
  };
  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
}
