// What a reader does with the report: theme, moving over the timeline, picking
// an event, reading the same data as tables.
"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  for (const key of ["phases", "lanes", "probes", "events", "outages", "unusable", "bursts", "nodes"]) data[key] ||= [];
  for (const n of data.nodes) { n.spans ||= []; n.marks ||= []; }
  const $ = (id) => document.getElementById(id);
  const charts = $("charts"), detail = $("detail");
  charts.hidden = false;
  const timeline = new Timeline($("panels"), data, choose);
  $("sampling").textContent = data.sampling + (data.left ? ` ${number(data.left)} further events are only in the record.` : "");

  // The theme follows the system until the reader chooses.
  const theme = $("theme"), system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const paint = () => { theme.setAttribute("aria-pressed", String(dark())); timeline.recolor(); };
  theme.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; paint(); });
  system.addEventListener("change", paint);
  let before;
  addEventListener("beforeprint", () => { before = document.documentElement.dataset.theme; document.documentElement.dataset.theme = "light"; document.documentElement.classList.add("printing"); timeline.recolor(); timeline.resize(); });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    if (before) document.documentElement.dataset.theme = before; else delete document.documentElement.dataset.theme; paint(); });

  // The toolbar.
  const button = (text, label, act) => element("button", { type: "button", "aria-label": label, title: label, click: act }, text);
  const bar = charts.querySelector(".toolbar");
  bar.append(button("−", "Zoom out", () => timeline.zoom(2)), button("+", "Zoom in", () => timeline.zoom(0.5)),
    button("←", "Pan left", () => timeline.pan(-0.4)), button("→", "Pan right", () => timeline.pan(0.4)), button("All", "Show the whole load", () => timeline.reset()));
  for (const p of data.phases) bar.append(button(p.name, `Show the phase ${p.name}`, () => around(p.s, p.e, 0.03)));
  data.outages.slice(0, 5).forEach((o, i) => bar.append(button(`outage ${i + 1}`, `Show the outage: ${o.text}`, () => around(o.s, o.e, 1.5))));
  function around(from, to, margin) {
    const m = Math.max(1, (to - from) * margin);
    timeline.show(from - m, to + m);
  }
  for (const b of document.querySelectorAll("button.show")) {
    b.addEventListener("click", () => {
      pick(b);
      $("timeline").scrollIntoView();
      charts.focus({ preventScroll: true });
    });
  }

  // pick frames the ledger's entry of a button on the timeline and zooms to it.
  function pick(b) {
    const entry = data.bursts[+b.dataset.entry - 1];
    for (const x of document.querySelectorAll("button.show")) x.setAttribute("aria-pressed", String(x === b));
    timeline.picked = entry;
    around(entry.s, entry.e, 1.5);
  }

  charts.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const act = { "+": () => timeline.zoom(0.5), "=": () => timeline.zoom(0.5), "-": () => timeline.zoom(2), ArrowLeft: () => timeline.pan(-0.2), ArrowRight: () => timeline.pan(0.2), 0: () => timeline.reset() }[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  });
  $("panels").addEventListener("wheel", (e) => {
    const x = e.clientX - $("panels").getBoundingClientRect().left;
    if (e.ctrlKey || e.metaKey) timeline.zoom(e.deltaY > 0 ? 1.25 : 0.8, timeline.t(x));
    else if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) timeline.pan(e.deltaX / timeline.width);
    else return;
    e.preventDefault();
  }, { passive: false });

  // The view in words, for a screen reader and for everybody.
  let speak;
  timeline.onview = ([from, to]) => {
    clearTimeout(speak);
    speak = setTimeout(() => {
      const phases = data.phases.filter((p) => p.e > from && p.s < to).map((p) => p.name);
      $("view-text").textContent = `Shown: ${clock(from)} to ${clock(to)}` + (phases.length ? ` (${phases.join(", ")})` : "");
      const entry = timeline.picked;
      if (entry && entry.e >= from && entry.s <= to) $("view-text").textContent += `. Framed: entry ${entry.n} of the blame ledger, ${entry.text}`;
      timeline.read(null);
      if ($("figures").open) figures();
    }, 120);
  };
  timeline.onview(timeline.view);

  // choose shows an event: what it was, and what the lanes did around it.
  function choose(n) {
    const e = data.events[n];
    timeline.select(n);
    const list = element("dl", {});
    const line = (k, v) => list.append(element("dt", {}, k), element("dd", {}, v));
    line("when", `${clock(e.t)}, ${new Date(data.startMS + e.t * 1000).toISOString().slice(11, 23)} UTC`);
    line("subject", e.subject);
    line("seen by", e.source);
    for (const [k, v] of e.detail || []) line(k, v);
    const g = data.grid, at = (t) => Math.floor((t - g.first) / g.width);
    const around = data.lanes.map((l) => {
      const s = total(l, at(e.t - 2), at(e.t + 15));
      return s.due ? `${l.name}: lost ${number(s.lost)} of ${number(s.due)}, highest p99 ${millis(s.p99)}` : null;
    }).filter(Boolean);
    if (around.length) line("lanes, 2 s before to 15 s after", around.join("; "));
    detail.replaceChildren(element("div", { class: "row" }, element("h3", {}, e.kind),
      button("‹", "Previous event", () => choose(Math.max(0, n - 1))), button("›", "Next event", () => choose(Math.min(data.events.length - 1, n + 1))),
      button("Zoom here", "Zoom to this event", () => timeline.show(e.t - 15, e.t + 30)), button("Close", "Close the details", close)), list);
    detail.hidden = false;
  }
  function close() {
    detail.hidden = true;
    timeline.select(-1);
    timeline.slider?.focus({ preventScroll: true });
  }
  detail.addEventListener("keydown", (e) => { if (e.key === "Escape") close(); });
  charts.addEventListener("keydown", (e) => { if (e.key === "Escape" && !detail.hidden) close(); });

  // The same data as tables, made when they are opened.
  const table = (caption, heads, rows) => element("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" }, element("table", {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads.map((h) => element("th", { scope: "col" }, h)))),
    element("tbody", {}, ...rows.map(([first, ...rest]) => element("tr", {}, element("th", { scope: "row" }, first), ...rest.map((c) => element("td", {}, c)))))));
  function figures() {
    const g = data.grid, at = (t) => Math.min(g.n - 1, Math.max(0, Math.floor((t - g.first) / g.width)));
    const from = at(timeline.view[0]), to = at(timeline.view[1]), step = Math.max(1, Math.ceil((to - from + 1) / 120));
    const rows = [], groups = [["API", "api-"], ["DNS", "dns-"]].map(([name, prefix]) => [name, data.probes.filter((p) => p.name.startsWith(prefix))]).filter(([, probes]) => probes.length);
    for (let i = from; i <= to; i += step) {
      rows.push([clock(g.first + i * g.width), ...data.lanes.flatMap((l) => {
        const s = total(l, i, Math.min(to, i + step - 1));
        return [number(s.due), number(s.lost), number(s.unsent), millis(s.p99)];
      }), ...groups.map(([, probes]) => {
        const sum = (key) => probes.reduce((n, p) => { for (let k = i; k <= Math.min(to, i + step - 1); k++) n += p[key][k] || 0; return n; }, 0);
        return `${number(sum("failed"))} of ${number(sum("made"))}`;
      })]);
    }
    const heads = ["From", ...data.lanes.flatMap((l) => [`${l.name}: due`, "lost", "unsent", "highest p99"]), ...groups.map(([name]) => name + ": not answered")];
    $("figures").querySelector(".body").replaceChildren(table(`Every row sums up ${step * g.width} s`, heads, rows));
  }
  function eventTable() {
    const body = $("events").querySelector(".body");
    if (body.firstChild) return;
    body.append(table("Events in the order of time", ["When", "What", "Subject", "Detail", "Seen by"], data.events.map((e, n) => [
      element("button", { type: "button", click: () => choose(n) }, clock(e.t)), e.kind, e.subject, (e.detail || []).map((kv) => kv.join(" ")).join(", "), e.source])));
  }
  for (const [id, fill, any] of [["figures", figures, data.lanes.length && data.grid.n], ["events", eventTable, data.events.length]]) {
    $(id).hidden = !any;
    $(id).addEventListener("toggle", () => { if ($(id).open) fill(); });
  }
  document.documentElement.dataset.ready = "true";
}
