const FIRST = [/^eval\/(.*\/)?score$/, /^reward\/mean$/, /^loss$/, /^eval\/rewards\/accuracies$/,
  /^rewards\/accuracies$/, /^length\/mean$/, /^length\/truncated$/, /^entropy$/, /^kl\/ref$/, /^grad_norm$/];
const SPARSE = 20; // points that are drawn as such, one by one
const drawn = new Map(); // figures that have been in view: the metric and the view of each

const axis = { domainColor: "var(--line)", gridColor: "var(--line)", tickColor: "var(--line)",
  labelColor: "var(--muted)", titleColor: "var(--muted)", labelFontSize: 11, titleFontSize: 11 };
const config = { background: null, view: { stroke: null }, axis, legend: { labelColor: "var(--text)" } };
const embedding = { mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, ast: true };

function lines(metric) {
  const isSparse = runs.every((run) => !(metric in run.metrics) || run.metrics[metric].values.length <= SPARSE);
  const layer = (mark, field) => ({ mark, encoding: { y: {
    field, type: "quantitative", title: null, scale: { zero: false }, axis: { tickCount: 5 } } } });
  return {
    config,
    width: "container",
    height: 170,
    data: { name: "points", values: pointsOf(metric) },
    encoding: {
      x: { field: "at", type: "quantitative", title: null, scale: { nice: false }, axis: { grid: false, tickCount: 6 } },
      color: { field: "run", legend: null, scale: { domain: [...runs.keys()], range: [...runs.keys()].map(color) } },
    },
    layer: [
      layer({ type: "line", opacity: 0.35, strokeWidth: 1, clip: true }, "raw"),
      layer({ type: "line", strokeWidth: 2, point: isSparse && { size: 28 } }, "value"),
    ],
  };
}

/** Exponential means, each of them corrected for what came before the first value. */
function smooth(values, weight) {
  let sum = 0;
  let total = 0;
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return sum / total;
  });
}

/** What is drawn of a metric; evaluations, of which there are few, are not smoothed. */
function pointsOf(metric) {
  const weight = metric.startsWith("eval/") ? 0 : Number(byId("smoothing").value);
  return [...shown].filter((run) => metric in runs[run].metrics).flatMap((run) => {
    const { axis: number, values } = runs[run].metrics[metric];
    const places = runs[run].axes[number][byId("over").value];
    return smooth(values, weight).map((value, i) => ({ run, at: places[i], raw: values[i], value }));
  });
}

async function draw(figure, metric) {
  const { view } = await vegaEmbed(figure.querySelector(".plot"), lines(metric), embedding);
  drawn.set(figure, { metric, view });
}

function redraw() {
  byId("smoothed").textContent = Number(byId("smoothing").value).toFixed(2);
  for (const { metric, view } of drawn.values()) view.data("points", pointsOf(metric)).run();
}

const whenSeen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    whenSeen.unobserve(target);
    draw(target, target.dataset.metric);
  }
}, { rootMargin: "300px" });

function addChart(metric, place) {
  const figure = make("figure", { className: "chart" },
    make("figcaption", {}, metric), make("div", { className: "plot" }));
  figure.dataset.metric = metric;
  figure.addEventListener("pointermove", (event) => pointAt(figure, event));
  figure.addEventListener("pointerleave", hideTip);
  byId(place).append(figure);
  whenSeen.observe(figure);
}

const tip = make("div", { id: "tip", hidden: true });
const cross = make("div", { className: "cross", hidden: true });
document.body.append(tip);

function hideTip() {
  tip.hidden = cross.hidden = true;
}

function showTip(event, ...content) {
  tip.replaceChildren(...content);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - width - 8)}px`;
  tip.style.top = `${Math.max(8, event.clientY - height - 12)}px`;
}

/** Show what all runs have where the pointer is. */
function pointAt(figure, event) {
  const { metric, view } = drawn.get(figure) ?? {};
  if (!view) return;
  const scale = view.scale("x");
  const box = figure.querySelector("svg").getBoundingClientRect();
  const left = box.left + view.origin()[0];
  const at = scale.invert(event.clientX - left);
  const nearest = new Map();
  for (const point of pointsOf(metric)) {
    const best = nearest.get(point.run);
    if (!best || Math.abs(point.at - at) < Math.abs(best.at - at)) nearest.set(point.run, point);
  }
  if (!nearest.size) return hideTip();
  const place = [...nearest.values()].reduce((a, b) => (Math.abs(a.at - at) <= Math.abs(b.at - at) ? a : b)).at;
  figure.append(cross);
  cross.hidden = false;
  const own = figure.getBoundingClientRect();
  Object.assign(cross.style, { left: `${left + scale(place) - own.left}px`,
    top: `${box.top - own.top + view.origin()[1]}px`, height: `${view.height()}px` });
  const rows = [...nearest.values()].map((point) => make("div", {},
    swatch(color(point.run)), runs[point.run].name, make("b", {}, brief(point.value))));
  showTip(event, make("div", {}, make("small", {}, `${byId("over").selectedOptions[0].text}: ${brief(place)}`)), ...rows);
}

const phaseColor = (number) => color(number + 4); // unlike the first runs

function drawPhases() {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.phases)))];
  const values = [...shown].flatMap((number) => Object.entries(runs[number].phases)
    .map(([phase, seconds]) => ({ number, run: runs[number].name, phase, seconds })));
  const spec = {
    config,
    width: "container",
    height: 30 * runs.length,
    autosize: { type: "fit-x", contains: "padding" },
    data: { values },
    mark: { type: "bar", cornerRadius: 2 },
    encoding: {
      y: { field: "number", type: "ordinal", title: null, scale: { paddingInner: 0.3, paddingOuter: 0.1 }, axis: runs.length === 1 ? null
        : { domain: false, ticks: false, labelLimit: 160, labelColor: "var(--text)", labelFontSize: 12,
          labelExpr: `${JSON.stringify(runs.map((run) => run.name))}[datum.value]` } },
      x: { field: "seconds", type: "quantitative", title: "seconds per step", axis: { tickCount: 6 } },
      color: { field: "phase", sort: names, scale: { domain: names, range: names.map((_, i) => phaseColor(i)) },
        legend: { orient: "top", title: null, labelFontSize: 12 } },
      order: { field: "order" },
      tooltip: { value: "" },
    },
  };
  for (const value of values) value.order = names.indexOf(value.phase);
  const tooltip = (_, event, item) => {
    if (!item?.datum?.phase) return hideTip();
    const { number, phase, seconds } = item.datum;
    const all = Object.values(runs[number].phases).reduce((a, b) => a + b);
    showTip(event, make("div", {}, swatch(phaseColor(names.indexOf(phase))), phase,
      make("b", {}, `${brief(seconds)} s, ${Math.round((100 * seconds) / all)} %`)));
  };
  byId("phases").hidden = !values.length;
  return vegaEmbed(byId("phases"), spec, { ...embedding, tooltip });
}

const metrics = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))];
const main = FIRST.flatMap((pattern) => metrics.filter((name) => pattern.test(name)));
for (const metric of main) addChart(metric, "main-charts");
for (const metric of metrics.filter((name) => !main.includes(name)).sort()) addChart(metric, "other-charts");

byId("smoothing").addEventListener("input", redraw);
byId("over").addEventListener("change", redraw);
for (const box of document.querySelectorAll("input[name=run]")) {
  box.addEventListener("change", () => {
    if (box.checked) shown.add(Number(box.value));
    else shown.delete(Number(box.value));
    redraw();
    drawPhases();
  });
}
redraw();
drawPhases();
