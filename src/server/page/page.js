// The page: connects, shows, asks.

import { Force, forceRelease } from "./force.js";
import { Holdings } from "./holdings.js";
import { List } from "./list.js";
import { Pools } from "./pools.js";
import { ask, listen, Refused } from "./stream.js";
import { duration, plain } from "./words.js";

const at = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");

// Also where an application has mounted the server below a path.
const base = new URL("..", import.meta.url);

const TOKEN = "pgmutex-token";
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8_000;
// What changes is said aloud at most so often, and where the list is cut, looked up again.
const QUIET = 5_000;

const holdings = new Holdings();
const list = new List(at("lists"), (hold, opener) => force.open(hold, holdings.waitersFor(hold), opener));
const pools = new Pools(at("pools"));
const force = new Force(
  (body) => forceRelease(base, token, body),
  (hold, wasReleased) => {
    const id = plain(hold.id);
    const gone = `${id} was not held any more, or by another already: nothing was released.`;
    tell(wasReleased ? `Released: ${id}` : gone);
  },
);

let token = storedToken();
let isLive = false;
let lastNews = null;
// The database's time minus the time of this page's own timer, which nobody sets.
let clock = null;

function now() {
  return clock === null ? null : clock + performance.now();
}

// ---- the connection

async function stayConnected() {
  let pause = FIRST_PAUSE;
  for (;;) {
    await shown();
    const connection = new AbortController();
    const letGo = () => document.hidden && connection.abort();
    document.addEventListener("visibilitychange", letGo);
    try {
      await listen(new URL("v1/events", base), token, connection.signal, (name, data) => {
        pause = FIRST_PAUSE;
        heard(name, data);
      });
      lost("");
    } catch (error) {
      if (connection.signal.aborted) continue;
      if (error instanceof Refused && error.status === 401) {
        await askForToken(token === "" ? "This server wants a token." : `${error.message}.`);
        continue;
      }
      lost(error instanceof Refused ? error.message : "");
      if (error instanceof Refused) pause = Math.max(pause, error.retryAfter * 1000);
    } finally {
      document.removeEventListener("visibilitychange", letGo);
    }
    await moment(pause * (0.75 + Math.random() / 2));
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
}

function heard(name, data) {
  if (name === "hello") return greet(data);
  if (name === "clock") return setClock(Date.parse(data));
  if (name === "trouble") return trouble(data);
  if (name !== "picture" && name !== "change") return;
  holdings.apply(data, name === "picture");
  pools.apply(data.pools, name === "picture");
  live();
  at("board").hidden = false;
  render();
}

// What comes late says less than it is by now: of two answers the later time is the better one. A
// clock that was set back is believed, too.
function setClock(time) {
  const difference = time - performance.now();
  const isSetBack = clock !== null && difference < clock - 5_000;
  clock = clock === null || isSetBack ? difference : Math.max(clock, difference);
  if (isLive) lastNews = performance.now();
}

function live() {
  isLive = true;
  lastNews = performance.now();
  state("live", "Live");
}

function lost(why) {
  isLive = false;
  state("lost", why === "" ? "Reconnecting…" : `Reconnecting… (${why})`);
}

function trouble({ detail }) {
  isLive = false;
  state("lost", `The database cannot be asked: ${detail}`);
}

function state(name, words) {
  at("state").dataset.state = name;
  document.body.classList.toggle("stale", name === "lost" && lastNews !== null);
  // Said again only if it is new.
  if (at("state-words").textContent !== words) at("state-words").textContent = words;
  tick();
}

// Returns when the page can be seen. A browser has few connections to one server, and a page that
// nobody sees needs none.
function shown() {
  if (!document.hidden) return;
  isLive = false;
  state("paused", "Paused, since nobody sees it");
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
  });
}

// A pause that ends early when there is hope.
function moment(milliseconds) {
  return new Promise((resolve) => {
    const hope = () => {
      clearTimeout(timer);
      window.removeEventListener("online", hope);
      resolve();
    };
    const timer = setTimeout(hope, milliseconds);
    window.addEventListener("online", hope);
  });
}

// ---- who is looking

function greet({ name, role }) {
  list.mayForce = role === "admin";
  at("who").hidden = name === null;
  at("who-words").textContent = `${plain(name ?? "")} · ${role}`;
  at("forget").hidden = token === "";
  at("no-force").hidden = list.mayForce;
  at("no-force").textContent = `To release by force takes the role admin; yours is ${role}.`;
  render();
}

function askForToken(why) {
  state("token", "Not connected");
  at("board").hidden = true;
  at("who").hidden = true;
  at("token-form").hidden = false;
  at("token-why").textContent = why;
  at("token").value = "";
  at("token").focus();
  return new Promise((resolve) => {
    at("token-form").onsubmit = (event) => {
      event.preventDefault();
      const given = at("token").value.trim();
      // Others cannot be sent.
      if (!/^[\x21-\x7e]+$/.test(given)) {
        at("token-why").textContent = "A token is one word of plain letters, digits and signs.";
        at("token").focus();
        return;
      }
      token = given;
      store(token);
      at("token-form").hidden = true;
      state("connecting", "Connecting…");
      at("main").focus();
      resolve();
    };
  });
}

at("forget").addEventListener("click", () => {
  store("");
  location.reload();
});

function storedToken() {
  try {
    return sessionStorage.getItem(TOKEN) ?? "";
  } catch {
    return "";
  }
}

function store(text) {
  try {
    if (text === "") sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, text);
  } catch {
    // The browser keeps nothing: then the next page asks again.
  }
}

// ---- what is shown

let isRenderDue = false;

function render() {
  if (isRenderDue) return;
  isRenderDue = true;
  requestAnimationFrame(() => {
    isRenderDue = false;
    renderNow();
  });
}

function renderNow() {
  const filter = at("filter").value;
  const { sections, shownHolds, shownWaiters } = holdings.sections(filter);
  const focused = document.activeElement;
  list.show(sections, now());
  pools.show();
  // The focused row is gone: the focus stays in the list.
  if (focused && !focused.isConnected) at("main").focus();

  const { holds, waiters, moreHolds, moreWaiters } = holdings;
  const words = (shown, all, more) => {
    const total = `${more ? "more than " : ""}${number(all)}`;
    return filter.trim() ? `${number(shown)} of ${total}` : total;
  };
  const held = `${words(shownHolds, holds.size, moreHolds)} held`;
  const counts = `${held} · ${words(shownWaiters, waiters.size, moreWaiters)} waiting`;
  at("counts").textContent = counts;
  sayQuietly(counts);

  at("empty").hidden = sections.length > 0;
  at("empty").textContent = filter.trim() ? "Nothing fits the filter." : "Nothing is held, and nobody waits.";
  at("cut").hidden = !moreHolds && !moreWaiters;
  const most = number(holdings.most);
  const looked = "With a filter, holds are also looked up whose id begins with it, or whose group or login it is.";
  at("cut").textContent = moreHolds
    ? `There are more than ${most} holds, and the first ${most} of them are shown. ${looked}`
    : `More than ${most} are waiting, and the first ${most} of them are shown.`;
}

function tick() {
  list.tick(now());
  const isOld = !isLive && lastNews !== null;
  at("state-age").textContent = isOld ? `last news ${duration(performance.now() - lastNews)} ago` : "";
}

let outcomeEnds;

function tell(words) {
  at("outcome").textContent = words;
  clearTimeout(outcomeEnds);
  outcomeEnds = setTimeout(() => (at("outcome").textContent = ""), 15_000);
}

let quiet;

// For those who listen: what has changed, not each time that something does.
function sayQuietly(words) {
  quiet ??= setTimeout(() => {
    quiet = undefined;
    if (at("quiet-news").textContent !== at("counts").textContent) {
      at("quiet-news").textContent = at("counts").textContent;
    }
  }, QUIET);
}

// ---- the filter

let lookUpDue;

async function lookUp() {
  const text = at("filter").value.trim();
  if (text === "" || !holdings.moreHolds || !isLive) return holdings.found.clear();
  const found = await Promise.allSettled(["prefix", "group", "login"].map((by) => lookedUp(by, text)));
  if (at("filter").value.trim() !== text) return;
  holdings.lookedUp(found.flatMap((each) => each.value ?? []));
  render();
}

async function lookedUp(by, text) {
  const url = new URL("v1/list", base);
  url.searchParams.set(by, text);
  const answer = await ask(url, token);
  // Tokens as texts, as in the events. Inside of a text the quotation marks are escaped.
  const json = (await answer.text()).replace(/"fencing_token":(\d+)/g, '"token":"$1"');
  return JSON.parse(json).holds.map((hold) => {
    const { group, mode, id, permit } = hold;
    return { ...hold, key: JSON.stringify([group, mode, id, permit ?? 0]) };
  });
}

at("filter").addEventListener("input", () => {
  render();
  clearTimeout(lookUpDue);
  lookUpDue = setTimeout(lookUp, 300);
});

at("filter").addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || at("filter").value === "") return;
  event.preventDefault();
  at("filter").value = "";
  at("filter").dispatchEvent(new Event("input"));
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, dialog");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  if (at("board").hidden) return;
  event.preventDefault();
  at("filter").focus();
});

setInterval(tick, 1000);
setInterval(lookUp, QUIET);
stayConnected();
