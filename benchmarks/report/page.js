"use strict";
// Sorts tables by a column (click, Enter or Space on its head) and hands out the data. Nothing leaves the page.

const value = (row, column) => row.cells[column].dataset.value;

function compare(a, b, numeric) {
  if (a === "" || b === "") return (a === "") - (b === "");  // what is missing stays last
  return numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
}

function sort(table, head, column) {
  const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const numeric = rows.every((row) => value(row, column) === "" || !Number.isNaN(Number(value(row, column))));
  rows.sort((a, b) => {
    const [x, y] = [value(a, column), value(b, column)];
    const order = compare(x, y, numeric);
    return direction === "descending" && x !== "" && y !== "" ? -order : order;
  });
  body.append(...rows);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  document.getElementById("told").textContent = `Sorted by ${head.innerText.replace(/\s+/g, " ")}, ${direction}.`;
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort by this column";
    const arrow = document.createElement("span");
    arrow.className = "arrow";
    button.append(...head.childNodes);
    button.firstChild.textContent = button.firstChild.textContent.trim();
    button.insertBefore(arrow, button.querySelector("small"));
    head.append(button);
    button.addEventListener("click", () => sort(table, head, column));
  });
}

// Browsers refuse to save long data: addresses, so a file becomes an object of the page when it is asked for.
for (const link of document.querySelectorAll("a[download]")) {
  link.addEventListener("click", () => {
    if (!link.href.startsWith("data:")) return;
    const [type, content] = link.href.slice(5).split(";base64,");
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    link.href = URL.createObjectURL(new Blob([bytes], { type }));
  });
}
