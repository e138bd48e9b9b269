"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent).blocks;
  const tip = document.getElementById("tip");
  const SVG = "http://www.w3.org/2000/svg";

  function make(name, attributes, text) {
    const node = document.createElementNS(SVG, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function element(name, text, kind) {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  }

  // ---- the tooltip: by the pointer, inside the window; it moves with the page when that is scrolled
  function showTip(content, x, y) {
    tip.replaceChildren(content);
    tip.hidden = false;
    const host = tip.parentNode === document.body ? document.documentElement : tip.parentNode;
    const wide = host.clientWidth, size = tip.getBoundingClientRect();
    const origin = tip.parentNode === document.body ? { left: -scrollX, top: -scrollY } : host.getBoundingClientRect();
    let left = x + 16;
    if (left + size.width > origin.left + wide + (host === document.documentElement ? scrollX : 0) - 6) left = x - size.width - 16;
    let top = y + 16;
    if (top + size.height > innerHeight - 6) top = y - size.height - 12;
    tip.style.left = Math.max(4, left) - origin.left + (host === document.documentElement ? 0 : host.scrollLeft) + "px";
    tip.style.top = Math.max(4, top) - origin.top + (host === document.documentElement ? 0 : host.scrollTop) + "px";
  }
  function hideTip() { tip.hidden = true; }

  document.addEventListener("pointermove", (event) => {
    const owner = event.target.closest && event.target.closest("[data-tip]");
    if (owner) showTip(document.createTextNode(owner.dataset.tip), event.clientX, event.clientY);
    else if (!event.target.closest || !event.target.closest(".hover, .draw, .figure")) hideTip();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });

  // ---- tables: click on a head to sort, again to turn round, a third time for the first order
  function sortBy(head, direction) {
    const table = head.closest("table"), place = head.cellIndex;
    const text = head.querySelector("button").dataset.kind === "text";
    const shown = table.closest(".block").querySelector(".switch input:checked");
    const column = shown && shown.value !== "all" ? shown.value : "last";
    function value(body) {
      const cell = body.rows[0].cells[place];
      const holder = cell.dataset.v !== undefined ? cell : cell.querySelector(".c." + column);
      if (!holder) return null;
      return text ? holder.dataset.v : Number(holder.dataset.v);
    }
    const bodies = table.sorted || (table.sorted = Array.from(table.tBodies));
    const order = bodies.slice();
    if (direction !== "none") {
      const sign = direction === "ascending" ? 1 : -1;
      order.sort((a, b) => {
        const x = value(a), y = value(b);
        if (x === null || y === null) return (x === null) - (y === null); // blanks stay below
        return sign * (text ? x.localeCompare(y) : x - y);
      });
    }
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", other === head ? direction : "none");
    table.append(...order);
  }
  for (const button of document.querySelectorAll(".sortable thead button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th"), now = head.getAttribute("aria-sort");
      const first = button.dataset.first || (button.dataset.kind === "text" ? "ascending" : "descending");
      const second = first === "ascending" ? "descending" : "ascending";
      sortBy(head, now === "none" ? first : now === first ? second : "none");
    });
  }
  for (const input of document.querySelectorAll(".switch input")) {
    input.addEventListener("change", () => {
      const head = input.closest(".block").querySelector(".accuracy thead th:not([aria-sort=none])");
      if (head) sortBy(head, head.getAttribute("aria-sort"));
    });
  }

  // ---- curves: the legend, and a crosshair with the numbers of a step
  document.querySelectorAll(".block").forEach((block, number) => {
    const { labels, tasks, classes, panels, matrices } = data[number];

    for (const label of block.querySelectorAll(".legend label:not(.marks)")) {
      const input = label.querySelector("input"), place = input.value;
      const lines = block.querySelectorAll(`.line[data-place="${place}"], .singles > [data-place="${place}"]`);
      const set = () => lines.forEach((line) => line.classList.toggle("off", !input.checked));
      const light = (on) => {
        if (!input.checked) on = false;
        const all = block.querySelector(".panels");
        all.classList.toggle("lit", on);
        block.querySelectorAll(".task > .hover .line").forEach((line) => line.classList.toggle("lit", on && line.dataset.place === place));
      };
      input.addEventListener("change", () => { set(); light(false); });
      label.addEventListener("pointerenter", () => light(true));
      label.addEventListener("pointerleave", () => light(false));
      input.addEventListener("focus", () => light(input.matches(":focus-visible")));
      input.addEventListener("blur", () => light(false));
      set(); // a reloaded page may remember the boxes
    }

    for (const host of block.querySelectorAll(".hover")) {
      const panel = panels[host.dataset.panel], svg = host.querySelector("svg");
      const cross = svg.querySelector(".crosshair"), [width, height, , , top, bottom] = panel.plot;
      const y = (score) => top + ((panel.range[1] - score) / (panel.range[1] - panel.range[0])) * (height - top - bottom);
      let at = panel.steps.length - 1;

      function show(clientX, clientY) {
        cross.replaceChildren(make("path", { d: `M${panel.x[at]} ${top}V${height - bottom}` }));
        const table = element("table"), body = element("tbody");
        table.append(element("caption", `step ${panel.steps[at].toLocaleString("en").replaceAll(",", "\u2009")}`), body);
        const rows = [];
        for (const [place, mean, low, high] of panel.lines) {
          const line = svg.querySelector(`.line[data-place="${place}"]`);
          if (mean[at] === null || line.classList.contains("off")) continue;
          cross.append(make("circle", { cx: panel.x[at], cy: y(mean[at]), r: 3, class: line.getAttribute("class").replace("line", "") }));
          const row = element("tr"), swatch = element("td");
          swatch.append(block.querySelector(`.legend [value="${place}"] + .swatch`).cloneNode(true));
          const range = low[at] === high[at] ? "" : `${low[at].toFixed(1)} to ${high[at].toFixed(1)}`;
          row.append(swatch, element("th", labels[place]), element("td", mean[at].toFixed(1)), element("td", range));
          rows.push([mean[at], row]);
        }
        rows.sort((a, b) => b[0] - a[0]).forEach(([, row]) => body.append(row));
        cross.removeAttribute("hidden");
        showTip(table, clientX, clientY);
      }
      function fromKeys() {
        const box = svg.getBoundingClientRect();
        show(box.left + (panel.x[at] / width) * box.width, box.top + box.height / 3);
      }
      function hide() { cross.setAttribute("hidden", ""); hideTip(); }
      host.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * width;
        panel.x.forEach((place, i) => { if (Math.abs(place - x) < Math.abs(panel.x[at] - x)) at = i; });
        if (event.target.closest("[data-tip]")) return;
        show(event.clientX, event.clientY);
      });
      host.addEventListener("pointerleave", hide);
      host.addEventListener("focus", () => { if (host.matches(":focus-visible")) fromKeys(); });
      host.addEventListener("blur", hide);
      host.addEventListener("keydown", (event) => {
        const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
        if (event.key === "Escape") hide();
        if (!(event.key in moves)) return;
        event.preventDefault();
        at = Math.min(panel.steps.length - 1, Math.max(0, at + moves[event.key]));
        fromKeys();
      });
    }

    // ---- confusion matrices: drawn when their task is opened; one path a shade
    const EDGES = [1, 2, 5, 10, 20, 40, 70];
    const name = (i) => (classes.length ? classes[i] : String(i));
    function unpack(matrix) {
      const found = new Map();
      for (let i = 0, at = 0; i < matrix.cells.length; i += 2) {
        at += matrix.cells[i];
        found.set(at, matrix.cells[i + 1]);
      }
      return found;
    }
    const level = (share) => EDGES.filter((edge) => share >= edge).length;

    function draw(matrix, size, left, above) {
      const k = matrix.k, unit = size / k, counts = unpack(matrix), shades = {};
      const svg = make("svg", { viewBox: `${-left} ${-above} ${size + left + 1} ${size + above + 1}`, "aria-hidden": "true" });
      for (const [at, count] of counts) {
        const row = Math.floor(at / k), column = at % k, share = (100 * count) / matrix.totals[row];
        const shade = (row === column ? "d" : "e") + level(share);
        const x = +(column * unit).toFixed(2), y = +(row * unit).toFixed(2), side = +unit.toFixed(2);
        (shades[shade] = shades[shade] || []).push(`M${x} ${y}h${side}v${side}h-${side}z`);
      }
      const cells = make("g", { class: "cells" });
      for (const shade in shades) cells.append(make("path", { class: shade, d: shades[shade].join("") }));
      svg.append(cells, make("rect", { class: "frame", x: 0, y: 0, width: size, height: size }));
      svg.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect(), zoom = (size + left + 1) / box.width;
        const column = Math.floor(((event.clientX - box.left) * zoom - left) / unit);
        const row = Math.floor(((event.clientY - box.top) * zoom - above) / unit);
        if (row < 0 || column < 0 || row >= k || column >= k) { hideTip(); return; }
        const count = counts.get(row * k + column) || 0, share = (100 * count) / (matrix.totals[row] || 1);
        const said = row === column ? `${name(row)}, recognised` : `${name(row)} taken for ${name(column)}`;
        showTip(document.createTextNode(`${said}: ${count} of ${matrix.totals[row]} (${share.toFixed(1)} %)`), event.clientX, event.clientY);
      });
      svg.addEventListener("pointerleave", hideTip);
      return svg;
    }

    function enlarge(matrix, title) {
      const dialog = document.getElementById("enlarged"), k = matrix.k, size = 600, unit = size / k;
      const named = k <= 70, font = Math.min(15, unit * 0.8), longest = Math.max(...Array.from({ length: k }, (_, i) => name(i).length));
      const room = named ? Math.min(160, 26 + longest * font * 0.6) : 24;
      const above = named && longest > 3 ? room : 44;
      const svg = draw(matrix, size, room, above), counts = unpack(matrix);
      if (named) {
        for (let i = 0; i < k; i += 1) {
          const middle = (i + 0.5) * unit, at = { class: "labels axis", "font-size": font };
          svg.append(make("text", { ...at, x: -6, y: middle + font * 0.35, "text-anchor": "end" }, name(i)));
          const turn = longest > 3 ? { transform: `translate(${middle + font * 0.35} -6) rotate(-90)` } : { x: middle, y: -6, "text-anchor": "middle" };
          svg.append(make("text", { ...at, ...turn }, name(i)));
        }
      }
      svg.append(make("text", { class: "labels axis", "font-size": 13, x: size, y: -above + 12, "text-anchor": "end" }, "predicted class"));
      svg.append(make("text", { class: "labels axis", "font-size": 13, transform: `translate(${-room + 11} ${size}) rotate(-90)` }, "true class"));
      if (k <= 16) {
        for (const [at, count] of counts) {
          const row = Math.floor(at / k), column = at % k, shade = level((100 * count) / matrix.totals[row]);
          svg.append(make("text", { class: `labels on-${shade}`, "font-size": Math.min(14, unit * 0.3), x: (column + 0.5) * unit, y: (row + 0.5) * unit + 5,
            "text-anchor": "middle", "pointer-events": "none" }, String(count)));
        }
      }
      document.getElementById("enlarged-title").textContent = title;
      dialog.querySelector(".figure").replaceChildren(svg);
      dialog.append(tip); // what is modal lies above everything else
      dialog.showModal();
    }

    function fill(details) {
      for (const button of details.querySelectorAll(".draw:empty")) {
        const matrix = matrices[button.dataset.task][button.dataset.matrix];
        button.append(draw(matrix, 200, 0, 0));
        button.addEventListener("click", () => enlarge(matrix, `${labels[matrix.place]} on ${tasks[button.dataset.task].replace("->", " \u2192 ")}`));
      }
    }
    for (const details of block.querySelectorAll(".matrices")) {
      if (details.open) fill(details);
      details.addEventListener("toggle", () => fill(details));
      window.addEventListener("beforeprint", () => fill(details));
    }
  });

  const dialog = document.getElementById("enlarged");
  dialog.addEventListener("close", () => { hideTip(); document.body.append(tip); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // ---- on paper everything is open but the tables of numbers
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = Array.from(document.querySelectorAll(".matrices:not([open])"));
    closed.forEach((details) => { details.open = true; });
  });
  window.addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));
})();
