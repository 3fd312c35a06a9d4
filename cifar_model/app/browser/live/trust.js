// What a network's softmax is worth, as the model's card says: cifar_model.trust, computed here from ten numbers.

/** trust.calibration's `calibrate`: { temperature, even_share } of the card; {} changes nothing. */
export const calibrate = (probabilities, { temperature = 1, even_share: evenShare = 0 }) => {
  if (temperature === 1 && evenShare === 0) return [...probabilities];
  const floor = evenShare * Math.min(...probabilities);
  const logits = Array.from(probabilities, (p) => Math.log(Math.max(p - floor, 1e-30)) / temperature);
  const top = Math.max(...logits), powers = logits.map((logit) => Math.exp(logit - top));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
};

/** Indexes of the classes that can't be ruled out (RAPS): trust.answer_sets; `sets` is the card's part. */
export const answerSet = (calibrated, { penalty, rank, levels }, level) => {
  const order = calibrated.map((_, i) => i).sort((i, j) => calibrated[j] - calibrated[i]); // a stable sort
  const members = [];
  let before = 0;
  order.forEach((i, place) => {
    const score = place ? 1 + before + penalty * Math.max(place + 1 - rank, 0) : 1 - calibrated[i];
    before += calibrated[i];
    if (score <= levels[level].threshold) members.push(i);
  });
  return members.sort((i, j) => i - j);
};

/** A set in words: "cat or dog (95 %)". */
export const setInWords = (members, names, level) => {
  const chosen = members.map((i) => names[i]);
  if (!chosen.length) return `no class is sure enough (${level} %)`;
  if (chosen.length === names.length) return `any of the ten classes (${level} %)`;
  const last = chosen.pop();
  return `${chosen.length ? `${chosen.join(", ")} or ` : ""}${last} (${level} %)`;
};

const GAMMA = 0.1, EVEN = 10 * (0.1 * 0.9) ** GAMMA;
const SCORES = {
  // trust.scope's `scope_score`
  generalisedEntropy: (raw) => {
    const all = raw.reduce((sum, p) => sum + p, 0); // all - p: 1 - p is 0 where a sure answer was rounded to 1
    return 1 - raw.reduce((sum, p) => sum + Math.max(p * (all - p), 0) ** GAMMA, 0) / EVEN;
  },
};

/** Whether it looks like none of the ten; null where the card's score needs more than ten probabilities. */
export const isOutside = (raw, scope) =>
  scope && SCORES[scope.score] ? SCORES[scope.score](raw) < scope.threshold : null;

/** The mean over the last moments: `seconds` is the time in which an answer's weight falls to a third; 0: none. */
export class Smoother {
  constructor() {
    this.forget();
  }

  forget() {
    this.mean = null;
  }

  add(probabilities, seconds, now = performance.now()) {
    const keep = this.mean && seconds > 0 ? Math.exp(-(now - this.last) / 1000 / seconds) : 0;
    this.mean = Array.from(probabilities, (p, i) => (keep ? keep * this.mean[i] : 0) + (1 - keep) * p);
    this.last = now;
    return this.mean;
  }
}
