// Keeps the key by which the server knows this browser's runs; shows nothing.
const PLACE = "cifar-lab-visitor";

export default function ({ data: [data], setStateValue }) {
  let key = data.proposed;
  try {
    const kept = localStorage.getItem(PLACE);
    if (/^[0-9a-f]{64}$/.test(kept)) key = kept;
    else localStorage.setItem(PLACE, key);
  } catch {
    // The browser keeps nothing for this page: the key lasts as long as the visit.
  }
  if (key !== data.proposed) setStateValue("kept", key);
}
