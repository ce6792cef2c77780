const [ofRun, ofSet, ofStep, ofGroup, order] = ["of-run", "of-set", "of-step", "of-group", "order"].map(byId);
const LABEL = 70; // characters of a prompt in the list of prompts

const set = () => runs[ofRun.value]?.sets[ofSet.value];
const unit = () => set()?.units[ofGroup.value];

/** Offer choices, [value, text] each, and keep what is chosen where it is offered still. */
function offer(select, choices, kept = select.selectedOptions[0]?.text) {
  select.replaceChildren(...choices.map(([value, text]) => make("option", { value }, text)));
  const same = choices.find(([, text]) => text === kept);
  if (same) select.value = same[0];
}

const summaryOf = (prompt) => prompt.at(-1)[1].replace(/\s+/g, " ").slice(0, LABEL);

function offerSets() {
  offer(ofSet, runs[ofRun.value].sets.map(({ name }, i) => [i, name]));
  offerSteps();
}

function offerSteps() {
  const steps = [...new Set((set()?.units ?? []).map(({ step }) => step))];
  const isNew = !ofStep.options.length;
  offer(ofStep, steps.map((step) => [step, `${step}`]));
  if (isNew && steps.length) ofStep.value = steps.at(-1);
  offerGroups();
}

function offerGroups() {
  const units = [...(set()?.units ?? []).entries()].filter(([, { step }]) => `${step}` === ofStep.value);
  offer(ofGroup, units.map(([i, { group, prompt }]) => {
    const number = /^\d+$/.test(group) ? `${Number(group) + 1}. ` : "";
    return [i, number + summaryOf(set().prompts[prompt])];
  }));
  show();
}

function turn([role, content]) {
  const said = make("pre", { className: "text" }, content);
  return make("div", {}, ...(role ? [make("span", { className: "role" }, role)] : []), said);
}

/** How a reward stands among those of its group, 0 to 1. */
function standing(reward, rewards) {
  const [low, high] = [Math.min(0, ...rewards), Math.max(0, ...rewards)];
  return high > low ? (reward - low) / (high - low) : 0;
}

function rewarded(reward, rewards) {
  const share = standing(reward, rewards);
  const bar = make("i");
  bar.style.width = `${100 * share}%`;
  bar.style.background = `color-mix(in oklab, var(--good) ${Math.round(100 * share)}%, var(--bad))`;
  return [make("div", { className: "reward", title: "reward" }, brief(reward)), make("div", { className: "bar" }, bar)];
}

/** Completions without those that another one equals, each with how many they are. */
function unlike(completions) {
  const found = new Map();
  for (const completion of completions) {
    const key = JSON.stringify(completion);
    found.set(key, { ...completion, times: (found.get(key)?.times ?? 0) + 1 });
  }
  return [...found.values()];
}

function answer({ text, reward, scores, tokens, truncated, feedback, times }, rewards) {
  const facts = Object.entries(scores).map(([name, value]) => make("span", {}, `${name} ${brief(value)}`));
  if (tokens != null) facts.push(make("span", {}, `${tokens} tokens`));
  if (times > 1) facts.push(make("span", {}, `${times} times`));
  if (truncated) facts.push(make("span", { className: "cut" }, "cut off"));
  return make("li", {},
    make("div", {}, ...(reward == null ? ["no reward"] : rewarded(reward, rewards))),
    make("div", {}, make("pre", { className: "text" }, text), make("div", { className: "facts" }, ...facts),
      ...(feedback ? [make("pre", { className: "text feedback" }, feedback)] : [])));
}

function show() {
  const { shown, written } = set() ?? {};
  byId("sampled").textContent = !written ? "samples.jsonl holds no completions."
    : shown < written ? `${shown.toLocaleString("en")} of the ${written.toLocaleString("en")} completions of this set in samples.jsonl, evenly chosen.`
      : `All ${written.toLocaleString("en")} completions of this set in samples.jsonl.`;
  const { prompt, completions = [] } = unit() ?? {};
  byId("prompt").replaceChildren(...(set()?.prompts[prompt] ?? []).map(turn));
  const sign = order.value === "best" ? -1 : 1;
  const rewards = completions.map(({ reward }) => reward);
  const sorted = unlike(completions).sort((a, b) => sign * (a.reward - b.reward));
  byId("answers").replaceChildren(...sorted.map((completion) => answer(completion, rewards)));
  byId("before").disabled = ofGroup.selectedIndex <= 0;
  byId("after").disabled = ofGroup.selectedIndex >= ofGroup.options.length - 1;
}

function turnTo(by) {
  ofGroup.selectedIndex += by;
  show();
}

ofRun.addEventListener("change", offerSets);
ofSet.addEventListener("change", offerSteps);
ofStep.addEventListener("change", offerGroups);
ofGroup.addEventListener("change", show);
order.addEventListener("change", show);
byId("before").addEventListener("click", () => turnTo(-1));
byId("after").addEventListener("click", () => turnTo(1));
document.querySelector(".several").hidden = runs.length < 2;
offer(ofRun, runs.map(({ name }, i) => [i, name]));
offerSets();
