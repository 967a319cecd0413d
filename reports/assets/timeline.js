// The timeline of the report: every panel shows the same part of the run, the
// view. uPlot draws the lanes; events, probes and nodes are SVG.
"use strict";

class Timeline {
  constructor(root, data, choose) {
    this.data = data;
    this.choose = choose; // called with the index of the event that was picked
    this.panels = root;
    this.selected = -1;
    this.picked = null; // the entry of the blame ledger that is framed
    this.charts = [];
    this.tracks = [];
    const g = data.grid, last = g.first + g.n * g.width;
    this.starts = Array.from({ length: g.n }, (_, i) => g.first + i * g.width);
    this.times = Array.from({ length: g.n }, (_, i) => g.first + (i + 0.5) * g.width);
    this.home = g.n ? [Math.max(0, g.first - 0.01 * (last - g.first)), last + 0.01 * (last - g.first)] : [0, data.end];
    this.view = this.home.slice();
    this.onview = () => {};
    this.left = 66;
    this.right = 12;
    this.build();
    new ResizeObserver(() => this.resize()).observe(root);
  }

  // The pixel of a time, and the time of a pixel.
  x(t) { return this.left + (t - this.view[0]) / (this.view[1] - this.view[0]) * (this.width - this.left - this.right); }
  t(x) { return this.view[0] + (x - this.left) / (this.width - this.left - this.right) * (this.view[1] - this.view[0]); }

  show(from, to) {
    const least = Math.max(5, 5 * this.data.grid.width), end = this.data.end * 1.02;
    let span = Math.min(Math.max(to - from, least), end);
    let start = Math.min(Math.max((from + to) / 2 - span / 2, 0), end - span);
    this.view = [start, start + span];
    for (const u of this.charts) u.setScale("x", { min: this.view[0], max: this.view[1] });
    this.draw();
    this.onview(this.view);
  }
  zoom(factor, around) {
    const [a, b] = this.view, c = around ?? (a + b) / 2;
    this.show(c - (c - a) * factor, c + (b - c) * factor);
  }
  pan(share) {
    const d = (this.view[1] - this.view[0]) * share;
    this.show(this.view[0] + d, this.view[1] + d);
  }
  reset() { this.show(...this.home); }

  build() {
    const d = this.data;
    this.width = this.room() || 900;
    if (this.width < 520) this.left = 58;
    this.panels.append(element("svg:svg", { width: 0, height: 0, "aria-hidden": "true" }, hatch("draining"), hatch("notready")));
    this.track("overview", null, 34, (svg) => this.drawOverview(svg));
    this.events();
    if (d.lanes.length && d.grid.n) {
      const scale = this.latencyScale();
      d.lanes.forEach((lane, i) => this.lane(lane, i, scale));
      this.lost();
    } else {
      this.panels.append(element("p", { class: "quiet" }, "No lane recorded anything."));
    }
    const probes = d.probes.filter((p) => p.made.some((x) => x)), dns = probes.filter((p) => p.name.startsWith("dns-")), others = probes.filter((p) => !dns.includes(p));
    const keys = [["answered", "", "--lane-4", "wide"], ["not answered", "", "--bad", "wide"]];
    if (others.length) this.probes("probes", others.every((p) => p.name.startsWith("api-")) ? "API" : "Probes", others, keys);
    if (dns.length) this.probes("dns", "DNS, asked from each node", dns.map((p) => ({ ...p, name: p.name.slice(4) })), keys);
    const nodes = d.nodes.filter((n) => n.spans.length || n.marks.length);
    if (nodes.length) this.track("nodes", "Nodes", () => this.nodesShown(nodes).length * this.nodeRow(nodes) + 2, (svg) => this.drawNodes(svg, nodes),
      [["cordoned", "", "--muted"], ["draining", "", "--lane-2", "wide"], ...(nodes.some((n) => n.spans.some((s) => s.state === "stalled")) ? [["stalled", "", "--bad", "wide"]] : []), ["upgrading", "", "--accent", "wide"], ["not ready", "", "--bad", "wide"], ["◆ version changed, ✓ validated", "plain"]]);
    this.track("axis", null, 22, (svg) => this.drawAxis(svg));
    this.draw();
  }

  // room is the width that there is, or 0 where nothing is laid out. A page that is
  // made ready for paper may for a moment be narrower than the names on the left.
  room() { return this.panels.clientWidth && Math.max(this.panels.clientWidth, 240); }

  resize() {
    const width = this.room();
    if (!width || width === this.width) return;
    this.width = width;
    for (const u of this.charts) u.setSize({ width, height: u.height });
    this.draw();
  }
  recolor() {
    for (const u of this.charts) u.redraw(false, true);
  }
  draw() {
    for (const track of this.tracks) {
      const height = typeof track.height === "function" ? track.height() : track.height;
      track.svg.replaceChildren();
      track.svg.setAttribute("height", height);
      track.svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
      track.draw(track.svg);
      track.cursor = track.svg.appendChild(element("svg:line", { class: "cursor", y1: 0, y2: height, visibility: "hidden" }));
    }
  }

  head(title, keys) {
    const out = element("output", {});
    const list = element("span", { class: "keys" }, ...(keys || []).map(([text, style, color, more]) => {
      const s = element("span", { class: [style, more].filter(Boolean).join(" ") }, text);
      if (color) s.style.setProperty("--key", `var(${color})`);
      return s;
    }));
    return { out, head: element("div", { class: "panel-head" }, element("h3", {}, title), list, out) };
  }

  track(name, title, height, draw, keys) {
    const svg = element("svg:svg", { class: "track", role: "img", "aria-label": title || name });
    const panel = element("div", { class: "panel " + name });
    if (title) panel.append(this.head(title, keys).head);
    panel.append(svg);
    svg.addEventListener("pointermove", (e) => this.point(this.t(e.clientX - svg.getBoundingClientRect().left)));
    svg.addEventListener("pointerleave", () => this.point(null));
    this.panels.append(panel);
    this.tracks.push({ svg, height, draw });
    return svg;
  }

  // point puts the cursor of every panel at t.
  point(t, from) {
    const inside = t != null && t >= this.view[0] && t <= this.view[1];
    for (const u of this.charts) {
      if (u === from) continue;
      this.quiet = true;
      u.setCursor(inside ? { left: u.valToPos(t, "x"), top: -10 } : { left: -10, top: -10 }, true, false);
      this.quiet = false;
    }
    for (const track of this.tracks) {
      track.cursor?.setAttribute("visibility", inside ? "visible" : "hidden");
      if (inside) for (const k of ["x1", "x2"]) track.cursor?.setAttribute(k, this.x(t));
    }
    this.read(inside ? t : null);
  }
  // read writes the figures at t, or of the whole view, into the panels' heads.
  read(t) {
    const g = this.data.grid;
    let from = Math.max(0, Math.floor((this.view[0] - g.first) / g.width)), to = Math.min(g.n - 1, Math.floor((this.view[1] - g.first) / g.width));
    if (t != null) from = to = Math.floor((t - g.first) / g.width);
    for (const c of this.charts) c.report?.(from, to, t);
  }

  latencyScale() {
    let low = Infinity, high = 0;
    for (const l of this.data.lanes) {
      for (const v of l.p50) if (v > 0) low = Math.min(low, v);
      for (const v of l.p99) if (v > 0) high = Math.max(high, v);
    }
    if (!high) return [0.1, 100];
    return [Math.max(0.001, low * 0.7), Math.max(high * 1.4, low * 12)];
  }
  color(lane, i) { return lane.control ? "--control" : `--lane-${i % 4 + 1}`; }

  lane(lane, i, scale) {
    const variable = this.color(lane, i);
    const { head, out } = this.head(lane.name + (lane.control ? " (outside the cluster)" : ""), [["p99", "", variable], ["p50", "dashed", variable]]);
    const positive = (values) => values.map((v) => v > 0 ? v : null);
    const u = this.chart(head, 104, "latency of lane " + lane.name, [this.times, positive(lane.p99), positive(lane.p50)], [
      { stroke: () => css(variable), width: 1.4, label: "p99", points: { show: false } },
      { stroke: () => css(variable), width: 1.4, dash: [5, 3], label: "p50", points: { show: false } },
    ], { distr: 3, range: () => scale }, { values: (_, s) => s.map((v) => v == null ? "" : millis(v)), splits: () => decades(scale), filter: (_, s) => s }, lane.name, [{ series: [1, 2], fill: () => css(variable) + "2e" }]);
    u.report = (from, to, t) => {
      if (t != null) {
        out.textContent = from >= 0 && from < lane.p50.length && lane.due[from] != null
          ? `${clock(t)}: p50 ${millis(lane.p50[from])}, p99 ${millis(lane.p99[from])}, lost ${number(lane.lost[from])} of ${number(lane.due[from])}`
          : `${clock(t)}: no data`;
        return;
      }
      const s = total(lane, from, to);
      out.textContent = `shown: lost ${number(s.lost)} of ${number(s.due)}` + (s.unsent ? `, unsent ${number(s.unsent)}` : "") + `, highest p99 ${millis(s.p99)}`;
    };
  }

  lost() {
    const lanes = this.data.lanes, sum = (k) => lanes.reduce((a, l) => a + l[k].reduce((x, y) => x + (y || 0), 0), 0);
    const lost = sum("lost"), unsent = sum("unsent");
    if (!lost && !unsent) {
      this.panels.append(element("div", { class: "panel lost" }, element("div", { class: "panel-head" }, element("h3", {}, "Lost a second"), element("span", { class: "quiet" }, "No request was lost or left unsent on any lane."))));
      return;
    }
    const dashes = ["", "dashed", "dotted"], patterns = [[], [6, 3], [2, 3]];
    const shown = lanes.map((l, i) => ({ l, i })).filter(({ l }) => l.worst.some((x) => x));
    const keys = shown.map(({ l, i }, k) => [l.name, dashes[k % 3], this.color(l, i)]);
    const series = shown.map(({ l, i }, k) => ({
      label: l.name, stroke: () => css(this.color(l, i)), fill: () => css(this.color(l, i)) + "33", width: 1.5, dash: patterns[k % 3],
      paths: uPlot.paths.stepped({ align: 1 }), points: { show: false },
    }));
    const values = shown.map(({ l }) => l.worst);
    if (unsent) {
      keys.push(["unsent, all lanes", "dotted", "--muted"]);
      series.push({ label: "unsent", stroke: () => css("--muted"), width: 2, dash: [1, 3], paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } });
      values.push(this.times.map((_, i) => lanes.reduce((a, l) => a + (l.unsent[i] || 0) / this.data.grid.width, 0)));
    }
    const { head, out } = this.head("Lost a second", keys);
    const u = this.chart(head, 84, "requests lost a second", [this.starts, ...values], series, { range: (_, lo, hi) => [0, Math.max(1, hi * 1.15)] }, { values: (_, s) => s.map((v) => v == null || !Number.isInteger(v) ? "" : number(v)) });
    u.report = (from, to, t) => {
      out.textContent = (t == null ? "shown: " : clock(t) + ": ") + lanes.map((l) => `${l.name} ${number(total(l, from, to).lost)}`).join(", ");
    };
  }

  chart(head, height, label, values, series, scale, axis, laneName, bands) {
    const box = element("div", { role: "img", "aria-label": label });
    this.panels.append(element("div", { class: "panel lane" }, head, box));
    const self = this;
    const u = new uPlot({
      width: this.width, height, legend: { show: false }, padding: [6, this.right, 4, 0],
      cursor: {
        y: false, drag: { x: true, y: false, setScale: false, dist: 4 }, points: { size: 6 },
        bind: { dblclick: () => () => { self.reset(); return null; } },
      },
      scales: { x: { time: false, range: () => self.view }, y: scale },
      axes: [
        { size: 0, splits: () => ticks(self.view, self.width), values: (_, s) => s.map(() => ""), grid: { stroke: () => css("--line"), width: 1 }, ticks: { show: false } },
        { size: this.left, stroke: () => css("--muted"), font: "11px system-ui, sans-serif", grid: { stroke: () => css("--line"), width: 1 }, ticks: { show: false }, gap: 6, space: 22, ...axis },
      ],
      series: [{}, ...series],
      bands,
      hooks: {
        drawClear: [(u) => self.shade(u, laneName)],
        setSelect: [(u) => {
          if (u.select.width > 3) self.show(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        }],
        setCursor: [(u) => {
          if (!self.quiet) self.point(u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null, u);
        }],
      },
    }, values, box);
    this.charts.push(u);
    return u;
  }

  // shade paints phases, unusable stretches and outages behind a chart.
  shade(u, laneName) {
    const { ctx } = u, { left, top, width, height } = u.bbox;
    const band = (s, e, paint) => {
      const a = Math.max(left, u.valToPos(s, "x", true)), b = Math.min(left + width, u.valToPos(e, "x", true));
      if (b >= left && a <= left + width) paint(a, Math.max(b - a, 2));
    };
    let written = -9; // the right end of the last note: one that would lie over it is left out
    const note = (text, color, x, w) => { // beside a band, where there is room
      ctx.fillStyle = css(color);
      ctx.font = `600 ${11 * devicePixelRatio}px system-ui, sans-serif`;
      const size = ctx.measureText(text).width, room = x + w + 4 + size < left + width;
      const from = room ? x + w + 4 : x - 4 - size;
      if (from < written + 6) return;
      written = from + size;
      ctx.textAlign = room ? "left" : "right";
      ctx.fillText(text, room ? x + w + 4 : x - 4, top + 13 * devicePixelRatio);
    };
    ctx.save();
    for (const p of this.data.phases) if (p.name === "upgrade") band(p.s, p.e, (x, w) => { ctx.fillStyle = css("--phase"); ctx.fillRect(x, top, w, height); });
    for (const p of this.data.unusable) {
      if (p.name && p.name !== laneName) continue;
      band(p.s, p.e, (x, w) => {
        ctx.save();
        ctx.beginPath(); ctx.rect(x, top, w, height); ctx.clip();
        ctx.strokeStyle = css("--unusable"); ctx.lineWidth = 2;
        for (let k = x - height; k < x + w; k += 7) { ctx.beginPath(); ctx.moveTo(k, top + height); ctx.lineTo(k + height, top); ctx.stroke(); }
        ctx.restore();
        if (laneName && w > 60 * devicePixelRatio) note("not valid", "--muted", x, 0);
      });
    }
    written = -9;
    for (const o of this.data.outages) {
      if (laneName && o.name !== laneName) continue;
      band(o.s, o.e, (x, w) => {
        ctx.fillStyle = css("--outage"); ctx.fillRect(x, top, w, height);
        ctx.fillStyle = css("--bad"); ctx.fillRect(x, top, w, 3 * devicePixelRatio);
        if (laneName) note("outage", "--bad", x, w);
      });
    }
    for (const b of this.data.bursts) {
      if (b.kind === "outage" || b.tone === "machine" || (laneName && b.name !== laneName)) continue;
      band(b.s, b.e, (x, w) => { ctx.fillStyle = css("--warn"); ctx.fillRect(x, top, w, 3 * devicePixelRatio); });
    }
    const picked = this.picked;
    if (picked && (!laneName || picked.name === laneName || picked.kind === "api")) {
      band(picked.s, picked.e, (x, w) => { ctx.setLineDash([]); ctx.strokeStyle = css("--accent"); ctx.lineWidth = 2 * devicePixelRatio; ctx.strokeRect(x, top + 1, w, height - 2); });
    }
    const e = this.data.events[this.selected];
    if (e) band(e.t, e.t, (x) => { ctx.fillStyle = css("--ink"); ctx.fillRect(x - 0.5, top, 1.5, height); });
    ctx.restore();
  }

  // drawOverview shows the whole run and which part of it the view is.
  drawOverview(svg) {
    const w = this.width - this.left - this.right, end = this.data.end, x = (t) => this.left + Math.min(1, t / end) * w;
    svg.append(element("svg:text", { x: 0, y: 20 }, this.left < 60 ? "Run" : "Whole run"), element("svg:rect", { x: this.left, y: 6, width: w, height: 20, fill: "none", class: "rail" }));
    for (const p of this.data.phases) {
      const a = x(p.s), b = x(p.e);
      svg.append(element("svg:rect", { class: "phase", x: a, y: 6, width: Math.max(1, b - a), height: 20 }));
    }
    for (const o of this.data.outages) svg.append(element("svg:rect", { class: "outage", x: x(o.s), y: 2, width: Math.max(3, x(o.e) - x(o.s)), height: 28 }, element("svg:title", {}, o.text)));
    for (const b of this.data.bursts) {
      if (b.kind !== "outage" && b.tone !== "machine") svg.append(element("svg:rect", { class: "burst", x: x(b.s), y: 24, width: Math.max(3, x(b.e) - x(b.s)), height: 6 }, element("svg:title", {}, b.text)));
    }
    for (const p of this.data.phases) if (x(p.e) - x(p.s) > 9 * p.name.length) svg.append(element("svg:text", { class: "halo", x: x(p.s) + 5, y: 20 }, p.name));
    const [a, b] = this.view;
    svg.append(element("svg:rect", { class: "window", x: x(a), y: 3, width: Math.max(4, x(b) - x(a)), height: 26, rx: 3, pointerdown: (e) => this.grab(e, svg, end / w) }));
  }
  grab(e, svg, perPixel) {
    const start = e.clientX, from = this.view.slice();
    const move = (m) => { const d = (m.clientX - start) * perPixel; this.show(from[0] + d, from[1] + d); };
    const up = () => { removeEventListener("pointermove", move); removeEventListener("pointerup", up); };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
    e.preventDefault();
  }

  // The row of events is a slider over them: arrow keys go from one to the next
  // and a screen reader speaks each.
  events() {
    const { events, rows } = this.data;
    if (!events.length) return;
    const used = rows.map((name, i) => ({ name, i })).filter(({ i }) => events.some((e) => e.row === i));
    const svg = this.track("events", "Events", used.length * 18 + 20, (s) => this.drawEvents(s, used), [["● event", "plain", "--accent"], ["◆ trouble", "plain", "--bad"]]);
    svg.setAttribute("role", "slider");
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("aria-label", "Events of the upgrade");
    svg.setAttribute("aria-valuemin", "1");
    svg.setAttribute("aria-valuemax", String(events.length));
    svg.setAttribute("aria-valuenow", "1");
    svg.setAttribute("aria-valuetext", "no event selected");
    svg.addEventListener("keydown", (k) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[k.key];
      let to = step ? this.selected + step : { Home: 0, End: events.length - 1 }[k.key];
      if (to == null) return;
      if (this.selected < 0 && step) to = Math.max(0, events.findIndex((e) => e.t >= this.view[0]));
      k.preventDefault();
      k.stopPropagation();
      this.choose(Math.min(events.length - 1, Math.max(0, to)));
    });
    this.slider = svg;
  }
  drawEvents(svg, used) {
    const height = used.length * 18 + 20;
    for (const p of this.data.phases) {
      const a = Math.max(this.left, this.x(p.s)), b = Math.min(this.width - this.right, this.x(p.e));
      if (b <= a) continue;
      svg.append(element("svg:rect", { class: "phase", x: a, y: 0, width: b - a, height }));
      if (b - a > 9 * p.name.length) svg.append(element("svg:text", { x: a + 5, y: 12 }, p.name));
    }
    used.forEach(({ name, i }, k) => {
      const y = 28 + k * 18;
      svg.append(element("svg:text", { x: 0, y: y + 4 }, name), element("svg:line", { class: "rail", x1: this.left, x2: this.width - this.right, y1: y, y2: y }));
      let open = null; // marks closer than three pixels become one
      const close = () => {
        if (!open) return;
        const { x, list, alarm } = open, first = this.data.events[list[0]];
        const title = list.slice(0, 12).map((n) => { const e = this.data.events[n]; return `${clock(e.t)} ${e.kind} ${e.subject}`; }).join("\n") + (list.length > 12 ? `\nand ${list.length - 12} more` : "");
        const r = list.length > 1 ? 5.5 : 4.5;
        svg.append(element("svg:path", {
          class: "mark" + (alarm ? " alarm" : ""), "data-event": list[0], "data-kind": first.kind,
          d: alarm ? `M${x} ${y - r - 1.5}L${x + r + 1} ${y}L${x} ${y + r + 1.5}L${x - r - 1} ${y}Z` : `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
          click: () => { this.slider.focus({ preventScroll: true }); this.choose(list.includes(this.selected) ? list[(list.indexOf(this.selected) + 1) % list.length] : list[0]); },
        }, element("svg:title", {}, title)));
        open = null;
      };
      this.data.events.forEach((e, n) => {
        if (e.row !== i || e.t < this.view[0] || e.t > this.view[1]) return;
        const x = this.x(e.t);
        if (open && x - open.x < 3) {
          open.list.push(n);
          open.alarm ||= !!e.alarm;
          return;
        }
        close();
        open = { x, list: [n], alarm: !!e.alarm };
      });
      close();
      const s = this.data.events[this.selected];
      if (s && s.row === i && s.t >= this.view[0] && s.t <= this.view[1]) {
        svg.append(element("svg:line", { class: "needle", x1: this.x(s.t), x2: this.x(s.t), y1: 0, y2: height }), element("svg:circle", { class: "selected", cx: this.x(s.t), cy: y, r: 8 }));
      }
    });
  }

  select(n) {
    this.selected = n;
    const e = this.data.events[n];
    if (e) {
      this.slider.setAttribute("aria-valuenow", String(n + 1));
      this.slider.setAttribute("aria-valuetext", `${clock(e.t)} ${e.kind} ${e.subject}`);
      const span = this.view[1] - this.view[0];
      if (e.t < this.view[0] || e.t > this.view[1]) return this.show(e.t - span / 2, e.t + span / 2);
    }
    for (const u of this.charts) u.redraw(false, false);
    this.draw();
  }

  probes(name, title, probes, keys) {
    const svg = this.track(name, title, probes.length * 30 + 2, (s) => this.drawProbes(s, probes), keys);
    const sum = (key) => probes.reduce((n, p) => n + p[key].reduce((a, b) => a + (b || 0), 0), 0);
    svg.setAttribute("aria-label", `${title}: answered ${number(sum("made") - sum("failed"))} of ${number(sum("made"))}`);
  }
  drawProbes(svg, probes) {
    const g = this.data.grid;
    probes.forEach((p, k) => {
      const y = k * 30;
      const made = p.made.reduce((a, b) => a + (b || 0), 0), failed = p.failed.reduce((a, b) => a + (b || 0), 0);
      svg.append(element("svg:text", { x: this.left, y: y + 11 }, element("svg:tspan", { class: "strong" }, p.name), ` answered ${number(made - failed)} of ${number(made)}`));
      let run = null;
      const close = (i) => {
        if (!run) return;
        const a = Math.max(this.left, this.x(g.first + run.from * g.width)), b = Math.min(this.width - this.right, this.x(g.first + i * g.width));
        if (b > a) {
          const text = run.bad ? `${p.name} did not answer ${number(run.failed)} of ${number(run.made)} from ${clock(g.first + run.from * g.width)} to ${clock(g.first + i * g.width)}` : "answered";
          svg.append(element("svg:rect", { class: run.bad ? "unanswered" : "answered", x: a, y: run.bad ? y + 14 : y + 18, width: Math.max(run.bad ? 2 : 0, b - a), height: run.bad ? 13 : 5 }, element("svg:title", {}, text)));
        }
        run = null;
      };
      for (let i = 0; i < g.n; i++) {
        const bad = p.failed[i] > 0;
        if (p.made[i] == null || (run && run.bad !== bad)) close(i);
        if (p.made[i] == null) continue;
        run ||= { from: i, bad, made: 0, failed: 0 };
        run.made += p.made[i];
        run.failed += p.failed[i];
      }
      close(g.n);
    });
  }

  // Few nodes have a row each with their name above; of many, those with
  // something in view have a low row with their name beside.
  nodeRow(nodes) { return nodes.length > 12 ? 22 : 40; }
  nodesShown(nodes) {
    const inside = (s, e) => e >= this.view[0] && s <= this.view[1];
    return nodes.length <= 12 ? nodes : nodes.filter((n) => n.spans.some((s) => inside(s.s, s.e)) || n.marks.some((m) => inside(m.t, m.t)));
  }
  drawNodes(svg, nodes) {
    const row = this.nodeRow(nodes), low = row < 40, top = low ? 2 : 15, right = this.width - this.right;
    const shape = { cordoned: [0, 4], draining: [5, low ? 9 : 14], stalled: [5, low ? 9 : 14], upgrading: [5, low ? 9 : 14], "not ready": [low ? 15 : 20, 4] };
    const clip = (t) => Math.min(right, Math.max(this.left, this.x(t)));
    this.nodesShown(nodes).forEach((n, k) => {
      const y = k * row + top;
      svg.append(element("svg:line", { class: "rail", x1: this.left, x2: right, y1: y + (low ? 9.5 : 12), y2: y + (low ? 9.5 : 12) }));
      const drained = n.spans.find((s) => s.state === "draining")?.e ?? 0;
      for (const s of [...n.spans].sort((a, b) => (b.state === "upgrading") - (a.state === "upgrading") || (a.state === "stalled") - (b.state === "stalled"))) {
        const a = clip(s.s), b = clip(s.e), [dy, h] = shape[s.state];
        if (this.x(s.e) < this.left || this.x(s.s) > right) continue;
        if (s.state === "draining") svg.append(element("svg:rect", { class: "under", x: a, y: y + dy, width: Math.max(2, b - a), height: h }));
        svg.append(element("svg:rect", { class: s.state.replace(" ", "-") + (s.open ? " open" : ""), x: a, y: y + dy, width: Math.max(2, b - a), height: h, rx: 1.5 },
          element("svg:title", {}, `${n.node}: ${s.state} from ${clock(s.s)} ` + (s.open ? "on, not ended" : `to ${clock(s.e)}, ${Math.round(s.e - s.s)} s`))));
        const free = drained > s.s && drained < s.e ? clip(drained) : a; // an upgrade may begin with its drain
        if (!low && s.state === "upgrading" && b - free > 80) svg.append(element("svg:text", { class: "on-upgrading", x: free + 5, y: y + 16 }, "upgrading"));
      }
      for (const m of n.marks) {
        if (m.t < this.view[0] || m.t > this.view[1]) continue;
        const sign = { validated: "✓", "version changed": "◆", "pod forced": "!", added: "+", removed: "−", rebooted: "↻" }[m.what];
        svg.append(element("svg:text", { class: "strong halo", x: this.x(m.t), y: y + (low ? 14 : 17), "text-anchor": "middle" }, sign, element("svg:title", {}, `${n.node}: ${m.what} ${clock(m.t)}`)));
      }
      const name = element("svg:text", { x: this.left, y: y - 4 }, element("svg:tspan", { class: "strong" }, n.node), n.label && this.width > 600 ? " " + n.label : "");
      if (low) {
        const from = clip(Math.min(...n.spans.map((s) => s.s), ...n.marks.map((m) => m.t))), to = clip(Math.max(...n.spans.map((s) => s.e), ...n.marks.map((m) => m.t)));
        const before = from - this.left > right - to;
        name.setAttribute("x", before ? from - 10 : to + 14);
        name.setAttribute("y", y + 13);
        name.setAttribute("class", "halo");
        if (before) name.setAttribute("text-anchor", "end");
      }
      svg.append(name);
    });
  }

  drawAxis(svg) {
    svg.append(element("svg:line", { class: "rail", x1: this.left, x2: this.width - this.right, y1: 1, y2: 1 }));
    for (const t of ticks(this.view, this.width)) {
      const x = this.x(t);
      if (x < this.left - 1 || x > this.width - this.right + 1) continue;
      svg.append(element("svg:line", { class: "rail", x1: x, x2: x, y1: 1, y2: 6 }), element("svg:text", { x, y: 18, "text-anchor": x > this.width - 40 ? "end" : "middle" }, clock(t).replace(".0", "")));
    }
  }
}
