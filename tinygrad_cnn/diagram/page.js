"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const { cards, edges, groups, steps } = data;
const byId = (id) => document.getElementById(id);
const canvas = byId("canvas"), panel = byId("panel"), slider = byId("slider"), search = byId("search");
const svg = canvas.querySelector("svg");
const SPACE = "http://www.w3.org/2000/svg";
const MARGIN = 16; // around the whole picture
const GAP = 30; // what remains of a room that folding has emptied
const AROUND = 18; // free on each side of a folded module
const START = 0.9; // a picture that does not fit at this scale is shown from its top
const PAUSE = 1200; // milliseconds of a step

// A node is what can be picked: a card by its number, or a folded module by its number after those of the cards.
const moduleNode = (group) => cards.length + group;
const groupOf = (node) => node - cards.length;
const isModule = (node) => node >= cards.length;
const about = (node) => (isModule(node) ? groups[groupOf(node)] : cards[node]);

const drawn = {
  cards: [...svg.querySelectorAll(".card")].slice(0, cards.length),
  edges: [...svg.querySelectorAll(".edge")],
  titles: [...svg.querySelectorAll(".group-title")],
  stacks: [...svg.querySelectorAll(".folded")],
  labels: new Map([...svg.querySelectorAll(".label")].map((label) => [Number(label.dataset.edge), label])),
};
const boxesDrawn = [...svg.querySelectorAll(".group")];
drawn.groups = groups.map((group) => boxesDrawn[group.order]);
drawn.lines = drawn.edges.map((edge) => {
  const [line, head] = edge.querySelectorAll("path");
  if (head) head.classList.add("head");
  const carried = edge.appendChild(document.createElementNS(SPACE, "path"));
  carried.setAttribute("class", "carried");
  return { line, head, carried, path: parsed(line), tip: head ? parsed(head) : null };
});

const state = {
  folded: new Set(groups.flatMap((group, i) => (group.folded ? [i] : []))),
  view: { x: 0, y: 0, k: 1 },
  size: data.size, // of the picture as it is folded now
  boxes: [], // of every card and group as it is folded now
  focus: 0,
  picked: -1,
  step: 0, // 0 is the whole picture
  timer: 0,
  printing: false, // which shows the whole picture
  hits: [],
  hit: -1,
};

// The view

function look() {
  const { width, height } = canvas.getBoundingClientRect(), { x, y, k } = state.view;
  const [w, h] = state.size.map((side) => side + 2 * MARGIN);
  if (state.printing) svg.setAttribute("viewBox", `${-MARGIN} ${-MARGIN} ${w} ${h}`);
  else svg.setAttribute("viewBox", `${x} ${y} ${Math.max(width, 1) / k} ${Math.max(height, 1) / k}`);
}

function fit(least = 0) {
  const { width, height } = canvas.getBoundingClientRect();
  const [w, h] = state.size.map((side) => side + 2 * MARGIN);
  const k = Math.max(Math.min(width / w, height / h, 1.5), Math.min(least, data.direction === "LR" ? height / h : width / w));
  const from = (has, needs) => (needs * k > has + 1 ? -MARGIN : needs / 2 - MARGIN - has / k / 2);
  state.view = { k, x: from(width, w), y: from(height, h) };
  look();
}

// Zoom by a factor with the point (px, py) of the canvas held; its middle without one.
function zoom(factor, px, py) {
  const { width, height } = canvas.getBoundingClientRect(), view = state.view;
  const k = Math.min(Math.max(view.k * factor, 0.02), 8), [cx, cy] = [px ?? width / 2, py ?? height / 2];
  state.view = { k, x: view.x + cx / view.k - cx / k, y: view.y + cy / view.k - cy / k };
  look();
}

function bringIntoView(node, always = false) {
  const { width, height } = canvas.getBoundingClientRect(), view = state.view, [x, y, w, h] = state.boxes[node];
  const [wide, high] = [width / view.k, height / view.k], room = 40 / view.k;
  const seen = x >= view.x && x + w <= view.x + wide && y >= view.y + room && y + h <= view.y + high - room;
  if (seen && !always) return;
  state.view = { ...view, x: x + w / 2 - wide / 2, y: y + h / 2 - high / 2 };
  look();
}

// Focus and picking

function roving() {
  for (const node of drawn.cards) node.setAttribute("tabindex", "-1");
  for (const stack of drawn.stacks) stack.querySelector(".card").setAttribute("tabindex", "-1");
  element(state.focus)?.setAttribute("tabindex", "0");
}

function focusOn(node) {
  state.focus = node;
  roving();
  bringIntoView(node);
  element(node).focus({ preventScroll: true });
}

function pick(node) {
  state.picked = node;
  state.focus = node;
  roving();
  refresh();
}

// The next node in a direction: along an edge if one leads there, else the nearest.
function neighbour(node, [dx, dy]) {
  const centre = ([x, y, w, h]) => [x + w / 2, y + h / 2], [cx, cy] = centre(state.boxes[node]);
  const linked = new Set(edges.flatMap(({ source, target }) => {
    const [a, b] = [nodeOf(source), nodeOf(target)];
    return a === node ? [b] : b === node ? [a] : [];
  }));
  let best = -1, least = Infinity;
  for (const other of visibleNodes()) {
    if (other === node) continue;
    const [x, y] = centre(state.boxes[other]);
    const along = (x - cx) * dx + (y - cy) * dy, aside = Math.abs((x - cx) * dy) + Math.abs((y - cy) * dx);
    if (along < 4 || (aside > along * 1.5 && !linked.has(other))) continue;
    const distance = along + 2 * aside + (linked.has(other) ? 0 : 1e5);
    if (distance < least) [best, least] = [other, distance];
  }
  return best;
}

// Search

const textOf = (card) => [card.id, card.title, card.tag, card.path, card.about, card.problem, card.mark,
  ...card.rows.map(([text]) => text), ...card.facts.flat(), ...card.parts.map((part) => part.formula)].join("\n").toLowerCase();

function find(query) {
  const wanted = query.trim().toLowerCase();
  state.hits = wanted ? cards.flatMap((card, i) => (textOf(card).includes(wanted) ? [i] : [])) : [];
  state.hit = -1;
  byId("count").value = !wanted ? "" : state.hits.length === 1 ? "1 card" : `${state.hits.length || "no"} cards`;
  refresh();
}

function nextHit(by) {
  if (!state.hits.length) return;
  state.hit = (state.hit + by + state.hits.length + (state.hit < 0 && by < 0 ? 1 : 0)) % state.hits.length;
  const card = state.hits[state.hit];
  reveal(card);
  pick(card);
  bringIntoView(card, true);
  byId("count").value = `${state.hit + 1} of ${state.hits.length}`;
}
