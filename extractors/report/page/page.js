"use strict";
(() => {
  const PAGE = 60;
  const KINDS = {
    number: [/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/, "a number, for example 12"],
    decimal: [/^-?(0|[1-9]\d*)(\.\d+)?$/, "an amount, for example 21.10"],
    date: [/^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/, "a date, for example 2026-11-20"],
  };
  const byId = (id) => document.getElementById(id);
  const cards = [...document.querySelectorAll(".card")];
  const texts = new Map();
  const reviews = new Map(); // card -> field -> {state, json}; kept in memory only
  let filter = "", limit = PAGE, isSaved = true;

  function make(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  // --- filters

  function textOf(card) {
    if (!texts.has(card)) texts.set(card, `${card.dataset.d} ${card.textContent}`.toLowerCase());
    return texts.get(card);
  }

  function show() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let matching = 0;
    for (const card of cards) {
      const flags = card.dataset.f.split(" ");
      const isMatch = (!filter || flags.includes(filter)) && words.every((word) => textOf(card).includes(word));
      card.hidden = !isMatch || ++matching > limit;
    }
    const shown = Math.min(matching, limit);
    byId("count").textContent = `${shown.toLocaleString("en")} of ${matching.toLocaleString("en")} documents`;
    byId("pages").hidden = matching <= limit;
  }

  function choose(button) {
    filter = button.dataset.filter;
    limit = PAGE;
    for (const other of byId("tools").querySelectorAll("button")) other.setAttribute("aria-pressed", other === button);
    show();
  }

  // --- where values stand

  const SVG = "http://www.w3.org/2000/svg";

  function draw(tag, attributes, parent) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    parent.append(node);
    return node;
  }

  function boxesOf(text) {
    return text ? text.split(";").map((box) => box.split(" ").map(Number)) : [];
  }

  function addBox([x, y, width, height], kind, parent) {
    return draw("rect", { x, y, width, height, class: kind }, parent);
  }

  // The boxes over the picture; it is placed where the picture stands in its figure.
  function drawBoxes(card) {
    const figure = card.querySelector("figure"), image = card.querySelector("img");
    const cells = [...card.querySelectorAll(".v[data-b], .v[data-m]")];
    if (!image || !figure.dataset.s || !cells.length || figure.querySelector(".boxes")) return;
    const size = figure.dataset.s.split(" ").map(Number);
    const over = draw("svg", { viewBox: `0 0 ${size.join(" ")}`, class: "boxes", "aria-hidden": "true", preserveAspectRatio: "none" }, figure);
    for (const cell of cells) {
      const drawn = [
        ...boxesOf(cell.dataset.b).map((box) => addBox(box, "", over)),
        ...boxesOf(cell.dataset.m).map((box) => addBox(box, "row", over)),
      ];
      const mark = (isMarked) => drawn.forEach((rect) => rect.classList.toggle("is-marked", isMarked));
      cell.parentNode.addEventListener("mouseenter", () => mark(true));
      cell.parentNode.addEventListener("mouseleave", () => mark(false));
      const boxes = boxesOf(cell.dataset.b);
      if (boxes.length === 1 && Math.max(image.naturalWidth, image.naturalHeight) > 400) addCrop(cell, image.src, size, boxes[0]);
    }
    const place = () => {
      // object-fit: contain, at the top: the picture may be narrower than its element.
      const scale = Math.min(image.clientWidth / size[0], image.clientHeight / size[1]);
      over.style.width = `${size[0] * scale}px`;
      over.style.height = `${size[1] * scale}px`;
      over.style.left = `${image.offsetLeft + (image.clientWidth - size[0] * scale) / 2}px`;
      over.style.top = `${image.offsetTop}px`;
    };
    new ResizeObserver(place).observe(image);
    place();
  }

  function addCrop(cell, url, [width, height], [x, y, w, h]) {
    const margin = h / 5;
    const crop = draw("svg", { class: "crop", viewBox: `${x - margin} ${y - margin} ${w + 2 * margin} ${h + 2 * margin}`, height: "34", role: "img" }, cell);
    crop.setAttribute("aria-label", "the value in the picture");
    draw("image", { href: url, width, height, preserveAspectRatio: "none" }, crop);
    cell.querySelector(".seen")?.before(crop);
  }

  // --- review

  function original(cell) {
    return cell.dataset.v ?? JSON.stringify(cell.textContent);
  }

  function parse(kind, text) {
    if (kind === "json") {
      try {
        JSON.parse(text);
        return { json: text.trim() };
      } catch (error) {
        return { problem: `not JSON: ${error.message}` };
      }
    }
    if (kind === "flag") return { json: text };
    const [pattern, example] = KINDS[kind] ?? [];
    const value = pattern ? text.trim() : text;
    if (pattern && !pattern.test(value)) return { problem: `write ${example}` };
    return { json: kind === "number" ? value : JSON.stringify(value) };
  }

  function set(card, row, review) {
    const fields = reviews.get(card) ?? new Map();
    const name = row.querySelector("th").textContent;
    review ? fields.set(name, review) : fields.delete(name);
    fields.size ? reviews.set(card, fields) : reviews.delete(card);
    row.classList.toggle("is-right", review?.state === "right");
    row.classList.toggle("is-wrong", review?.state === "wrong");
    row.classList.toggle("is-missing", review?.state === "missing");
    for (const state of ["right", "wrong", "missing"]) {
      row.querySelector(`.${state}`)?.setAttribute("aria-pressed", review?.state === state);
    }
    isSaved = false;
    summarize();
  }

  function summarize() {
    const fields = [...reviews.values()].flatMap((review) => [...review.values()]);
    const missing = fields.filter((field) => field.state === "missing").length;
    const open = fields.filter((field) => field.state === "wrong" && field.json === undefined).length;
    const corrected = fields.filter((field) => field.state === "wrong").length - open;
    const parts = [`${fields.length - open - corrected - missing} right`, `${corrected} corrected`];
    if (missing) parts.push(`${missing} with something missing`);
    if (open) parts.push(`${open} wrong without a value, left out of the file`);
    byId("reviewed").textContent = `${reviews.size} ${reviews.size === 1 ? "document" : "documents"} reviewed: ${parts.join(", ")}`;
    byId("dock").hidden = !fields.length;
    byId("download").disabled = fields.length === open;
    if (!fields.length) isSaved = true;
  }

  function closeEditor(row) {
    row.querySelector(".editor")?.remove();
  }

  function openEditor(card, row) {
    const cell = row.querySelector(".v");
    const kind = cell.dataset.k ?? "text";
    const value = JSON.parse(original(cell));
    const nothing = make("input", { type: "checkbox" });
    const problem = make("p");
    let input;
    if (kind === "flag") {
      input = make("select", {}, make("option", { value: "true", textContent: "yes" }), make("option", { value: "false", textContent: "no" }));
      input.value = String(value ?? true);
    } else if (kind === "text" || kind === "json") {
      const text = kind === "json" && value !== null ? JSON.stringify(value, null, 1) : (value ?? "");
      input = make("textarea", { value: text, rows: Math.min(12, text.split("\n").length + Math.floor(text.length / 48)) });
    } else {
      input = make("input", { type: "text", inputMode: kind === "date" ? "text" : "decimal", value: kind === "number" && value !== null ? original(cell) : (value ?? "") });
    }
    input.setAttribute("aria-label", row.querySelector("th").textContent);
    const first = input.value;
    const update = () => {
      input.disabled = nothing.checked;
      // An untouched value stays as it was written: a long number is not read and written again.
      const untouched = value !== null && input.value === first && { json: original(cell) };
      const parsed = nothing.checked ? { json: "null" } : untouched || parse(kind, input.value);
      problem.textContent = parsed.problem ?? "";
      input.setAttribute("aria-invalid", Boolean(parsed.problem));
      const isSame = parsed.json === undefined || parsed.json === original(cell);
      set(card, row, { state: "wrong", json: isSame ? undefined : parsed.json });
    };
    input.addEventListener("input", update);
    nothing.addEventListener("change", update);
    cell.append(make("div", { className: "editor" }, input, make("label", {}, nothing, " null: the image does not show it"), problem));
    set(card, row, { state: "wrong" });
    input.focus();
  }

  function judge(card, row, state) {
    const isSame = row.classList.contains(`is-${state}`);
    closeEditor(row);
    if (isSame) set(card, row, null);
    else if (state === "missing") set(card, row, { state });
    else if (state === "right") set(card, row, { state, json: original(row.querySelector(".v")) });
    else openEditor(card, row);
  }

  function reviewable(card) {
    return [...card.querySelectorAll(".fields tr")].filter((row) => !("cut" in row.querySelector(".v").dataset));
  }

  function startReview(card, actions) {
    for (const row of reviewable(card)) {
      const name = row.querySelector("th").textContent;
      const button = (state, sign, label) => {
        const made = make("button", { type: "button", className: state, textContent: sign, title: label });
        made.setAttribute("aria-label", `${name}: ${label}`);
        made.addEventListener("click", () => judge(card, row, state));
        return made;
      };
      row.append(make("td", { className: "c" }, button("right", "✓", "right"), button("wrong", "✎", "wrong, correct it"), button("missing", "?", "something is missing here")));
    }
    const every = make("button", { type: "button", textContent: "Mark the others right" });
    every.addEventListener("click", () => {
      for (const row of reviewable(card)) if (!row.matches(".is-right, .is-wrong, .is-missing")) judge(card, row, "right");
    });
    actions.replaceChildren(every);
  }

  function lines() {
    const texts = [];
    for (const [card, fields] of reviews) {
      const known = [...fields].filter(([, field]) => field.json !== undefined);
      const parts = known.map(([name, field]) => `${JSON.stringify(name)}: ${compact(field.json)}`);
      const missing = [...fields].filter(([, field]) => field.state === "missing").map(([name]) => name);
      if (missing.length) parts.push(`"_missing": ${JSON.stringify(missing)}`);
      if (parts.length) texts.push(`{${[`"document": ${JSON.stringify(card.dataset.d)}`, ...parts].join(", ")}}\n`);
    }
    return texts;
  }

  // JSON on one line, its numbers as they were written.
  function compact(json) {
    return json.includes("\n") ? json.replace(/"(?:[^"\\]|\\.)*"|\s+/g, (part) => (part[0] === '"' ? part : " ")) : json;
  }

  function download() {
    const url = URL.createObjectURL(new Blob(lines(), { type: "application/jsonl" }));
    const link = make("a", { href: url, download: `corrections-${document.body.dataset.run}.jsonl` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    isSaved = true;
  }

  function discard() {
    if (!confirm("Discard all marks and corrections?")) return;
    for (const card of [...reviews.keys()]) {
      for (const row of card.querySelectorAll("tr:is(.is-right, .is-wrong, .is-missing)")) {
        closeEditor(row);
        set(card, row, null);
      }
    }
  }

  if (cards.length) {
    for (const card of cards) {
      const details = card.querySelector(".more");
      const image = card.querySelector("img");
      if (image?.complete && image.naturalWidth) drawBoxes(card);
      else image?.addEventListener("load", () => drawBoxes(card), { once: true });
      card.querySelector("img")?.addEventListener("click", () => (details.open = !details.open));
      if (!reviewable(card).length) continue;
      const start = make("button", { type: "button", textContent: "Review" });
      const actions = make("div", { className: "actions" }, start);
      start.addEventListener("click", () => startReview(card, actions));
      details.previousElementSibling.append(actions);
    }
    for (const button of byId("tools").querySelectorAll("button")) button.addEventListener("click", () => choose(button));
    byId("search").addEventListener("input", () => { limit = PAGE; show(); });
    byId("more").addEventListener("click", () => { limit += PAGE; show(); });
    byId("every").addEventListener("click", () => { limit = Infinity; show(); });
    byId("download").addEventListener("click", download);
    byId("discard").addEventListener("click", discard);
    addEventListener("beforeunload", (event) => { if (!isSaved) event.preventDefault(); });
    byId("tools").hidden = false;
    show();
  }
})();
