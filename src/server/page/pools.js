// The table of the pools of sessions.

import { element, name } from "./words.js";

const COLUMNS = [
  ["Total", "total"],
  ["Ready", "ready"],
  ["In use", "in_use"],
  ["Locked", "locked"],
  ["Blocked", "blocked"],
  ["Inactive", "inactive"],
];

export class Pools {
  #place;
  #body;
  #pools = new Map();
  #rows = new Map();

  constructor(place) {
    this.#place = place;
    this.#body = element("tbody", { role: "rowgroup" });
    const heads = ["Pool", ...COLUMNS.map(([words]) => words), "Success"];
    const cells = heads.map((head) => element("th", { scope: "col", role: "columnheader" }, head));
    const head = element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...cells));
    // Narrow screens show the rows as blocks: the roles keep them a table for those who listen.
    const table = element("table", { role: "table", className: "pools" }, head, this.#body);
    table.setAttribute("aria-labelledby", "pools-heading");
    table.setAttribute("aria-describedby", "pools-note");
    place.append(table);
  }

  apply({ gone, here }, isWhole) {
    if (isWhole) this.#pools.clear();
    for (const key of gone) this.#pools.delete(key);
    for (const pool of here) this.#pools.set(pool.collection, pool);
  }

  show() {
    this.#place.hidden = this.#pools.size === 0;
    const rows = [...this.#pools.keys()].sort().map((key) => this.#row(this.#pools.get(key)));
    for (const key of this.#rows.keys()) if (!this.#pools.has(key)) this.#rows.delete(key);
    const isSame = rows.length === this.#body.children.length && rows.every((row, at) => row === this.#body.children[at]);
    if (!isSame) this.#body.replaceChildren(...rows);
  }

  #row(pool) {
    const shown = JSON.stringify(pool);
    const known = this.#rows.get(pool.collection);
    if (known?.shown === shown) return known.element;
    const row = known ?? { element: element("tr", { role: "row" }) };
    row.shown = shown;
    const head = element("th", { scope: "row", role: "rowheader" }, name(pool.collection, { className: "id" }));
    const counts = COLUMNS.map(([words, member]) => number(words, pool[member].toLocaleString("en")));
    row.element.replaceChildren(head, ...counts, number("Success", percent(pool.success_rate)));
    this.#rows.set(pool.collection, row);
    return row.element;
  }
}

function number(words, text) {
  const label = element("span", { className: "label", "aria-hidden": "true" }, `${words} `);
  return element("td", { role: "cell" }, label, text);
}

function percent(rate) {
  return rate === null ? "–" : `${(rate * 100).toLocaleString("en", { maximumFractionDigits: 1 })} %`;
}
