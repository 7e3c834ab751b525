// The server's events, by fetch: EventSource cannot send the header Authorization.

// The server says something every ten seconds: who hears nothing for so long has lost it.
const SILENCE = 25_000;

// An answer that is not what was asked for, as RFC 9457 tells it.
export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  static async of(answer) {
    let problem = {};
    try {
      problem = await answer.json();
    } catch {
      // Whoever answers for the server says it in another way.
    }
    return new Refused(answer.status, problem, Number(answer.headers.get("retry-after")) || 0);
  }
}

export async function ask(url, token, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(url, { cache: "no-store", credentials: "same-origin", ...options, headers });
  if (!answer.ok) throw await Refused.of(answer);
  return answer;
}

// Calls `on(name, data)` for each event, until the stream ends or breaks.
export async function listen(url, token, signal, on) {
  const given = new AbortController();
  const giveUp = () => given.abort();
  signal.addEventListener("abort", giveUp, { once: true });
  let silence = setTimeout(giveUp, SILENCE);
  try {
    const answer = await ask(url, token, { signal: given.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new Parser(on);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(giveUp, SILENCE);
      parser.feed(value);
    }
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", giveUp);
    given.abort();
  }
}

// Server-sent events, as this server writes them.
export class Parser {
  #rest = "";
  #event = "";
  #data = [];
  #on;

  constructor(on) {
    this.#on = on;
  }

  feed(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line.replace(/\r$/, ""));
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length) this.#on(this.#event || "message", JSON.parse(this.#data.join("\n")));
      this.#event = "";
      this.#data = [];
    } else if (line.startsWith("event:")) {
      this.#event = line.slice(6).trim();
    } else if (line.startsWith("data:")) {
      this.#data.push(line.slice(5).replace(/^ /, ""));
    }
  }
}
