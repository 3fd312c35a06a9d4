const percent = (p) => {
  // As cifar_model.text.percent: a softmax is never quite 0.
  if (p < 0.001) return "< 0.1 %";
  if (p < 0.0995 || (p >= 0.99 && p < 1)) return `${Math.min(100 * p, 99.9).toFixed(1)} %`;
  return `${(100 * p).toFixed(0)} %`;
};

const element = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const SVG = "http://www.w3.org/2000/svg";
// An element of a drawing, in its place.
const shape = (tag, attributes, parent) => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent?.append(made);
  return made;
};

// Where the app lives, also behind a proxy that puts it below another path.
const appAddress = () => {
  const script = document.querySelector('script[type="module"][src*="/static/"]')?.src ?? `${location.origin}/static/`;
  return script.slice(0, script.lastIndexOf("/static/") + 1);
};

// A picture's address, which the server gives relative to the app's own.
const pictureAddress = (src) => (/^(data|blob|https?):/.test(src) ? src : appAddress() + src);

// Ten rows in the fixed order of the classes, so that a class stays where the eye left it.
const makeBars = (classes) => {
  const list = element("ol", "bars");
  const rows = classes.map(([name, color]) => {
    const row = element("li", "bar");
    const track = element("span", "track");
    const fill = element("div", "fill");
    track.setAttribute("aria-hidden", "true");
    track.append(fill);
    fill.style.transform = "scaleX(0)"; // until there is an answer
    const value = element("span", "value", "–");
    row.append(element("span", "name", name), track, value);
    row.style.setProperty("--color", color);
    list.append(row);
    return { row, fill, value };
  });
  const set = (probabilities, muted) => {
    const best = probabilities.indexOf(Math.max(...probabilities));
    list.classList.toggle("muted", Boolean(muted));
    rows.forEach(({ row, fill, value }, i) => {
      fill.style.transform = `scaleX(${probabilities[i]})`;
      value.textContent = percent(probabilities[i]);
      row.classList.toggle("first", i === best);
    });
    return best;
  };
  return { list, set };
};

// Streamlit may deliver two states of a component in the wrong order: true for one that is older than what is shown.
const outdated = (root, data) => {
  if (data.changed < (root.changed ?? 0)) return true;
  root.changed = data.changed;
  return false;
};
