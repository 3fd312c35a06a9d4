export default function ({ data: [data], parentElement, setStateValue }) {
  const find = (selector) => parentElement.querySelector(selector);
  const [root, stage, image, box, label, slider, canvas] = [
    ".root", ".stage", ".stage img", ".window", "label", "input", "canvas",
  ].map(find);
  if (outdated(root, data)) return;
  const { width, height } = data;
  const square = width === height;
  const along = width > height ? "x" : "y";
  const side = Math.min(width, height);

  const place = (position) => {
    // In shares of the picture, so that it holds at any size on the screen.
    const start = ((Math.max(width, height) - side) * position) / Math.max(width, height);
    box.style.left = along === "x" ? `${100 * start}%` : "0";
    box.style.top = along === "y" ? `${100 * start}%` : "0";
    box.style.width = `${(100 * side) / width}%`;
    box.style.height = `${(100 * side) / height}%`;
    slider.value = position;
  };
  // While the square moves, the browser's own scaling stands in; the exact pixels follow on release.
  const sketch = (position) => {
    const scale = image.naturalWidth / width;
    const offset = (Math.max(width, height) - side) * position * scale;
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, along === "x" ? offset : 0, along === "y" ? offset : 0, side * scale, side * scale, 0, 0, 32, 32);
  };
  const move = (position) => {
    root.position = Math.round(100 * Math.min(1, Math.max(0, position))) / 100;
    place(root.position);
    sketch(root.position);
  };
  const send = () => setStateValue("position", root.position);

  const preview = pictureAddress(data.preview);
  if (image.src !== preview) image.src = preview;
  image.alt = `${data.name} as it arrived`;
  find(".arrived").textContent = data.arrived;
  find(".seen").textContent = data.seen;
  canvas.setAttribute("aria-label", data.seen);
  stage.className = `stage ${square ? "" : along === "x" ? "wide" : "tall"}`;
  box.hidden = label.hidden = square;
  if (!root.dragging) {
    root.position = data.position;
    place(data.position);
    const exact = new Image();
    exact.onload = () => {
      if (root.dragging || root.changed !== data.changed || root.position !== data.position) return;
      canvas.getContext("2d").drawImage(exact, 0, 0);
    };
    exact.src = pictureAddress(data.pixels);
  }
  if (square) return;
  slider.oninput = () => move(Number(slider.value));
  slider.onchange = send;
  stage.onpointerdown = (event) => {
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    const bounds = stage.getBoundingClientRect();
    const room = along === "x" ? bounds.width - bounds.height : bounds.height - bounds.width;
    const at = (e) => (along === "x" ? e.clientX : e.clientY) / room;
    root.dragging = { from: at(event), position: root.position, at };
  };
  stage.onpointermove = (event) => {
    if (root.dragging) move(root.dragging.position + root.dragging.at(event) - root.dragging.from);
  };
  stage.onpointerup = stage.onpointercancel = () => {
    if (!root.dragging) return;
    root.dragging = null;
    send();
  };
}
