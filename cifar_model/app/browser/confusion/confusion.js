// Ten by ten buttons: rows are what a picture is, columns what the network said.
export default function ({ data: [data], parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  if (outdated(root, data)) return;
  const names = data.classes.map(([name]) => name);
  const shown = JSON.stringify([names, data.counts, data.label]);
  if (root.shown !== shown) {
    root.shown = shown;
    build(root, names, data);
  }
  const choose = (row, column) => {
    root.cells.forEach((cells, r) => cells.forEach((cell, c) => {
      const chosen = r === row && c === column;
      cell.setAttribute("aria-pressed", String(chosen));
      cell.tabIndex = chosen ? 0 : -1; // one stop for the Tab key, arrows within
    }));
    root.rows.forEach((head, r) => head.classList.toggle("on", r === row));
    root.columns.forEach((head, c) => head.classList.toggle("on", c === column));
  };
  choose(...(data.selected ?? [0, 0]));
  root.cells.forEach((cells, row) => cells.forEach((cell, column) => {
    cell.onclick = () => {
      choose(row, column);
      setTriggerValue("picked", `${row}-${column}`);
    };
    cell.onkeydown = (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      root.cells[row + step[0]]?.[column + step[1]]?.focus();
    };
  }));
}

function build(root, names, data) {
  const table = element("table");
  table.setAttribute("aria-label", data.label);
  const head = element("tr");
  const corner = element("th", "corner");
  head.append(corner);
  root.columns = names.map((name) => {
    const cell = element("th", "answer");
    cell.scope = "col";
    cell.append(element("span", "", name));
    head.append(cell);
    return cell;
  });
  table.append(head);
  const worst = Math.max(1, ...data.counts.flatMap((row, r) => row.filter((_, c) => c !== r)));
  root.rows = [];
  root.cells = data.counts.map((row, r) => {
    const line = element("tr"), name = element("th", "truth", names[r]);
    name.scope = "row";
    root.rows.push(name);
    line.append(name);
    const total = Math.max(1, row.reduce((sum, count) => sum + count, 0));
    const cells = row.map((count, c) => {
      const right = r === c, cell = element("button", `cell ${right ? "right" : "wrong"} ${count ? "" : "none"}`, count);
      cell.type = "button";
      // The square root lets rare mistakes be told apart beside common ones.
      cell.style.setProperty("--share", `${Math.round(right ? 45 * (count / total) : 62 * Math.sqrt(count / worst))}%`);
      const what = right ? `${names[r]} recognised` : `${names[r]} taken for ${names[c]}`;
      cell.setAttribute("aria-label", `${what}: ${count} images`);
      cell.title = `${what}: ${count} of ${total}`;
      const place = element("td");
      place.append(cell);
      line.append(place);
      return cell;
    });
    table.append(line);
    return cells;
  });
  root.replaceChildren(element("div", "axes", "predicted class →"), table);
}
