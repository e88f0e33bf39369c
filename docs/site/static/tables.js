// A table that is wider than its page is written smaller. Where that is not enough, and in narrow
// windows, every cell stands on a line of its own, after the heading of its column.
const NARROW = matchMedia("(max-width: 40rem)");

function fit(table) {
  const wide = () => table.offsetWidth > table.parentElement.clientWidth + 1;
  table.classList.remove("tight", "stacked");
  table.classList.toggle("tight", wide());
  table.classList.toggle("stacked", NARROW.matches || wide());
}

document.addEventListener("DOMContentLoaded", () => {
  const tables = document.querySelectorAll(".bd-article table");
  for (const table of tables) {
    const headings = [];
    for (const row of table.tHead?.rows ?? [])
      [...row.cells].forEach((cell, column) => (headings[column] ||= cell.textContent.trim()));
    for (const row of table.querySelectorAll("tbody tr"))
      [...row.cells].forEach((cell, column) => {
        if (headings[column]) cell.dataset.heading = headings[column];
        cell.classList.toggle("absent", !cell.textContent.trim());
      });
  }
  const all = () => tables.forEach(fit);
  all();
  // Fonts that come late change widths, too.
  addEventListener("load", all);
  addEventListener("resize", all);
});
