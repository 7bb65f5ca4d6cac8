// Puts the parts together: pulses → what is shown; keys and buttons → requests.

import { Drive, isTyping, keyName } from "./drive.js";
import { StateLink, withToken } from "./link.js";
import { Pictures, arrange } from "./pictures.js";
import { Scene } from "./scene.js";
import { Shelf } from "./shelf.js";
import { Shown } from "./shown.js";

const drive = new Drive();
const link = new StateLink(() => drive.held(), () => drive.letGo());
const pictures = new Pictures(document.getElementById("cameras"));
const scene = new Scene(document.getElementById("scene"));
const shown = new Shown(link);
const shelf = new Shelf(link);
const at = (id) => document.getElementById(id);
drive.changed = () => link.beat();
window.tandem = { link, drive, pictures, scene, shown }; // for the browser's console, and for tests

link.addEventListener("hello", ({ detail: hello }) => {
  drive.joints = hello.joints;
  drive.hasGripper = hello.has_gripper;
  drive.mode = hello.modes[0];
  pictures.show(hello.cameras);
  scene.hello(hello.scene);
  shown.hello(hello);
  makeModes(hello.modes);
  makePads();
  at("follow").hidden = !hello.follows;
  for (const id of ["take", "give", "how", "pads", "undo"]) at(id).hidden = !hello.can_drive;
  at("twin-link").hidden = !hello.twin;
  at("failure-map").hidden = !hello.failure_map;
  if (hello.failure_map) {
    at("cameras").append(at("failure-map"));
    at("failure-map").querySelector("img").src = withToken("/failure_map.png");
  }
  arrange(at("cameras"));
});
link.addEventListener("pulse", ({ detail: pulse }) => {
  shown.pulse(pulse);
  pictures.ghost(pulse.ghost, pulse.left);
  scene.pulse(pulse.scene);
  shelf.exported(pulse.export, shown.holds);
  shelf.stage(pulse.episode.stage);
  drive.enabled = shown.mayDrive;
});
link.addEventListener("lost", ({ detail: reason }) => {
  drive.enabled = false;
  scene.lost();
  shown.lost(reason);
});

// Requests

const act = {
  stop: () => {
    drive.letGo();
    if (shown.stopped) shown.sayHowToRelease();
    else if (!link.send({ do: "emergency_stop", active: true })) shown.cannotStop();
  },
  take: () => link.send({ do: "take_over" }),
  give: () => {
    drive.letGo();
    link.send({ do: "give_back" });
  },
};
for (const [id, does] of Object.entries(act)) at(id).addEventListener("click", does);
for (const button of document.querySelectorAll("[data-episode]")) {
  button.addEventListener("click", () => link.send({ do: "episode", what: button.dataset.episode }));
}
at("failure-map").querySelector("button").addEventListener("click", () => at("failure-map").toggleAttribute("data-large"));
holdable(at("undo"), "undo", 1);
holdable(at("follow"), "follow", 1);
at("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  scene.recolour();
});
at("speed").addEventListener("input", (event) => {
  drive.speed = event.target.value / 100;
  at("speed-value").textContent = `${event.target.value} %`;
});

// The stop comes before everything else, whatever has the focus.
addEventListener("keydown", (event) => {
  if (isTyping(event.target) && event.code !== "Escape") return;
  if (event.code === "Space" || event.code === "Escape") {
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) act.stop();
  } else if (!event.repeat && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const button = { KeyT: at("take"), KeyG: at("give") }[event.code] ?? episodeButton(event.code);
    if (button && !button.disabled) button.click();
  }
}, { capture: true });
addEventListener("keyup", (event) => {
  if (event.code === "Space" && !isTyping(event.target)) event.preventDefault(); // it would press the focused button
}, { capture: true });

function episodeButton(code) {
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(code)?.[1];
  return digit && document.querySelector(`[data-episode][aria-keyshortcuts="${digit}"]`);
}

// Pads

function makeModes(modes) {
  const named = { tool: "Tool", joint: "Joints" };
  at("modes").replaceChildren(...modes.map((mode) => {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "mode", value: mode, checked: mode === drive.mode });
    radio.addEventListener("change", () => {
      drive.letGo();
      drive.mode = mode;
      makePads();
    });
    label.append(radio, named[mode]);
    return label;
  }));
}

function makePads() {
  const pads = document.createElement("div");
  pads.className = "pads";
  for (const row of drive.rows) {
    row.keys.forEach((code, way) => pads.append(makePad(row, code, way)));
  }
  at("pads").replaceChildren(pads);
}

function makePad(row, code, way) {
  const pad = document.createElement("button");
  pad.type = "button";
  pad.className = "pad";
  pad.dataset.axis = row.axis;
  pad.dataset.code = code;
  pad.setAttribute("aria-label", `Hold to move: ${row.names[way]}, key ${keyName(code)}`);
  pad.setAttribute("aria-keyshortcuts", keyName(code));
  pad.innerHTML = `<span aria-hidden="true">${row.signs[way]} </span>`;
  pad.append(Object.assign(document.createElement("span"), { textContent: row.names[way] }), Object.assign(document.createElement("kbd"), { textContent: keyName(code) }));
  return holdable(pad, row.axis, way === 0 ? 1 : -1);
}

/** Held by finger, mouse or the Enter key. */
function holdable(pad, axis, sign) {
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    drive.press(event.pointerId, axis, sign, pad);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    pad.addEventListener(end, (event) => drive.release(event.pointerId));
  }
  pad.addEventListener("contextmenu", (event) => event.preventDefault());
  pad.addEventListener("keydown", (event) => {
    if (event.code === "Enter" && !event.repeat) drive.press("enter", axis, sign, pad);
  });
  for (const end of ["keyup", "blur"]) pad.addEventListener(end, () => drive.release("enter"));
  return pad;
}
