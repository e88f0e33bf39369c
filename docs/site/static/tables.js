// In narrow windows every cell stands on a line of its own, after the heading of its column.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll(".bd-article table")) {
    const headings = [];
    for (const row of table.tHead?.rows ?? [])
      [...row.cells].forEach((cell, column) => (headings[column] ||= cell.textContent.trim()));
    for (const row of table.querySelectorAll("tbody tr"))
      [...row.cells].forEach((cell, column) => {
        if (headings[column]) cell.dataset.heading = headings[column];
        cell.classList.toggle("absent", !cell.textContent.trim());
      });
  }
});
