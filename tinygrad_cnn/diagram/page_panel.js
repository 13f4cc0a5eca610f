// The panel of details. All text goes through textContent, so a name is never markup.

function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value); else made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== ""));
  return made;
}

function s(tag, attributes, text = "") {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function num(value) {
  if (typeof value === "string") return value.replace("-", "−"); // nan, inf
  const size = Math.abs(value), far = size && (size < 1e-3 || size >= 1e5);
  return (far ? value.toExponential(3) : String(Number(value.toPrecision(4)))).replaceAll("-", "−");
}

const NOT_KEPT = "not kept: record under tg.watch()";
const by = (shape) => shape.join("×") || "scalar";
const button = (text, onclick) => h("button", { type: "button", onclick }, text || "card");
const chip = (node, text) => button(text, () => { pick(node); bringIntoView(node); });

function showPanel() {
  const current = state.step ? steps[state.step - 1] : null;
  const node = state.picked >= 0 ? state.picked : current ? current.card : -1;
  const content = node < 0 ? help() : isModule(node) ? ofModule(groupOf(node)) : ofCard(node, current);
  panel.replaceChildren(...content.filter(Boolean));
  panel.scrollTop = 0;
}

function help() {
  const keys = [
    ["+ − 0", "zoom in, out, fit"], ["arrows", "go from card to card along the edges"],
    ["Enter", "show the details of a card"], ["f", "fold or unfold the module"],
    ["/", "search; Enter goes to the next hit"], ["[ ]", "step back, step forward"],
    ["Space", "play, pause"], ["Esc", "clear"],
  ];
  const walk = "Forward and Back below walk through the computation one op at a time: first forward, then backward.";
  return [
    h("h2", {}, "Details"),
    h("p", {}, "Pick a card to see its values, its gradients and where they go."),
    steps.length ? h("p", {}, walk) : null,
    h("h3", {}, "Keys"),
    h("dl", {}, keys.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
  ];
}

function heading(thing) {
  return [
    h("h2", {}, thing.title || "card", thing.tag ? [" ", h("span", { class: "tag" }, thing.tag)] : ""),
    thing.problem ? h("p", { class: "problem" }, `⚠ ${thing.problem}`) : null,
    thing.mark ? h("p", {}, { added: "+ added", removed: "− removed", changed: "~ changed" }[thing.mark]) : null,
  ];
}

const rowsOf = (rows) => rows.map(([text, tone]) => h("p", { class: tone }, text));

function ofModule(group) {
  const inside = cards.flatMap((_, i) => (nodeOf(i) === moduleNode(group) ? [i] : []));
  return [
    ...heading(groups[group]),
    ...rowsOf(groups[group].rows),
    h("p", {}, button("Unfold", () => fold(group, false))),
    h("h3", {}, `Inside: ${inside.length} cards`),
    h("ul", {}, inside.filter((i) => cards[i].shape !== "note").map((i) =>
      h("li", {}, button(cards[i].title, () => { reveal(i); pick(i); bringIntoView(i, true); }), ` ${cards[i].tag}`))),
  ];
}

function ofCard(i, current) {
  const card = cards[i], backward = current?.way === "backward";
  const isOp = ["card", "sign", "stack"].includes(card.shape);
  const hasGradient = Boolean(card.gradient || card.parts.length || arrivals[i].length);
  const value = section("Value", card.value, "", isOp || card.shape === "note" || card.value ? NOT_KEPT : null);
  const none = !hasGradient ? "no gradient flows here" : data.backward ? NOT_KEPT : "not computed: call backward()";
  const title = backward && current.card === i ? "∂out, the gradient that arrives" : "Gradient";
  const gradient = section(title, card.gradient, "gradient", none);
  const passing = [...gradient, ...partsOf(card), ...arrivalsOf(i, backward)];
  const told = card.parts.some((part) => part.formula), rows = card.rows.filter(([, tone]) => !told || tone !== "gradient");
  return [
    ...heading(card),
    ...rowsOf(rows),
    ...factsOf(card),
    ...(backward ? [...passing, ...value] : [...value, ...passing]),
    ...stripsOf(i),
  ];
}

function factsOf(card) {
  const facts = [...card.facts], named = new Set(facts.map(([name]) => name));
  if (card.path && !named.has("module")) facts.push(["module", card.path]);
  const known = [card.path, ...facts.map(([, value]) => value)];
  if (card.about && !known.some((value) => value.startsWith(card.about))) facts.push(["about", card.about]);
  if (card.link && !named.has("recorded at")) facts.push(["recorded at", card.link]);
  const shown = facts.map(([name, value]) => {
    const link = /^(https?|file|vscode):\/\/\S+$/.test(value) ? value : name === "recorded at" ? card.link : "";
    return [h("dt", {}, name), h("dd", {}, link ? h("a", { href: link, rel: "noreferrer" }, value) : value)];
  });
  const folding = card.group >= 0 && outerFold(card.group) < 0
    ? h("p", {}, button(`Fold ${groups[card.group].title}`, () => fold(card.group, true))) : null;
  const outer = outerFold(card.group);
  if (outer >= 0) shown.push([h("dt", {}, "folded in"), h("dd", {}, button(`Unfold ${groups[outer].title}`, () => fold(outer, false)))]);
  return [shown.length ? h("dl", {}, shown.flat()) : null, folding];
}

const normOf = (gradient) => (gradient ? h("span", { class: "gradient" }, `‖∂‖ ${num(gradient.norm)}`) : "");

function partsOf(card) {
  if (!card.parts.length) return [];
  const items = card.parts.map((part) => {
    const { input, target, formula, gradient } = part;
    const rule = formula || input ? h("code", { class: "gradient" }, `∂${input} = ${formula || "(no formula given)"}`) : "";
    const more = gradient
      ? h("details", {}, h("summary", {}, "statistics of this part"), section("", gradient, "gradient", null)) : "";
    return h("li", {}, "to ", chip(nodeOf(target), cards[target].title), " ", normOf(gradient), rule, more);
  });
  return [h("h3", {}, "What backward sends to each input"), h("ul", {}, items)];
}

function arrivalsOf(i, backward) {
  if (!arrivals[i].length) return [];
  const all = arrivals[i].length, here = arrived(i, state.step).length;
  const items = arrivals[i].map(({ from, at, part }) => {
    const when = backward ? (at <= state.step ? " ✓ arrived" : " … to come") : "";
    return h("li", {}, "from ", chip(nodeOf(from), cards[from].title), " ", normOf(part.gradient), when);
  });
  const count = all > 1 ? `${here} of ${all} parts have arrived. ` : here ? "It has arrived: the gradient is complete." : "It has not arrived yet.";
  const sum = all > 1 ? `The gradient is the sum of these ${all} parts:` : "";
  return [h("h3", {}, "Where its gradient comes from"), h("p", {}, (backward ? count : "") + sum), h("ul", {}, items)];
}

function section(title, summary, tone, missing) {
  if (!summary && !missing) return [];
  const box = h("section", { class: tone ? "of-gradient" : "" }, title ? h("h3", { class: tone }, title) : "");
  if (!summary) { box.append(h("p", { class: "quiet" }, missing)); return [box]; }
  const whole = (n) => n.toLocaleString("en"), share = (n, of) => `${whole(n)} of ${whole(of)}${of ? ` (${num((100 * n) / of)} %)` : ""}`;
  const rows = [
    ["shape", `${by(summary.shape)} ${summary.dtype}`],
    ...[["mean", "mean"], ["std", "std"], ["min", "low"], ["max", "high"], ["norm", "norm"]].map(([name, key]) => [name, num(summary[key])]),
    ["zeros", share(summary.zeros, summary.size)],
  ];
  if (summary.nans) rows.push(["nan", share(summary.nans, summary.size)]);
  if (summary.infs) rows.push(["inf", share(summary.infs, summary.size)]);
  if (summary.dead) rows.push(["dead channels", share(summary.dead, summary.channels)]);
  const tell = (name) => ({ class: name === "nan" || name === "inf" ? "problem" : "" });
  box.append(h("dl", {}, rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", tell(name), value)])));
  if (summary.counts.length > 1) box.append(histogram(summary));
  if (summary.numbers?.length) box.append(numbers(summary, tone));
  return [box];
}

function histogram({ counts, low, high }) {
  const top = Math.max(...counts), wide = 336 / counts.length;
  const bars = counts.map((count, i) => {
    const high = count ? Math.max((56 * count) / top, 1) : 0;
    const bar = s("rect", { x: i * wide, y: 60 - high, width: Math.max(wide - 1, 1), height: high });
    bar.append(s("title", {}, `${count.toLocaleString("en")} values`));
    return bar;
  });
  const label = `histogram from ${num(low)} to ${num(high)}`;
  const picture = s("svg", { class: "histogram", viewBox: "0 0 336 74", role: "img", "aria-label": label });
  picture.append(...bars, s("text", { x: 0, y: 72 }, num(low)), s("text", { x: 336, y: 72, "text-anchor": "end" }, num(high)));
  return picture;
}

// The numbers of a small Tensor as a table of its last two axes for each place in the others; colours from 65 on.
function numbers({ shape, numbers: values }, tone) {
  const columns = shape.at(-1) ?? 1, rows = shape.at(-2) ?? 1, block = rows * columns;
  const finite = values.filter((value) => typeof value === "number"), top = Math.max(...finite.map(Math.abs), 1e-300);
  const plus = tone ? [168, 67, 0] : [0, 97, 154], minus = tone ? [0, 97, 154] : [110, 110, 110];
  const colour = (value) => {
    if (typeof value === "string") return "rgb(255 60 60)";
    const share = Math.min(Math.abs(value) / top, 1) * 0.75;
    return `rgb(${(value < 0 ? minus : plus).map((channel) => Math.round(255 - share * (255 - channel))).join(" ")})`;
  };
  const small = values.length <= 64;
  const cell = (value) => {
    const made = h("td", { title: String(value), class: small ? "" : "cell" }, small ? num(value) : "");
    made.style.background = colour(value);
    return made;
  };
  const tables = [];
  for (let at = 0; at < values.length; at += block) {
    const row = (r) => h("tr", {}, values.slice(at + r * columns, at + (r + 1) * columns).map(cell));
    const place = [];
    let rest = at / block;
    for (const size of shape.slice(0, -2).reverse()) { place.unshift(rest % size); rest = Math.floor(rest / size); }
    const caption = place.length ? h("caption", {}, `[${place.join(", ")}, :, :]`) : null;
    tables.push(h("table", {}, caption, h("tbody", {}, Array.from({ length: rows }, (_, r) => row(r)))));
  }
  const signs = tone ? "orange is positive, blue negative" : "blue is positive, grey negative";
  const name = small ? "Numbers" : `Heat map: ${signs}; a cell's number shows on hover`;
  return h("div", { class: "numbers" }, h("p", { class: "quiet" }, name), tables);
}

function stripsOf(i) {
  const images = [...drawn.cards[i].querySelectorAll("image")];
  return cards[i].strips.flatMap(([label, count]) => [
    h("h3", {}, label || "pictures"),
    h("div", {}, images.splice(0, count).map((image, k) => h("img", { src: image.getAttribute("href"), alt: `${label} ${k}` }))),
  ]);
}
