// The part that Streamlit mounts: fetches the rest, which comes only when the page is opened.
export default function ({ data: [data], parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  if (outdated(root, data)) return;
  const home = appAddress();
  root.page ??= import(`${home}${data.files}page.js?${data.version}`).then(({ start }) =>
    start(root, { element, makeBars, percent, home }),
  );
  root.page.then(
    (page) => {
      page.update(data, (taken) => setTriggerValue("taken", taken));
      root.querySelector(".frame").inert = false; // before, a click would have been lost
    },
    () => {
      const message = root.querySelector(".message");
      message.hidden = false;
      message.querySelector("strong").textContent = "This page could not be loaded whole.";
      message.querySelector("span").textContent = "Is the server still running? Reload the page to try again.";
    },
  );
  return () => root.page.then((page) => page.stop());
}
