"use strict";
// Tables sort by any column: a button in each heading, the numbers by their value.
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const first = [...body.rows];
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent || "name";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const next = now === "ascending" ? "descending" : now === "descending" ? null : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      const key = (row) => row.cells[at].dataset.key ?? row.cells[at].textContent;
      const number = (text) => (text === "" ? NaN : Number(text));
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // what is blank comes last
        const [m, n] = [number(x), number(y)];
        const found = Number.isNaN(m) || Number.isNaN(n) ? x.localeCompare(y) : m - n;
        return next === "descending" ? -found : found;
      };
      body.replaceChildren(...(next ? [...first].sort(order) : first));
    });
  });
}
