// The report's tasks: drawn when they come into sight, filtered, sorted, walked by keyboard.
// Everything from the journal reaches the page as text or as numbers, never as markup.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const list = byId("list");
const SVG = "http://www.w3.org/2000/svg";
const MARKS = { first: "✓", second: "✓", unchosen: "✗", unfound: "✗", unknown: "" };
const FATES = {
  first: "right at the first attempt", second: "right at the second attempt",
  unchosen: "found, not chosen", unfound: "not found", unknown: "",
};

// An element with attributes and children; texts become text nodes.
function make(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function draw(parent, name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  parent.append(node);
  return node;
}

const percent = (x) => (100 * x).toFixed(x > 0.995 || x === 0 ? 0 : 1) + "\u2009%";
const seconds = (s) => (s < 60 ? s.toFixed(1) + " s" : Math.floor(s / 60) + " m " + Math.round(s % 60) + " s");
const plural = (n, word) => n + " " + word + (n === 1 ? "" : "s");
const rowsOf = (number) => data.grids[number].split("/");
const shapeOf = (number) => rowsOf(number).length + "×" + rowsOf(number)[0].length;

// --- pictures ---------------------------------------------------------------------------

// A grid as SVG, one unit a cell: a path for each colour, lines between cells, and a mark on
// every cell that differs from `truth`. At most `box` pixels a side.
function picture(number, box, truth = null) {
  const rows = rowsOf(number), height = rows.length, width = rows[0].length;
  const cell = Math.max(1, Math.min(22, box / Math.max(height, width)));
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", (width * cell).toFixed(1));
  svg.setAttribute("height", (height * cell).toFixed(1));
  svg.setAttribute("class", "grid");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `grid of ${height} by ${width} cells`);
  svg.dataset.grid = number;
  for (const [color, path] of paths(rows)) draw(svg, "path", { class: "c" + color, d: path });
  if (cell >= 4) draw(svg, "path", { class: "lines", d: lines(height, width) });
  if (cell >= 9 && root.classList.contains("digits")) digits(svg, rows);
  if (truth !== null && shapeOf(truth) === shapeOf(number)) marks(svg, rows, rowsOf(truth));
  return svg;
}

// Horizontal runs of equal cells, gathered by colour.
function paths(rows) {
  const found = new Map();
  rows.forEach((row, y) => {
    for (let x = 0, end; x < row.length; x = end) {
      for (end = x + 1; row[end] === row[x]; ) end++;
      found.set(row[x], (found.get(row[x]) || "") + `M${x} ${y}h${end - x}v1h${x - end}z`);
    }
  });
  return found;
}

function lines(height, width) {
  let path = "";
  for (let y = 0; y <= height; y++) path += `M0 ${y}h${width}`;
  for (let x = 0; x <= width; x++) path += `M${x} 0v${height}`;
  return path;
}

function digits(svg, rows) {
  rows.forEach((row, y) => [...row].forEach((digit, x) => {
    draw(svg, "text", { x: x + 0.5, y: y + 0.5, class: "digit d" + digit }).textContent = digit;
  }));
}

function marks(svg, rows, truth) {
  let path = "";
  rows.forEach((row, y) => [...row].forEach((digit, x) => {
    if (digit !== truth[y][x]) path += `M${x + 0.3} ${y + 0.3}l.4 .4m0 -.4l-.4 .4`;
  }));
  if (!path) return;
  draw(svg, "path", { class: "mark under", d: path });
  draw(svg, "path", { class: "mark", d: path });
}

function framed(caption, number, box, truth = null, kind = "") {
  return make("figure", { class: kind }, make("figcaption", {}, ...[caption].flat()), picture(number, box, truth));
}

// --- a task's line ----------------------------------------------------------------------

const drawn = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    drawn.unobserve(target);
    thumbnails(target);
  }
}, { rootMargin: "600px" });

// The first two test inputs, each with its attempts and the truth.
function thumbnails(holder) {
  holder.replaceChildren(...data.tasks[holder.dataset.task].tests.slice(0, 2).flatMap((test, i) => {
    const input = picture(test.in, 46);
    if (i) input.classList.add("next");
    const attempts = test.attempts.map((attempt) => picture(attempt, 46, test.truth));
    const truth = test.truth === null ? [] : [make("i", { title: "the truth" }, "="), picture(test.truth, 46)];
    return [input, make("i", {}, "→"), ...attempts, ...truth];
  }));
}

const verdict = (score) => (score === null ? "unknown" : score === 1 ? "solved" : score > 0 ? "partly" : "unsolved");
const VERDICTS = { solved: "✓", partly: "◐", unsolved: "✗", unknown: "·" };

function line(task, number) {
  const kind = verdict(task.score);
  const thumbs = make("span", { class: "thumbs", "data-task": number });
  const bar = make("span", { class: "confidence", title: "confidence" }, make("i"));
  bar.firstChild.style.width = 100 * task.confidence + "%";
  const button = make("button", { class: "line", "aria-expanded": "false", "aria-controls": "body" + number },
    make("span", { class: "verdict " + kind, title: { partly: "partly solved", unsolved: "not solved", unknown: "outputs not known" }[kind] || kind }, VERDICTS[kind]),
    make("span", { class: "id" }, task.id),
    thumbs,
    make("span", { class: "state" }, task.state + (task.trouble ? " " : ""),
      task.trouble ? make("em", { title: plural(task.trouble, "job") + " failed or died" }, "!" + task.trouble) : null),
    bar,
    make("span", { class: "cost" }, seconds(task.seconds)));
  const article = make("article", { id: "task" + number, class: kind }, button, make("div", { class: "body", id: "body" + number, hidden: "" }));
  button.addEventListener("click", () => toggle(number));
  drawn.observe(thumbs);
  return article;
}

// --- a task in full ---------------------------------------------------------------------

const BOX = () => Math.min(230, Math.max(100, (window.innerWidth - 96) / 2));

function body(task) {
  const parts = [make("h4", {}, "Demonstrations"), make("div", { class: "pairs" }, ...task.demos.map(([from, to], i) =>
    make("div", { class: "pair" }, framed([make("b", { class: "place" }, `${i + 1}`), ` ${shapeOf(from)}`], from, BOX()), make("i", {}, "→"), framed(shapeOf(to), to, BOX()))))];
  task.tests.forEach((test, i) => parts.push(...answers(test, i, task.tests.length)));
  if (task.jobs.length) parts.push(make("h4", {}, "Passes"), jobs(task));
  return parts;
}

function answers(test, i, count) {
  const head = make("h4", {}, count > 1 ? `Test input ${i + 1}` : "Test input",
    test.fate === "unknown" ? null : make("span", { class: "chip " + test.fate }, `${MARKS[test.fate]} ${FATES[test.fate]}`));
  const shown = make("div", { class: "pairs answers" }, framed("input", test.in, BOX()), make("i", {}, "→"));
  test.attempts.forEach((attempt, k) => {
    const right = attempt === test.truth;
    const note = test.truth === null ? "" : right ? " ✓" : ` ✗ ${difference(attempt, test.truth)}`;
    shown.append(framed([`attempt ${k + 1} · ${test.sources[k]}`, make("b", {}, note)], attempt, BOX(), test.truth, right ? "right" : ""));
  });
  if (test.truth !== null) shown.append(framed("truth", test.truth, BOX(), null, "truth"));
  const parts = [head, shown];
  for (const ballot of test.ballots) if (ballot.steps.length) parts.push(program(ballot, test));
  if (test.ballots.length) parts.push(ballots(test));
  return parts;
}

function difference(number, truth) {
  if (shapeOf(number) !== shapeOf(truth)) return `${shapeOf(number)}, not ${shapeOf(truth)}`;
  const other = rowsOf(truth).join("");
  return plural([...rowsOf(number).join("")].filter((c, i) => c !== other[i]).length, "cell");
}

function program(ballot, test) {
  const place = test.attempts.indexOf(ballot.grid) + 1;
  const steps = ballot.steps.map(([text, grid]) =>
    make("li", {}, make("code", {}, text), grid === null ? make("small", {}, "no grid") : picture(grid, 110)));
  return make("details", { class: "program", ...(place === 1 ? { open: "" } : {}) },
    make("summary", {}, `Program of attempt ${place}, step by step`), code(ballot.program), make("ol", {}, ...steps));
}

function code(text) {
  return make("pre", { class: "code" }, indented(text));
}

// A long expression over several lines, its arguments below one another.
function indented(text) {
  if (text.length < 90) return text;
  let depth = 0, out = "", quoted = false;
  for (const c of text) {
    if (c === "'") quoted = !quoted;
    if (!quoted && c === ")") depth--;
    out += c;
    if (!quoted && c === "(") depth++;
    if (!quoted && c === "," && depth <= 1) out += "\n" + "  ".repeat(Math.max(0, depth));
  }
  return out.replace(/\n( *) /g, "\n$1");
}

// Every distinct grid with its votes: by view, by likelihood under the fixed views.
function ballots(test) {
  const all = test.ballots.flatMap((ballot) => ballot.scores);
  const low = Math.min(...all), high = Math.max(...all);
  const most = Math.max(...test.ballots.map((ballot) => ballot.votes));
  const items = test.ballots.map((ballot) => {
    const right = ballot.grid === test.truth;
    const bar = make("span", { class: "votes" }, make("i"));
    bar.firstChild.style.width = (100 * ballot.votes) / most + "%";
    return make("li", { class: right ? "right" : "" },
      picture(ballot.grid, 84, test.truth),
      make("div", {},
        make("p", {}, make("b", {}, `${ballot.place + 1}.`), " " + plural(ballot.votes, "vote") + (right ? " ✓ right" : ""),
          ballot.programs > 1 ? `, ${ballot.programs} programs` : ""), bar,
        ballot.scores.length ? strip(ballot.scores, low, high) : null,
        make("p", { class: "views" }, ...ballot.views.map(chip)),
        ballot.program && !ballot.steps.length ? code(ballot.program) : null));
  });
  const left = test.distinct - test.ballots.length;
  return make("details", { class: "ballots", open: "" },
    make("summary", {}, `Votes: ${plural(test.distinct, "distinct grid")}` + (left ? `, ${test.ballots.length} shown` : "")),
    all.length ? make("p", { class: "note" }, "Dots: log-likelihood under each fixed view, on one scale for all grids; the line is their mean.") : null,
    make("ol", {}, ...items));
}

function chip([engine, view, votes, logprob]) {
  const [turn, colors, order] = view.split(".");
  const isView = /^d\d$/.test(turn) && colors !== undefined;
  const name = isView ? turn + (colors === "c0123456789" ? "" : " recoloured") : view || engine;
  const title = `${engine} ${view}` + (logprob === null ? "" : `, log-likelihood ${logprob}`) + (isView && order ? ` (${order})` : "");
  return make("span", { class: "chip", title }, name + (votes > 1 ? ` ×${votes}` : ""));
}

function strip(scores, low, high) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 200 14");
  svg.setAttribute("class", "strip");
  const place = (score) => 5 + (190 * (score - low)) / (high - low || 1);
  const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
  draw(svg, "path", { class: "axis", d: "M0 7h200" });
  for (const score of scores) draw(svg, "circle", { cx: place(score).toFixed(1), cy: 7, r: 2.6 });
  draw(svg, "path", { class: "mean", d: `M${place(mean).toFixed(1)} 1v12` });
  draw(svg, "title", {}).textContent = `mean ${mean.toFixed(2)}: ` + scores.join(", ");
  return svg;
}

function jobs(task) {
  const rows = task.jobs.map((place) => {
    const [engine, pass, outcome, cost, slice, worker, start, error] = data.jobs[place];
    const link = error === null ? outcome : make("a", { href: "#e" + error, class: "trouble" }, outcome);
    return make("tr", {}, ...[engine, pass, link, seconds(cost), seconds(slice), worker, seconds(start)].map((value, i) =>
      make("td", i === 0 || i === 2 ? {} : { class: "n" }, value instanceof Node ? value : String(value))));
  });
  const heads = ["engine", "pass", "ended", "took", "slice", "worker", "began"];
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head, i) =>
    make("th", i === 0 || i === 2 ? {} : { class: "n" }, head)))), make("tbody", {}, ...rows)));
}

// --- filters, order, opening ------------------------------------------------------------

const articles = data.tasks.map(line);
const texts = data.tasks.map((task) => [task.id, task.state, ...task.jobs.map((place) => data.jobs[place][0]),
  ...task.tests.flatMap((test) => [...test.sources, ...test.ballots.map((ballot) => ballot.program || "")])].join("\n").toLowerCase());
const KEYS = {
  order: (task, i) => i,
  id: (task) => task.id,
  confidence: (task) => -task.confidence,
  seconds: (task) => -task.seconds,
  close: (task) => Math.min(...task.tests.map((test) => (test.wrong ? test.wrong : 2))),
  size: (task) => -task.cells,
  candidates: (task) => -task.tests.reduce((sum, test) => sum + test.distinct, 0),
};
const CONTROLS = ["search", "result", "fate", "state", "sort"];
let visible = [];

function show() {
  const [search, result, fate, state, sort] = CONTROLS.map((id) => byId(id).value);
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const reverse = byId("reverse").getAttribute("aria-pressed") === "true" ? -1 : 1;
  const keys = data.tasks.map(KEYS[sort]);
  visible = [...data.tasks.keys()].filter((i) => {
    const task = data.tasks[i];
    return words.every((word) => texts[i].includes(word)) && (!result || verdict(task.score) === result) &&
      (!fate || task.tests.some((test) => test.fate === fate)) && (!state || task.state === state) &&
      (!byId("trouble").checked || task.trouble);
  });
  visible.sort((a, b) => reverse * (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : a - b));
  list.replaceChildren(...visible.map((i) => articles[i]));
  byId("count").textContent = `${visible.length} of ${plural(data.tasks.length, "task")}`;
  remember();
}

function toggle(number, open = undefined) {
  const button = articles[number].firstChild, part = articles[number].lastChild;
  const opening = open === undefined ? part.hidden : open;
  if (opening && !part.hasChildNodes()) part.append(...body(data.tasks[number]));
  part.hidden = !opening;
  button.setAttribute("aria-expanded", String(opening));
  remember();
}

function go(number) {
  if (!visible.includes(number)) reset();
  toggle(number, true);
  articles[number].scrollIntoView({ block: "start" });
  articles[number].firstChild.focus({ preventScroll: true });
}

function reset() {
  for (const id of CONTROLS) byId(id).value = id === "sort" ? "order" : "";
  byId("trouble").checked = false;
  byId("reverse").setAttribute("aria-pressed", "false");
  show();
}

// What is shown stands in the address, so that it survives a reload and can be passed on.
function remember() {
  const state = new URLSearchParams();
  for (const id of CONTROLS) if (byId(id).value && byId(id).value !== "order") state.set(id, byId(id).value);
  if (byId("trouble").checked) state.set("trouble", "1");
  if (byId("reverse").getAttribute("aria-pressed") === "true") state.set("reverse", "1");
  const open = visible.filter((i) => !articles[i].lastChild.hidden);
  if (open.length && open.length <= 20) state.set("task", open.map((i) => data.tasks[i].id).join(" "));
  const text = state.toString();
  if (text || location.hash.includes("=")) history.replaceState(null, "", "#" + text);
}

function recall() {
  const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  for (const id of CONTROLS) if (state.has(id)) byId(id).value = state.get(id);
  if (!byId("sort").value) byId("sort").value = "order";
  byId("trouble").checked = state.has("trouble");
  byId("reverse").setAttribute("aria-pressed", String(state.has("reverse")));
  show();
  const wanted = (state.get("task") || "").split(" ");
  const open = data.tasks.map((task, i) => (wanted.includes(task.id) ? i : -1)).filter((i) => visible.includes(i));
  open.forEach((i) => toggle(i, true));
  return open;
}

function redraw() {
  articles.forEach((article, i) => {
    if (article.lastChild.hidden) article.lastChild.replaceChildren();
    else article.lastChild.replaceChildren(...body(data.tasks[i]));
  });
}

function press(id, name) {
  const on = root.classList.toggle(name);
  byId(id).setAttribute("aria-pressed", String(on));
  if (name === "digits") redraw();
}

// --- keyboard ---------------------------------------------------------------------------

function step(by) {
  const at = visible.findIndex((i) => articles[i].contains(document.activeElement));
  const next = visible[at < 0 ? 0 : Math.max(0, Math.min(visible.length - 1, at + by))];
  if (next === undefined) return;
  articles[next].firstChild.focus();
  articles[next].scrollIntoView({ block: "nearest" });
}

function leave() {
  const inside = document.activeElement.closest && document.activeElement.closest("article");
  if (inside) toggle(articles.indexOf(inside), false);
  else document.activeElement.blur();
  if (inside) inside.firstChild.focus();
}

const ACTIONS = {
  "/": () => byId("search").focus(), j: () => step(1), k: () => step(-1), Escape: leave,
  p: () => press("palette", "safe"), d: () => press("digits", "digits"), "?": () => byId("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  const action = ACTIONS[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (typing && event.key !== "Escape") return;
  event.preventDefault();
  action();
});

// --- wiring -----------------------------------------------------------------------------

for (const id of [...CONTROLS, "trouble"]) byId(id).addEventListener("input", show);
byId("reverse").addEventListener("click", (event) => {
  const pressed = event.currentTarget.getAttribute("aria-pressed") === "true";
  event.currentTarget.setAttribute("aria-pressed", String(!pressed));
  show();
});
byId("reset").addEventListener("click", reset);
byId("palette").addEventListener("click", () => press("palette", "safe"));
byId("digits").addEventListener("click", () => press("digits", "digits"));
byId("keys").addEventListener("click", () => byId("help").showModal());
byId("close").addEventListener("click", () => byId("help").close());
document.addEventListener("click", (event) => {
  const place = event.target.closest("[data-filter], rect[data-task], button[data-task]");
  if (!place) return;
  if (place.dataset.filter) {
    const [id, value] = place.dataset.filter.split("=");
    reset();
    byId(id).value = value;
    show();
    byId("tasks").scrollIntoView();
  } else if (Number(place.dataset.task) >= 0) go(Number(place.dataset.task));
});
function reveal() {
  const target = byId(location.hash.slice(1));
  if (target && target.matches("details")) target.open = true;
}
window.addEventListener("hashchange", () => (location.hash.includes("=") ? recall() : reveal()));
for (const part of document.querySelectorAll("[data-grow]")) part.style.flexGrow = part.dataset.grow;
for (const part of document.querySelectorAll("[data-left]")) part.style.left = part.dataset.left / 10 + "%";

const opened = recall();
if (opened.length) articles[opened[0]].scrollIntoView();

// --- a page that grows ------------------------------------------------------------------

// A live page asks its server whether the run has gone on, and then loads itself anew; while
// someone looks at a task it only says so.
const live = document.querySelector("meta[name=live]");
async function ask() {
  if (document.hidden) return;
  const answer = await fetch("state").catch(() => null);
  const news = answer && answer.ok && (await answer.text()) !== live.dataset.state;
  const busy = document.querySelector("article .body:not([hidden])") || byId("help").open;
  if (news && !busy) location.reload();
  const status = document.querySelector(".status");
  if (news) status.textContent = "running; close the task to see news";
  if (!answer) status.textContent = "over: arcsub report shows it to the end";
}
if (live) setInterval(ask, 1000 * live.content);
