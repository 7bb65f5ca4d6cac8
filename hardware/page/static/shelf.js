// The recorded episodes, newest first: a picture, the verdict, who acted when; and a window to look through one.

import { withToken } from "./link.js";

const at = (id) => document.getElementById(id);
const VERDICTS = { true: ["good", "✓ success"], false: ["bad", "✗ failure"], null: ["", "no verdict"] };
const SEALED_MS = 700; // the recorder needs a moment after an episode's end

export class Shelf {
  constructor() {
    at("viewer-close").addEventListener("click", () => at("viewer").close());
    at("viewer-frame").addEventListener("input", () => this.turn());
    this.load();
  }

  /** An episode that has ended is fetched. */
  stage(stage) {
    if (stage !== this.before && ["free", "judged", "resetting"].includes(stage)) {
      setTimeout(() => this.load(), SEALED_MS);
      setTimeout(() => this.load(), 4 * SEALED_MS);
    }
    this.before = stage;
  }

  async load() {
    const answer = await fetch(withToken("/episodes.json")).catch(() => null);
    if (!answer?.ok) return;
    const rows = await answer.json();
    const key = JSON.stringify(rows);
    if (key === this.key) return;
    this.key = key;
    at("shelf").replaceChildren(...rows.map((row) => this.item(row)));
  }

  item(row) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const [kind, verdict] = VERDICTS[row.success];
    button.type = "button";
    button.setAttribute("aria-label", `Episode ${row.number}, ${verdict}, ${row.seconds} seconds: look through it`);
    const image = Object.assign(document.createElement("img"), { alt: "", loading: "lazy", src: frame(row, row.frames - 1) });
    const line = Object.assign(document.createElement("span"), { className: kind, textContent: `${row.number} · ${verdict} · ${row.seconds.toFixed(0)} s` });
    button.append(image, spans(row), line);
    button.addEventListener("click", () => this.open(row));
    item.append(button);
    return item;
  }

  open(row) {
    this.row = row;
    at("viewer-title").textContent = `Episode ${row.number}: ${VERDICTS[row.success][1]}`;
    at("viewer-spans").replaceChildren(...spans(row).children);
    Object.assign(at("viewer-frame"), { max: row.frames - 1, value: 0 });
    this.turn();
    at("viewer").show(); // not modal: the stop must stay within reach
  }

  turn() {
    const number = Number(at("viewer-frame").value);
    const { row } = this;
    const span = row.spans.find((one) => one.start <= number && number < one.stop);
    at("viewer-image").src = frame(row, number);
    at("viewer-image").alt = `Frame ${number} of episode ${row.number}`;
    at("viewer-line").textContent = `${((number * row.seconds) / row.frames).toFixed(1)} s of ${row.seconds} s · ${span?.source ?? ""}`;
  }
}

function frame(row, number) {
  return withToken(`/episode/${row.number}/${Math.max(0, number)}.jpg`);
}

function spans(row) {
  const bar = document.createElement("div");
  bar.className = "spans";
  for (const span of row.spans) {
    const part = document.createElement("i");
    part.dataset.source = span.source;
    part.style.flex = span.stop - span.start;
    bar.append(part);
  }
  return bar;
}
