"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const choice = (id) => (byId(id) ? byId(id).value : "");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const views = new Map();

  // Charts are drawn when they come into sight: a study with many tasks has hundreds.
  function draw(figure) {
    if (views.has(figure)) return;
    views.set(figure, null);
    const spec = Object.assign({ width: "container", autosize: { type: "fit-x", contains: "padding" } }, data.panels[+figure.dataset.panel].spec);
    const options = {
      ast: true, actions: false, renderer: "svg", defaultStyle: false, config: data.themes[dark.matches ? "dark" : "light"],
      tooltip: { theme: "page", disableDefaultStyle: true },
    };
    window.vegaEmbed(figure.querySelector(".chart"), spec, options).then(
      (result) => views.set(figure, result),
      (error) => { figure.querySelector(".chart").textContent = "This chart could not be drawn: " + error.message; },
    );
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !entry.target.hidden) draw(entry.target);
  }, { rootMargin: "300px" });
  const figures = [...document.querySelectorAll("figure[data-panel]")];
  figures.forEach((figure) => watcher.observe(figure));
  dark.addEventListener("change", () => {
    for (const [figure, result] of views) {
      if (result) result.finalize();
      views.delete(figure);
      watcher.unobserve(figure);
      watcher.observe(figure);
    }
  });
  window.addEventListener("beforeprint", () => figures.forEach((figure) => { if (!figure.hidden) draw(figure); }));

  function fits(element, names) {
    return names.every((name) => {
      const wanted = choice(name), has = element.dataset[name];
      return wanted === "" || has === "" || has === wanted || (name === "task" && has === "mean over tasks");
    });
  }
  function refresh() {
    for (const section of document.querySelectorAll("section.charts")) {
      let shown = 0;
      for (const figure of section.querySelectorAll("figure")) {
        figure.hidden = !fits(figure, ["task", "protocol", "shots"]);
        if (!figure.hidden) { shown += 1; watcher.unobserve(figure); watcher.observe(figure); }
      }
      section.querySelector(".grid").dataset.count = shown;
      section.querySelector(".empty").hidden = shown > 0;
    }
    let task = null;
    for (const row of document.querySelectorAll("#summary tbody tr")) {
      row.hidden = !fits(row, ["task", "protocol", "shots", "subset", "metric"]);
      if (!row.hidden) { row.classList.toggle("first", task !== null && task !== row.dataset.task); task = row.dataset.task; }
    }
  }
  for (const id of ["task", "protocol", "shots", "subset", "metric"]) if (byId(id)) byId(id).addEventListener("change", refresh);
  refresh();

  // The rows: searched, and narrowed to the cells behind a number.
  const columns = data.rows.columns;
  const get = (column, i) => ("constant" in column ? column.constant : "codes" in column ? column.distinct[column.codes[i]] : column.values[i]);
  const named = Object.fromEntries(columns.map((column) => [column.name, column]));
  const shown = ["name", "task", "protocol", "shots", "draw", "seed", "metric", "subset", "value", "status", "cell"];
  const texts = [];
  let only = null;
  function text(i) {
    if (texts[i] === undefined) {
      texts[i] = ["name", "method", "task", "protocol", "metric", "subset", "status", "reason", "cell", "arm", "source", "labels", "backbone"]
        .map((name) => get(named[name], i) ?? "").join(" ").toLowerCase() + " seed:" + get(named.seed, i) + " shots:" + (get(named.shots, i) ?? "all") + " draw:" + get(named.draw, i);
    }
    return texts[i];
  }
  function make(tag, content, parent, name) {
    const element = document.createElement(tag);
    if (content !== null) element.textContent = content;
    if (name) element.className = name;
    parent.append(element);
    return element;
  }
  function words(name, value) {
    if (value === null) return name === "shots" ? "all" : "–";
    return name === "value" ? (100 * value).toFixed(1) + " %" : String(value);
  }
  function toggle(row, i) {
    if (row.nextSibling && row.nextSibling.className === "open") { row.nextSibling.remove(); return; }
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
  function explore() {
    const wanted = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const body = byId("explorer").tBodies[0], limit = 100;
    body.replaceChildren();
    let found = 0;
    for (let i = 0; i < data.rows.count; i += 1) {
      if (only && !only.has(get(named.cell, i))) continue;
      if (!wanted.every((word) => text(i).includes(word))) continue;
      found += 1;
      if (found > limit) continue;
      const row = make("tr", null, body);
      for (const name of shown) make("td", words(name, get(named[name], i)), row, ["value", "seed", "draw", "shots"].includes(name) ? "n" : "");
      row.addEventListener("click", () => toggle(row, i));
    }
    byId("found").textContent = found + (found === 1 ? " row" : " rows") + (only ? " behind that number" : "") + (found > limit ? ", the first " + limit + " shown" : "");
    byId("clear").hidden = !only;
  }
  const head = make("tr", null, byId("explorer").tHead);
  for (const name of shown) make("th", name === "name" ? "arm" : name, head, ["value", "seed", "draw", "shots"].includes(name) ? "n" : "");
  let timer = 0;
  byId("search").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(explore, 120); });
  byId("clear").addEventListener("click", () => { only = null; explore(); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.trace");
    if (!button) return;
    only = new Set(button.dataset.cells.split(" ").filter(Boolean).map((place) => data.cells[+place]));
    byId("search").value = "";
    explore();
    byId("rows").scrollIntoView({ block: "start" });
  });
  explore();
  document.documentElement.dataset.ready = "yes";
})();
