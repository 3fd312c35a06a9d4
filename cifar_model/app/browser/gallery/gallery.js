export default function ({ data: [data], parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  if (outdated(root, data)) return;
  root.className = `root gallery ${data.strip ? "strip" : ""}`;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", data.label);
  root.style.setProperty("--tile", data.tile);
  root.tiles ??= new Map();
  const kept = new Map();
  for (const item of data.items) {
    const place = root.tiles.get(item.id) ?? makePlace();
    const { slot, tile, remove } = place;
    fill(tile, item);
    tile.setAttribute("aria-pressed", String(item.id === data.selected));
    tile.onclick = () => {
      for (const other of root.tiles.values()) other.tile.setAttribute("aria-pressed", String(other.tile === tile));
      setTriggerValue("picked", item.id);
    };
    remove.hidden = !item.removable;
    remove.setAttribute("aria-label", `Remove ${item.name ?? item.title ?? item.alt}`);
    remove.onclick = () => {
      // Whoever removes one by keyboard stays where they are.
      const neighbour = slot.nextElementSibling ?? slot.previousElementSibling;
      neighbour?.querySelector(".tile")?.focus();
      setTriggerValue("removed", item.id);
    };
    kept.set(item.id, place);
  }
  root.tiles = kept;
  const wanted = [...kept.values()].map((place) => place.slot);
  if (wanted.length !== root.children.length || wanted.some((slot, i) => slot !== root.children[i])) {
    const focused = root.getRootNode().activeElement;
    root.replaceChildren(...wanted);
    if (focused && root.contains(focused)) focused.focus();
  }
  // The chosen one is in sight, however long the strip; only sideways, so that the page stays where it is.
  const chosen = data.strip && kept.get(data.selected)?.slot;
  if (chosen && root.chosen !== data.selected) {
    root.scrollLeft = Math.max(0, chosen.offsetLeft - root.offsetLeft - root.clientWidth / 2 + chosen.offsetWidth / 2);
  }
  root.chosen = data.selected;
}

function makePlace() {
  const slot = element("div", "slot"), tile = element("button", "tile"), remove = element("button", "remove", "×");
  tile.type = remove.type = "button";
  slot.append(tile, remove);
  return { slot, tile, remove };
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
    picture.src = pictureAddress(item.src);
    picture.alt = item.title && item.title === item.alt ? "" : item.alt; // the title beside it says it already
    tile.title = item.alt;
    if (item.whole) picture.className = "whole";
  } else {
    picture = element("span", "blank", item.failed ? "can't be read" : "…");
    tile.title = item.alt;
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
