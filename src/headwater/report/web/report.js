  // Menus: each offers only what was measured under the ones before it.
  const numbers = byName(data.summary.columns);
  const menus = ["protocol", "shots", "task", "metric", "subset"];
  const every = "*", verdicts = "!";
  const chosen = { protocol: "=" + data.opening.protocol, shots: "=" + data.opening.shots, task: every, metric: "=" + data.opening.metric, subset: "=all" };
  if (data.opening.tasks.length) chosen.task = data.opening.tasks.length === 1 ? "=" + data.opening.tasks[0] : verdicts;
  if (data.opening.several.length) chosen.shots = verdicts;
  const verdictsOf = { task: data.opening.tasks, shots: data.opening.several };

  const lines = [...Array(data.summary.count).keys()];
  const measured = lines.filter((i) => get(numbers.mean, i) !== null);
  const countable = measured.length ? measured : lines;
  function suits(name, value, choice = chosen[name]) {
    if (choice === every) return true;
    return choice === verdicts ? verdictsOf[name].includes(value) : choice === "=" + value;
  }
  const suited = (i, names) => names.every((name) => suits(name, get(numbers[name], i)));
  function offer(name) {
    const before = menus.slice(0, menus.indexOf(name));
    const words = new Set(countable.filter((i) => suited(i, before)).map((i) => get(numbers[name], i)));
    const listed = data.opening.order[name].filter((word) => words.has(word));
    const options = listed.map((word) => ["=" + word, word]);
    const many = listed.length > 1 && verdictsOf[name] && verdictsOf[name].length > 1 && verdictsOf[name].every((word) => words.has(word));
    if (name === "task" && many && verdictsOf.task.length < listed.length) options.unshift([verdicts, "the verdict's " + verdictsOf.task.length]);
    if (name === "shots" && many) options.unshift([verdicts, "the verdict's: " + verdictsOf.shots.join(", ")]);
    if (name === "task" && listed.length > 1) options.unshift([every, "all " + listed.length]);
    const ids = options.map(([id]) => id);
    if (!ids.includes(chosen[name])) {
      chosen[name] = name === "shots" ? ids[ids.length - 1] : ids.includes(verdicts) ? verdicts : ids[0];
    }
    const menu = byId("choose-" + name);
    menu.replaceChildren(...options.map(([id, word]) => Object.assign(document.createElement("option"), { value: id, textContent: word })));
    menu.value = chosen[name];
    menu.disabled = options.length < 2;
  }

  function fits(figure) {
    const panel = panelOf(figure);
    return suits("protocol", panel.protocol) && (panel.shots === null || suits("shots", panel.shots)) && (panel.task === data.pooled || suits("task", panel.task));
  }
  function refresh() {
    menus.forEach(offer);
    const lacking = [];
    for (const section of document.querySelectorAll("section.charts")) {
      let shown = 0;
      for (const figure of section.querySelectorAll("figure")) {
        figure.hidden = !fits(figure);
        if (!figure.hidden) { shown += 1; watcher.unobserve(figure); watcher.observe(figure); }
      }
      section.querySelector(".grid").dataset.count = shown;
      section.querySelector(".grid").classList.toggle("more", shown > 3);
      section.hidden = !shown;
      const link = document.querySelector(`.contents a[href="#chart-${section.dataset.kind}"]`);
      if (link) link.parentElement.hidden = !shown;
      if (!shown) lacking.push(section.querySelector("h2").textContent);
    }
    byId("lacking").textContent = lacking.length ? "Not measured for this choice: " + lacking.join("; ") + "." : "";
    summarise();
  }

  // The numbers: only those of the choice are in the document, as a large table has thousands.
  let order = null;
  const headings = ["name", "task", "shots", "classes", "mean", "seeds", "draws", "n_test", null, "rows"];
  const asNumber = (value) => (value === "" || value === null ? null : Number(value));
  function sortKey(name, i) {
    if (name === "rows") return rowsOf(i).length;
    const value = get(numbers[name], i);
    if (name === "shots") return value === "all" ? Infinity : Number(value);
    return ["name", "task"].includes(name) ? value : asNumber(value);
  }
  function chosenLines() {
    const found = lines.filter((i) => suited(i, menus));
    if (!order) return found;
    const [column, way] = order;
    return found.sort((a, b) => compared(sortKey(headings[column], a), sortKey(headings[column], b), way));
  }
  function remarksOf(i) {
    const of = (name) => get(numbers[name], i);
    return [of("reused") && "decides nothing", of("diverged") && of("diverged") + " diverged", of("failed") && of("failed") + " failed", of("seeds") === 1 && "one seed"].filter(Boolean).join(", ");
  }
  function summarise() {
    const body = byId("summary").tBodies[0];
    body.replaceChildren();
    let task = null;
    for (const i of chosenLines()) {
      const of = (name) => get(numbers[name], i);
      const row = byId("number").content.firstElementChild.cloneNode(true);
      for (const name of menus) row.dataset[name] = of(name);
      row.classList.toggle("first", !order && task !== null && task !== of("task"));
      task = of("task");
      row.querySelector("circle").setAttribute("fill", of("colour"));
      const link = make("a", of("name"), row.cells[0]);
      link.href = "#" + of("anchor");
      [task, of("shots"), of("classes")].forEach((text, place) => row.cells[place + 1].append(text));
      if (of("mean") === null) row.cells[4].append("none");
      else {
        make("b", of("mean"), row.cells[4]);
        if (of("half") !== null) row.cells[4].append(" ± " + of("half"));
      }
      [of("seeds"), of("draws"), of("n_test")].forEach((text, place) => row.cells[place + 5].append(text));
      row.cells[8].append(remarksOf(i));
      const button = row.querySelector("button"), count = rowsOf(i).length;
      button.dataset.number = i;
      button.dataset.count = of("cells");
      button.textContent = counted(count, "row");
      button.setAttribute("aria-label", counted(count, "row") + " behind " + of("name") + " on " + task);
      body.append(row);
    }
  }
  function summaryLines() {
    const names = ["name", "task", "protocol", "shots", "metric", "subset", "classes", "mean", "half", "seeds", "draws", "n_test"];
    const words = { name: "arm", classes: "labels", mean: "mean_percent", half: "half_of_95_percent_interval", n_test: "test_images" };
    const body = chosenLines().map((i) => [...names.map((name) => (["classes", "mean", "half", "seeds", "draws", "n_test"].includes(name) ? asNumber(get(numbers[name], i)) : get(numbers[name], i))), remarksOf(i)]);
    return [[...names.map((name) => words[name] || name), "remarks"], ...body];
  }
  if (byId("summary")) {
    for (const name of menus) {
      const menu = byId("choose-" + name);
      menu.addEventListener("change", () => { chosen[name] = menu.value; refresh(); });
    }
    sortable(byId("summary"), (column, way) => { order = [column, way]; summarise(); });
    csvButton(byId("numbers-tools"), "the numbers of this choice", () => fileWord(document.title + " numbers"), summaryLines);
    refresh();
  }
  window.addEventListener("hashchange", follow);
  follow();
