export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  if (outdated(root, data)) return;
  root.className = `root gallery ${data.strip ? "strip" : ""}`;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", data.label);
  root.style.setProperty("--tile", data.tile);
  root.tiles ??= new Map();
  const kept = new Map();
  for (const item of data.items) {
    const tile = root.tiles.get(item.id) ?? makeTile();
    fill(tile, item);
    tile.setAttribute("aria-pressed", String(item.id === data.selected));
    tile.onclick = () => {
      for (const other of root.tiles.values()) other.setAttribute("aria-pressed", String(other === tile));
      setTriggerValue("picked", item.id);
    };
    kept.set(item.id, tile);
  }
  root.tiles = kept;
  const wanted = [...kept.values()];
  if (wanted.length !== root.children.length || wanted.some((tile, i) => tile !== root.children[i])) {
    root.replaceChildren(...wanted);
  }
}

function makeTile() {
  const tile = element("button", "tile");
  tile.type = "button";
  return tile;
}

function fill(tile, item) {
  const now = JSON.stringify(item);
  if (tile.shown === now) return;
  tile.shown = now;
  tile.classList.toggle("failed", Boolean(item.failed));
  tile.classList.toggle("exact", Boolean(item.exact));
  let picture;
  if (item.src) {
    picture = element("img");
    picture.src = item.src;
    picture.alt = item.alt;
    tile.title = item.alt;
    if (item.whole) picture.className = "whole";
  } else {
    picture = element("span", "blank", item.failed ? "can't be read" : "…");
  }
  const parts = [picture];
  if (item.title) {
    const title = element("span", "title");
    if (item.color) {
      const dot = element("span", "dot");
      dot.style.background = item.color;
      title.append(dot);
    }
    title.append(element("span", "", item.title));
    parts.push(title);
  }
  if (item.note) {
    const note = element("div", "note", item.note);
    note.title = item.note;
    parts.push(note);
  }
  if (item.extra) {
    const extra = element("div", "extra", item.extra);
    extra.title = item.extra;
    parts.push(extra);
  }
  tile.replaceChildren(...parts);
}
