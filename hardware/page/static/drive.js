// What is held down: keys, pads on the screen, a gamepad. One answer for all three; nothing here moves an arm.

const TOOL = [
  { axis: "x", keys: ["KeyW", "KeyS"], names: ["forward", "back"], signs: ["↑", "↓"] },
  { axis: "y", keys: ["KeyA", "KeyD"], names: ["left", "right"], signs: ["←", "→"] },
  { axis: "z", keys: ["KeyR", "KeyF"], names: ["up", "down"], signs: ["⤒", "⤓"] },
  { axis: "pitch", keys: ["KeyY", "KeyH"], names: ["nose down", "nose up"], signs: ["⤵", "⤴"] },
  { axis: "roll", keys: ["KeyQ", "KeyE"], names: ["roll left", "roll right"], signs: ["↺", "↻"] },
  { axis: "yaw", keys: ["KeyU", "KeyJ"], names: ["turn left", "turn right"], signs: ["⟲", "⟳"] },
];
const JOINT_KEYS = [["KeyQ", "KeyA"], ["KeyW", "KeyS"], ["KeyE", "KeyD"], ["KeyR", "KeyF"], ["KeyY", "KeyH"], ["KeyU", "KeyJ"], ["KeyI", "KeyK"]];
const GRIPPER = { axis: "gripper", keys: ["KeyO", "KeyL"], names: ["open", "close"], signs: ["⇔", "⇒⇐"] };
const UNDO = { axis: "undo", keys: ["KeyZ"] };
const FOLLOW = { axis: "follow", keys: ["KeyV"] };
const OLD_MS = 100; // an event that waited this long, behind a stall, is not what a person wants now
const DEAD_ZONE = 0.12;
const PAD_DEAD_MAN = 4; // the left shoulder, as on the robot's own gamepad
const PAD_UNDO = 2;

export class Drive {
  constructor() {
    this.mode = "tool";
    this.speed = 0.5;
    this.enabled = false;
    this.keys = new Map(); // code → [axis, sign]
    this.pointers = new Map(); // pointer → [axis, sign, element]
    this.joints = [];
    this.hasGripper = false;
    addEventListener("keydown", (event) => this.keyDown(event));
    addEventListener("keyup", (event) => this.keys.delete(event.code) && this.changed?.());
    for (const gone of ["blur", "pagehide"]) addEventListener(gone, () => this.letGo());
    document.addEventListener("visibilitychange", () => this.letGo());
  }

  /** The rows of the present mode: {axis, keys, names, signs}. */
  get rows() {
    const joints = this.joints.slice(0, JOINT_KEYS.length).map((joint, number) => ({
      axis: joint.name, keys: JOINT_KEYS[number], names: [`${joint.name} +`, `${joint.name} −`], signs: ["+", "−"],
    }));
    const rows = this.mode === "joint" ? joints : TOOL.filter((row) => row.axis !== "yaw" || this.joints.length > 5);
    return this.hasGripper ? [...rows, GRIPPER] : rows;
  }

  keyDown(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (performance.now() - event.timeStamp > OLD_MS) return;
    for (const row of [...this.rows, UNDO, FOLLOW]) {
      const way = row.keys.indexOf(event.code);
      if (way >= 0) {
        this.keys.set(event.code, [row.axis, way === 0 ? 1 : -1]);
        event.preventDefault();
        this.changed?.();
      }
    }
  }

  press(pointer, axis, sign, element) {
    this.pointers.set(pointer, [axis, sign, element]);
    element.dataset.held = "";
    this.changed?.();
  }

  release(pointer) {
    const held = this.pointers.get(pointer);
    this.pointers.delete(pointer);
    if (held) delete held[2].dataset.held;
    this.changed?.();
  }

  letGo() {
    for (const pointer of [...this.pointers.keys()]) this.release(pointer);
    this.keys.clear();
    this.padHeld = false;
    this.changed?.();
  }

  /** As a heartbeat carries it. */
  held() {
    const sums = {};
    const held = this.enabled ? [...this.keys.values(), ...this.pointers.values()] : [];
    for (const [axis, sign] of held) sums[axis] = (sums[axis] ?? 0) + sign;
    if (this.enabled) this.addGamepad(sums);
    const { gripper = 0, undo = 0, follow = 0, ...all } = sums;
    const axes = {};
    for (const [axis, value] of Object.entries(all)) {
      if (value !== 0) axes[axis] = Math.max(-1, Math.min(1, value));
    }
    return { mode: this.mode, axes, gripper: Math.max(-1, Math.min(1, gripper)), speed: this.speed, undo: undo > 0, follow: follow > 0 };
  }

  /** Sticks count while the shoulder button is held, on pads that the browser knows as standard. */
  addGamepad(sums) {
    const pads = navigator.getGamepads?.() ?? [];
    const pad = [...pads].find((one) => one?.connected && one.mapping === "standard");
    const isDown = Boolean(pad?.buttons[PAD_DEAD_MAN]?.pressed);
    if (!isDown) {
      this.padHeld = false;
      return;
    }
    const [lx, ly, rx, ry] = pad.axes.map((value) => (Math.abs(value) > DEAD_ZONE ? value : 0));
    const sticks = [-ly, -lx, -ry, rx]; // forward, left, up, roll right
    const cross = pad.buttons[12].value - pad.buttons[13].value;
    const names = this.mode === "tool" ? ["x", "y", "z", "roll"] : [1, 0, 2, 4].map((n) => this.joints[n]?.name);
    names.forEach((name, number) => add(sums, name, this.mode === "tool" && name === "roll" ? -sticks[number] : sticks[number]));
    add(sums, this.mode === "tool" ? "pitch" : this.joints[3]?.name, cross);
    add(sums, "undo", Number(pad.buttons[PAD_UNDO].pressed));
    add(sums, "gripper", pad.buttons[1].value - pad.buttons[0].value);
  }
}

function add(sums, axis, value) {
  if (axis && value) sums[axis] = (sums[axis] ?? 0) + value;
}

export function isTyping(target) {
  return target instanceof HTMLInputElement ? target.type !== "radio" && target.type !== "range" : target instanceof HTMLTextAreaElement;
}

export function keyName(code) {
  return code.replace("Key", "");
}
