// A run's accuracy and loss side by side; drawn when points have come, or the room for them has changed.
export default function ({ data: [data], parentElement }) {
  const root = parentElement.querySelector(".root");
  if (outdated(root, data)) return;
  root.charts ??= data.charts.map((chart) => makeChart(root, chart, data.series));
  if (root.text !== data.points) {
    root.text = data.points;
    root.points = JSON.parse(data.points);
  }
  for (const chart of root.charts) chart.show(root.points, data.epochs);
}

// `chart`: title, where its values stand in a row of points, and whether they are shares.
function makeChart(root, chart, series) {
  const figure = element("figure", "chart"), svg = shape("svg", { role: "img" });
  const legend = element("figcaption");
  series.forEach(([name, color]) => {
    const dot = element("span", "dot");
    dot.style.background = color;
    const entry = element("span", "entry", name);
    entry.prepend(dot);
    legend.append(entry);
  });
  figure.append(element("h4", "", chart.title), legend, svg);
  root.append(figure);
  const height = 250, margin = { left: 38, right: 10, top: 8, bottom: 40 };
  let points = { within: [], epochs: [] }, epochs = 1, width = 0;

  const say = (value) => (value === null ? "unknown" : chart.share ? percent(value) : value.toFixed(3));

  const draw = () => {
    width = svg.clientWidth;
    if (!width) return;
    const lines = [
      points.within.map((row) => [row[0], row[chart.within]]),
      points.epochs.map((row) => [row[0], row[chart.training]]),
      points.epochs.map((row) => [row[0], row[chart.validation]]),
    ].map((line) => line.filter(([, value]) => value !== null));
    const highest = chart.share ? 1 : Math.max(0.1, ...lines.flat().map(([, value]) => value));
    const [top, step] = chart.share ? [1, 0.2] : scaleTo(highest, 5);
    const x = (epoch) => margin.left + (epoch / epochs) * (width - margin.left - margin.right);
    const y = (value) => height - margin.bottom - (value / top) * (height - margin.top - margin.bottom);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    for (let value = 0; value <= top + step / 2; value += step) {
      shape("line", { class: "grid", x1: x(0), x2: x(epochs), y1: y(value), y2: y(value) }, svg);
      const label = shape("text", { x: margin.left - 6, y: y(value) + 4, "text-anchor": "end" }, svg);
      label.textContent = chart.share ? `${Math.round(100 * value)}%` : value.toFixed(step < 0.1 ? 2 : 1);
    }
    const every = Math.max(1, scaleTo(epochs, Math.min(8, width / 45))[1]);
    for (let epoch = 0; epoch <= epochs; epoch += every) {
      shape("text", { x: x(epoch), y: height - 22, "text-anchor": "middle" }, svg).textContent = epoch;
    }
    shape("text", { x: x(epochs / 2), y: height - 4, "text-anchor": "middle" }, svg).textContent = "Epoch";
    lines.forEach((line, i) => {
      const [name, color] = series[i], thin = i === 0;
      const at = line.map(([epoch, value]) => `${x(epoch).toFixed(1)},${y(value).toFixed(1)}`);
      if (at.length) shape("path", { class: thin ? "line thin" : "line", d: `M${at.join("L")}`, stroke: color }, svg);
      if (thin) return;
      line.forEach(([epoch, value]) => {
        const dot = shape("circle", { cx: x(epoch), cy: y(value), r: 3, fill: color }, svg);
        shape("title", {}, dot).textContent = `Epoch ${epoch}, ${name}: ${say(value)}`;
      });
    });
    const last = points.epochs.at(-1);
    const now = last && ` Epoch ${last[0]}: training ${say(last[chart.training])}, validation ${say(last[chart.validation])}.`;
    svg.setAttribute("aria-label", `${chart.title} on training and validation images by epoch.${now ?? ""}`);
  };
  new ResizeObserver(() => svg.clientWidth !== width && draw()).observe(svg);

  return {
    show(nextPoints, nextEpochs) {
      if (points === nextPoints && epochs === nextEpochs) return;
      [points, epochs] = [nextPoints, nextEpochs];
      draw();
    },
  };
}

// The end of an axis that reaches `highest`, and the step of about `count` even numbers on it.
function scaleTo(highest, count) {
  const rough = highest / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  return [Math.ceil(highest / step - 1e-9) * step, step];
}
