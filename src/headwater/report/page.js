"use strict";
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(unpacked).text());
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
    summarise();
  }

  // The numbers: only those of the choice are in the document, as a large table has thousands.
  const get = (column, i) => ("constant" in column ? column.constant : "codes" in column ? column.distinct[column.codes[i]] : column.values[i]);
  const byName = (columns) => Object.fromEntries(columns.map((column) => [column.name, column]));
  const numbers = byName(data.summary.columns);
  const choices = ["task", "protocol", "shots", "subset", "metric"];
  function summarise() {
    if (!byId("summary")) return;
    const body = byId("summary").tBodies[0];
    body.replaceChildren();
    let task = null;
    for (let i = 0; i < data.summary.count; i += 1) {
      if (!choices.every((name) => choice(name) === "" || get(numbers[name], i) === choice(name))) continue;
      const of = (name) => get(numbers[name], i);
      const row = byId("number").content.firstElementChild.cloneNode(true);
      for (const name of choices) row.dataset[name] = of(name);
      row.classList.toggle("first", task !== null && task !== of("task"));
      task = of("task");
      row.querySelector("circle").setAttribute("fill", of("colour"));
      row.cells[0].append(of("name"));
      [task, of("classes")].forEach((text, place) => row.cells[place + 1].append(text));
      if (of("mean") === null) row.cells[3].append("none");
      else {
        make("b", of("mean"), row.cells[3]);
        if (of("half") !== null) row.cells[3].append(" ± " + of("half"));
      }
      [of("seeds"), of("draws"), of("n_test")].forEach((text, place) => row.cells[place + 4].append(text));
      const remarks = [of("reused") && "decides nothing", of("diverged") && of("diverged") + " diverged", of("failed") && of("failed") + " failed", of("seeds") === 1 && "one seed"];
      row.cells[7].append(remarks.filter(Boolean).join(" "));
      const button = row.querySelector("button");
      button.dataset.number = i;
      button.dataset.count = of("cells");
      button.append(of("cells") + (of("cells") === 1 ? " cell" : " cells"));
      body.append(row);
    }
  }
  for (const id of choices) if (byId(id)) byId(id).addEventListener("change", refresh);
  refresh();

  // The rows: searched, and narrowed to the cells behind a number.
  const columns = data.rows.columns;
  const named = byName(columns);
  const shown = ["name", "task", "protocol", "shots", "draw", "seed", "metric", "subset", "value", "status", "cell"];
  const texts = [];
  let only = null, behind = 0;
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
    byId("found").textContent = found + (found === 1 ? " row" : " rows") + (only ? " behind that number" : "") + (found > limit ? ", the first " + limit + " shown" : "")
      + (only && only.size < behind ? "; this page holds " + only.size + " of its " + behind + " cells" : "");
    byId("clear").hidden = !only;
  }
  // The cells of a number are those that have a row of its arm, setting, metric and subset.
  function cellsOf(number) {
    const wanted = ["name", "task", "protocol", "metric", "subset", "shots"].map((name) => [named[name], get(numbers[name], number)]);
    const cells = [];
    for (let i = 0; i < data.rows.count; i += 1) {
      if (wanted.every(([column, value]) => String(get(column, i) ?? "all") === value)) cells.push(get(named.cell, i));
    }
    return cells;
  }
  // "0-41 57": runs of places in the list of cells.
  function cellsAt(places) {
    return places.split(" ").filter(Boolean).flatMap((run) => {
      const [first, last] = run.split("-").map(Number);
      return data.cells.slice(first, (last ?? first) + 1);
    });
  }
  const head = make("tr", null, byId("explorer").tHead);
  for (const name of shown) make("th", name === "name" ? "arm" : name, head, ["value", "seed", "draw", "shots"].includes(name) ? "n" : "");
  let timer = 0;
  byId("search").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(explore, 120); });
  byId("clear").addEventListener("click", () => { only = null; explore(); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.trace");
    if (!button) return;
    only = new Set("number" in button.dataset ? cellsOf(+button.dataset.number) : cellsAt(button.dataset.cells));
    behind = +button.dataset.count;
    byId("search").value = "";
    explore();
    byId("rows").scrollIntoView({ block: "start" });
  });
  explore();
  document.documentElement.dataset.ready = "yes";
})().catch((error) => {
  const words = document.createElement("p");
  words.textContent = "This page could not be opened whole (it needs a browser of 2023 or later): " + error.message;
  document.querySelector("main").prepend(words);
});
