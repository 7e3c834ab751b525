// What is held and who waits, and which lines show it.

import { segments } from "./words.js";

const order = new Intl.Collator("en", { numeric: true });

function compare(a, b) {
  return order.compare(a, b) || (a < b ? -1 : a > b ? 1 : 0);
}

// What the filter looks at.
function searchable(row) {
  const { group, mode, id, owner, status_data: status, auto_release: rule } = row;
  const words = [group, mode, id, ...(segments(id) ?? []), status ?? "", rule?.rule ?? ""];
  words.push(owner.name, owner.login, owner.host, owner.session, owner.user_id);
  return words.join("\n").toLowerCase();
}

class Rows extends Map {
  apply({ gone, here }) {
    for (const key of gone) this.delete(key);
    for (const row of here) {
      row.text = searchable(row);
      this.set(row.key, row);
    }
  }
}

export class Holdings {
  holds = new Rows();
  waiters = new Rows();
  // Holds that were looked up, where the list is cut.
  found = new Rows();
  most = 0;
  moreHolds = false;
  moreWaiters = false;

  apply(change, isWhole) {
    if (isWhole) {
      this.holds.clear();
      this.waiters.clear();
    }
    this.holds.apply(change.holds);
    this.waiters.apply(change.waiters);
    this.most = change.most;
    this.moreHolds = change.more_holds;
    this.moreWaiters = change.more_waiters;
    if (!this.moreHolds) this.found.clear();
  }

  lookedUp(holds) {
    this.found.clear();
    this.found.apply({ gone: [], here: holds });
  }

  // How many wait for the mutex of a hold.
  waitersFor(hold) {
    let number = 0;
    for (const waiter of this.waiters.values()) {
      if (sameMutex(waiter, hold)) number += 1;
    }
    return number;
  }

  // The mutexes that fit the filter, in sections of lines: one of mutexes with plain names, and one
  // for each tree.
  sections(filter) {
    const wanted = filter.toLowerCase().split(/\s+/).filter(Boolean);
    const plain = [];
    const trees = new Map();
    let shownHolds = 0;
    let shownWaiters = 0;
    for (const mutex of this.#mutexes()) {
      const texts = [...mutex.holds, ...mutex.waiters].map((row) => row.text);
      if (!texts.some((text) => wanted.every((word) => text.includes(word)))) continue;
      shownHolds += mutex.holds.length;
      shownWaiters += mutex.waiters.length;
      mutex.segments = segments(mutex.id);
      if (mutex.segments === null) {
        plain.push(mutex);
        continue;
      }
      const key = JSON.stringify([mutex.group, mutex.mode]);
      if (!trees.has(key)) trees.set(key, { key, group: mutex.group, mode: mutex.mode, root: node() });
      grow(trees.get(key).root, mutex);
    }
    plain.sort((a, b) => compare(a.group, b.group) || compare(a.mode, b.mode) || compare(a.id, b.id));
    const sections = [];
    if (plain.length) {
      sections.push({ key: "plain", group: null, lines: plain.flatMap((mutex) => mutexLines(mutex, TOP)) });
    }
    for (const tree of [...trees.values()].sort((a, b) => compare(a.group, b.group))) {
      sections.push({ ...tree, lines: treeLines(tree) });
    }
    return { sections, shownHolds, shownWaiters };
  }

  *#mutexes() {
    const mutexes = new Map();
    const of = ({ group, mode, id }) => {
      const key = JSON.stringify([group, mode, id]);
      if (!mutexes.has(key)) mutexes.set(key, { key, group, mode, id, holds: [], waiters: [] });
      return mutexes.get(key);
    };
    for (const [key, hold] of this.found) if (!this.holds.has(key)) of(hold).holds.push(hold);
    for (const hold of this.holds.values()) of(hold).holds.push(hold);
    for (const waiter of this.waiters.values()) of(waiter).waiters.push(waiter);
    for (const mutex of mutexes.values()) {
      mutex.holds.sort((a, b) => (a.permit ?? 0) - (b.permit ?? 0));
      mutex.waiters.sort((a, b) => a.place - b.place);
      yield mutex;
    }
  }
}

export function sameMutex(a, b) {
  return a.group === b.group && a.mode === b.mode && a.id === b.id;
}

// The lines of a mutex: its holds, or that it is free, and those who wait, in their order. `place` is
// where it stands: how deep, and how many of its segments the lines above show already.
function mutexLines(mutex, place) {
  const { key } = mutex;
  const lines = mutex.holds.map((hold) => ({ kind: "hold", key: `hold ${hold.key}`, ...place, mutex, row: hold }));
  if (!lines.length) lines.push({ kind: "free", key: `free ${key}`, ...place, mutex });
  const holders = new Set(mutex.holds.map((hold) => hold.owner.session));
  for (const waiter of mutex.waiters) {
    // At a path of a tree the one in the way may be elsewhere.
    const isElsewhere = waiter.place === 1 && waiter.behind_session && !holders.has(waiter.behind_session);
    const behind = isElsewhere ? waiter.behind_name || waiter.behind_session : null;
    lines.push({ kind: "waiter", key: `waiter ${waiter.key}`, ...place, mutex, row: waiter, behind });
  }
  return lines;
}

const TOP = { depth: 0, shown: 0 };

function node() {
  return { mutex: null, children: new Map() };
}

function grow(root, mutex) {
  let at = root;
  for (const segment of mutex.segments) {
    if (!at.children.has(segment)) at.children.set(segment, node());
    at = at.children.get(segment);
  }
  at.mutex = mutex;
}

function treeLines(tree) {
  const lines = [];
  const visit = (at, path, place) => {
    // What only leads on to one thing has no line of its own.
    const hasLine = at.mutex || (path.length > 0 && at.children.size > 1);
    if (at.mutex) lines.push(...mutexLines(at.mutex, place));
    else if (hasLine) lines.push({ kind: "branch", key: `branch ${tree.key} ${JSON.stringify(path)}`, ...place, path });
    const below = hasLine ? { depth: place.depth + 1, shown: path.length } : place;
    const children = [...at.children].sort(([a], [b]) => compare(a, b));
    for (const [segment, child] of children) visit(child, [...path, segment], below);
  };
  visit(tree.root, [], TOP);
  return lines;
}
