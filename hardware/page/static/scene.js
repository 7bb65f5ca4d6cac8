// The cell in three dimensions, in a frame of its own that can look and do nothing else. Opened when a person asks.

import { enlarge } from "./pictures.js";

const IDLE = "Arm, chunks, cameras and twin in 3D.";

export class Scene {
  constructor(figure) {
    this.figure = figure;
    this.frame = figure.querySelector("iframe");
    this.none = figure.querySelector(".none");
    this.state = "off";
    document.getElementById("scene-open").addEventListener("click", () => this.open());
    document.getElementById("scene-close").addEventListener("click", () => this.close());
    figure.querySelector(".swap").addEventListener("click", () => enlarge(figure));
    // A click into the frame would take the keyboard with it, and with it the stop.
    addEventListener("blur", () => setTimeout(() => this.keepKeys()));
  }

  get isOpen() {
    return this.frame.hasAttribute("src");
  }

  /** The key to the scene's socket; null: there is no scene to be had. After a lost link the frame is loaded anew. */
  hello(key) {
    this.figure.hidden = !key;
    const isNew = this.key !== key;
    this.key = key;
    if (this.isOpen && (isNew || this.wasLost)) this.load();
    this.wasLost = false;
  }

  lost() {
    this.wasLost = true;
  }

  open() {
    this.load();
    enlarge(this.figure);
    document.getElementById("scene-close").focus();
  }

  load() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = encodeURIComponent(`${scheme}://${location.host}/scene?key=${this.key}`);
    this.state = "starting";
    this.frame.src = `/scene/?websocket=${socket}${isDark() ? "&darkMode" : ""}`;
    this.look("starting", "");
  }

  /** Light or dark has changed. */
  recolour() {
    if (this.isOpen) this.load();
  }

  close() {
    this.frame.removeAttribute("src");
    this.frame.hidden = true;
    this.look("off", "");
    enlarge(this.figure.parentElement.firstElementChild);
    document.getElementById("scene-open").focus();
  }

  pulse({ state, words }) {
    if (!this.isOpen || (state === this.state && words === this.words)) return;
    if (state === "off" && this.state === "on") this.load(); // it ended with nobody to look, before this page did
    else this.look(state, words);
  }

  look(state, words) {
    [this.state, this.words] = [state, words];
    const isShown = this.isOpen && state === "on";
    this.frame.hidden = !this.isOpen || state === "failed";
    this.none.hidden = isShown;
    this.figure.toggleAttribute("data-open", this.isOpen);
    const lines = { off: IDLE, starting: "The 3D scene starts …", failed: `No 3D scene: ${words}.` };
    document.getElementById("scene-line").textContent = lines[state] ?? "";
    const button = document.getElementById("scene-open");
    button.hidden = state === "starting";
    button.textContent = state === "failed" ? "Try again" : "Show in 3D";
    document.getElementById("scene-close").hidden = !this.isOpen;
    document.getElementById("scene-caption").textContent = isShown && words ? `3D · ${words}` : "3D";
  }

  keepKeys() {
    if (document.activeElement !== this.frame) return;
    this.frame.blur();
    window.focus();
  }
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
