// Folding modules: what is drawn stays, and the room that it empties shrinks.

function parsed(path) {
  return [...path.getAttribute("d").matchAll(/[MLC][^MLCz]*/g)].map(([part]) => part.slice(1).trim().split(/[ ,]+/).map(Number));
}

function written(path) {
  return path.map((part, i) => (i ? (part.length === 2 ? "L" : "C") : "M") + part.map((v) => v.toFixed(1)).join(" ")).join("");
}

// The knots [from, to] of a monotone, piecewise linear map of one axis: inside the spans of folded modules, what no
// kept interval covers shrinks to `gap`; a span grows in its middle to what its module needs. Elsewhere the slope is 1.
function squeeze(spans, keeps, gap) {
  const middles = spans.map(([from, to]) => (from + to) / 2);
  const cuts = [...new Set([...spans.flatMap(([from, to]) => [from, to]), ...middles, ...keeps.flat()])].sort((a, b) => a - b);
  const index = new Map(cuts.map((cut, i) => [cut, i]));
  const covered = (intervals) => {
    const change = new Array(cuts.length + 1).fill(0);
    for (const [from, to] of intervals) { change[index.get(from)]++; change[index.get(to)]--; }
    let depth = 0;
    return change.map((by) => (depth += by));
  };
  const inside = covered(spans), kept = covered(keeps);
  const lengths = cuts.slice(1).map((cut, i) => cut - cuts[i]);
  for (let i = 0; i < lengths.length; i++) {
    let end = i, room = 0;
    while (end < lengths.length && inside[end] && !kept[end]) room += lengths[end++];
    for (let j = i; j < end; j++) lengths[j] *= Math.min(1, gap / room);
    i = Math.max(i, end - 1);
  }
  spans.forEach(([from, to, need], i) => {
    const [first, last] = [index.get(from), index.get(to)];
    const has = lengths.slice(first, last).reduce((sum, length) => sum + length, 0);
    if (has < need) lengths[index.get(middles[i])] += need - has;
  });
  let at = cuts[0] ?? 0;
  return cuts.map((cut, i) => [cut, i ? (at += lengths[i - 1]) : at]);
}

// Where the map of these knots sends a value; beyond its ends the slope is 1.
function mapped(knots, value) {
  if (!knots.length || value <= knots[0][0]) return value;
  let low = 0, high = knots.length - 1;
  if (value >= knots[high][0]) return value - knots[high][0] + knots[high][1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (knots[middle][0] <= value) low = middle; else high = middle;
  }
  const [[a, b], [c, d]] = [knots[low], knots[high]];
  return b + ((value - a) / (c - a)) * (d - b);
}

const within = ([x, y, w, h], [px, py]) => px >= x && px <= x + w && py >= y && py <= y + h;

function split(from, part, t) {
  const mix = ([ax, ay], [bx, by]) => [ax + (bx - ax) * t, ay + (by - ay) * t];
  if (part.length === 2) { const point = mix(from, part); return [point, part, point]; }
  const [p1, p2, p3] = [part.slice(0, 2), part.slice(2, 4), part.slice(4)];
  const [a, b, c] = [mix(from, p1), mix(p1, p2), mix(p2, p3)];
  const [d, e] = [mix(a, b), mix(b, c)];
  const point = mix(d, e);
  return [[...a, ...d, ...point], [...e, ...c, ...p3], point];
}

// The path up to where it first enters the box, by bisection.
function untilBox(path, box) {
  for (let i = 1; i < path.length; i++) {
    const from = path[i - 1].slice(-2);
    for (let k = 1; k <= 8; k++) {
      if (!within(box, split(from, path[i], k / 8)[2])) continue;
      let [out, into] = [(k - 1) / 8, k / 8];
      for (let n = 0; n < 20; n++) {
        const middle = (out + into) / 2;
        if (within(box, split(from, path[i], middle)[2])) into = middle; else out = middle;
      }
      return [...path.slice(0, i), split(from, path[i], into)[0]];
    }
  }
  return path;
}

function reversed(path) {
  const result = [path.at(-1).slice(-2)];
  for (let i = path.length - 1; i > 0; i--) {
    const to = path[i - 1].slice(-2);
    result.push(path[i].length === 2 ? to : [...path[i].slice(2, 4), ...path[i].slice(0, 2), ...to]);
  }
  return result;
}

const outerFold = (group) => {
  let found = -1;
  for (let at = group; at >= 0; at = groups[at].parent) if (state.folded.has(at)) found = at;
  return found;
};
const nodeOf = (card) => { const fold = outerFold(cards[card].group); return fold < 0 ? card : moduleNode(fold); };
const element = (node) => (isModule(node) ? drawn.stacks[groupOf(node)]?.querySelector(".card") : drawn.cards[node]);
const visibleNodes = () => [...new Set(cards.map((_, i) => nodeOf(i)))];

// Place everything as it is folded now.
function arrange() {
  const nodes = cards.map((_, i) => nodeOf(i));
  const shown = (group) => outerFold(group) < 0;
  const folds = groups.flatMap((group, i) => (state.folded.has(i) && (group.parent < 0 || shown(group.parent)) ? [i] : []));
  const boxes = [
    ...cards.flatMap((card, i) => (nodes[i] === i ? [card.box] : [])),
    ...groups.flatMap((group, i) => (shown(i) ? [group.title_box] : [])),
    ...edges.flatMap(({ source, target, label }) => (label && nodes[source] !== nodes[target] ? [label] : [])),
  ];
  const across = data.direction === "LR" ? 1 : 0;
  const knots = [0, 1].map((axis) => {
    if (!folds.length) return [];
    const spans = folds.map((i) => {
      const { box, size } = groups[i];
      return [box[axis], box[axis] + box[axis + 2], size[axis] + 2 * AROUND];
    });
    const keeps = boxes.map((box) => [box[axis], box[axis] + box[axis + 2]]);
    if (axis === across) keeps.push(...lanes(nodes, axis));
    return squeeze(spans, keeps, GAP);
  });
  const to = (axis, value) => mapped(knots[axis], value);
  const point = ([x, y]) => [to(0, x), to(1, y)];
  const image = ([x, y, w, h]) => { const [a, b] = point([x, y]), [c, d] = point([x + w, y + h]); return [a, b, c - a, d - b]; };
  const centred = (box, [w, h]) => { const [x, y, W, H] = image(box); return [x + (W - w) / 2, y + (H - h) / 2, w, h]; };
  // A folded module stands where most of its edges cross its former border, and within it.
  const stackBox = (i) => {
    const box = centred(groups[i].box, groups[i].size), former = image(groups[i].box), ports = crossings(i, nodes, across);
    if (!ports.length) return box;
    const low = former[across] + AROUND / 2, high = former[across] + former[across + 2] - box[across + 2] - AROUND / 2;
    box[across] = Math.min(Math.max(to(across, ports[(ports.length - 1) >> 1]) - box[across + 2] / 2, low), high);
    return box;
  };
  const shift = (what, [x, y], [nx, ny]) => what.setAttribute("transform", `translate(${(nx - x).toFixed(1)} ${(ny - y).toFixed(1)})`);

  state.boxes = [
    ...cards.map((card) => centred(card.box, card.box.slice(2))),
    ...groups.map((group, i) => (folds.includes(i) ? stackBox(i) : image(group.box))),
  ];
  cards.forEach((card, i) => {
    hide(drawn.cards[i], nodes[i] !== i);
    shift(drawn.cards[i], card.box, state.boxes[i]);
  });
  groups.forEach((group, i) => {
    const [x, y, w, h] = state.boxes[moduleNode(i)], rect = drawn.groups[i].querySelector("rect");
    [x, y, w, h].forEach((value, k) => rect.setAttribute(["x", "y", "width", "height"][k], value.toFixed(1)));
    hide(drawn.groups[i], !shown(i));
    hide(drawn.titles[i], !shown(i));
    shift(drawn.titles[i], group.title_box, point(group.title_box));
    hide(drawn.stacks[i], !folds.includes(i));
    shift(drawn.stacks[i], [0, 0], [x, y]);
  });
  edges.forEach((edge, i) => {
    const apart = nodes[edge.source] !== nodes[edge.target], label = drawn.labels.get(i);
    hide(drawn.edges[i], !apart);
    if (apart) route(i, nodes, point, across);
    if (!label) return;
    hide(label, !apart);
    shift(label, edge.label, centred(edge.label, edge.label.slice(2)));
  });
  state.size = [to(0, data.size[0]), to(1, data.size[1])];
  if (!visibleNodes().includes(state.focus)) state.focus = visibleNodes()[0] ?? 0;
  roving();
}

// Narrow intervals around every line that is seen, so that lines do not fall together.
function lanes(nodes, axis) {
  return edges.flatMap(({ source, target }, i) =>
    nodes[source] === nodes[target] ? [] : drawn.lines[i].path.map((part) => [part.at(axis - 2) - 4, part.at(axis - 2) + 4]));
}

// Where edges cross the border of a module, in order.
function crossings(group, nodes, axis) {
  const node = moduleNode(group), found = edges.flatMap(({ source, target }, i) => {
    if ((nodes[source] === node) === (nodes[target] === node)) return [];
    const path = nodes[target] === node ? wholePath(i) : reversed(wholePath(i));
    return [untilBox(path, groups[group].box).at(-1).at(axis - 2)];
  });
  return found.sort((a, b) => a - b);
}

// The line of an edge with what its head covers.
function wholePath(i) {
  const { path, tip } = drawn.lines[i];
  return tip ? [...path.slice(0, -1), [...path.at(-1).slice(0, -2), ...tip[0]]] : path;
}

function route(i, nodes, point, across) {
  const { source, target } = edges[i], { line, head, carried, path, tip } = drawn.lines[i];
  const whole = wholePath(i);
  const half = tip ? Math.hypot(tip[1][0] - tip[2][0], tip[1][1] - tip[2][1]) / 2 : 3.7;
  const long = tip ? Math.hypot(tip[0][0] - (tip[1][0] + tip[2][0]) / 2, tip[0][1] - (tip[1][1] + tip[2][1]) / 2) : 8.4;
  const side = (route, card) => (nodes[card] === card ? route : untilBox(route, groups[groupOf(nodes[card])].box));
  const cut = reversed(side(reversed(side(whole, target)), source));
  const moved = cut.map((part) => [0, 2, 4].flatMap((k) => (k < part.length ? point(part.slice(k, k + 2)) : [])));
  const ends = [[source, 0, 0], [target, moved.length - 1, 2]];
  for (const [card, at, control] of ends) {
    if (nodes[card] !== card) continue;
    const [x, y] = cards[card].box, [nx, ny] = state.boxes[card], end = cut[at].slice(-2), part = moved[at];
    part.splice(-2, 2, end[0] + nx - x, end[1] + ny - y);
    const curve = at ? part : moved[1];
    if (curve.length === 6) curve[control + across] = cut[at || 1][control + across] + (across ? ny - y : nx - x);
  }
  let final = moved;
  if (nodes[target] !== target) final = joined(final, state.boxes[nodes[target]], across);
  if (nodes[source] !== source) final = reversed(joined(reversed(final), state.boxes[nodes[source]], across));
  const changed = written(final) !== written(whole);
  const [back] = arrow(edges[i].kind === "gradient" ? final : reversed(final), long * 1.4, half * 1.6);
  carried.setAttribute("d", back);
  if (!tip) { line.setAttribute("d", written(final)); return; }
  const [headPath, short] = arrow(final, long, half);
  line.setAttribute("d", changed ? short : written(path));
  head.setAttribute("d", changed ? headPath : `${written(tip)}z`);
}

// From the border of a folded module's former box on to the module itself.
function joined(path, [x, y, w, h], across) {
  const [px, py] = path.at(-1).slice(-2), corner = (size) => Math.min(14, size / 2);
  const clamp = (v, low, size) => Math.min(Math.max(v, low + corner(size)), low + size - corner(size));
  if (across === 0) {
    const end = [clamp(px, x, w), py < y + h / 2 ? y : y + h], middle = (py + end[1]) / 2;
    return [...path, Math.abs(end[0] - px) < 0.5 ? [px, end[1]] : [px, middle, end[0], middle, ...end]];
  }
  const end = [px < x + w / 2 ? x : x + w, clamp(py, y, h)], middle = (px + end[0]) / 2;
  return [...path, Math.abs(end[1] - py) < 0.5 ? [end[0], py] : [middle, py, middle, end[1], ...end]];
}

// The head of an arrow at the end of a path, and the path cut short for it.
function arrow(path, long, half) {
  const last = path.at(-1), [x, y] = last.slice(-2);
  const before = [...path.slice(0, -1).map((part) => part.slice(-2)), ...(last.length === 6 ? [last.slice(2, 4)] : [])];
  const [fx, fy] = before.findLast(([a, b]) => Math.hypot(x - a, y - b) > 0.5) ?? [x, y - 1];
  const far = Math.hypot(x - fx, y - fy), [dx, dy] = [(x - fx) / far, (y - fy) / far];
  const [bx, by] = [x - long * dx, y - long * dy];
  const head = `${written([[x, y], [bx - half * dy, by + half * dx], [bx + half * dy, by - half * dx]])}z`;
  return [head, written([...path.slice(0, -1), [...last.slice(0, -2), bx + dx, by + dy]])];
}

const hide = (what, hidden) => (hidden ? what.setAttribute("display", "none") : what.removeAttribute("display"));

function fold(group, folded) {
  const before = state.boxes[moduleNode(group)], { view } = state;
  if (folded) state.folded.add(group); else state.folded.delete(group);
  arrange();
  const after = state.boxes[moduleNode(group)];
  const middle = ([x, , w]) => x + w / 2; // of its upper border, which stays where it is on the screen
  state.view = { ...view, x: view.x + middle(after) - middle(before), y: view.y + after[1] - before[1] };
  state.picked = -1;
  refresh();
  say(`${groups[group].title} ${folded ? "folded" : "unfolded"}`);
}

function foldAll(folded) {
  state.folded = new Set(folded ? groups.keys() : []);
  arrange();
  refresh();
  fit(START);
  say(folded ? "all modules folded" : "all modules unfolded");
}

// Show what is inside folded modules around a card.
function reveal(card) {
  for (let at = cards[card].group; at >= 0; at = groups[at].parent) state.folded.delete(at);
  arrange();
}
