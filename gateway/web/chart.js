// Draws one series as SVG: a line through what was measured, and a tinted band where nothing usable was stored.
// A line never crosses a gap. Pure apart from the element that it fills.

const NS = "http://www.w3.org/2000/svg";

function el(name, attributes, text) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

export function format(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-3)) return value.toExponential(2);
  return value.toLocaleString("en", { maximumFractionDigits: size >= 1000 ? 1 : size >= 10 ? 2 : 3 }).replaceAll(",", "\u202f");
}

function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

function timeTicks(from, to, count) {
  const steps = [60e3, 300e3, 600e3, 1800e3, 3600e3, 7200e3, 14400e3, 21600e3, 43200e3, 86400e3, 172800e3, 604800e3];
  const step = steps.find((size) => (to - from) / size <= count) || 2592000e3;
  const offset = new Date(from).getTimezoneOffset() * 60e3;
  const found = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) found.push(at);
  return found;
}

function clock(t, span) {
  const options = span > 2 * 86400e3 ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit", hour12: false };
  return new Date(t).toLocaleString("en", options);
}

// series: {unit, samples: [[t, v]], gaps: [{a, b, reason}]}; steps: a value holds until the next one (raw samples with a deadband).
export function draw(box, series, from, to, steps) {
  const width = Math.max(box.clientWidth, 240), height = Math.max(box.clientHeight, 120);
  const left = 52, right = 8, top = 10, bottom = 22;
  const points = series.samples.filter(([, value]) => typeof value === "number");
  let low = Math.min(...points.map(([, value]) => value)), high = Math.max(...points.map(([, value]) => value));
  if (!points.length) { low = 0; high = 1; }
  if (low === high) { const pad = Math.abs(low) * 0.05 || 1; low -= pad; high += pad; }
  const margin = (high - low) * 0.06;
  low -= margin; high += margin;
  const x = (t) => left + ((t - from) / (to - from)) * (width - left - right);
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  const svg = el("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${points.length} samples, ${series.gaps.length} gaps` });

  for (const gap of series.gaps) {
    const band = el("rect", { class: "gap", x: x(gap.a), y: top, width: Math.max(1, x(gap.b) - x(gap.a)), height: height - top - bottom });
    band.append(el("title", {}, `${clock(gap.a, 0)} to ${clock(gap.b, 0)}: ${gap.reason}`));
    svg.append(band);
  }
  for (const value of ticks(low, high, Math.max(2, Math.floor(height / 55)))) {
    svg.append(el("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    svg.append(el("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  }
  for (const t of timeTicks(from, to, Math.max(2, Math.floor(width / 90)))) {
    svg.append(el("text", { x: x(t), y: height - 6, "text-anchor": "middle" }, clock(t, to - from)));
  }

  const cut = (a, b) => series.gaps.find((gap) => gap.a < b && gap.b > a);
  const radius = points.length > 120 ? 0 : 1.8;
  let path = "", before = null;
  for (const [t, value] of points) {
    const gap = before && cut(before[0] + 1, t);
    if (!before || gap) {
      // A held value goes on to where the gap begins, not through it.
      if (gap && steps && gap.a > before[0]) path += `H${x(gap.a).toFixed(1)}`;
      path += `M${x(t).toFixed(1)} ${y(value).toFixed(1)}`;
    } else path += steps ? `H${x(t).toFixed(1)}V${y(value).toFixed(1)}` : `L${x(t).toFixed(1)} ${y(value).toFixed(1)}`;
    if (radius) svg.append(el("circle", { class: "dot", cx: x(t), cy: y(value), r: radius }));
    before = [t, value];
  }
  if (before && steps) {
    const end = series.gaps.find((gap) => gap.b > before[0])?.a ?? Math.min(to, Date.now());
    if (end > before[0]) path += `H${x(end).toFixed(1)}`;
  }
  svg.append(el("path", { class: "curve", d: path || "M0 0" }));
  if (!points.length) svg.append(el("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing stored in this range"));

  const cursor = el("line", { class: "cursor", y1: top, y2: height - bottom, visibility: "hidden" });
  const readout = el("text", { class: "readout", y: top + 10, visibility: "hidden" });
  svg.append(cursor, readout);
  svg.addEventListener("pointermove", (event) => {
    const t = from + ((event.offsetX * width / box.clientWidth - left) / (width - left - right)) * (to - from);
    const gap = series.gaps.find((one) => one.a <= t && t < one.b);
    let at = points.findLastIndex(([time]) => time <= t);
    if (!steps && points[at + 1] && points[at + 1][0] - t < t - points[at]?.[0]) at += 1;
    if (at < 0 && !gap) return;
    const text = gap ? `${clock(t, 0)}  ${gap.reason}` : `${clock(points[at][0], 0)}  ${format(points[at][1])} ${series.unit ?? ""}`;
    const px = gap ? x(t) : x(points[at][0]);
    for (const [key, value] of [["x1", px], ["x2", px], ["visibility", "visible"]]) cursor.setAttribute(key, value);
    readout.textContent = text;
    readout.setAttribute("x", px > width * 0.6 ? px - 6 : px + 6);
    readout.setAttribute("text-anchor", px > width * 0.6 ? "end" : "start");
    readout.setAttribute("visibility", "visible");
  });
  svg.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); readout.setAttribute("visibility", "hidden"); });
  box.replaceChildren(svg);
}
