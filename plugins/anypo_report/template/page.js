const runs = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const color = (number) => `var(--color-${number % 10})`;
const shown = new Set(runs.keys()); // numbers of the runs whose boxes are ticked

/** An element; what it contains is text, never markup. */
function make(tag, properties = {}, ...content) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...content);
  return element;
}

function swatch(background) {
  const square = make("span", { className: "swatch" });
  square.style.background = background;
  return square;
}

/** A number with about four digits. */
function brief(value) {
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(2);
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

const THEMES = ["light dark", "light", "dark"];
const NAMES = ["Theme: system", "Theme: light", "Theme: dark"];
let theme = 0;

function applyTheme() {
  document.documentElement.style.colorScheme = THEMES[theme];
  byId("theme").textContent = NAMES[theme];
}

byId("theme").addEventListener("click", () => {
  theme = (theme + 1) % THEMES.length;
  applyTheme();
});
applyTheme();

for (const square of document.querySelectorAll("[data-run]")) {
  square.style.background = color(Number(square.dataset.run));
}
