// Releasing by force: what, whose, why.

import { ask, Refused } from "./stream.js";
import { element, name, ownerName, ownerRest } from "./words.js";

const LONGEST_REASON = 1000;

export class Force {
  #dialog = document.getElementById("force");
  #form = document.getElementById("force-form");
  #reason = document.getElementById("reason");
  #problem = document.getElementById("force-problem");
  #do = document.getElementById("force-do");
  #hold = null;
  #opener = null;
  #send;
  #onDone;

  // `send(body)` posts; `onDone(outcome)` is told what came of it.
  constructor(send, onDone) {
    this.#send = send;
    this.#onDone = onDone;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#release();
    });
    document.getElementById("force-cancel").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => {
      this.#hold = null;
      // Where the row is gone with its button, to the list.
      const back = this.#opener?.isConnected ? this.#opener : document.getElementById("main");
      back.focus();
    });
    this.#reason.addEventListener("input", () => this.#say(""));
  }

  open(hold, waiters, opener) {
    this.#hold = hold;
    this.#opener = opener;
    this.#reason.value = "";
    this.#say("");
    this.#do.disabled = false;
    const rest = ownerRest(hold.owner);
    const rows = [
      ["Mutex", name(hold.id || "(no id)", { className: "id" })],
      ["Group, mode", element("span", {}, name(hold.group), ", ", name(hold.mode))],
      ["Held by", element("span", {}, name(ownerName(hold.owner)), rest ? element("div", { className: "rest" }, name(rest)) : "")],
      ["Since", new Date(hold.held_since).toLocaleString()],
      ["Token", hold.token],
      ["In line", waiters ? `${waiters.toLocaleString("en")} waiting` : "nobody"],
    ];
    document
      .getElementById("force-what")
      .replaceChildren(...rows.flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]));
    this.#dialog.showModal();
    this.#reason.focus();
  }

  #say(problem) {
    this.#problem.textContent = problem;
    this.#reason.setAttribute("aria-invalid", String(problem !== ""));
  }

  #refuse(problem) {
    this.#say(problem);
    this.#reason.focus();
  }

  async #release() {
    const hold = this.#hold;
    const reason = this.#reason.value.trim();
    if (reason === "") return this.#refuse("Say why: whoever reads the log later will want to know.");
    if (new TextEncoder().encode(reason).length > LONGEST_REASON) {
      return this.#refuse(`Say it in at most ${LONGEST_REASON} bytes.`);
    }
    this.#do.disabled = true;
    try {
      const answer = await this.#send(body(hold, reason));
      const { outcome } = await answer.json();
      if (this.#hold === hold) this.#dialog.close();
      this.#onDone(hold, outcome === "released");
    } catch (error) {
      if (this.#hold !== hold) return;
      this.#do.disabled = false;
      const why = error instanceof Refused ? error.message : "the server cannot be reached";
      this.#refuse(`Not released: ${why}.`);
    }
  }
}

// Only the hold that was looked at. Its token is written as it came: a number of JavaScript's could be
// another one.
function body({ group, mode, id, token }, reason) {
  if (!/^\d+$/.test(token)) throw new TypeError("a token is a number");
  const mutex = JSON.stringify({ group, mode, id });
  return `{"mutex":${mutex},"reason":${JSON.stringify(reason)},"fencing_token":${token}}`;
}

export function forceRelease(base, token, text) {
  const headers = { "content-type": "application/json" };
  return ask(new URL("v1/force-release", base), token, { method: "POST", headers, body: text });
}
