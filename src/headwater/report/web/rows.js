  // The rows: searched, sorted, read page by page, and narrowed to those behind a number.
  const get = (column, i) => ("constant" in column ? column.constant : "codes" in column ? column.distinct[column.codes[i]] : column.values[i]);
  const byName = (columns) => Object.fromEntries(columns.map((column) => [column.name, column]));
  function counted(number, noun) { return number.toLocaleString("en") + " " + noun + (number === 1 ? "" : "s"); }
  const columns = data.rows.columns;
  const named = byName(columns);
  const shown = ["name", "task", "protocol", "shots", "draw", "seed", "metric", "subset", "value", "status", "cell"];
  const numeric = ["value", "seed", "draw", "shots"];
  const pageLength = 50;
  const texts = [];
  let only = null, what = "", missingRows = "", first = 0, sorted = null;

  function text(i) {
    if (texts[i] === undefined) {
      texts[i] = ["name", "method", "task", "protocol", "metric", "subset", "status", "reason", "cell", "arm", "source", "labels", "backbone"]
        .map((name) => get(named[name], i) ?? "").join(" ").toLowerCase() + " seed:" + get(named.seed, i) + " shots:" + (get(named.shots, i) ?? "all") + " draw:" + get(named.draw, i);
    }
    return texts[i];
  }
  function words(name, value) {
    if (value === null) return name === "shots" ? "all" : "–";
    return name === "value" ? (100 * value).toFixed(1) + " %" : String(value);
  }

  // Rows by what they belong to, made when they are first asked for.
  const groups = new Map();
  function grouped(names) {
    const key = names.join();
    if (!groups.has(key)) {
      const found = new Map();
      for (let i = 0; i < data.rows.count; i += 1) {
        const of = JSON.stringify(names.map((name) => String(get(named[name], i) ?? "all")));
        if (!found.has(of)) found.set(of, []);
        found.get(of).push(i);
      }
      groups.set(key, found);
    }
    return (values) => groups.get(key).get(JSON.stringify(values)) || [];
  }
  const setting = ["name", "task", "protocol", "metric", "subset", "shots"];
  function rowsOf(number) { return grouped(setting)(setting.map((name) => String(get(numbers[name], number)))); }
  // "0-41 57": runs of places in the list of cells.
  function cellsAt(places) {
    return places.split(" ").filter(Boolean).flatMap((run) => {
      const [start, last] = run.split("-").map(Number);
      return data.cells.slice(start, (last ?? start) + 1);
    });
  }
  // Of cells: their rows of the metric that decides, and those without a number.
  const rowsOfCells = (cells) => cells.flatMap((cell) => grouped(["cell"])([cell])).filter((i) => [data.opening.metric, null].includes(get(named.metric, i)));
  function rowsBehind(button) {
    if ("number" in button.dataset) return rowsOf(+button.dataset.number);
    if ("arm" in button.dataset) return grouped(["name"])([button.dataset.arm]);
    return rowsOfCells(cellsAt(button.dataset.cells));
  }

  function found() {
    const wanted = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const all = only || [...Array(data.rows.count).keys()];
    const left = all.filter((i) => wanted.every((word) => text(i).includes(word)));
    if (sorted) left.sort((a, b) => compared(get(named[sorted[0]], a), get(named[sorted[0]], b), sorted[1]));
    return left;
  }
  function toggle(row, i) {
    const button = row.querySelector("button");
    if (row.nextSibling && row.nextSibling.className === "open") {
      row.nextSibling.remove();
      button.setAttribute("aria-expanded", "false");
      return;
    }
    button.setAttribute("aria-expanded", "true");
    const open = document.createElement("tr");
    open.className = "open";
    const cell = make("td", null, open);
    cell.colSpan = shown.length;
    const list = make("dl", null, cell);
    for (const column of columns) {
      const value = get(column, i);
      if (value === null || column.name === "name") continue;
      const item = make("div", null, list);
      make("dt", column.name, item);
      make("dd", String(value), item);
    }
    row.after(open);
  }
  function showRow(body, i, anchored) {
    const row = make("tr", null, body);
    for (const name of shown) {
      const cell = make("td", null, row, numeric.includes(name) ? "n" : "");
      const value = get(named[name], i);
      if (name === "name") {
        const button = make("button", words(name, value), cell, "row");
        button.type = "button";
        button.setAttribute("aria-expanded", "false");
      } else if (name === "cell") {
        const link = make("a", value, cell);
        link.href = "#cell-" + value;
        if (!anchored.has(value)) row.id = "cell-" + value;
        anchored.add(value);
      } else cell.textContent = words(name, value);
    }
    row.addEventListener("click", (event) => { if (!event.target.closest("a")) toggle(row, i); });
    return row;
  }
  function explore() {
    const body = byId("explorer").tBodies[0], left = found(), anchored = new Set();
    first = Math.min(first, Math.max(0, Math.floor((left.length - 1) / pageLength) * pageLength));
    body.replaceChildren();
    const page = left.slice(first, first + pageLength);
    for (const i of page) showRow(body, i, anchored);
    const range = left.length > pageLength ? ", " + (first + 1).toLocaleString("en") + " to " + (first + page.length).toLocaleString("en") + " shown" : "";
    byId("found").textContent = counted(left.length, "row") + (only ? " " + what : "") + range + missingRows;
    byId("clear").hidden = !only;
    byId("back").disabled = first === 0;
    byId("on").disabled = first + pageLength >= left.length;
    byId("pages").hidden = left.length <= pageLength;
  }
  function narrow(rows, words, lacking = "") {
    [only, what, missingRows, first] = [rows, words, lacking, 0];
    byId("search").value = "";
    explore();
  }
  function atTheRows() {
    byId("rows").scrollIntoView({ block: "start" });
    const button = byId("explorer").querySelector("button.row");
    if (button) button.focus({ preventScroll: true });
  }

  // A link to a cell shows its rows, the first of them open.
  function follow() {
    if (!location.hash.startsWith("#cell-")) return;
    let cell = location.hash.slice("#cell-".length);
    try { cell = decodeURIComponent(cell); } catch { /* no encoded text: as it stands */ }
    const rows = grouped(["cell"])([cell]);
    if (!rows.length) { byId("found").textContent = "This page holds no cell " + cell; byId("rows").scrollIntoView(); return; }
    narrow(rows, "of cell " + cell);
    const row = byId("explorer").tBodies[0].rows[0];
    toggle(row, rows[0]);
    atTheRows();
  }

  const head = make("tr", null, byId("explorer").tHead);
  for (const name of shown) make("th", name === "name" ? "arm" : name, head, numeric.includes(name) ? "n" : "").scope = "col";
  sortable(byId("explorer"), (column, way) => { [sorted, first] = [[shown[column], way], 0]; explore(); });
  csvButton(byId("rows-tools"), "these rows", () => fileWord(document.title + " rows"),
    () => [columns.map((column) => (column.name === "name" ? "arm_name" : column.name)), ...found().map((i) => columns.map((column) => get(column, i)))]);
  let timer = 0;
  byId("search").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => { first = 0; explore(); }, 120); });
  byId("clear").addEventListener("click", () => narrow(null, ""));
  byId("back").addEventListener("click", () => { first = Math.max(0, first - pageLength); explore(); });
  byId("on").addEventListener("click", () => { first += pageLength; explore(); });
  byId("explorer").addEventListener("keydown", (event) => {
    const buttons = [...byId("explorer").querySelectorAll("button.row")], at = buttons.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined || !buttons[to]) return;
    event.preventDefault();
    buttons[to].focus();
  });
  for (const button of document.querySelectorAll("button.trace[data-cells], button.trace[data-arm]")) {
    const rows = rowsBehind(button).length;
    button.querySelector(".count").textContent = counted(rows, "row");
    button.hidden = !rows;
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.trace");
    if (!button) return;
    const rows = rowsBehind(button), all = Number(button.dataset.count || 0);
    const cells = "cells" in button.dataset ? cellsAt(button.dataset.cells).length : new Set(rows.map((i) => get(named.cell, i))).size;
    narrow(rows, "behind that number", cells < all ? "; this page holds " + cells + " of its " + all + " cells" : "");
    location.hash = "rows"; // so that the browser's way back leads to the number
    atTheRows();
  });
  explore();
