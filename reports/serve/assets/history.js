// The history of a scenario: verdicts, p99, outages and durations of its runs over
// time. All panels show the same part of it, the view. uPlot draws the figures.
"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent), runs = data.runs;
  const $ = (id) => document.getElementById(id);
  const panels = $("panels"), charts = $("charts");
  charts.hidden = false;
  // A run stands at its time, or, evenly spaced, at its place among the others.
  let even = false, times, home;
  function place() {
    times = runs.map((r, i) => even ? i : r.t);
    const first = times[0], last = times[times.length - 1], margin = Math.max(even ? 0.7 : 3600, (last - first) * 0.04);
    home = [first - margin, last + margin];
  }
  place();
  let view = home.slice(), width = panels.clientWidth || 900, left = width < 520 ? 54 : 66, picked = -1, quiet = false;
  const right = 34, plots = [];
  const day = (t) => new Date(t * 1000).toISOString().slice(0, 16).replace("T", " ");
  const seconds = (s) => s == null ? "–" : s < 90 ? +s.toPrecision(3) + " s" : s < 5400 ? +(s / 60).toPrecision(3) + " min" : +(s / 3600).toPrecision(3) + " h";
  const x = (t) => left + (t - view[0]) / (view[1] - view[0]) * (width - left - right);
  const sign = { GO: "✓", "NO-GO": "✗", INCONCLUSIVE: "?", "": "–" };

  function show(from, to) {
    const span = Math.min(Math.max(to - from, even ? 2 : 600), home[1] - home[0]);
    const start = Math.min(Math.max((from + to) / 2 - span / 2, home[0]), home[1] - span);
    view = [start, start + span];
    for (const p of plots) p.u.setScale("x", { min: view[0], max: view[1] });
    drawVerdicts();
    say();
  }
  const zoom = (f) => { const c = picked >= 0 && times[picked] >= view[0] && times[picked] <= view[1] ? times[picked] : (view[0] + view[1]) / 2; show(c - (c - view[0]) * f, c + (view[1] - c) * f); };
  const pan = (d) => show(view[0] + d * (view[1] - view[0]), view[1] + d * (view[1] - view[0]));

  // The view in words, and the run that is marked.
  let speak;
  function say() {
    clearTimeout(speak);
    speak = setTimeout(() => {
      const seen = runs.filter((_, i) => times[i] >= view[0] && times[i] <= view[1]), r = runs[picked];
      $("view-text").textContent = `Shown: ${seen.length} of ${runs.length} runs` + (seen.length ? `, ${day(seen[0].t)} to ${day(seen[seen.length - 1].t)} UTC` : "");
      $("picked").replaceChildren(...(r ? [`${day(r.t)} UTC: ${r.verdict || "no verdict"}, ${r.what}. `, element("a", { href: r.url }, "Open its report")] : []));
    }, 100);
    for (const p of plots) p.read(picked);
  }

  function head(title, keys) {
    const out = element("output", {});
    const list = element("span", { class: "keys" }, ...keys.map(([text, style, color]) => {
      const s = element("span", { class: style }, text);
      if (color) s.style.setProperty("--key", `var(${color})`);
      return s;
    }));
    panels.append(element("div", { class: "panel-head" }, element("h2", { class: "panel-title" }, title), list, out));
    return out;
  }

  // Verdicts: a mark with a shape of its own for each run, a link to its report.
  head("Verdicts", [["● GO", "plain", "--good"], ["◆ NO-GO", "plain", "--bad"], ["▲ INCONCLUSIVE", "plain", "--warn"], ["□ no verdict", "plain"]]);
  const svg = panels.appendChild(element("svg:svg", { class: "track verdicts", role: "group", "aria-label": "Verdicts, oldest first" }));
  function drawVerdicts() {
    const height = 52;
    svg.replaceChildren();
    svg.setAttribute("height", height);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.append(element("svg:line", { class: "rail", x1: left, x2: width - right, y1: 26, y2: 26 }));
    runs.forEach((r, i) => {
      if (times[i] < view[0] || times[i] > view[1]) return;
      const c = x(times[i]), row = { GO: 14, INCONCLUSIVE: 26, "NO-GO": 38, "": 26 }[r.verdict] ?? 26;
      if (r.changed) svg.append(element("svg:line", { class: "changed", x1: c - 7, x2: c - 7, y1: 0, y2: height }));
      const shape = {
        GO: `M${c - 6} ${row}a6 6 0 1 0 12 0a6 6 0 1 0 -12 0Z`,
        "NO-GO": `M${c} ${row - 8}L${c + 8} ${row}L${c} ${row + 8}L${c - 8} ${row}Z`,
        INCONCLUSIVE: `M${c} ${row - 7}L${c + 8} ${row + 6}L${c - 8} ${row + 6}Z`,
        "": `M${c - 5} ${row - 5}h10v10h-10Z`,
      }[r.verdict];
      svg.append(element("svg:a", { href: r.url, "aria-label": `${day(r.t)} ${r.verdict || "no verdict"} ${r.name}`, focus: () => pick(i), pointerenter: () => pick(i) },
        element("svg:path", { class: "v-" + (r.verdict.toLowerCase() || "none"), d: shape }),
        element("svg:circle", { class: "ring" + (i === picked ? " on" : ""), cx: c, cy: row, r: 11 }),
        element("svg:title", {}, `${day(r.t)} ${sign[r.verdict]} ${r.verdict || "no verdict"}\n${r.name}`)));
    });
  }

  // The time axis: round times, or, evenly spaced, the runs' own.
  function steps() {
    const least = (view[1] - view[0]) / Math.max(2, (width - left) / 120), out = [];
    if (!even && least > 86400 * 14) {
      const months = [1, 2, 3, 6, 12, 24, 60].find((m) => m * 86400 * 30 >= least) || 120, from = new Date(view[0] * 1000);
      for (let m = Math.floor((from.getUTCFullYear() * 12 + from.getUTCMonth()) / months) * months; ; m += months) {
        const t = Date.UTC(Math.floor(m / 12), m % 12) / 1000;
        if (t > view[1]) return out;
        if (t >= view[0]) out.push(t);
      }
    }
    const list = even ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000] : [60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 1209600];
    const step = list.find((s) => s >= least) || list[list.length - 1];
    for (let t = Math.ceil(view[0] / step) * step; t <= view[1]; t += step) out.push(t);
    return out;
  }
  // levels are round values between two of a logarithmic axis, three or more.
  function levels(low, high) {
    for (const digits of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7]]) {
      const out = [];
      for (let d = Math.pow(10, Math.floor(Math.log10(low))); d <= high; d *= 10) for (const n of digits) if (n * d >= low && n * d <= high) out.push(+(n * d).toPrecision(3));
      if (out.length >= 3) return out;
    }
    const raw = (high - low) / 3, unit = Math.pow(10, Math.floor(Math.log10(raw))), step = [1, 2, 5, 10].find((n) => n * unit >= raw) * unit, out = [];
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) out.push(+v.toPrecision(6));
    return out;
  }
  function labels(_, splits) {
    let before = "";
    const days = splits.length > 1 && splits[1] - splits[0] >= 86400 && !even;
    return splits.map((t) => {
      const at = even ? runs[t]?.t : t;
      if (at == null) return "";
      const text = day(at), date = text.slice(0, 10), clock = text.slice(11);
      const label = days ? date : date === before ? clock : `${date.slice(5)} ${clock}`;
      before = date;
      return label;
    });
  }

  function plot(title, keys, values, series, y, axis, words) {
    const out = head(title, keys);
    const box = panels.appendChild(element("div", { class: "panel", role: "img", "aria-label": title + " over time; the table below has the same figures" }));
    const u = new uPlot({
      width, height: 150, legend: { show: false }, padding: [8, right, 0, 0],
      cursor: { y: false, drag: { x: true, y: false, setScale: false, dist: 4 }, points: { size: 8, fill: (u, i) => u.series[i].stroke(u, i) }, bind: { dblclick: () => () => { show(...home); return null; } } },
      scales: { x: { time: false, range: () => view }, y },
      axes: [
        { stroke: () => css("--muted"), font: "11px system-ui, sans-serif", size: 24, space: 92, splits: steps, values: labels, grid: { stroke: () => css("--line"), width: 1 }, ticks: { show: false } },
        { size: left, stroke: () => css("--muted"), font: "11px system-ui, sans-serif", grid: { stroke: () => css("--line"), width: 1 }, ticks: { show: false }, gap: 6, space: 24, ...axis },
      ],
      series: [{}, ...series],
      hooks: {
        drawClear: [(u) => {
          const { ctx } = u, { top, height } = u.bbox;
          ctx.save();
          runs.forEach((r, i) => {
            const c = u.valToPos(times[i], "x", true);
            if (r.changed) { ctx.strokeStyle = css("--muted"); ctx.setLineDash([6, 6]); ctx.beginPath(); ctx.moveTo(c - 7 * devicePixelRatio, top); ctx.lineTo(c - 7 * devicePixelRatio, top + height); ctx.stroke(); ctx.setLineDash([]); }
            if (i === picked) { ctx.fillStyle = css("--phase"); ctx.fillRect(c - 6 * devicePixelRatio, top, 12 * devicePixelRatio, height); }
          });
          ctx.restore();
        }],
        setSelect: [(u) => {
          if (u.select.width > 3) show(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        }],
        setCursor: [(u) => {
          if (quiet || u.cursor.left < 0 || u.cursor.idx == null) return;
          if (u.cursor.idx !== picked) pick(u.cursor.idx);
        }],
      },
    }, [times, ...values], box);
    plots.push({ u, values, read: (i) => { out.textContent = i < 0 ? "" : words(runs[i]); } });
  }

  const line = (color, dash, over) => ({ stroke: () => css(color), width: 2, dash, spanGaps: true, points: { show: true, size: 6, fill: () => css("--card") }, ...over });
  const round = (scale) => ({ values: (_, s) => s.map((v) => v == null ? "" : scale(v)) });
  const colors = ["--lane-1", "--lane-2", "--lane-3", "--lane-4"], lanes = data.lanes.slice(0, colors.length);
  const all = lanes.flatMap((_, k) => runs.flatMap((r) => [r.baseline[k], r.upgrade[k]])).filter((v) => v > 0);
  if (all.length) {
    const low = Math.min(...all) * 0.8, high = Math.max(...all) * 1.25;
    plot("p99", lanes.flatMap((l, k) => [[l + ", upgrade", "", colors[k]], [l + ", baseline", "dashed", colors[k]]]),
      lanes.flatMap((_, k) => [runs.map((r) => r.upgrade[k]), runs.map((r) => r.baseline[k])]),
      lanes.flatMap((_, k) => [line(colors[k]), line(colors[k], [6, 5], { width: 1.3 })]),
      { distr: 3, range: () => [low, high] }, { splits: () => levels(low, high), ...round(millis) },
      (r) => lanes.map((l, k) => `${l} ${millis(r.baseline[k])} → ${millis(r.upgrade[k])}`).join(", "));
  }
  if (data.lanes.length > lanes.length) panels.append(element("p", { class: "hint" }, `Lanes ${data.lanes.slice(lanes.length).join(", ")} are only in the table.`));
  const up = (u, low, high) => [0, Math.max(1, (high || 0) * 1.15)];
  if (runs.some((r) => r.outage)) {
    plot("Longest outage", [["at most", "", "--bad"], ["at least", "dashed", "--bad"]], [runs.map((r) => r.outage ? r.outage[1] : null), runs.map((r) => r.outage ? r.outage[0] : null)],
      [line("--bad"), line("--bad", [6, 5], { width: 1.3 })], { range: up }, round(millis),
      (r) => (!r.outage ? "not measured" : r.outage[1] ? `${millis(r.outage[0])} to ${millis(r.outage[1])}` : "none seen") + (r.lost == null ? "" : `, ${number(r.lost)} requests lost`));
  }
  if (runs.some((r) => r.took || r.rolled)) {
    plot("Duration", [["the upgrade", "", "--lane-1"], ["the whole run", "dashed", "--control"]], [runs.map((r) => r.rolled), runs.map((r) => r.took)],
      [line("--lane-1"), line("--control", [6, 5], { width: 1.3 })], { range: up }, { incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400], ...round(seconds) }, (r) => `upgrade ${seconds(r.rolled)}, run ${seconds(r.took)}`);
  }

  // pick marks a run in every panel.
  function pick(i) {
    picked = i;
    quiet = true;
    for (const p of plots) {
      p.u.setCursor(i < 0 ? { left: -10, top: -10 } : { left: p.u.valToPos(times[i], "x"), top: -10 }, true, false);
      p.u.redraw(false, false);
    }
    quiet = false;
    svg.querySelectorAll(".ring").forEach((e) => e.classList.remove("on"));
    if (i >= 0) [...svg.querySelectorAll("a")].find((a) => a.getAttribute("href") === runs[i].url)?.querySelector(".ring").classList.add("on");
    say();
  }
  function go(i) {
    if (i < 0 || i >= runs.length) return;
    const span = view[1] - view[0];
    if (times[i] < view[0] || times[i] > view[1]) show(times[i] - span / 2, times[i] + span / 2);
    pick(i);
  }

  const button = (text, label, act) => element("button", { type: "button", "aria-label": label, title: label, click: act }, text);
  charts.querySelector(".toolbar").append(button("−", "Zoom out", () => zoom(2)), button("+", "Zoom in", () => zoom(0.5)),
    button("←", "Earlier", () => pan(-0.4)), button("→", "Later", () => pan(0.4)), button("All", "Show all runs", () => { show(...home); pick(-1); }),
    element("button", { type: "button", "aria-pressed": "false", click: (e) => {
      even = !even;
      e.currentTarget.setAttribute("aria-pressed", String(even));
      place();
      view = home.slice();
      for (const p of plots) p.u.setData([times, ...p.values]);
      show(...home);
    } }, "Evenly spaced"));
  charts.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || (e.target !== charts && e.key === "Enter")) return;
    const act = {
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => show(...home), Escape: () => pick(-1),
      ArrowRight: () => go(picked < 0 ? times.findIndex((t) => t >= view[0]) : picked + 1), ArrowLeft: () => go(picked < 0 ? runs.length - 1 : picked - 1),
      Home: () => go(0), End: () => go(runs.length - 1), Enter: () => { if (picked >= 0) location.href = runs[picked].url; },
    }[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  });
  addEventListener("recolor", () => { for (const p of plots) p.u.redraw(false, true); });
  new ResizeObserver(() => {
    if (!panels.clientWidth || panels.clientWidth === width) return;
    width = panels.clientWidth;
    for (const p of plots) p.u.setSize({ width, height: 150 });
    drawVerdicts();
  }).observe(panels);
  drawVerdicts();
  say();
  document.documentElement.dataset.ready = "true";
}
