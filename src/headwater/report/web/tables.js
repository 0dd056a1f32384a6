  // What the page holds, and tables: made, sorted, and written to files.
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(unpacked).text());
  const byId = (id) => document.getElementById(id);

  function make(tag, content, parent, name) {
    const element = document.createElement(tag);
    if (content !== null) element.textContent = content;
    if (name) element.className = name;
    if (parent) parent.append(element);
    return element;
  }
  function makeButton(content, label, parent, clicked) {
    const button = make("button", content, parent, "tool");
    button.type = "button";
    button.setAttribute("aria-label", label);
    button.addEventListener("click", clicked);
    return button;
  }

  // Numbers before words, what is missing last whichever way is asked for.
  function compared(a, b, way) {
    const none = (value) => value === null || value === undefined || value === "";
    if (none(a) || none(b)) return none(a) - none(b);
    if (typeof a === "number" && typeof b === "number") return way * (a - b);
    return way * String(a).localeCompare(String(b), "en", { numeric: true });
  }

  // A heading is a button that sorts: first by falling numbers or rising words, then the other way.
  function sortable(table, sort) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (head.dataset.sort === "no") return;
      const button = make("button", null, null, "sort");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", head.dataset.sorted || "none");
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort"), falling = head.classList.contains("n");
        const next = now === "none" ? (falling ? "descending" : "ascending") : now === "ascending" ? "descending" : "ascending";
        for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", next);
        sort(column, next === "ascending" ? 1 : -1);
      });
    });
  }
  function cellValue(cell) {
    if ("value" in cell.dataset) return cell.dataset.value === "" ? null : Number(cell.dataset.value);
    return cell.textContent.trim();
  }
  function sortableRows(table) {
    sortable(table, (column, way) => {
      const body = table.tBodies[0], rows = [...body.rows];
      rows.sort((a, b) => compared(cellValue(a.cells[column]), cellValue(b.cells[column]), way));
      body.append(...rows);
    });
  }

  // As rows are written by headwater: an apostrophe before text that a spreadsheet would run.
  const runs = /^'*[=+\-@\t\r]/, isNumber = /^'*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
  function field(value) {
    if (value === null || value === undefined) return "";
    let text = String(value);
    if (typeof value === "string" && runs.test(text) && !isNumber.test(text)) text = "'" + text;
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  }
  const csv = (lines) => lines.map((line) => line.map(field).join(",") + "\r\n").join("");
  function tableLines(table) {
    const kept = [...table.tHead.rows[0].cells].map((head) => head.dataset.csv !== "no");
    return [table.tHead.rows[0], ...table.tBodies[0].rows].map((row) =>
      [...row.cells].filter((_, place) => kept[place]).map((cell) => (cell.dataset.value ? Number(cell.dataset.value) : cell.textContent.trim())));
  }
  const fileWord = (words) => words.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "headwater";
  function download(name, content, type) {
    const link = document.createElement("a");
    link.href = content instanceof Blob || type ? URL.createObjectURL(new Blob([content], { type })) : content;
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
  }
  function csvButton(place, label, name, lines) {
    return makeButton("CSV", "Download " + label + " as CSV", place, () => download(name() + ".csv", csv(lines()), "text/csv;charset=utf-8"));
  }
  for (const table of document.querySelectorAll("table.whole")) {
    sortableRows(table);
    csvButton(byId(table.dataset.tools), table.dataset.label, () => fileWord(document.title + " " + table.dataset.label), () => tableLines(table));
  }
