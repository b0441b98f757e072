"use strict";
const $ = (what, where = document) => where.querySelector(what);
const $$ = (what, where = document) => [...where.querySelectorAll(what)];

// Light or dark, remembered where the browser lets a file remember.
const memory = { get() { try { return localStorage.getItem("theme"); } catch { return null; } },
  set(theme) { try { localStorage.setItem("theme", theme); } catch { /* not kept */ } } };
const root = document.documentElement;
if (memory.get()) root.dataset.theme = memory.get();
$("#theme").hidden = false;
$("#theme").onclick = () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  memory.set(root.dataset.theme);
};

// The other language at the same place.
$("#language").onclick = (event) => { event.currentTarget.hash = location.hash; };

// Contents follow the reader.
const links = new Map($$("nav a").map((a) => [a.hash.slice(1), a]));
const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (!entry.isIntersecting) return;
  links.forEach((a) => a.removeAttribute("aria-current"));
  links.get(entry.target.id)?.setAttribute("aria-current", "true");
}), { rootMargin: "-20% 0px -70% 0px" });
$$("main > section").forEach((section) => seen.observe(section));

// A place in a folded part is opened; so is everything that is printed.
const open = () => {
  const place = location.hash.startsWith("#runs?") ? null : document.getElementById(location.hash.slice(1));
  for (let up = place?.closest("details"); up; up = up.parentElement.closest("details")) up.open = true;
  if (place?.closest("details")) place.scrollIntoView();
};
addEventListener("hashchange", open);
addEventListener("beforeprint", () => $$("details").forEach((part) => { part.open = true; }));

// Copy.
$$(".copy").forEach((button) => {
  button.hidden = false;
  button.onclick = async () => {
    const text = ($("code", button.parentElement) ?? $("pre", button.parentElement)).textContent;
    try { await navigator.clipboard.writeText(text); button.textContent = "✓"; } catch { prompt("", text); }
  };
});

// Runs: search, facets, order, all of it in the address; and the rows that are shown as CSV.
const table = $("#records"), body = $("tbody", table), heads = $$("th", table), rows = $$("tr", body);
const keys = heads.map((head) => head.dataset.key);
const cells = new Map(rows.map((row) => [row, $$("td", row).map((cell) => cell.textContent)]));
const form = $("#filter"), state = () => new URLSearchParams(new FormData(form));
let order = { key: "", down: false };
form.hidden = false;
$$("select", form).forEach((select) => {
  const at = keys.indexOf(select.name);
  const values = new Set(rows.flatMap((row) => select.name === "study" ? cells.get(row)[at].split(", ") : [cells.get(row)[at]]));
  [...values].filter(Boolean).sort().forEach((value) => select.add(new Option(value, value)));
});
const value = (text) => { const n = Number(text.replace(DECIMAL, ".")); return text === "" ? -Infinity : n; };
const apply = (write) => {
  const asked = [...state()].filter(([, wanted]) => wanted);
  let count = 0;
  rows.forEach((row) => {
    const own = cells.get(row);
    row.hidden = !asked.every(([key, wanted]) => key === "q"
      ? own.join(" ").toLowerCase().includes(wanted.toLowerCase())
      : key === "study" ? own[0].split(", ").includes(wanted) : own[keys.indexOf(key)] === wanted);
    count += !row.hidden;
  });
  const at = keys.indexOf(order.key);
  if (at >= 0) {
    const numeric = rows.every((row) => !Number.isNaN(value(cells.get(row)[at])));
    const compare = (a, b) => numeric ? value(a) - value(b) : a.localeCompare(b, root.lang);
    rows.sort((a, b) => (order.down ? -1 : 1) * compare(cells.get(a)[at], cells.get(b)[at]));
    body.append(...rows);
  }
  heads.forEach((head) => head.dataset.key === order.key
    ? head.setAttribute("aria-sort", order.down ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
  $("output", form).value = ROWS.replace("{n}", count);
  if (!write) return;
  const said = new URLSearchParams(asked);
  if (order.key) said.set("sort", (order.down ? "-" : "") + order.key);
  history.replaceState(null, "", "#runs" + (said.size ? "?" + said : ""));
};
const restore = () => {
  if (!location.hash.startsWith("#runs?")) return;
  const said = new URLSearchParams(location.hash.slice(6));
  [...form.elements].forEach((field) => { if (field.name) field.value = said.get(field.name) ?? ""; });
  const sort = said.get("sort") ?? "";
  order = { key: sort.replace(/^-/, ""), down: sort.startsWith("-") };
  $("#runs").scrollIntoView();
};
form.oninput = () => apply(true);
form.onsubmit = (event) => event.preventDefault();
heads.forEach((head) => {
  head.tabIndex = 0;
  head.onclick = () => { order = { key: head.dataset.key, down: order.key === head.dataset.key && !order.down }; apply(true); };
  head.onkeydown = (event) => { if (event.key === "Enter") head.onclick(); };
});
addEventListener("hashchange", () => { restore(); apply(false); });
$("#download").onclick = () => {
  const comma = DECIMAL === "," ? ";" : ",", quote = (text) => /[";,\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const lines = [heads.map((head) => head.textContent), ...rows.filter((row) => !row.hidden).map((row) => cells.get(row))];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff" + lines.map((line) => line.map(quote).join(comma)).join("\n")], { type: "text/csv" }));
  link.download = "runs.csv";
  link.click();
};

// A number opens the runs behind it.
const panel = $("#panel");
$$("button.number").forEach((button) => {
  button.onclick = () => {
    const list = $("div", panel);
    $("p", panel).textContent = [button.dataset.about, button.textContent.trim()].filter(Boolean).join(": ");
    list.replaceChildren(...button.dataset.runs.split(" ").filter(Boolean).map((id) => {
      const own = cells.get(document.getElementById("run-" + id)), dl = document.createElement("dl");
      (own ?? [id]).forEach((text, k) => {
        if (!text) return;
        const dt = document.createElement("dt"), dd = document.createElement("dd");
        dt.textContent = own ? heads[k].textContent : "";
        dd.textContent = text;
        dl.append(dt, dd);
      });
      return dl;
    }));
    panel.showModal();
  };
});
restore();
apply(false);
open();
