// Pointer, keyboard and controls.

const nodeAt = (target) => {
  const card = target.closest?.(".card");
  if (!card || !svg.contains(card)) return -1;
  const stack = card.closest(".folded");
  return stack ? moduleNode(drawn.stacks.indexOf(stack)) : drawn.cards.indexOf(card);
};

const groupAt = (target) => {
  const stack = target.closest?.(".folded"), box = target.closest?.(".group"), title = target.closest?.(".group-title");
  return stack ? drawn.stacks.indexOf(stack) : box ? drawn.groups.indexOf(box) : title ? drawn.titles.indexOf(title) : -1;
};

// A control beside a module's title, and on the header of its stack.
function foldControl(host, group, folded, [x, y, width, height], sign) {
  const control = s("g", { class: "fold", role: "button", "aria-label": `${folded ? "Unfold" : "Fold"} ${groups[group].title}` });
  control.append(s("rect", { x, y, width, height, rx: 3 }), s("text", { x: x + 2, y: y + 12.5, "font-size": 12 }, sign));
  control.addEventListener("click", (event) => { event.stopPropagation(); fold(group, !folded); });
  host.append(control);
}

function prepare() {
  svg.querySelector(":scope > rect")?.remove();
  svg.querySelector("g[transform]")?.removeAttribute("transform");
  svg.setAttribute("role", "group");
  svg.setAttribute("tabindex", "-1"); // Chromium makes it a stop of its own
  for (const link of svg.querySelectorAll("a")) link.setAttribute("tabindex", "-1"); // the panel offers it
  svg.removeAttribute("width");
  svg.removeAttribute("height");
  const label = (element, thing) => {
    element.setAttribute("role", "button");
    const words = [thing.title, thing.tag, ...thing.rows.map(([text]) => text), thing.problem];
    element.setAttribute("aria-label", words.filter(Boolean).join(", "));
  };
  drawn.cards.forEach((element, i) => label(element, cards[i]));
  groups.forEach((group, i) => {
    label(drawn.stacks[i].querySelector(".card"), group);
    const [x, y] = group.title_box;
    foldControl(drawn.titles[i], i, false, [x - 14, y, 14, 17], "▾");
    foldControl(drawn.stacks[i], i, true, [5, 3, 18, 18], "");
  });
  slider.max = steps.length;
}

const pointers = new Map();
let moved = false, pressed = null;

canvas.addEventListener("pointerdown", (event) => {
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  if (pointers.size === 1) { moved = false; pressed = event.target; }
});
canvas.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
  if (!moved && Math.hypot(dx, dy) < 4) return;
  if (!moved) canvas.setPointerCapture(event.pointerId);
  moved = true;
  canvas.classList.add("dragging");
  const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  if (others.length) { // two fingers: their distance is the zoom
    const [[ox, oy]] = others, { left, top } = canvas.getBoundingClientRect();
    const factor = Math.hypot(event.clientX - ox, event.clientY - oy) / Math.max(Math.hypot(before[0] - ox, before[1] - oy), 1);
    zoom(factor, (event.clientX + ox) / 2 - left, (event.clientY + oy) / 2 - top);
  } else {
    state.view.x -= dx / state.view.k;
    state.view.y -= dy / state.view.k;
    look();
  }
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, (event) => {
    pointers.delete(event.pointerId);
    canvas.classList.remove("dragging");
  });
}
canvas.addEventListener("click", (event) => {
  event.preventDefault(); // a card's own link is offered in the panel
  if (moved) return;
  const node = nodeAt(event.target);
  if (node >= 0) pick(node); else if (state.picked >= 0) pick(-1);
});
canvas.addEventListener("dblclick", (event) => {
  const group = nodeAt(event.target) >= 0 && !event.target.closest(".folded") ? -1 : groupAt(event.target);
  if (group >= 0) fold(group, !state.folded.has(group));
});
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const { left, top } = canvas.getBoundingClientRect(), unit = event.deltaMode === 1 ? 16 : 1;
  zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY * unit)) / 400), event.clientX - left, event.clientY - top);
}, { passive: false });
svg.addEventListener("focusin", (event) => {
  const node = nodeAt(event.target);
  if (node >= 0) { state.focus = node; roving(); }
});

const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { key, target } = event;
  if (key === "Escape") { clear(); return; }
  if (target === search) {
    if (key !== "Enter") return;
    nextHit(event.shiftKey ? -1 : 1);
    event.preventDefault();
    return;
  }
  const control = target.closest("button, input, a");
  const inPicture = canvas.contains(target);
  if (key === " " && control && !inPicture) return;
  const done = act(key, control && !inPicture);
  if (done) event.preventDefault();
}

// What a key does; whether it did anything. In a control, the arrows and Enter stay its own.
function act(key, inControl) {
  const node = state.focus;
  if (key in ARROWS) {
    if (inControl || panel.contains(document.activeElement)) return false;
    if (document.activeElement !== element(node)) { focusOn(node); return true; }
    const next = neighbour(node, ARROWS[key]);
    if (next >= 0) focusOn(next);
    return true;
  }
  switch (key) {
    case "+": case "=": zoom(1.25); return true;
    case "-": zoom(0.8); return true;
    case "0": fit(); return true;
    case "/": search.focus(); search.select(); return true;
    case "]": case "PageDown": play(false); go(state.step + 1); return true;
    case "[": case "PageUp": play(false); go(state.step - 1); return true;
    case " ": play(!state.timer); return true;
    case "Enter":
      if (inControl || document.activeElement !== element(node)) return false;
      pick(node);
      element(node).focus({ preventScroll: true });
      return true;
    case "f": {
      const group = isModule(node) ? groupOf(node) : cards[node]?.group ?? -1;
      if (group < 0 || inControl) return false;
      const at = isModule(node) ? cards.findIndex((_, i) => nodeOf(i) === node) : node;
      fold(group, !isModule(node));
      focusOn(nodeOf(at));
      return true;
    }
  }
  return false;
}

// Search first, then the card, then the steps.
function clear() {
  if (search.value) { search.value = ""; find(""); } else if (state.picked >= 0) pick(-1); else { play(false); go(0); }
}

function start() {
  prepare();
  arrange();
  refresh();
  fit(START);
  say(describe(0));
  document.addEventListener("keydown", onKey);
  search.addEventListener("input", () => find(search.value));
  slider.addEventListener("input", () => { play(false); go(Number(slider.value)); });
  const controls = {
    "fold-all": () => foldAll(true), "unfold-all": () => foldAll(false),
    "zoom-in": () => zoom(1.25), "zoom-out": () => zoom(0.8),
    fit: () => fit(), first: () => { play(false); go(0); }, back: () => { play(false); go(state.step - 1); },
    play: () => play(!state.timer), forward: () => { play(false); go(state.step + 1); }, last: () => { play(false); go(steps.length); },
  };
  for (const [id, action] of Object.entries(controls)) byId(id).addEventListener("click", action);
  byId("fold-all").disabled = byId("unfold-all").disabled = !groups.length;
  byId("play").disabled = slider.disabled = !steps.length;
  new ResizeObserver(look).observe(canvas);
  addEventListener("beforeprint", () => { state.printing = true; look(); });
  addEventListener("afterprint", () => { state.printing = false; look(); });
}

start();
