// Pulses → what the page shows, in words a person understands.

const at = (id) => document.getElementById(id);
const STAGES = { waiting: "getting ready", free: "free to move", resetting: "resetting", running: "running", judged: "episode over", finished: "all done" };
const SOURCES = { policy: "the policy drives", scripted: "the script drives", human: "a person drives", hold: "the arm holds still" };
const LATE_MS = 120;

export class Shown {
  constructor(link) {
    this.link = link;
    this.me = null;
    this.stopped = false;
    this.mayDrive = false;
    this.trips = [];
    this.last = {};
  }

  hello(hello) {
    this.fixed = hello;
    this.me = hello.you;
    at("cell").textContent = hello.cell;
    at("task").textContent = hello.task;
    document.title = `${hello.cell} · Tandem`;
    at("joints").replaceChildren(...hello.joints.map(makeJoint), ...(hello.has_gripper ? [makeJoint({ name: "gripper" })] : []));
  }

  pulse(pulse) {
    if (!this.fixed) return;
    this.last = pulse;
    this.stopped = pulse.stopped;
    this.holds = pulse.seat.holder === this.me;
    this.mayDrive = this.holds && (this.fixed.can_drive || this.fixed.follows) && !pulse.stopped;
    this.chips(pulse);
    this.banner(pulse);
    this.seat(pulse);
    this.episode(pulse);
    this.arm(pulse);
    this.processes(pulse.processes);
    this.trip(pulse.trips_ms[this.me]);
  }

  lost(reason) {
    this.mayDrive = false;
    this.fixed = null;
    chip("chip-link", "bad", "no link to the robot");
    this.say("bad", `This page has lost the robot. The arm stops by itself; the page tries to connect again. ${reason ?? ""}`);
    for (const button of document.querySelectorAll("[data-episode], #take, #give, .pad")) button.disabled = true;
  }

  cannotStop() {
    this.say("bad", "The stop did not leave this page: there is no link. Use the stop at the robot.");
  }

  sayHowToRelease() {
    at("said").textContent = "Already stopped. Use the button Release the stop.";
  }

  chips(pulse) {
    const trip = pulse.trips_ms[this.me];
    const isLate = trip !== null && trip > LATE_MS;
    chip("chip-link", isLate ? "bad" : "good", isLate ? `link lags: ${trip.toFixed(0)} ms` : "connected");
    const { stage, number } = pulse.episode;
    chip("chip-stage", stage === "running" ? "good" : "wait", stage === "running" ? `episode ${number}` : STAGES[stage]);
    if (pulse.stopped) chip("chip-source", "bad", "emergency stop");
    else if (pulse.in_charge) chip("chip-source", "person", pulse.source === "human" ? SOURCES.human : "a person is in charge, at rest");
    else chip("chip-source", pulse.source === "hold" ? "wait" : "good", SOURCES[pulse.source] ?? pulse.source);
  }

  banner(pulse) {
    const asking = this.holds ? pulse.seat.asking : [];
    if (pulse.stopped) {
      const release = this.holds ? [["Release the stop", () => this.link.send({ do: "emergency_stop", active: false })]] : [];
      this.say("bad", this.holds ? "Emergency stop. Look at the robot before you release it." : "Emergency stop. The one who drives can release it.", release);
    } else if (asking.length) {
      this.say("person", `Visitor ${asking[0]} asks to drive.`, [
        ["Hand over", () => this.link.send({ do: "sit", how: "hand_over", to: asking[0] })],
        ["Keep", () => this.link.send({ do: "sit", how: "keep" })],
      ]);
    } else if (pulse.age_s > 0.5) {
      this.say("bad", `The arm has said nothing for ${pulse.age_s.toFixed(1)} s.`);
    } else {
      at("banner").hidden = true;
      this.banners = "";
    }
  }

  say(is, text, buttons = []) {
    const key = is + text + buttons.length;
    if (this.banners === key) return;
    this.banners = key;
    const banner = at("banner");
    banner.dataset.is = is;
    banner.replaceChildren(text, ...buttons.map(([name, does]) => makeButton(name, does)));
    banner.hidden = false;
  }

  seat(pulse) {
    const { holder, asking, visitors } = pulse.seat;
    const others = visitors > 1 ? ` ${visitors} look at this page.` : "";
    let line = `Visitor ${holder} drives.`;
    let button = ["Ask to drive", () => this.link.send({ do: "sit" })];
    if (!this.fixed.can_drive && !this.fixed.follows) {
      line = "You watch: a gamepad or a script intervenes in this run. You can still stop the arm.";
      button = null;
    } else if (this.holds) {
      line = pulse.in_charge ? "You drive." : "You have the controls.";
      button = ["Leave the controls", () => this.link.send({ do: "sit", how: "leave" })];
    } else if (holder === null) {
      line = "Nobody has the controls.";
      button = ["Take the controls", () => this.link.send({ do: "sit" })];
    } else if (asking.includes(this.me)) {
      line = `You have asked visitor ${holder} for the controls.`;
      button = null;
    }
    setText(at("seat-line"), line + others);
    const key = button?.[0] ?? "";
    if (this.seatKey !== key) {
      this.seatKey = key;
      at("seat-buttons").replaceChildren(...(button ? [makeButton(...button)] : []));
    }
    const moves = ["free", "running"].includes(pulse.episode.stage);
    at("take").disabled = !this.mayDrive || !this.fixed.can_drive || pulse.in_charge || !moves;
    at("give").disabled = !this.mayDrive || !pulse.in_charge;
    const why = !this.holds ? "Take the controls first." : !moves ? "The arm may not move now." : "Hold a pad or its key to move; let go to stop.";
    setText(at("drive-hint"), pulse.at_end.length ? `At the end of its range: ${pulse.at_end.join(", ")}.` : why);
    setText(at("undo-line"), pulse.undo_s > 0 ? `hold to go back, ${pulse.undo_s.toFixed(1)} s` : "nothing to go back");
    for (const pad of document.querySelectorAll(".pad")) {
      pad.disabled = !this.mayDrive || (pad.id === "undo" && pulse.undo_s === 0 && !("held" in pad.dataset));
      const keyHeld = window.tandem.drive.keys.has(pad.dataset.code ?? `Key${pad.getAttribute("aria-keyshortcuts")}`) && this.mayDrive;
      toggle(pad, "end", pulse.at_end.includes(pad.dataset.axis));
      if (keyHeld) pad.dataset.key = pad.dataset.held = "";
      else if ("key" in pad.dataset) {
        delete pad.dataset.key;
        delete pad.dataset.held;
      }
    }
  }

  episode(pulse) {
    const { stage, number, since_s } = pulse.episode;
    const lines = {
      free: `Episode ${number} begins when you start it. Nothing is recorded now.`,
      running: `Episode ${number} · ${since_s.toFixed(0)} s`,
      resetting: `Episode ${number}: things are put in place.`,
    };
    setText(at("episode-line"), lines[stage] ?? STAGES[stage]);
    this.guide(pulse);
    const score = pulse.score;
    setText(at("score-line"), score === null ? "no classifier" : `${(100 * score).toFixed(0)} % success`);
    at("score").value = score ?? 0;
    at("score").hidden = score === null;
    for (const button of document.querySelectorAll("[data-episode]")) {
      const isBefore = ["start", "skip", "unreachable"].includes(button.dataset.episode);
      const wanted = isBefore ? stage === "free" : stage === "running";
      button.disabled = !this.holds || !wanted;
    }
  }

  /** Where the object belongs, what is left to do, and how far the plan is. */
  guide(pulse) {
    const { ghost, left, plan } = pulse;
    at("guide").hidden = !plan || pulse.episode.stage !== "free";
    if (!plan) return;
    const line = at("guide-line");
    toggle(line, "there", Boolean(left?.is_there));
    if (!ghost) setText(line, pulse.episode.number >= plan.total ? "All starts of the plan are done." : "This start is not in the picture.");
    else if (!left) setText(line, `Put the object on the outline. It is not seen yet. (${ghost.words})`);
    else setText(line, left.is_there ? `✓ In place: ${mm(left)}.` : `Move it: ${left.words}.`);
    const [off, unseen] = [plan.off ?? 0, plan.unseen ?? 0];
    const done = (plan.placed ?? 0) + off + unseen;
    const parts = [`${done} of ${plan.total} starts run`, off && `${off} off the mark`, unseen && `${unseen} unseen`, plan.skipped && `${plan.skipped} skipped`, plan.unreachable && `${plan.unreachable} out of reach`];
    setText(at("plan-line"), parts.filter(Boolean).join(", "));
    Object.assign(at("plan"), { max: plan.total, value: Math.min(pulse.episode.number, plan.total) });
  }

  arm(pulse) {
    if (!pulse.q_rad) return;
    if (pulse.tip_m) {
      const [x, y, z] = pulse.tip_m.map((value) => (value * 1000).toFixed(0).padStart(4));
      setText(at("tip"), `tool at x ${x}  y ${y}  z ${z} mm`);
    }
    const rows = at("joints").children;
    this.fixed.joints.forEach((joint, number) => {
      const q = pulse.q_rad[number];
      const share = (q - joint.lower_rad) / (joint.upper_rad - joint.lower_rad);
      setJoint(rows[number], share, `${((q * 180) / Math.PI).toFixed(1)}°`, pulse.at_end.includes(joint.name));
    });
    if (this.fixed.has_gripper && pulse.gripper_open !== null) {
      setJoint(rows[this.fixed.joints.length], pulse.gripper_open, `${(pulse.gripper_open * 100).toFixed(0)} %`, false);
    }
  }

  processes(rows) {
    const text = JSON.stringify(rows.map(({ name, well, text }) => [name, well, text]));
    if (text === this.processText || !rows.length) return;
    this.processText = text;
    at("process-list").replaceChildren(...rows.map((row) => {
      const item = document.createElement("li");
      item.dataset.is = row.well ? "good" : "bad";
      item.textContent = `${row.name}: ${row.text}`;
      item.title = Object.entries(row.values).map(([key, value]) => `${key} ${value}`).join("\n");
      return item;
    }));
  }

  trip(trip_ms) {
    if (trip_ms === null || trip_ms === undefined) return;
    setText(at("trip"), `${trip_ms.toFixed(0)} ms`);
    this.trips.push(trip_ms);
    if (this.trips.length > 150) this.trips.shift();
    spark(at("trip-line"), this.trips, LATE_MS);
  }
}

function mm({ away_m, turn_rad }) {
  return `${(1000 * away_m).toFixed(0)} mm and ${Math.abs((turn_rad * 180) / Math.PI).toFixed(0)}° off`;
}

function chip(id, is, text) {
  at(id).dataset.is = is;
  setText(at(id), text);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function toggle(element, name, on) {
  if (on) element.dataset[name] = "";
  else delete element.dataset[name];
}

function makeButton(name, does) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.addEventListener("click", does);
  return button;
}

function makeJoint({ name }) {
  const row = document.createElement("div");
  row.className = "joint";
  row.innerHTML = '<span></span><div class="track" aria-hidden="true"><i></i></div><output></output>';
  row.firstChild.textContent = name;
  return row;
}

function setJoint(row, share, text, isAtEnd) {
  row.querySelector("i").style.left = `${Math.max(0, Math.min(1, share)) * 100}%`;
  setText(row.querySelector("output"), text);
  toggle(row, "end", isAtEnd);
}

/** Values as a line; the limit is the top of the picture unless a value is above it. */
function spark(canvas, values, limit) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const top = Math.max(limit, ...values);
  context.clearRect(0, 0, width, height);
  context.beginPath();
  values.forEach((value, number) => context.lineTo((number / 149) * width, height - 2 - (value / top) * (height - 4)));
  context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  context.lineWidth = 1.5;
  context.stroke();
}
