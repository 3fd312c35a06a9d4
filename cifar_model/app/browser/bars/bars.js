export default function ({ data: [data], parentElement }) {
  const root = parentElement.querySelector(".root");
  if (outdated(root, data)) return;
  if (!root.bars) {
    root.bars = makeBars(data.classes);
    root.replaceChildren(root.bars.list);
    void root.bars.list.offsetWidth; // lets the first bars grow from nothing
    root.bars.list.classList.add("moving");
  }
  root.bars.list.setAttribute("aria-label", data.label);
  root.bars.set(data.probabilities, data.muted);
}
