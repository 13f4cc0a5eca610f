// The step player, and how every card and edge looks.

const gradientSteps = new Map(steps.flatMap(({ card, way }, i) => (way === "backward" ? [[card, i + 1]] : [])));

// What arrives at every card in backward, from where and in which step.
const arrivals = cards.map(() => []);
for (const [card, at] of gradientSteps) for (const part of cards[card].parts) arrivals[part.target].push({ from: card, at, part });
const arrived = (card, step) => arrivals[card].filter(({ at }) => at <= step);
const isComplete = (card, step) => arrivals[card].length > 0 && arrived(card, step).length === arrivals[card].length;

function describe(step) {
  if (!step) return steps.length ? `Whole picture. ${steps.length} steps: forward, then backward.` : "Whole picture.";
  const { card, way } = steps[step - 1], all = steps.filter((other) => other.way === way);
  const at = all.indexOf(steps[step - 1]) + 1;
  const name = cards[card].title + (cards[card].tag ? ` (${cards[card].tag})` : "");
  if (way === "forward") return `Forward ${at} of ${all.length}: ${name}`;
  const to = cards[card].parts.map((part) => `∂${part.input} to ${cards[part.target].title}`);
  return `Backward ${at} of ${all.length}${data.backward ? "" : ", not run yet"}: ${name} sends ${to.join(", ")}`;
}

function go(step) {
  state.step = Math.min(Math.max(step, 0), steps.length);
  slider.value = state.step;
  state.picked = -1;
  say(describe(state.step));
  if (state.step) {
    const node = nodeOf(steps[state.step - 1].card);
    state.focus = node;
    roving();
    bringIntoView(node);
  }
  refresh();
}

function play(on) {
  clearInterval(state.timer);
  state.timer = on ? setInterval(() => { if (state.step < steps.length) go(state.step + 1); else play(false); }, PAUSE) : 0;
  byId("play").textContent = on ? "Pause" : "Play";
  if (on) go(state.step < steps.length ? state.step + 1 : 1);
}

function say(text) {
  byId("status").textContent = text;
}

// The classes of everything, and the panel, from the state.
function refresh() {
  const current = state.step ? steps[state.step - 1] : null, backward = current?.way === "backward";
  const computed = new Map(steps.flatMap(({ card, way }, i) => (way === "forward" ? [[card, i + 1]] : [])));
  const todo = (card) => current && !backward && (computed.get(card) ?? 0) > state.step;
  const searching = byId("count").value !== "" && search.value.trim() !== "", hits = new Set(state.hits);
  const members = new Map();
  cards.forEach((_, i) => { const node = nodeOf(i); if (!members.has(node)) members.set(node, []); members.get(node).push(i); });
  for (const [node, inside] of members) {
    const classes = element(node).classList;
    const hit = inside.some((card) => hits.has(card)), now = current && inside.includes(current.card);
    const ops = inside.filter((card) => computed.has(card));
    const gradients = inside.filter((card) => gradientSteps.has(card) || arrivals[card].length);
    classes.toggle("hit", searching && hit);
    classes.toggle("miss", searching && !hit);
    classes.toggle("pale", ops.length > 0 && ops.every(todo));
    classes.toggle("now", Boolean(now));
    classes.toggle("backward", Boolean(now && backward));
    classes.toggle("picked", node === state.picked);
    cue(node, backward && gradients.length > 0 && gradients.every((card) => isComplete(card, state.step) || isLast(card)));
  }
  const targets = new Set(backward ? cards[current.card].parts.map((part) => part.target) : []);
  edges.forEach((edge, i) => {
    const [from, to] = edge.kind === "gradient" ? [edge.target, edge.source] : [edge.source, edge.target];
    const classes = drawn.edges[i].classList, label = drawn.labels.get(i)?.classList;
    classes.toggle("used", Boolean(current && !backward && to === current.card));
    classes.toggle("carrying", Boolean(backward && to === current.card && targets.has(from)));
    for (const list of label ? [classes, label] : [classes]) {
      list.toggle("pale", Boolean(todo(to)));
      list.toggle("miss", searching && !(hits.has(from) || hits.has(to)));
    }
  });
  slider.classList.toggle("backward", backward);
  byId("status").classList.toggle("backward", backward);
  byId("first").disabled = byId("back").disabled = state.step === 0;
  byId("last").disabled = byId("forward").disabled = state.step === steps.length;
  showPanel();
  look();
}

const isLast = (card) => gradientSteps.has(card) && !arrivals[card].length;

// A sign, not a colour alone, on what has its whole gradient.
function cue(node, on) {
  const host = element(node);
  let sign = host.querySelector(".cue");
  if (!on) { sign?.remove(); return; }
  if (sign) return;
  sign = host.appendChild(document.createElementNS(SPACE, "text"));
  const [x, y, w] = isModule(node) ? [0, 0, groups[groupOf(node)].size[0]] : cards[node].box;
  for (const [name, value] of Object.entries({ class: "cue", x: x + w + 4, y: y + 10 })) sign.setAttribute(name, value);
  sign.textContent = "∂ ✓";
}
