// Live pictures: each is drawn, then acknowledged, so that a slow link carries fewer or smaller ones.

import { socket, withToken } from "./link.js";

const HEADER = 16;
const LATE_MS = 1000;

export class Pictures {
  constructor(root) {
    this.root = root;
    this.views = [];
    this.ages = []; // of the newest pictures when drawn, in ms; for whoever measures
    setInterval(() => this.look(), 500);
  }

  show(cameras) {
    if (cameras.join() === this.names) return;
    this.names = cameras.join();
    for (const view of this.views) view.figure.remove();
    this.views = cameras.map((name) => makeView(name));
    this.root.prepend(...this.views.map((view) => view.figure));
    if (!cameras.length) this.root.insertAdjacentHTML("afterbegin", '<figure><p class="none">This cell has no camera.</p></figure>');
    enlarge(this.root.firstElementChild);
    if (!this.socket) this.open();
  }

  open() {
    this.socket = socket("/pictures");
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = (event) => this.draw(event.data);
    this.socket.onclose = () => setTimeout(() => this.open(), 1000);
  }

  async draw(data) {
    const header = new DataView(data);
    const [place, number, stamp] = [header.getUint8(0), header.getUint32(4, true), header.getFloat64(8, true)];
    const { socket } = this;
    const image = await createImageBitmap(new Blob([new Uint8Array(data, HEADER)], { type: "image/jpeg" }));
    if (socket.readyState === WebSocket.OPEN) socket.send(`${place} ${number}`);
    const view = this.views[place];
    if (!view) return;
    if (view.canvas.width !== image.width || view.canvas.height !== image.height) {
      [view.canvas.width, view.canvas.height] = [image.width, image.height];
    }
    view.canvas.getContext("2d").drawImage(image, 0, 0);
    image.close();
    view.empty.hidden = true;
    view.canvas.hidden = false;
    view.drawn = performance.now();
    view.count += 1;
    this.ages.push(performance.timeOrigin + performance.now() - stamp);
    if (this.ages.length > 2000) this.ages.splice(0, 1000);
  }

  /** Where the object belongs, over the camera that it is meant for, and the way there; null takes it away. */
  ghost(ghost, left) {
    const key = JSON.stringify([ghost ?? null, left?.arrow ?? null, left?.is_there ?? null]);
    if (this.ghostKey === key) return;
    this.ghostKey = key;
    for (const view of this.views) {
      const mine = ghost && ghost.camera === view.name ? ghost : null;
      drawGhost(view.over, mine, left);
      const wanted = mine?.has_picture ? withToken(`/ghost/${mine.number}.png`) : "";
      if (wanted && view.twin.getAttribute("src") !== wanted) view.twin.src = wanted;
      view.twin.hidden = !wanted || Boolean(left?.is_there);
    }
  }

  /** A picture that is old looks like a live one, so it is said. */
  look() {
    const now = performance.now();
    for (const view of this.views) {
      const late = now - view.drawn;
      const rate = (view.count - view.counted) * 2;
      view.counted = view.count;
      if (late > LATE_MS) view.figure.dataset.late = "";
      else delete view.figure.dataset.late;
      if (view.drawn) {
        view.caption.textContent = late > LATE_MS ? `${view.name}: old, ${(late / 1000).toFixed(0)} s` : `${view.name} · ${rate}/s`;
      }
    }
  }
}

const GHOST_PX = [960, 720]; // finer than the picture, so that the line is smooth

const [WANTED, PLACED] = [["#ffb020", "255 176 32"], ["#3ddc84", "61 220 132"]];

function drawGhost(canvas, ghost, left) {
  [canvas.width, canvas.height] = GHOST_PX;
  const context = canvas.getContext("2d");
  if (!ghost) return;
  const points = ghost.outline.map(([x, y]) => [x * canvas.width, y * canvas.height]);
  context.beginPath();
  points.forEach(([x, y]) => context.lineTo(x, y));
  context.closePath();
  const [colour, shares] = left?.is_there ? PLACED : WANTED;
  context.fillStyle = `rgb(${shares} / ${ghost.has_picture ? 0.1 : 0.28})`;
  context.fill();
  for (const [style, width] of [["rgb(0 0 0 / .7)", 7], [colour, 3.5]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.stroke();
  }
  if (left && !left.is_there) drawArrow(context, ...left.arrow.map(([x, y]) => [x * canvas.width, y * canvas.height]));
}

/** From where the object was found to where it belongs. */
function drawArrow(context, [x, y], [toX, toY]) {
  const angle = Math.atan2(toY - y, toX - x);
  const head = Math.min(26, 0.6 * Math.hypot(toX - x, toY - y));
  for (const [style, width] of [["rgb(0 0 0 / .75)", 9], ["#ffffff", 4.5]]) {
    context.strokeStyle = context.fillStyle = style;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, 9, 0, 2 * Math.PI);
    context.moveTo(x, y);
    context.lineTo(toX, toY);
    for (const side of [-1, 1]) {
      context.moveTo(toX, toY);
      context.lineTo(toX - head * Math.cos(angle + side * 0.45), toY - head * Math.sin(angle + side * 0.45));
    }
    context.stroke();
  }
}

/** One figure is large, the others stand beside it. None is moved in the document: a frame would load anew. */
export function enlarge(figure) {
  for (const one of figure.parentElement.children) one.toggleAttribute("data-main", one === figure);
  arrange(figure.parentElement);
}

/** To be called where a figure has come or gone. */
export function arrange(root) {
  const shown = [...root.children].filter((one) => !one.hidden);
  root.style.setProperty("--beside", Math.max(1, shown.length - 1));
}

function makeView(name) {
  const figure = document.createElement("figure");
  const canvas = document.createElement("canvas");
  canvas.hidden = true;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Live picture of ${name}`);
  const over = document.createElement("canvas");
  over.className = "over";
  const twin = Object.assign(document.createElement("img"), { className: "over twin", alt: "", hidden: true });
  const caption = document.createElement("figcaption");
  caption.textContent = name;
  const empty = document.createElement("p");
  empty.className = "none";
  empty.textContent = `No picture of ${name} yet.`;
  const swap = document.createElement("button");
  swap.type = "button";
  swap.className = "swap";
  swap.textContent = "enlarge";
  swap.setAttribute("aria-label", `Enlarge ${name}`);
  figure.append(canvas, twin, over, empty, caption, swap);
  const view = { name, figure, canvas, over, twin, caption, empty, drawn: 0, count: 0, counted: 0 };
  swap.addEventListener("click", () => enlarge(figure));
  return view;
}
