"use strict";
// Shows the run in #data at the step and the line that the sliders say. Python computed every number.

const at = (id) => document.getElementById(id);
const run = JSON.parse(at("data").textContent);
const r = run.sizes.length - 1;

// The lines of one step in their order, each for one layer k.
const lines = [{ kind: "draw", k: 0 }];
for (let k = 1; k <= r; k++) lines.push({ kind: "forward", k });
lines.push({ kind: "output", k: r });
for (let k = r - 1; k >= 1; k--) lines.push({ kind: "delta", k }, { kind: "gradient", k: k + 1 });
lines.push({ kind: "gradient", k: 1 }, { kind: "update", k: 0 });

const state = { step: 0, line: 0, layer: 0, units: run.sizes.map(() => 0) };

// From which line on a layer's a, delta and gradient are known.
const since = (kind) =>
  run.sizes.map((_, k) => lines.findIndex((line) => line.kind === kind && line.k === k));
const known = { a: since("forward"), delta: since("delta"), gradient: since("gradient") };
known.a[0] = 0;
known.delta[r] = lines.findIndex((line) => line.kind === "output");
const isKnown = (what, k) => known[what][k] >= 0 && state.line >= known[what][k];

// The entry (j, i) of an array of layer k, and the edges into and out of a unit.
const entry = (k, j, i) => j * run.sizes[k - 1] + i;
const isEdge = (k, j, i) => !run.edges || run.edges[k - 1][entry(k, j, i)];
const below = (k, j) => [...Array(run.sizes[k - 1]).keys()].filter((i) => isEdge(k, j, i));
const above = (k, j) => [...Array(run.sizes[k + 1]).keys()].filter((i) => isEdge(k + 1, i, j));

// ---- text ----

const number = (x) => {
  const size = Math.abs(x);
  const text = x === 0 || (size >= 1e-3 && size < 1e5) ? String(x) : x.toExponential();
  return text.replace(/-/g, "\u2212");
};
const factor = (x) => (x < 0 ? `(${number(x)})` : number(x));
const vector = (x) => `(${x.slice(0, 6).map(number).join(", ")}${x.length > 6 ? ", \u2026" : ""})`;
const symbol = (letter, k, ...indices) =>
  `${letter}_{${indices.map((i) => i + 1).join(",")}}^{[${k}]}`;

// The sum of the products of pairs, the largest first where not all are shown.
const products = (pairs) => {
  const most = 5;
  const size = ([u, v]) => Math.abs(u * v);
  const shown = pairs.length > most ? [...pairs].sort((p, q) => size(q) - size(p)) : pairs;
  const terms = shown.slice(0, most).map(([u, v]) => `${factor(u)} \u00b7 ${factor(v)}`);
  return terms.join(" + ") + (pairs.length > most ? ` + ${pairs.length - most} more` : "");
};

// Nodes of a text with _{...} and ^{...} in it.
const typeset = (text) =>
  text.split(/([_^]\{[^}]*\})/).map((part) => {
    if (!/^[_^]\{/.test(part)) return part;
    const node = document.createElement(part[0] === "_" ? "sub" : "sup");
    node.textContent = part.slice(2, -1);
    return node;
  });
const element = (tag, className, ...content) => {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...content);
  return node;
};
const unitName = (k, j) => {
  if (run.names) return run.names[k][j];
  const subscript = String(j + 1).replace(/./g, (digit) => String.fromCharCode(0x2080 + Number(digit)));
  return (k === 0 ? "x" : k === r ? "o" : "a") + subscript;
};

// What each line computes, for unit j of layer k: pairs of a formula and the same with numbers.
const formulas = {
  draw: (s) => [
    [`example j = ${s.example + 1} of ${run.n}, drawn at random`],
    ["a^{[0]} = x^{(j)}", `= ${vector(s.a[0])}`],
    ["y = y^{(j)}", `= ${vector(s.y)}`],
  ],
  forward: (s, k, j) => {
    const pairs = below(k, j).map((i) => [s.W[k - 1][entry(k, j, i)], s.a[k - 1][i]]);
    const [z, a, b] = [s.z[k - 1][j], s.a[k][j], s.b[k - 1][j]];
    return [
      [
        `${symbol("z", k, j)} = \u03a3_{i} W_{${j + 1},i}^{[${k}]} a_{i}^{[${k - 1}]} + ${symbol("b", k, j)}`,
        `= ${products(pairs)} + ${factor(b)} = ${number(z)}`,
      ],
      [
        `${symbol("a", k, j)} = \u03c3(${symbol("z", k, j)})`,
        `= ${run.sigmas[k - 1]}(${number(z)}) = ${number(a)}`,
      ],
    ];
  },
  output: (s, k, j) => [
    [`J(o, y), the loss of this example`, `= ${number(s.J)}`],
    [
      `\u2202J/\u2202o_{${j + 1}}, from ${run.formula.replace(/-/g, "\u2212")}`,
      `o_{${j + 1}} = ${number(s.a[r][j])}, y_{${j + 1}} = ${number(s.y[j])}, so ${number(s.dJ[j])}`,
    ],
    [
      `${symbol("\u03b4", r, j)} = \u2202J/\u2202o_{${j + 1}} \u00b7 \u03c3\u2032(${symbol("z", r, j)})`,
      `= ${factor(s.dJ[j])} \u00b7 ${factor(s.slope[r - 1][j])} = ${number(s.delta[r - 1][j])}`,
    ],
  ],
  delta: (s, k, j) => {
    const pairs = above(k, j).map((i) => [s.W[k][entry(k + 1, i, j)], s.delta[k][i]]);
    return [
      [
        `${symbol("\u03b4", k, j)} = (\u03a3_{i} W_{i,${j + 1}}^{[${k + 1}]} \u03b4_{i}^{[${k + 1}]}) \u00b7 \u03c3\u2032(${symbol("z", k, j)})`,
        `= (${products(pairs) || 0}) \u00b7 ${factor(s.slope[k - 1][j])} = ${number(s.delta[k - 1][j])}`,
      ],
    ];
  },
  gradient: (s, k, j) => {
    const delta = s.delta[k - 1][j];
    const bias = [`\u2202J/\u2202${symbol("b", k, j)} = ${symbol("\u03b4", k, j)}`, `= ${number(delta)}`];
    const i = chosenBelow(k, j);
    if (i === undefined) return [bias];
    const weight = `\u2202J/\u2202${symbol("W", k, j, i)} = ${symbol("\u03b4", k, j)} ${symbol("a", k - 1, i)}`;
    const gradient = s.dW[k - 1][entry(k, j, i)];
    return [
      [weight, `= ${factor(delta)} \u00b7 ${factor(s.a[k - 1][i])} = ${number(gradient)}`],
      bias,
    ];
  },
  update: (s, k, j) => {
    const after = run.steps[state.step + 1];
    const next = after && after.t === s.t + 1 ? after : undefined; // else that step is not kept
    const descended = (name, value, gradient, result) => [
      `${name} := ${name} \u2212 \u03b1 \u2202J/\u2202${name}`,
      `${number(value)} \u2212 ${number(run.rate)} \u00b7 ${factor(gradient)}` +
        (next ? ` = ${number(result(next))}` : ""),
    ];
    const bias = descended(
      symbol("b", k, j), s.b[k - 1][j], s.delta[k - 1][j], (n) => n.b[k - 1][j],
    );
    const i = chosenBelow(k, j);
    if (i === undefined) return [bias];
    const e = entry(k, j, i);
    const weight = descended(
      symbol("W", k, j, i), s.W[k - 1][e], s.dW[k - 1][e], (n) => n.W[k - 1][e],
    );
    return [weight, bias];
  },
};

// The edge into unit j of layer k whose gradient is written out.
const chosenBelow = (k, j) => {
  const edges = below(k, j);
  return edges.includes(state.units[k - 1]) ? state.units[k - 1] : edges[0];
};

const titles = {
  draw: () => "Algorithm 1: draw an example",
  forward: (k) => `Line 1, forward: layer ${k}`,
  output: () => "Line 2: delta of the output",
  delta: (k) => `Line 4, backward: k = ${k}`,
  gradient: (k) => `Line 5: gradient of layer ${k}`,
  update: () => "Algorithm 1: update",
};

// The algorithm as it is listed: the number of a line, its text, and where it is in `lines`.
const listing = [
  ["", "draw j, x = x^{(j)}, y = y^{(j)}", (line) => line.kind === "draw"],
  ["1", "z^{[k]} = W^{[k]} a^{[k\u22121]} + b^{[k]}, a^{[k]} = \u03c3(z^{[k]}), k = 1, \u2026, r", (line) => line.kind === "forward"],
  ["2", "\u03b4^{[r]} = \u2202J/\u2202o \u2299 \u03c3\u2032(z^{[r]})", (line) => line.kind === "output"],
  ...(r === 1
    ? []
    : [
        ["3", "for k = r\u22121, \u2026, 1:", () => false],
        ["4", "\u03b4^{[k]} = (W^{[k+1]\u22a4} \u03b4^{[k+1]}) \u2299 \u03c3\u2032(z^{[k]})", (line) => line.kind === "delta"],
        ["5", "\u2202J/\u2202W^{[k+1]} = \u03b4^{[k+1]} a^{[k]\u22a4}, \u2202J/\u2202b^{[k+1]} = \u03b4^{[k+1]}", (line) => line.kind === "gradient" && line.k > 1],
      ]),
  ["5", "\u2202J/\u2202W^{[1]} = \u03b4^{[1]} x^{\u22a4}, \u2202J/\u2202b^{[1]} = \u03b4^{[1]}", (line) => line.kind === "gradient" && line.k === 1],
  ["", "\u03b8 := \u03b8 \u2212 \u03b1 \u2202J/\u2202\u03b8", (line) => line.kind === "update"],
];

// ---- the drawing ----

const svg = (tag, parent, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return parent.appendChild(node);
};

const picture = {}; // where the units stand, and the nodes of the SVG
const colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["plus", "minus", "ground", "soft"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

// Layers from left to right, or from top to bottom where the page is narrow.
function place() {
  const stage = at("stage");
  const width = stage.clientWidth;
  const widest = Math.max(...run.sizes);
  const across = width >= 560;
  const extent = across ? Math.min(640, Math.max(400, 120 * widest)) : width;
  const full = extent / widest >= 70; // room for the numbers of a unit in its circle
  const radius = full ? Math.min(37, extent / widest / 2 - 3) : Math.max(2, Math.min(12, (0.38 * extent) / widest));
  const margin = radius + (full ? 24 : 14);
  const gap = across ? (width - 2 * margin) / r : full ? 250 : 130;
  const height = across ? extent : 2 * margin + r * gap;
  const places = run.sizes.map((m, k) =>
    [...Array(m).keys()].map((j) => {
      const [along, aside] = [margin + k * gap, ((j + 0.5) * extent) / m];
      return across ? [along, aside] : [aside, along];
    }),
  );
  Object.assign(picture, { width, height, places, radius, full, across, gap });
  stage.style.height = `${height}px`;
  const ratio = window.devicePixelRatio || 1;
  Object.assign(at("edges"), { width: width * ratio, height: height * ratio });
  picture.context = at("edges").getContext("2d");
  picture.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  makeUnits();
}

function makeUnits() {
  const { width, height, places, radius, full, across, gap } = picture;
  const root = at("units");
  root.setAttribute("viewBox", `0 0 ${width} ${height}`);
  root.replaceChildren();
  picture.weights = [];
  if (full) {
    for (let k = 1; k <= r; k++) {
      for (let j = 0; j < run.sizes[k]; j++) {
        for (const i of below(k, j)) {
          // The labels of a unit's edges stand in a row of its own, so that they keep apart.
          const row = Math.min((across ? 60 : 29) / gap, 0.55 / run.sizes[k]);
          const share = run.sizes[k] > 1 ? 0.22 + row * j : 0.4;
          const [[x0, y0], [x1, y1]] = [places[k - 1][i], places[k][j]];
          const group = svg("g", root, { class: "weight" });
          const [x, y] = [x0 + share * (x1 - x0), y0 + share * (y1 - y0)];
          const W = svg("text", group, { x, y: y - 6 });
          const g = svg("text", group, { x, y: y + 7, class: "g" });
          picture.weights.push({ k, j, i, group, W, g });
        }
      }
    }
  }
  picture.units = places.map((layer, k) =>
    layer.map(([x, y], j) => {
      const group = svg("g", root, {});
      const circle = svg("circle", group, { cx: x, cy: y, r: radius });
      svg("title", group, {}).textContent = unitName(k, j);
      if (!full) return { group, circle, texts: [] };
      const name = svg("text", group, { x, y: y - radius - 10, class: "name" });
      name.textContent = unitName(k, j);
      const texts = (k ? ["z", "a", "\u03b4"] : ["x"]).map((letter, line) => ({
        letter,
        node: svg("text", group, { x, y: k ? y + 14 * (line - 1) : y }),
      }));
      return { group, circle, texts };
    }),
  );
}

const mixed = (colour, share) => `color-mix(in srgb, ${colour} ${Math.round(100 * share)}%, ${colours.ground})`;
const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;

// The layer whose edges the line uses; every layer in an update.
const inForce = (k, { kind, k: layer }) =>
  kind === "update" || k === { forward: layer, delta: layer + 1, gradient: layer }[kind];

// More lines of a layer than these hide each other, and a browser that draws in software lags behind
// the slider: only the largest are drawn, and those of the chosen unit.
const mostLines = 300;
const leastDrawn = (values) =>
  values.length <= mostLines ? 0 : Float64Array.from(values, Math.abs).sort().at(-mostLines);

function drawEdges(s, line) {
  const { context, width, height, places, full } = picture;
  const chosen = state.units[state.layer];
  context.clearRect(0, 0, width, height);
  for (let k = 1; k <= r; k++) {
    const values = line.kind === "gradient" && line.k === k ? s.dW[k - 1] : s.W[k - 1];
    const [most, least, m] = [largest(values), leastDrawn(values), run.sizes[k - 1]];
    const drawn = [];
    for (let e = 0; e < values.length; e++) {
      const [j, i] = [Math.floor(e / m), e % m];
      if (values[e] === 0 && !(full && isEdge(k, j, i))) continue;
      const marked = (k === state.layer && j === chosen) || (k - 1 === state.layer && i === chosen);
      if (Math.abs(values[e]) < least && !marked) continue;
      const look = 100 * marked + 10 * (values[e] > 0) + Math.ceil((6 * Math.abs(values[e])) / most);
      drawn.push([look, places[k - 1][i], places[k][j]]);
    }
    for (const [look, from, to] of drawn.sort(([p], [q]) => p - q)) {
      const strength = look % 10; // 0 for a zero
      const colour = Math.floor(look / 10) % 10 ? colours.plus : colours.minus;
      context.strokeStyle = strength ? colour : colours.soft;
      context.lineWidth = (strength / 6) * (full ? 4.5 : 2) + (look >= 100 ? 0.8 : 0.4);
      const pale = full ? 0.3 : 0.05 + 0.02 * strength;
      const plain = full ? 0.75 : 0.1 + 0.12 * strength;
      context.globalAlpha = !inForce(k, line) ? pale : look >= 100 ? 1 : plain;
      context.beginPath(); // one for each line: a path of many is slow where no GPU draws it
      context.moveTo(...from);
      context.lineTo(...to);
      context.stroke();
    }
  }
}

function drawUnits(s, line) {
  picture.units.forEach((layer, k) => {
    const backward = isKnown("delta", k);
    const values = backward ? s.delta[k - 1] : s.a[k];
    const most = largest(values);
    layer.forEach(({ group, circle, texts }, j) => {
      const value = backward || isKnown("a", k) ? values[j] : 0;
      const share = (picture.full ? 0.4 : 1) * (Math.abs(value) / most);
      circle.style.fill = mixed(value > 0 ? colours.plus : colours.minus, share);
      group.setAttribute("class", k === state.layer && j === state.units[k] ? "chosen" : "");
      for (const { letter, node } of texts) {
        const shown = unitValues(s, k, j).find(([name]) => name === letter);
        node.textContent = shown && shown[1] !== "" ? `${letter} ${shown[1]}` : "";
      }
    });
  });
  for (const { k, j, i, group, W, g } of picture.weights) {
    const e = entry(k, j, i);
    const beside =
      (k === state.layer && j === state.units[k]) || (k - 1 === state.layer && i === state.units[k - 1]);
    const crowded = run.sizes[k] * run.sizes[k - 1] > 20;
    group.style.display = crowded && !beside ? "none" : "";
    group.setAttribute("class", inForce(k, line) ? "weight" : "weight pale");
    W.textContent = number(s.W[k - 1][e]);
    g.textContent = isKnown("gradient", k) ? `\u2202 ${number(s.dW[k - 1][e])}` : "";
  }
}

// ---- the panel ----

// Names and values of a unit, empty where the line has not computed them yet.
function unitValues(s, k, j) {
  if (k === 0) return [["x", number(s.a[0][j])]];
  const forward = (value) => (isKnown("a", k) ? number(value) : "");
  const delta = isKnown("delta", k) ? number(s.delta[k - 1][j]) : "";
  return [
    ["z", forward(s.z[k - 1][j])],
    ["a", forward(s.a[k][j])],
    ["\u03b4", delta],
    ["b", number(s.b[k - 1][j])],
    ["\u2202J/\u2202b", isKnown("gradient", k) ? number(s.delta[k - 1][j]) : ""],
    ["\u03c3\u2032(z)", forward(s.slope[k - 1][j])],
    ...(k === r ? [["y", number(s.y[j])]] : []),
  ];
}

const listed = { layer: 0, units: [] }; // the other ends of the edges in the table

function drawPanel(s, line) {
  const k = state.layer;
  const j = state.units[k];
  at("formula").replaceChildren(
    element("h2", "", titles[line.kind](line.k)),
    ...formulas[line.kind](s, k, j).map(([rule, numbers = ""]) =>
      element("p", "", ...typeset(rule), element("span", "numbers", ...typeset(numbers))),
    ),
  );
  listing.forEach(([, , matches], row) => {
    at("algorithm").children[row].classList.toggle("now", matches(line));
  });
  at("unit-name").textContent = `${unitName(k, j)}, ${k === 0 ? "an input" : k === r ? "an output" : `layer ${k}`}`;
  at("values").replaceChildren(
    ...unitValues(s, k, j).flatMap(([name, value]) => [
      element("dt", "", name),
      element("dd", "", value || "\u00b7"),
    ]),
  );
  const upward = k === 0 || line.kind === "delta";
  const other = upward ? k + 1 : k - 1;
  const units = upward ? above(k, j) : below(k, j);
  Object.assign(listed, { layer: other, units });
  const heads = upward ? ["to", "\u03b4", "W", "\u2202J/\u2202W"] : ["from", "a", "W", "\u2202J/\u2202W"];
  at("columns").replaceChildren(...heads.map((head) => element("th", "", head)));
  const body = at("rows");
  while (body.rows.length > units.length) body.deleteRow(-1);
  while (body.rows.length < units.length) {
    const row = body.insertRow();
    heads.forEach(() => row.insertCell());
  }
  const layer = upward ? other : k;
  units.forEach((i, row) => {
    const e = upward ? entry(layer, i, j) : entry(layer, j, i);
    const end = upward
      ? isKnown("delta", other) && number(s.delta[other - 1][i])
      : isKnown("a", other) && number(s.a[other][i]);
    const gradient = isKnown("gradient", layer) && number(s.dW[layer - 1][e]);
    const cells = body.rows[row].cells;
    [unitName(other, i), end || "\u00b7", number(s.W[layer - 1][e]), gradient || "\u00b7"].forEach(
      (text, column) => {
        if (cells[column].textContent !== text) cells[column].textContent = text;
      },
    );
    const marked = !upward && ["gradient", "update"].includes(line.kind) && i === chosenBelow(k, j);
    body.rows[row].className = marked ? "chosen" : "";
  });
}

function drawControls(s, line) {
  at("line").value = state.line;
  at("step").value = state.step;
  at("line-label").textContent = titles[line.kind](line.k);
  at("line").setAttribute("aria-valuetext", titles[line.kind](line.k));
  const step = `Step ${s.t} of ${run.total}, mean loss ${number(s.mean)}`;
  at("step-label").textContent = step;
  at("step").setAttribute("aria-valuetext", step);
}

let waiting = false;

// Draw at the next frame, once, however often the state changes until then.
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    const [s, line] = [run.steps[state.step], lines[state.line]];
    drawControls(s, line);
    drawEdges(s, line);
    drawUnits(s, line);
    drawPanel(s, line);
  });
}

// ---- what moves it ----

const inside = (value, length) => Math.max(0, Math.min(length - 1, value));

function goTo(step, line) {
  state.step = inside(step, run.steps.length);
  state.line = inside(line, lines.length);
  if (lines[state.line].kind !== "update") state.layer = lines[state.line].k;
  else state.layer = Math.max(1, state.layer);
  draw();
}

// The next line, of the next step after the last one; or the line before.
function move(by) {
  const line = state.line + by;
  const turn = line < 0 ? -1 : line >= lines.length ? 1 : 0;
  const step = state.step + turn;
  if (step < 0 || step >= run.steps.length) return stop();
  goTo(step, turn ? (turn > 0 ? 0 : lines.length - 1) : line);
}

// Choose a unit; the line becomes the nearest one about its layer.
function choose(k, j) {
  state.units[k] = inside(j, run.sizes[k]);
  const distance = (line) => Math.abs(lines.indexOf(line) - state.line);
  const about = lines.filter((line) => line.k === k && line.kind !== "update");
  const nearest = about.reduce((best, line) => (distance(line) < distance(best) ? line : best));
  if (lines[state.line].kind === "update" && k > 0) state.layer = k;
  else return goTo(state.step, lines.indexOf(nearest));
  draw();
}

let timer = 0;

function stop() {
  clearInterval(timer);
  timer = 0;
  at("play").textContent = "Play";
}

function play() {
  if (timer) return stop();
  timer = setInterval(() => move(1), 1500);
  at("play").textContent = "Pause";
}

const keys = {
  ArrowRight: () => move(1),
  ArrowLeft: () => move(-1),
  ArrowUp: () => choose(state.layer, state.units[state.layer] - 1),
  ArrowDown: () => choose(state.layer, state.units[state.layer] + 1),
  PageDown: () => goTo(state.step + 1, state.line),
  PageUp: () => goTo(state.step - 1, state.line),
  " ": play,
};

function start() {
  at("line").max = lines.length - 1;
  at("step").max = run.steps.length - 1;
  const kept = run.steps.length <= run.total ? `, ${run.steps.length} of them shown` : "";
  at("about").textContent =
    `${run.sizes.join("-")}, ${[...new Set(run.sigmas)].join(" and ")}, ${run.loss}. ` +
    `Stochastic gradient descent, one of ${run.n} examples a step, \u03b1 = ${number(run.rate)}, ` +
    `${run.total} steps${kept}. Computed in Python, shown to ${run.digits} digits.`;
  at("legend").append(
    element("i", "plus", "Blue"), " is positive, ", element("i", "minus", "orange"),
    " negative. Lines are weights, or gradients (\u2202) in line 5; circles are a, then \u03b4. " +
      "Width and colour are relative to the largest in the layer." +
      (run.sizes.some((m, k) => k && m * run.sizes[k - 1] > mostLines)
        ? ` A layer with more lines shows its ${mostLines} largest, and those of the chosen unit.`
        : ""),
  );
  for (const [digit, text, matches] of listing) {
    const row = element("li", ["4", "5"].includes(digit) && text.includes("k+1") ? "inner" : "");
    row.append(element("span", "", digit), element("span", "", ...typeset(text)));
    row.addEventListener("click", () => {
      const first = lines.findIndex(matches);
      if (first >= 0) goTo(state.step, first);
    });
    at("algorithm").append(row);
  }
  const most = largest(run.steps.map((s) => s.mean));
  const points = run.steps.map(
    (s, i) => `${(1000 * i) / Math.max(1, run.steps.length - 1)},${100 - (100 * s.mean) / most}`,
  );
  at("losses").setAttribute("d", `M${points.join("L")}`);

  at("line").addEventListener("input", (event) => goTo(state.step, Number(event.target.value)));
  at("step").addEventListener("input", (event) => goTo(Number(event.target.value), state.line));
  at("next").addEventListener("click", () => move(1));
  at("back").addEventListener("click", () => move(-1));
  at("play").addEventListener("click", play);
  at("rows").addEventListener("click", (event) => {
    state.units[listed.layer] = listed.units[event.target.closest("tr").sectionRowIndex];
    draw();
  });
  at("units").addEventListener("click", (event) => {
    const box = at("units").getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const all = picture.places.flatMap((layer, k) =>
      layer.map(([u, v], j) => ({ k, j, distance: Math.hypot(u - x, v - y) })),
    );
    const nearest = all.reduce((best, unit) => (unit.distance < best.distance ? unit : best));
    if (nearest.distance < 2 * picture.radius + 12) choose(nearest.k, nearest.j);
  });
  document.addEventListener("keydown", (event) => {
    const own = event.target.closest("input, button"); // they have keys of their own
    if (own || event.altKey || event.ctrlKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  const repaint = () => {
    readColours();
    place();
    draw();
  };
  window.addEventListener("resize", repaint);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  repaint();
}

start();
