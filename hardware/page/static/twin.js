// The twin's folder: photo against twin, quality, contact; what is drawn on the table is kept beside the twin.

import { socket, withToken } from "./link.js";

const at = (id) => document.getElementById(id);
const QUALITY = [
  ["registered", "photos registered", ""], ["frames", "photos", ""], ["reprojection_px", "reprojection", "px"], ["psnr_db", "PSNR of held-out photos", "dB"],
  ["ssim", "SSIM of held-out photos", ""], ["gaussians", "Gaussians", ""], ["triangles", "triangles", ""],
];
const state = { twin: null, view: null, corners: [] };
const link = socket("/state");
link.onclose = () => say("This page has lost the robot's page: nothing that is drawn can be kept. Load it again.");

load();

async function load() {
  const answer = await fetch(withToken("/twin/twin.json")).catch(() => null);
  if (!answer?.ok) {
    say(answer?.status === 403 ? "A token is needed: open the page with ?token=…" : "There is no twin here: start the page with --twin FOLDER.");
    return;
  }
  state.twin = await answer.json();
  show();
}

function show() {
  const { twin } = state;
  document.title = `${twin.name} · Tandem`;
  at("twin-name").textContent = twin.name;
  at("twin-folder").textContent = twin.folder;
  at("view-command").textContent = `tandem twin view ${twin.folder}`;
  Object.assign(at("twin-metric"), { textContent: twin.metric ? "in metres" : "not metric" });
  at("twin-metric").dataset.is = twin.metric ? "good" : "bad";
  const rows = QUALITY.filter(([key]) => twin.quality[key] !== undefined && twin.quality[key] !== null);
  fill(at("quality"), ["what", "value"], [
    ...rows.map(([key, name, unit]) => [name, `${round(twin.quality[key])} ${unit}`]),
    ...twin.gates.map((gate) => [gate.name, `${holds(gate) ? "✓" : "▲"} ${round(gate.value)} ${gate.unit} (${gate.relation} ${round(gate.limit)})`]),
  ]);
  at("contact-empty").hidden = twin.objects.length > 0;
  fill(at("contact"), ["object", "shapes", "inflated", "holes", "drift", "in the robot", "mass", "friction"], twin.objects.map((one) => [
    one.name, one.convex_count, `${round(one.inflation_mm)} mm`, `${round(one.holes_mm)} mm`, `${round(one.drift_mm)} mm`, `${round(one.robot_penetration_mm)} mm`,
    one.mass_kg ? `${(1000 * one.mass_kg).toFixed(0)} g` : "–", round(one.friction),
  ]));
  at("report").hidden = !twin.has_report;
  at("report").href = withToken("/twin/report.html");
  if (at("view").options.length !== twin.views.length) {
    at("view").replaceChildren(...twin.views.map((view) => new Option(view.image + (view.has_drawing ? "" : " (photo alone)"), view.image)));
  }
  if (!twin.views.length) say("The twin keeps no photos, so nothing can be compared or drawn on.");
  else choose(at("view").value);
  at("drawn").replaceChildren(...[...Object.keys(twin.drawn.polygons), ...Object.keys(twin.drawn.boxes)].map(drawnItem));
}

function drawnItem(name) {
  const item = document.createElement("li");
  const box = state.twin.drawn.boxes[name];
  const file = box ? "drawn_segment.yaml" : "drawn_region.yaml";
  const words = box ? `twin segment ${state.twin.folder} --config …/${file}` : state.twin.knows_base ? `rl expand … --config ${state.twin.folder}/${file}` : "where the arm stands is not known: tandem twin align";
  const away = Object.assign(document.createElement("button"), { type: "button", textContent: "Remove" });
  away.setAttribute("aria-label", `Remove ${name}`);
  away.addEventListener("click", () => keep({ name }));
  item.append(`${name}: `, Object.assign(document.createElement("code"), { textContent: words }), " ", away);
  return item;
}

function fill(table, heads, rows) {
  const row = (cells, kind) => {
    const line = document.createElement("tr");
    line.append(...cells.map((text) => Object.assign(document.createElement(kind), { textContent: text })));
    return line;
  };
  table.replaceChildren(...(rows.length ? [row(heads, "th")] : []), ...rows.map((cells) => row(cells, "td")));
}

const round = (value) => (value === null || value === undefined ? "–" : Number.isInteger(value) ? value.toLocaleString("en") : Number(value.toPrecision(3)).toString());
const holds = ({ value, relation, limit }) => ({ "<=": value <= limit, ">=": value >= limit, "<": value < limit, ">": value > limit }[relation] ?? true);

function say(text) {
  Object.assign(at("banner"), { textContent: text, hidden: false }).dataset.is = "bad";
}

// Photo and twin

function choose(name) {
  const view = state.twin.views.find((one) => one.image === name);
  state.view = view;
  at("photo").src = withToken(`/twin/photo/${view.image}.jpg`);
  at("drawing").hidden = at("mix-label").hidden = !view.has_drawing;
  at("no-drawing").hidden = view.has_drawing;
  at("no-drawing").textContent = `No picture of the twin from here: tandem twin render ${state.twin.folder} --path held-out -o ${state.twin.folder}/page`;
  if (view.has_drawing) at("drawing").src = withToken(`/twin/drawing/${view.image}.png`);
  Object.assign(at("draw"), { width: view.camera.width_px, height: view.camera.height_px });
  draw();
}

at("view").addEventListener("change", () => choose(at("view").value));
at("mix").addEventListener("input", () => (at("drawing").style.opacity = at("mix").value / 100));
at("drawing").style.opacity = 0;

// Drawing: pixels ↔ the table, through the photo's camera

function distorted([x, y], { k1, k2, p1, p2, k3 }) {
  const r2 = x * x + y * y;
  const radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3));
  return [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y];
}

function pixelOf(point) {
  const { camera, T_world_cam: T } = state.view;
  const away = point.map((value, n) => value - T[n][3]);
  const [x, y, z] = [0, 1, 2].map((n) => T[0][n] * away[0] + T[1][n] * away[1] + T[2][n] * away[2]);
  if (z < 0.01) return null;
  const [u, v] = distorted([x / z, y / z], camera);
  return [u * camera.fx_px + camera.cx_px, v * camera.fy_px + camera.cy_px];
}

/** Where a pixel's ray meets the table; null above the horizon. */
export function tableAt([u, v]) {
  const { camera, T_world_cam: T } = state.view;
  const seen = [(u - camera.cx_px) / camera.fx_px, (v - camera.cy_px) / camera.fy_px];
  let ideal = [...seen];
  for (let n = 0; n < 20; n += 1) {
    const [x, y] = distorted(ideal, camera);
    ideal = [ideal[0] + seen[0] - x, ideal[1] + seen[1] - y];
  }
  const way = [0, 1, 2].map((n) => T[n][0] * ideal[0] + T[n][1] * ideal[1] + T[n][2]);
  if (way[2] > -1e-6) return null;
  const far = (state.twin.table_m - T[2][3]) / way[2];
  return [T[0][3] + far * way[0], T[1][3] + far * way[1]];
}

const kind = () => document.querySelector("input[name=kind]:checked").value;

/** cx cy cz sx sy sz yaw_deg of the box on the two clicked corners. */
function box() {
  const [[ax, ay], [bx, by]] = state.corners;
  const [height, yaw] = [at("height").value / 1000, Number(at("yaw").value)];
  const [c, s] = [Math.cos((yaw * Math.PI) / 180), Math.sin((yaw * Math.PI) / 180)];
  const [dx, dy] = [bx - ax, by - ay];
  const sides = [Math.abs(c * dx + s * dy), Math.abs(-s * dx + c * dy)];
  return [(ax + bx) / 2, (ay + by) / 2, state.twin.table_m + height / 2, ...sides, height, yaw];
}

function boxCorners([cx, cy, cz, sx, sy, sz, yaw]) {
  const [c, s] = [Math.cos((yaw * Math.PI) / 180), Math.sin((yaw * Math.PI) / 180)];
  const ring = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([i, j]) => [cx + (c * i * sx - s * j * sy) / 2, cy + (s * i * sx + c * j * sy) / 2]);
  return [-1, 1].map((k) => ring.map(([x, y]) => [x, y, cz + (k * sz) / 2]));
}

function draw() {
  const context = at("draw").getContext("2d");
  context.clearRect(0, 0, at("draw").width, at("draw").height);
  const { polygons, boxes } = state.twin.drawn;
  const onTable = (corners) => corners.map(([x, y]) => [x, y, state.twin.table_m]);
  for (const corners of Object.values(polygons)) line(context, onTable(corners), "#6ea4ff");
  for (const one of Object.values(boxes)) drawBox(context, one, "#6ea4ff");
  if (kind() === "box" && state.corners.length === 2) drawBox(context, box(), "#ffb020");
  else line(context, onTable(state.corners), "#ffb020", true);
}

function drawBox(context, numbers, colour) {
  const [lower, upper] = boxCorners(numbers);
  line(context, lower, colour);
  line(context, upper, colour);
  lower.forEach((corner, n) => line(context, [corner, upper[n]], colour));
}

function line(context, points, colour, hasDots) {
  const pixels = points.map(pixelOf).filter(Boolean);
  for (const [style, width] of [["rgb(0 0 0 / .7)", 7], [colour, 3.5]]) {
    context.beginPath();
    for (const [x, y] of pixels) context.lineTo(x, y);
    context.closePath();
    Object.assign(context, { strokeStyle: style, lineWidth: width });
    context.stroke();
  }
  context.fillStyle = colour;
  for (const [x, y] of hasDots ? pixels : []) context.fillRect(x - 6, y - 6, 12, 12);
}

at("draw").addEventListener("click", (event) => {
  const frame = at("draw").getBoundingClientRect();
  const { width, height } = at("draw");
  const point = tableAt([((event.clientX - frame.left) / frame.width) * width, ((event.clientY - frame.top) / frame.height) * height]);
  if (!point) return tell("The table is not there: click lower.");
  if (kind() === "box" && state.corners.length === 2) state.corners = [];
  state.corners.push(point);
  tell(`${state.corners.length} corners; the last at x ${(1000 * point[0]).toFixed(0)}, y ${(1000 * point[1]).toFixed(0)} mm in the twin's world.`);
  draw();
});
at("undo-corner").addEventListener("click", () => (state.corners.pop(), draw()));
at("clear").addEventListener("click", () => ((state.corners = []), draw()));
for (const id of ["height", "yaw"]) at(id).addEventListener("input", draw);
for (const radio of document.querySelectorAll("input[name=kind]")) {
  radio.addEventListener("change", () => {
    at("box-settings").hidden = kind() !== "box";
    state.corners = [];
    draw();
  });
}

const tell = (text) => (at("draw-said").textContent = text);

at("keep").addEventListener("click", () => {
  const name = at("name").value;
  if (!/^[a-z][a-z0-9_]{0,31}$/.test(name)) return tell("A name has small letters, digits and _, a letter first.");
  const needed = kind() === "box" ? 2 : 3;
  if (state.corners.length < needed) return tell(`${needed} corners are needed, there are ${state.corners.length}.`);
  keep(kind() === "box" ? { name, box: box() } : { name, polygon_m: state.corners });
  state.corners = [];
});

/** Only one who has the controls may write, so they are asked for; and left, for whoever drives. */
function keep(what) {
  if (link.readyState !== WebSocket.OPEN) return tell("Not kept: there is no link.");
  for (const said of [{ do: "sit" }, { do: "draw", ...what }, { do: "sit", how: "leave" }]) link.send(JSON.stringify(said));
  const before = JSON.stringify(state.twin.drawn);
  setTimeout(async () => {
    await load();
    tell(JSON.stringify(state.twin.drawn) === before ? "Not kept: somebody else has the controls." : "Kept.");
  }, 600);
}
