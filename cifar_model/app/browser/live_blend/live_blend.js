const STEPS = 101, SIDE = 32;

export default function ({ data: [data], parentElement, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  if (outdated(root, data)) return;
  const view = (root.view ??= makeView(root));
  view.update(data, (ratio) => setStateValue("ratio", ratio), (guess) => setTriggerValue("guess", guess));
  return () => {};
}

function makeView(root) {
  const find = (selector) => root.querySelector(selector);
  const slider = find(".ratio"), canvas = find(".mix");
  const view = { ratio: null, version: null, frames: null, panels: [], data: null };
  let send = () => {}, timer = 0, busy = false;

  // Everything that follows the slider, drawn from what is already here: nothing is asked of the server.
  const show = () => {
    const { data, ratio } = view;
    const text = `${ratio} % ${data.a.name} + ${100 - ratio} % ${data.b.name}`;
    find(".recipe").textContent = text;
    slider.value = ratio;
    if (view.frames) {
      const frame = new ImageData(SIDE, SIDE), row = SIDE * 4;
      for (let y = 0; y < SIDE; y++) {
        const from = (y * STEPS + ratio) * row;
        frame.data.set(view.frames.subarray(from, from + row), y * row);
      }
      canvas.getContext("2d").putImageData(frame, 0, 0);
    }
    canvas.setAttribute("aria-label", `The mix of ${text}`);
    const said = view.panels.map((panel) => panel.show(ratio));
    slider.setAttribute("aria-valuetext", `${text}; ${said.join("; ")}`);
  };
  const set = (ratio) => {
    view.ratio = Math.min(100, Math.max(0, Math.round(ratio)));
    show();
  };
  const tell = () => {
    clearTimeout(timer);
    timer = setTimeout(() => send(view.ratio), 250); // keys repeat: only where they end is told
  };
  slider.oninput = () => set(Number(slider.value));
  slider.onchange = () => { busy = false; tell(); };
  slider.onpointerdown = () => { busy = true; };
  slider.onpointerup = slider.onpointercancel = () => { busy = false; };

  view.update = (data, sendRatio, sendGuess) => {
    send = sendRatio;
    view.data = data;
    view.guess = (name) => sendGuess({ class: name, ratio: view.ratio });
    if (view.version !== data.version && !busy) {
      view.ratio = data.ratio;
      view.version = data.version;
    }
    view.ratio ??= data.ratio;
    root.style.setProperty("--a", data.a.color);
    root.style.setProperty("--b", data.b.color);
    slider.setAttribute("aria-label", `Share of ${data.a.name} in per cent, the rest is ${data.b.name}`);
    find(".all-b").textContent = `all ${data.b.name}`;
    find(".all-a").textContent = `all ${data.a.name}`;
    const kind = data.question ? "question" : `answers of ${data.models.length}`;
    if (view.kind !== kind) {
      view.kind = kind;
      root.classList.toggle("pair", !data.question && data.models.length === 2);
      view.panels.forEach((panel) => panel.remove());
      view.panels = data.question
        ? [makeQuestion(root, data, (name) => view.guess(name))]
        : data.models.map(() => makePanel(root, data.classes, (ratio) => set(ratio), tell));
    }
    if (!data.question) view.panels.forEach((panel, i) => panel.update(data.models[i], data));
    if (view.sprite !== data.sprite) {
      view.sprite = data.sprite;
      const image = new Image();
      image.src = pictureAddress(data.sprite);
      image.decode().then(() => {
        if (view.sprite !== data.sprite) return;
        const sheet = new OffscreenCanvas(SIDE, SIDE * STEPS).getContext("2d", { willReadFrequently: true });
        sheet.drawImage(image, 0, 0);
        view.frames = sheet.getImageData(0, 0, SIDE, SIDE * STEPS).data;
        show();
      });
    }
    show();
  };
  return view;
}

// Predict first: ten buttons in the place of the ten bars. What the network says isn't here yet.
function makeQuestion(root, data, guess) {
  const panel = element("section", "answer"), list = element("div", "guesses");
  panel.append(element("div", "model", data.models.map((model) => model.title).join(", ")));
  panel.append(element("div", "winner", data.question), list);
  for (const [name, color] of data.classes) {
    const button = element("button", "guess"), dot = element("span", "dot");
    button.type = "button";
    dot.style.background = color;
    button.append(dot, name);
    button.onclick = () => {
      list.querySelectorAll("button").forEach((other) => { other.disabled = true; });
      guess(name);
    };
    list.append(button);
  }
  root.querySelector(".panels").append(panel);
  return { show: () => data.question, remove: () => panel.remove() };
}

function makePanel(root, classes, set, tell) {
  const panel = element("section", "panel"), answer = element("div", "answer"), curve = element("div", "curve");
  const model = element("div", "model"), winner = element("div", "winner"), bars = makeBars(classes);
  const verdict = element("div", "verdict"), strange = element("div", "strange");
  answer.append(model, winner, verdict, strange, bars.list);
  const heading = element("h4"), changes = element("p", "changes"), gap = element("p", "gap");
  const svg = shape("svg", { role: "img" });
  curve.append(heading, svg, changes, gap);
  panel.append(answer, curve);
  root.querySelector(".panels").append(panel);
  const margin = { left: 40, right: 12, top: 18, bottom: 46 };
  let height = 240, rows = [], sets = [], said = [], outside = [], info = null, data = null, width = 0, marker = null, dots = [];

  const x = (ratio) => margin.left + (ratio / 100) * (width - margin.left - margin.right);
  const y = (p) => height - margin.bottom - p * (height - margin.top - margin.bottom);

  const edge = (ratio) => x(Math.min(100, Math.max(0, ratio - 0.5)));

  // The answer sets along the way: a class a layer, so that one, both and many differ at a glance.
  const drawSets = () => {
    const top = y(0) + 13, full = 20;
    shape("rect", { class: "empty", x: x(0), y: top, width: x(100) - x(0), height: full }, svg);
    runs(sets.map((set) => set.join())).forEach(([from, to]) => {
      const part = { x: edge(from), width: edge(to + 1) - edge(from) }, members = sets[from], layer = full / members.length;
      members.forEach((c, i) => shape("rect", { class: "member", ...part, y: top + i * layer, height: layer, fill: classes[c][1] }, svg));
    });
    runs(sets.map((set) => set.length)).forEach(([from, to, count]) => {
      if (edge(to + 1) - edge(from) < 22) return;
      const text = shape("text", { class: "count", x: (edge(from) + edge(to + 1)) / 2, y: top + 14.5, "text-anchor": "middle" }, svg);
      text.textContent = count;
    });
    shape("text", { x: margin.left - 6, y: top + 14, "text-anchor": "end" }, svg).textContent = "set";
  };

  const draw = () => {
    margin.bottom = sets.length ? 72 : 46;
    height = margin.bottom + (data.models.length === 2 ? 112 : 194); // of two networks as much as fits below the bars
    svg.style.height = `${height}px`;
    width = svg.clientWidth;
    if (!width || !info) return;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const p of [0, 0.25, 0.5, 0.75, 1]) {
      shape("line", { class: "grid", x1: x(0), x2: x(100), y1: y(p), y2: y(p) }, svg);
      shape("text", { x: margin.left - 6, y: y(p) + 4, "text-anchor": "end" }, svg).textContent = `${100 * p}`;
    }
    shape("text", { x: 0, y: 8 }, svg).textContent = "%";
    for (const share of [0, 20, 40, 60, 80, 100]) {
      shape("text", { x: x(share), y: height - 26, "text-anchor": "middle" }, svg).textContent = `${share}`;
    }
    shape("text", { x: x(50), y: height - 6, "text-anchor": "middle" }, svg).textContent = `Share of ${data.a.name} (%)`;
    // Where the picture looks like none of the ten classes.
    runs(outside.map(Number)).forEach(([from, to, is]) => {
      if (!is) return;
      const wide = edge(to + 1) - edge(from);
      shape("rect", { class: "strange-part", x: edge(from), y: y(1), width: wide, height: y(0) - y(1) }, svg);
      if (wide < 88) return;
      const text = shape("text", { class: "strange-note", x: edge(from) + wide / 2, y: y(1) + 14, "text-anchor": "middle" }, svg);
      text.textContent = "none of the ten?";
    });
    const winners = rows.map((row) => row.indexOf(Math.max(...row)));
    runs(winners).forEach(([from, to, winner]) => {
      // A strip below the curves: who leads from where to where.
      const at = { x: edge(from), width: edge(to + 1) - edge(from), y: y(0) + 4, height: 5 };
      shape("rect", { ...at, fill: classes[winner][1] }, svg);
      if (from > 0) shape("line", { class: "change", x1: edge(from), x2: edge(from), y1: y(1), y2: y(0) }, svg);
    });
    if (sets.length) drawSets();
    const peaks = classes.map((_, c) => Math.max(...rows.map((row) => row[c])));
    const order = classes.map((_, c) => c).sort((one, other) => peaks[one] - peaks[other]);
    for (const c of order) {
      const path = rows.map((row, ratio) => `${x(ratio).toFixed(1)},${y(row[c]).toFixed(1)}`).join("L");
      shape("path", { class: `line ${peaks[c] < 0.08 ? "minor" : ""}`, d: `M${path}`, stroke: classes[c][1] }, svg);
    }
    const taken = [];
    for (const c of order.reverse()) {
      if (peaks[c] < 0.12) break;
      const at = rows.findIndex((row) => row[c] === peaks[c]);
      const anchor = at < 12 ? "start" : at > 88 ? "end" : "middle";
      let level = y(peaks[c]) - 7;
      while (taken.some(([ratio, other]) => Math.abs(x(ratio) - x(at)) < 70 && Math.abs(other - level) < 14)) level += 14;
      taken.push([at, level]);
      shape("text", { class: "tag", x: x(at), y: level, "text-anchor": anchor }, svg).textContent = classes[c][0];
    }
    marker = shape("line", { class: "marker", y1: y(1) - 6, y2: height - 36 }, svg);
    dots = classes.map(([, color]) => shape("circle", { r: 3.5, fill: color, stroke: "var(--ground)", "stroke-width": 1 }, svg));
  };
  const place = (ratio) => {
    if (!marker) return;
    marker.setAttribute("x1", x(ratio));
    marker.setAttribute("x2", x(ratio));
    dots.forEach((dot, c) => {
      dot.setAttribute("cx", x(ratio));
      dot.setAttribute("cy", y(rows[ratio][c]));
    });
  };
  const toRatio = (event) => {
    const bounds = svg.getBoundingClientRect();
    return (100 * (event.clientX - bounds.left - margin.left)) / (width - margin.left - margin.right);
  };
  let dragging = false, last = 0;
  svg.onpointerdown = (event) => { dragging = true; svg.setPointerCapture(event.pointerId); set(toRatio(event)); };
  svg.onpointermove = (event) => { if (dragging) set(toRatio(event)); };
  svg.onpointerup = svg.onpointercancel = () => { if (dragging) { dragging = false; tell(); } };
  const observer = new ResizeObserver(() => {
    if (svg.clientWidth !== width) { draw(); place(last); }
  });
  observer.observe(svg);

  return {
    update(nextInfo, nextData) {
      const same = info && JSON.stringify(info) === JSON.stringify(nextInfo) && data.a.name === nextData.a.name;
      info = nextInfo;
      data = nextData;
      if (same) return;
      rows = fillIn(info.known, info.probabilities);
      [sets, said, outside] = [info.sets, info.said, info.outside].map((values) => spread(info.known, values));
      verdict.hidden = !sets.length;
      strange.hidden = !outside.length;
      model.textContent = info.title;
      const ends = `all ${data.b.name} to all ${data.a.name}`;
      heading.textContent = data.models.length === 2 ? `${info.name}: from ${ends}` : `From ${ends}`;
      svg.setAttribute("aria-label", info.description);
      changes.textContent = info.changes;
      draw();
    },
    show(ratio) {
      last = ratio;
      const none = Boolean(outside[ratio]), best = bars.set(rows[ratio], none);
      const dot = element("span", "dot");
      dot.style.background = classes[best][1];
      const text = `${classes[best][0]} · ${percent(rows[ratio][best])}`;
      winner.replaceChildren(dot, text);
      winner.classList.toggle("unsure", none);
      verdict.textContent = said.length ? `Set: ${said[ratio]}` : "";
      verdict.title = verdict.textContent;
      strange.textContent = strange.title = none ? info.strange : "";
      gap.textContent = info.gaps[ratio] ?? "";
      place(ratio);
      return [`${info.title}: ${text}`, said[ratio], none ? info.strange : ""].filter(Boolean).join(", ");
    },
    remove() {
      observer.disconnect();
      panel.remove();
    },
  };
}

// Neighbours of one value: [first, last, value] of each run.
function runs(values) {
  const found = [];
  for (let from = 0; from < values.length; ) {
    let to = from;
    while (to + 1 < values.length && values[to + 1] === values[from]) to++;
    found.push([from, to, values[from]]);
    from = to + 1;
  }
  return found;
}

// What is known at some ratios, at all of them: that of the nearest.
function spread(known, values) {
  if (!values.length) return [];
  return Array.from({ length: STEPS }, (_, ratio) => {
    const away = known.map((k) => Math.abs(k - ratio));
    return values[away.indexOf(Math.min(...away))];
  });
}

// Probabilities at all ratios: straight lines between those that are known so far.
function fillIn(known, probabilities) {
  const rows = [];
  for (let ratio = 0, k = 0; ratio < STEPS; ratio++) {
    while (known[k + 1] !== undefined && known[k + 1] <= ratio) k++;
    const next = Math.min(k + 1, known.length - 1);
    const t = next === k ? 0 : (ratio - known[k]) / (known[next] - known[k]);
    rows.push(probabilities[k].map((p, c) => p + t * (probabilities[next][c] - p)));
  }
  return rows;
}
