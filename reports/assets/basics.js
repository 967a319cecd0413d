// What both other scripts need: words for numbers, elements, round steps, sums.
"use strict";

// Times are seconds from the start of the run, written as the sentences write them.
const clock = (t) => {
  const sign = t < 0 ? "-" : "+", a = Math.round(Math.abs(t) * 10) / 10;
  const h = Math.floor(a / 3600), m = Math.floor(a % 3600 / 60), s = a % 60;
  const two = (x) => String(x).padStart(2, "0");
  return sign + (h ? h + ":" : "") + two(m) + ":" + s.toFixed(1).padStart(4, "0");
};
const millis = (ms) => ms == null ? "–" : ms >= 1000 ? +(ms / 1000).toPrecision(3) + " s" : +ms.toPrecision(3) + " ms";
const number = (n) => n == null ? "–" : n.toLocaleString("en-US");

function element(name, attributes, ...children) {
  const e = name.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
    : document.createElement(name);
  for (const [k, v] of Object.entries(attributes || {})) {
    if (typeof v === "function") e.addEventListener(k, v);
    else if (v !== false && v != null) e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.filter((c) => c != null));
  return e;
}

// css returns the value of a custom property in the present theme.
function css(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

function hatch(name) {
  return element("svg:defs", {}, element("svg:pattern", { id: "hatch-" + name, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    element("svg:line", { class: "hatch-" + name, x1: 0, y1: 0, x2: 0, y2: 6 })));
}

// ticks returns round times across a view, some 90 pixels apart or a little closer.
function ticks([from, to], width) {
  const want = Math.max(3, width / 90), least = (to - from) / want;
  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400].find((s) => s >= least) || 28800;
  const out = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) out.push(t);
  return out;
}

// decades returns the lines of a logarithmic axis: 1, 10, 100, ... and, where
// those are few, 3, 30, ... too.
function decades([low, high]) {
  const out = [], steps = high / low > 300 ? [1] : [1, 3];
  for (let d = Math.pow(10, Math.floor(Math.log10(low))); d <= high; d *= 10) {
    for (const v of steps.map((s) => s * d)) if (v >= low && v <= high) out.push(+v.toPrecision(3));
  }
  return out;
}

// total sums a lane up over the buckets from..to.
function total(lane, from, to) {
  const s = { due: 0, lost: 0, unsent: 0, p99: null };
  for (let i = Math.max(0, from); i <= to && i < lane.due.length; i++) {
    s.due += lane.due[i] || 0;
    s.lost += lane.lost[i] || 0;
    s.unsent += lane.unsent[i] || 0;
    if (lane.p99[i] != null) s.p99 = Math.max(s.p99 ?? 0, lane.p99[i]);
  }
  return s;
}
