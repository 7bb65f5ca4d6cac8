// The page's two sockets. State comes in as pulses; heartbeats and requests go out. Both are opened again when lost.

const IDLE_MS = 100; // between heartbeats with nothing held
const HELD_MS = 20;
const STALLED_MS = 150; // a heartbeat that is later than this was kept from running: keys are let go
const AFTER_MS = 400; // of close heartbeats after a release

const token = takeToken();

/** The token of `?token=…`, which leaves the address bar, so that it is not shared by accident. */
function takeToken() {
  const address = new URL(location.href);
  const given = address.searchParams.get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    address.searchParams.delete("token");
    history.replaceState(null, "", address);
  }
  return sessionStorage.getItem("token");
}

/** A path with the token, where one is needed. */
export function withToken(path) {
  return token ? `${path}?token=${encodeURIComponent(token)}` : path;
}

export function socket(path) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return new WebSocket(`${scheme}://${location.host}${withToken(path)}`);
}

export class StateLink extends EventTarget {
  /** `held()` gives {mode, axes, gripper, speed, undo}; `letGo()` releases everything. */
  constructor(held, letGo) {
    super();
    this.held = held;
    this.letGo = letGo;
    this.sequence = 0;
    this.echo = 0;
    this.echoAt = 0;
    this.lastBeat = 0;
    this.lastTick = performance.now();
    this.lastHeld = 0;
    this.owesRest = false;
    this.wait = 250;
    this.open();
    setInterval(() => this.tick(), HELD_MS);
  }

  get isOpen() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  open() {
    this.socket = socket("/state");
    this.socket.onopen = () => {
      this.sequence = 0;
      this.wait = 250;
    };
    this.socket.onmessage = (event) => this.heard(JSON.parse(event.data));
    this.socket.onclose = (event) => {
      this.letGo();
      this.dispatchEvent(new CustomEvent("lost", { detail: event.reason }));
      setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(this.wait * 2, 4000);
    };
  }

  heard(message) {
    if (message.is === "pulse") {
      this.echo = message.n;
      this.echoAt = performance.now();
    }
    this.dispatchEvent(new CustomEvent(message.is, { detail: message }));
  }

  /** True when it left; a stop that cannot leave is told to the person. */
  send(message) {
    if (!this.isOpen) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  tick() {
    const now = performance.now();
    if (now - this.lastTick > STALLED_MS) this.letGo();
    this.lastTick = now;
    if (isAnything(this.held())) this.lastHeld = now;
    const often = now - this.lastHeld < AFTER_MS;
    if (often || now - this.lastBeat >= IDLE_MS - 5) this.beat();
  }

  /** What is held now. A release that could not leave at once goes first: a key pressed anew was let go. */
  beat() {
    const held = this.held();
    this.owesRest ||= !isAnything(held);
    if (!this.isOpen || this.socket.bufferedAmount > 0) return; // what waits here would come late
    if (this.owesRest) this.sendBeat({ ...held, axes: {}, gripper: 0, undo: false, follow: false });
    if (isAnything(held)) this.sendBeat(held);
    this.owesRest = false;
  }

  sendBeat(held) {
    const now = performance.now();
    this.lastBeat = now;
    this.sequence += 1;
    const since = now - this.echoAt;
    this.send({ do: "beat", seq: this.sequence, time_ms: now, echo: this.echo, since_ms: since, ...held });
  }
}

function isAnything({ axes, gripper, undo, follow }) {
  return undo || follow || gripper !== 0 || Object.keys(axes).length > 0;
}
