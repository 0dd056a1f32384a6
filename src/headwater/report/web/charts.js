  // Charts are drawn when they come into sight: a study with many tasks has hundreds.
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const views = new Map();
  const options = (config) => ({
    ast: true, actions: false, renderer: "svg", defaultStyle: false, config,
    tooltip: { theme: "page", disableDefaultStyle: true },
  });
  const panelOf = (figure) => data.panels[+figure.dataset.panel];
  const titleOf = (figure) => figure.querySelector("figcaption span").textContent;

  // A chart that is as high as its lines are many: of these, in pixels.
  function heightOf(spec) {
    const values = spec.data.values, channels = Object.assign({}, ...[spec, ...(spec.layer || [])].map((layer) => layer.encoding || {}));
    const distinct = (channel) => (channel && channel.field ? new Set(values.map((value) => value[channel.field])).size : 1);
    return spec.height.step * distinct(channels.y) * distinct(channels.yOffset) * (channels.yOffset ? 1.25 : 1);
  }
  // An axis title in as many lines as it takes, at some 6 pixels a letter.
  function inLines(title, pixels) {
    if (typeof title !== "string" || !(pixels > 0) || title.length * 6 < pixels) return title;
    const lines = [""];
    for (const word of title.split(" ")) {
      const line = lines[lines.length - 1];
      if (line && (line.length + word.length) * 6 > pixels) lines.push(word);
      else lines[lines.length - 1] = line ? line + " " + word : word;
    }
    return lines;
  }
  // On a phone the names of arms stand over their marks, not beside them.
  function fitted(spec, width) {
    const names = spec.usermeta && spec.usermeta.names;
    const own = structuredClone(spec);
    // Where no interval is known there is no layer of them: a mark without items has no name.
    const isInterval = (layer) => Object.values(layer.encoding || {}).some((channel) => channel.field === "low");
    if (own.layer && own.data) own.layer = own.layer.filter((layer) => !isInterval(layer) || own.data.values.some((value) => (value.low ?? null) !== null));
    if (names && width >= 420) {
      for (const layer of own.layer) {
        const axis = layer.encoding.y && layer.encoding.y.axis;
        if (axis) axis.labelLimit = Math.round(0.46 * width);
      }
    }
    if (names && width < 420) {
      own.height = 38 * names + 4;
      for (const layer of own.layer) {
        const axis = layer.encoding.y && layer.encoding.y.axis;
        if (axis) Object.assign(axis, { labelAlign: "left", labelPadding: -2, labelBaseline: "bottom", labelOffset: -7, labelLimit: width - 24, grid: false });
        if (layer.mark.text) layer.mark.y = -12;
      }
    }
    for (const layer of [own, ...(own.layer || [])]) {
      for (const [name, channel] of Object.entries(layer.encoding || {})) {
        if (channel.axis && channel.axis.title) channel.axis.title = inLines(channel.axis.title, name === "y" ? own.height : width - 90);
        if (channel.legend && channel.legend.labelLimit) channel.legend.labelLimit = Math.min(channel.legend.labelLimit, width - 120);
        if (width < 420 && channel.legend) Object.assign(channel.legend, { columns: 1, labelLimit: width - 120, orient: "bottom" });
      }
    }
    if (own.height && own.height.step) own.height = heightOf(own);
    return Object.assign(own, { width: "container", autosize: { type: "fit-x", contains: "padding" } });
  }
  const stale = new Set();
  function draw(figure) {
    if (views.has(figure)) return;
    views.set(figure, null);
    const chart = figure.querySelector(".chart");
    const config = Object.assign({}, data.themes[dark.matches ? "dark" : "light"]);
    const columns = Math.max(1, Math.min(3, Math.floor((chart.clientWidth - 50) / 120)));
    config.legend = Object.assign({}, config.legend, { columns, labelLimit: Math.floor((chart.clientWidth - 50) / columns) - 30 });
    window.vegaEmbed(chart, fitted(panelOf(figure).spec, chart.clientWidth), options(config)).then(
      (result) => {
        if (stale.delete(figure)) {  // the scheme or the width changed while it was drawn
          result.finalize();
          views.delete(figure);
          draw(figure);
          return;
        }
        views.set(figure, result);
        figure.view = result.view;
        const drawn = chart.querySelector("svg");
        if (drawn) drawn.setAttribute("aria-label", titleOf(figure) + ": chart; its numbers are under Numbers");
      },
      (error) => { chart.textContent = "This chart could not be drawn: " + error.message; },
    );
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !entry.target.hidden) draw(entry.target);
  }, { rootMargin: "300px" });
  const figures = [...document.querySelectorAll("figure[data-panel]")];
  function drawAgain() {
    for (const [figure, result] of views) {
      if (!result) { stale.add(figure); continue; }
      result.finalize();
      views.delete(figure);
      figure.view = null;
      watcher.unobserve(figure);
      watcher.observe(figure);
    }
  }
  dark.addEventListener("change", drawAgain);
  let lastWidth = window.innerWidth;
  window.addEventListener("resize", () => {
    if ((lastWidth < 640) !== (window.innerWidth < 640)) drawAgain();
    lastWidth = window.innerWidth;
  });
  window.addEventListener("beforeprint", () => figures.forEach((figure) => { if (!figure.hidden) draw(figure); }));

  // A file of a chart is drawn anew, on white and with its title.
  async function save(figure, type) {
    const words = panelOf(figure).words || titleOf(figure);
    const paper = Object.assign({}, data.themes.light, { background: "white" });
    const off = make("div", null, document.body, "offscreen");
    const spec = Object.assign(structuredClone(panelOf(figure).spec), { width: 520, title: { text: words }, padding: 14 });
    try {
      const result = await window.vegaEmbed(off, spec, options(paper));
      const name = fileWord(document.title + " " + words);
      if (type === "svg") download(name + ".svg", await result.view.toSVG(), "image/svg+xml");
      else download(name + ".png", await result.view.toImageURL("png", 2));
      result.finalize();
    } finally {
      off.remove();
    }
  }
  // The numbers of a chart: what its tooltips tell, a row a mark.
  function numbersOf(figure) {
    const spec = panelOf(figure).spec, layers = spec.layer || [spec];
    const told = layers.map((layer) => (layer.encoding || {}).tooltip || (spec.encoding || {}).tooltip).filter(Array.isArray);
    if (!told.length || !spec.data || !spec.data.values) return null;
    const columns = told.sort((a, b) => b.length - a.length)[0];
    return [columns.map((column) => column.title || column.field), ...spec.data.values.map((value) => columns.map((column) => value[column.field] ?? null))];
  }
  const rounded = (value) => (typeof value === "number" ? String(Number(value.toPrecision(4))) : value ?? "");
  function showNumbers(place, lines, label) {
    const scroll = make("div", null, place, "scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "group");
    scroll.setAttribute("aria-label", label);
    const table = make("table", null, scroll), head = make("tr", null, make("thead", null, table)), body = make("tbody", null, table);
    lines[0].forEach((word, column) => { make("th", word, head, typeof (lines[1] || [])[column] === "number" ? "n" : "").scope = "col"; });
    for (const line of lines.slice(1)) {
      const row = make("tr", null, body);
      for (const value of line) {
        const cell = make("td", rounded(value), row, typeof value === "number" ? "n" : "");
        if (typeof value === "number") cell.dataset.value = value;
      }
    }
    sortableRows(table);
  }
  for (const figure of figures) {
    const words = panelOf(figure).words || titleOf(figure);
    const tools = make("span", null, figure.querySelector("figcaption"), "tools");
    makeButton("SVG", "Download " + words + " as SVG", tools, () => save(figure, "svg"));
    makeButton("PNG", "Download " + words + " as PNG", tools, () => save(figure, "png"));
    const lines = numbersOf(figure);
    if (lines) {
      csvButton(tools, words, () => fileWord(document.title + " " + words), () => numbersOf(figure));
      const more = make("details", null, figure, "numbers");
      make("summary", "Numbers", more).append(make("span", ": " + words, null, "hidden-words"));
      more.addEventListener("toggle", () => { if (more.open && more.children.length < 2) showNumbers(more, lines, words); });
    }
    watcher.observe(figure);
  }
