// How things are written. Whatever comes from the server goes into the page as text, never as HTML.

// An element, with properties, and children that are elements or texts.
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// Characters that could make a name look like another one: they are spelt out, as in the server's log.
const DECEPTIVE = /[\p{Cc}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2060}-\u{2069}\u{feff}]/gu;

export function plain(text) {
  return text.replace(DECEPTIVE, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

// Names of more characters may be cut where they are shown.
const LONG = 60;

// An element that shows a name. Names of one direction do not turn their neighbours around.
export function name(text, properties = {}) {
  const shown = element("bdi", properties, plain(text));
  if (text.length > LONG) shown.title = plain(text);
  return shown;
}

export function ownerName(owner) {
  return owner.name || owner.login || owner.session || "unknown";
}

// What else is known of an owner.
export function ownerRest(owner) {
  const rest = [owner.login, owner.host, owner.session].filter(Boolean);
  return rest.filter((text) => text !== ownerName(owner)).join(" · ");
}

// Whole seconds, in at most two units.
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const parts = [];
  let rest = seconds;
  for (const [unit, size] of units.slice(first, first + 2)) {
    parts.push(`${Math.floor(rest / size)} ${unit}`);
    rest %= size;
  }
  if (parts.length === 2 && parts[1].startsWith("0 ")) parts.pop();
  return parts.join(" ");
}

// Until when a hold lasts that has no time to end.
export function ruleWords(rule) {
  if (rule === "" || rule === "never") return "until released";
  if (rule === "connection") return "while connected";
  return plain(rule);
}

// The segments of a path of a tree: an id that begins and ends with a slash. Null for other ids.
export function segments(id) {
  if (!id.startsWith("/") || !id.endsWith("/")) return null;
  const inside = id.slice(1, -1);
  if (inside === "") return [];
  return inside.split("/").map((text) => text.replaceAll("%2F", "/").replaceAll("%25", "%"));
}
