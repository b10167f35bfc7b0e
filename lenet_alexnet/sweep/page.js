// Draws the charts of a sweep's report from the JSON in the page, and sorts its tables.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const NS = "http://www.w3.org/2000/svg";

function svg(parent, name, attributes, text) {
  const made = parent.appendChild(document.createElementNS(NS, name));
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  return made;
}

function html(parent, name, attributes, text) {
  const made = parent.appendChild(document.createElement(name));
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  return made;
}

const short = x => String(Number(x.toPrecision(3)));

// A scale from values to 0..1, with its ticks; words have equal distances.
function scale(values, log) {
  if (values.some(x => typeof x !== "number")) {
    const words = [...new Set(values.map(String))].sort();
    const at = x => words.length > 1 ? words.indexOf(String(x)) / (words.length - 1) : 0.5;
    return { at, ticks: words.map(word => [at(word), word]) };
  }
  const of = log ? Math.log10 : x => x;
  let low = Math.min(...values), high = Math.max(...values);
  const found = ticks(low, high, log);
  const at = x => high > low ? (of(x) - of(low)) / (of(high) - of(low)) : 0.5;
  return { at, ticks: found.map(x => [at(x), short(x)]), low, high };
}

function ticks(low, high, log) {
  if (low === high) return [low];
  const inside = found => found.filter(x => x >= low * (1 - 1e-9) && x <= high * (1 + 1e-9));
  const decades = log ? Math.log10(high / low) : 0;
  if (decades > 0.7) {
    const steps = decades > 3 ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 5], found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
      for (const s of steps) found.push(s * 10 ** e);
    return inside(found);
  }
  const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough)), found = [];
  const step = [1, 2, 5, 10].find(s => s * power >= rough) * power;
  for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-9); i++) found.push(i * step);
  return inside(found);
}

// Lines with deviations (bars or a band), and a point for each trial.
function chart(place, spec) {
  place.replaceChildren();
  const width = place.clientWidth, height = Math.round(Math.min(360, 160 + 0.3 * width));
  const left = 52, right = 12, top = 10, bottom = 44;
  const xs = spec.points.map(p => p[0]).concat(...spec.lines.map(l => l.x));
  const edges = spec.lines.flatMap(l => l.y.flatMap((y, i) => [y - l.sd[i], y + l.sd[i]]));
  const ys = spec.points.map(p => p[1]).concat(...spec.lines.map(l => l.y),
    edges.filter(y => y > 0 || !spec.logY));
  const across = scale(xs, spec.logX), up = scale(ys, spec.logY);
  const x = v => left + across.at(v) * (width - left - right);
  const long = height - top - bottom;
  const y = v => height - bottom - long * up.at(spec.logY ? Math.max(v, up.low) : v);
  const drawing = svg(place, "svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `${spec.labelY} against ${spec.labelX}` });
  for (const [at, text] of up.ticks) {
    const here = height - bottom - at * long;
    svg(drawing, "line", { x1: left, x2: width - right, y1: here, y2: here, class: "grid" });
    svg(drawing, "text", { x: left - 6, y: here + 4, "text-anchor": "end" }, text);
  }
  let free = 0;
  for (const [at, text] of across.ticks) {
    const here = left + at * (width - left - right);
    svg(drawing, "line", { x1: here, x2: here, y1: top, y2: height - bottom, class: "grid" });
    if (here - 3.5 * text.length < free) continue;
    free = here + 3.5 * text.length + 6;
    svg(drawing, "text", { x: here, y: height - bottom + 16, "text-anchor": "middle" }, text);
  }
  svg(drawing, "text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" },
    spec.labelX);
  for (const p of spec.points)
    svg(drawing, "circle", { cx: x(p[0]), cy: y(p[1]), r: 3, class: "dot" });
  spec.lines.forEach((line, i) => {
    const places = line.x.map((v, k) => [v, line.y[k], line.sd[k]]);
    if (spec.band) svg(drawing, "polygon", { class: `band c${i}`, points: [
      ...places.map(p => [x(p[0]), y(p[1] + p[2])]),
      ...places.reverse().map(p => [x(p[0]), y(p[1] - p[2])])].join(" ") });
    else for (const p of places) if (p[2]) svg(drawing, "line", { class: `line bar c${i}`,
      x1: x(p[0]), x2: x(p[0]), y1: y(p[1] - p[2]), y2: y(p[1] + p[2]) });
    svg(drawing, "polyline", { class: `line c${i}`, points: line.x.map((v, k) =>
      `${x(v)},${y(line.y[k])}`).join(" ") });
    line.x.forEach((v, k) => svg(drawing, "circle",
      { cx: x(v), cy: y(line.y[k]), r: 2.5, class: `mark c${i}` }));
  });
  const legend = html(place, "ul", { class: "legend" });
  spec.lines.forEach((line, i) => {
    const entry = html(legend, "li");
    svg(svg(entry, "svg", { width: 28, height: 10, "aria-hidden": "true" }), "line",
      { x1: 0, x2: 28, y1: 5, y2: 5, class: `line c${i}` });
    entry.append(" " + line.name);
  });
}

// Each trial is a line over one axis for each entry and one for the metric; the best stand out.
function parallel(place, spec) {
  place.replaceChildren();
  const said = html(place, "p", { role: "status", class: "said" },
    "Point at a line to see its trial. The best lines are the strongest.");
  const width = place.clientWidth, count = spec.keys.length, flat = width >= 150 * count;
  const pad = flat ? 70 : 16, gap = flat ? (width - 2 * pad) / (count - 1) : 64;
  const height = flat ? 320 : 56 + gap * (count - 1);
  const long = flat ? height - 60 : width - 2 * pad;
  const scales = spec.keys.map((_, i) => scale(spec.trials.map(t => t.values[i]), spec.logs[i]));
  const point = (i, at) => flat
    ? [pad + i * gap, height - 30 - at * long] : [pad + at * long, 30 + i * gap];
  const drawing = svg(place, "svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": "Parallel coordinates of all completed trials" });
  const order = [...spec.trials].sort((a, b) => b.values[count - 1] - a.values[count - 1]);
  const faint = Math.min(0.1, 10 / order.length);  // Many lines must not fill the drawing.
  order.forEach((trial, i) => {
    const share = order.length > 1 ? i / (order.length - 1) : 1;
    const points = trial.values.map((v, k) => point(k, scales[k].at(v)).join()).join(" ");
    const line = svg(drawing, "polyline", { points, class: "trial" });
    line.style.strokeOpacity = Math.min(1, faint + share ** (4 + order.length / 20));
    const tell = () => {
      drawing.querySelectorAll(".told").forEach(one => one.classList.remove("told"));
      line.classList.add("told");
      said.textContent = trial.id + ": " +
        spec.keys.map((key, k) => `${key} ${trial.shown[k]}`).join(", ");
    };
    line.addEventListener("pointerenter", tell);
    line.addEventListener("click", tell);
  });
  spec.keys.forEach((key, i) => {
    const [x1, y1] = point(i, 0), [x2, y2] = point(i, 1);
    svg(drawing, "line", { x1, y1, x2, y2, class: "axis" });
    const [x, anchor] = !i ? [0, "start"] : i < count - 1 ? [x1, "middle"] : [width, "end"];
    svg(drawing, "text", flat
      ? { x, y: i % 2 ? height - 4 : 14, "text-anchor": anchor, class: "name" }
      : { x: 0, y: y1 - 8, class: "name" }, key);
    let free = -1e9;
    for (const [at, text] of scales[i].ticks) {
      const [x, y] = point(i, at), size = flat ? 14 : 7 * text.length;
      const along = flat ? -y : Math.min(Math.max(x, size / 2), width - size / 2);
      if (along - size / 2 < free) continue;
      free = along + size / 2;
      svg(drawing, "text", flat ? { x: x + 5, y: y + 4, class: "tick" }
        : { x: along, y: y + 16, "text-anchor": "middle", class: "tick" }, text);
    }
  });
}

// A click on a heading sorts by its column: numbers as numbers, empty cells last.
function sortable(table) {
  const heads = [...table.rows[0].cells], body = [...table.rows].slice(1);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const one of heads) one.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const text = row => row.cells[column].textContent;
      const empty = row => text(row) === "" || text(row) === "-";
      const compare = (a, b) => {
        const x = Number(text(a)), y = Number(text(b));
        return isNaN(x) || isNaN(y) ? text(a).localeCompare(text(b)) : x - y;
      };
      body.sort((a, b) => empty(a) - empty(b) || (down ? -1 : 1) * compare(a, b));
      table.tBodies[0].append(...body);
    });
  });
}

function draw() {
  data.charts.forEach((spec, i) => chart(document.getElementById(`chart${i}`), spec));
  if (data.parallel) parallel(document.getElementById("parallel"), data.parallel);
}

document.querySelectorAll(".sorts table").forEach(sortable);
let drawn = innerWidth;
draw();
addEventListener("resize", () => { if (innerWidth !== drawn) { drawn = innerWidth; draw(); } });
