// The recorded episodes, newest first: a picture, the verdict, who acted when; and a window to look through one.

import { withToken } from "./link.js";

const at = (id) => document.getElementById(id);
const VERDICTS = { true: ["good", "✓ success"], false: ["bad", "✗ failure"], null: ["", "no verdict"] };
const SEALED_MS = 700; // the recorder needs a moment after an episode's end

export class Shelf {
  /** Notes and exports go out over `link`. */
  constructor(link) {
    this.link = link;
    at("viewer-close").addEventListener("click", () => at("viewer").close());
    at("viewer").addEventListener("close", () => this.play(false));
    at("viewer-play").addEventListener("click", () => this.play(!this.playing));
    at("viewer-camera").addEventListener("change", () => this.turn());
    at("viewer-save").addEventListener("click", () => this.save());
    at("viewer-note").addEventListener("input", () => (at("viewer-said").textContent = ""));
    at("export").addEventListener("click", () => link.send({ do: "export" }));
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
    const image = Object.assign(document.createElement("img"), { alt: "", loading: "lazy", src: frame(row, row.cameras[0], row.frames - 1) });
    const line = Object.assign(document.createElement("span"), { className: kind, textContent: `${row.number} · ${verdict} · ${row.seconds.toFixed(0)} s` });
    button.append(image, spans(row), line);
    if (row.note) button.append(Object.assign(document.createElement("span"), { className: "noted", textContent: `✎ ${row.note}` }));
    button.addEventListener("click", () => this.open(row));
    item.append(button);
    return item;
  }

  open(row) {
    this.row = row;
    at("viewer-title").textContent = `Episode ${row.number}: ${VERDICTS[row.success][1]}`;
    at("viewer-spans").replaceChildren(...spans(row).children);
    Object.assign(at("viewer-frame"), { max: row.frames - 1, value: 0 });
    at("viewer-camera").replaceChildren(...row.cameras.map((name) => new Option(name)));
    at("viewer-note").value = row.note;
    at("viewer-said").textContent = "";
    this.play(false);
    this.turn();
    at("viewer").show(); // not modal: the stop must stay within reach
  }

  /** At the pace of the recording, as far as the frames come in time. */
  play(on) {
    clearInterval(this.playing);
    this.playing = undefined;
    at("viewer-play").textContent = on ? "Pause" : "Play";
    if (!on) return;
    const slider = at("viewer-frame");
    if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
    const began = performance.now() - (1000 * Number(slider.value) * this.row.seconds) / this.row.frames;
    this.playing = setInterval(() => {
      if (!at("viewer-image").complete) return;
      slider.value = Math.floor(((performance.now() - began) / 1000 / this.row.seconds) * this.row.frames);
      this.turn();
      if (Number(slider.value) >= Number(slider.max)) this.play(false);
    }, 50);
  }

  save() {
    const text = at("viewer-note").value;
    const left = this.link.send({ do: "note", episode: this.row.number, text });
    at("viewer-said").textContent = left && this.holds ? "Saved." : "Not saved: take the controls first.";
    setTimeout(() => this.load(), SEALED_MS);
  }

  /** What the export is at; only the one with the controls may begin one. */
  exported(state, holds) {
    this.holds = holds;
    at("export-row").hidden = !state || !at("shelf").childElementCount;
    if (!state) return;
    at("export").disabled = !holds || state.state === "runs";
    const words = { none: "", runs: "publishing …", done: `in ${state.words}`, failed: `failed: ${state.words}` };
    if (at("export-line").textContent !== words[state.state]) at("export-line").textContent = words[state.state];
    at("export-link").hidden = !state.download;
    if (state.download) at("export-link").setAttribute("href", withToken("/dataset.tar"));
  }

  turn() {
    const number = Number(at("viewer-frame").value);
    const { row } = this;
    const span = row.spans.find((one) => one.start <= number && number < one.stop);
    at("viewer-image").src = frame(row, at("viewer-camera").value, number);
    at("viewer-image").alt = `Frame ${number} of episode ${row.number}`;
    at("viewer-line").textContent = `${((number * row.seconds) / row.frames).toFixed(1)} s of ${row.seconds} s · ${span?.source ?? ""}`;
  }
}

function frame(row, camera, number) {
  return withToken(`/episode/${row.number}/${camera}/${Math.max(0, number)}.jpg`);
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
