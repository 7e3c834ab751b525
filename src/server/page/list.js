// The tables. Rows stay the same elements as long as they show the same thing, so that focus and
// reading place are kept.

import { duration, element, name, ownerName, ownerRest, plain, ruleWords } from "./words.js";

// Deeper ones are not indented any more.
const DEEPEST = 12;

const HEADS = ["Mutex", "Held by", "For", "Time left"];

export class List {
  #place;
  #onForce;
  #tables = new Map();
  #rows = new Map();
  #made = 0;
  mayForce = false;

  constructor(place, onForce) {
    this.#place = place;
    this.#onForce = onForce;
  }

  show(sections, now) {
    const kept = new Set();
    const tables = [];
    for (const key of this.#tables.keys()) {
      if (!sections.some((section) => section.key === key)) this.#tables.delete(key);
    }
    for (const section of sections) {
      const table = this.#table(section);
      const rows = section.lines.map((line) => {
        kept.add(line.key);
        return this.#row(line).element;
      });
      arrange(table.body, rows);
      tables.push(table.element);
    }
    arrange(this.#place, tables);
    for (const key of this.#rows.keys()) if (!kept.has(key)) this.#rows.delete(key);
    this.tick(now);
  }

  // Writes the times as they are now, by the database's clock.
  tick(now) {
    if (now === null) return;
    for (const { times } of this.#rows.values()) {
      for (const { element, since, until } of times) {
        const words = since !== undefined ? duration(now - since) : now > until ? "over" : duration(until - now);
        if (element.textContent !== words) element.textContent = words;
      }
    }
  }

  #table(section) {
    let table = this.#tables.get(section.key);
    if (!table) {
      table = this.#newTable(section);
      this.#tables.set(section.key, table);
    }
    table.element.classList.toggle("may-force", this.mayForce);
    return table;
  }

  #newTable({ key, group, mode }) {
    const isTree = group !== null;
    const heading = element("h2", { id: `section-${(this.#made += 1)}` }, isTree ? "Tree " : "Mutexes");
    if (isTree) heading.append(name(group || "(no name)"));
    if (isTree && mode !== "tree") heading.append(element("span", { className: "muted" }, ` ${plain(mode)}`));
    const heads = HEADS.map((head) => element("th", { scope: "col", role: "columnheader" }, head));
    heads.push(element("th", { scope: "col", role: "columnheader", className: "act" }, element("span", { className: "hidden" }, "Release by force")));
    const body = element("tbody", { role: "rowgroup" });
    // Narrow screens show the rows as blocks: the roles keep them a table for those who listen.
    const table = element(
      "table",
      { role: "table", className: isTree ? "tree" : "plain" },
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads)),
      body,
    );
    table.setAttribute("aria-labelledby", heading.id);
    return { element: element("section", { "data-section": key }, heading, table), body };
  }

  #row(line) {
    const shown = JSON.stringify([line.depth, line.shown, line.row, line.path, line.behind, this.mayForce]);
    const known = this.#rows.get(line.key);
    if (known?.shown === shown) return known;
    const row = known ?? { element: element("tr", { role: "row" }) };
    row.shown = shown;
    row.times = [];
    row.hold = line.row;
    row.element.className = line.kind;
    row.element.style.setProperty("--depth", Math.min(line.depth, DEEPEST));
    const cells = cellsOf(line, row.times);
    if (line.kind === "hold" && this.mayForce) {
      this.#withButton(row, cells);
    } else {
      row.element.replaceChildren(...cells, ...empty(HEADS.length + 1 - cells.length));
    }
    this.#rows.set(line.key, row);
    return row;
  }

  // The button stays the same one, whatever else changes: it may be about to be pressed.
  #withButton(row, cells) {
    if (!row.button) {
      row.button = element("button", { type: "button", className: "quiet", "aria-haspopup": "dialog" }, "Release…");
      row.button.addEventListener("click", () => this.#onForce(row.hold, row.button));
    }
    const { id, owner } = row.hold;
    row.button.setAttribute("aria-label", `Release ${plain(id)} of ${plain(ownerName(owner))} by force`);
    if (row.button.parentElement?.parentElement !== row.element) {
      row.element.replaceChildren(...cells, cell("act", row.button));
      return;
    }
    for (const old of [...row.element.children].slice(0, -1)) old.remove();
    row.element.prepend(...cells);
  }
}

function cellsOf(line, times) {
  if (line.kind === "branch") return [cell("what", label(line))];
  if (line.kind === "free") return [cell("what", label(line)), cell("who", element("span", { className: "muted" }, "nobody"))];
  if (line.kind === "waiter") return waiterCells(line, times);
  const hold = line.row;
  return [
    cell("what", label(line), holdRest(line)),
    cell("who", ...owner(hold.owner)),
    cell("for", smallLabel("held "), since(hold.held_since, times)),
    cell("left", left(hold, times)),
  ];
}

function waiterCells(line, times) {
  const waiter = line.row;
  const words = [`${waiter.place}.`, "in line"];
  if (waiter.access === "shared") words.push("to share");
  const place = element("span", { className: "place" }, words.join(" "));
  const behind = line.behind ? element("span", { className: "muted" }, " behind ", name(line.behind)) : "";
  return [
    cell("what", place, behind),
    cell("who", ...owner(waiter.owner)),
    cell("for", element("span", { className: "muted" }, "waits "), since(waiter.queued_since, times)),
  ];
}

function cell(className, ...children) {
  return element("td", { role: "cell", className }, ...children);
}

function empty(number) {
  return Array.from({ length: number }, () => cell("none"));
}

// What a row is about.
function label({ mutex, path, shown }) {
  const segments = mutex ? mutex.segments : path;
  if (segments === null) return name(mutex.id || "(no id)", { className: "id" });
  if (segments.length === 0) return element("span", { className: "id" }, "/");
  // Those who do not see the indentation hear the whole path.
  const above = segments.slice(0, shown).map((segment) => `${plain(segment)} / `);
  const between = segments.slice(shown, -1).flatMap((segment) => [name(segment), " / "]);
  return element(
    "span",
    {},
    above.length ? element("span", { className: "hidden" }, above.join("")) : "",
    between.length ? element("span", { className: "above" }, ...between) : "",
    name(segments.at(-1), { className: "id" }),
  );
}

function holdRest({ mutex, row }) {
  const rest = element("div", { className: "rest" });
  const add = (child) => rest.append(rest.hasChildNodes() ? " · " : "", child);
  if (mutex.segments === null) {
    for (const part of [mutex.group, mutex.mode]) if (part) add(name(part));
  } else {
    if (!row.lock_parents) add("above stays free");
    if (!row.lock_children) add("below stays free");
  }
  if (row.access === "shared") add(row.permits ? `permit ${row.permit} of ${row.permits}` : "shared");
  if (row.status_data) add(name(`“${row.status_data}”`));
  return rest.hasChildNodes() ? rest : "";
}

function owner(owner) {
  const rest = ownerRest(owner);
  const shown = [name(ownerName(owner))];
  if (rest) shown.push(element("div", { className: "rest one-line", title: plain(rest) }, plain(rest)));
  return shown;
}

function time(text) {
  return element("time", { dateTime: text, title: new Date(text).toLocaleString() });
}

function since(text, times) {
  const shown = time(text);
  times.push({ element: shown, since: Date.parse(text) });
  return shown;
}

function left(hold, times) {
  const rule = hold.auto_release.rule;
  if (hold.expires_at === null) return element("span", { className: "muted" }, ruleWords(rule));
  const shown = time(hold.expires_at);
  times.push({ element: shown, until: Date.parse(hold.expires_at) });
  return element("span", {}, shown, smallLabel(" left"));
}

// What the head of the column says, where there is none to be seen.
function smallLabel(text) {
  return element("span", { className: "label", "aria-hidden": "true" }, text);
}

// Makes these the children, and moves nothing that stands where it should.
function arrange(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const child of children) {
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
}
