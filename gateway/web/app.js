// The page: asks the HTTP API every few seconds and shows what it says. It holds no state that a reload would miss:
// site, filter, device, point and range are in the address, so a view can be sent to somebody or left on a wall.
import { draw, format } from "./chart.js";

const REFRESH_MS = 3000;
const EVENTS = 8;
const RANGES = { "15min": 900e3, "1h": 3600e3, "6h": 21600e3, "24h": 86400e3, "7d": 604800e3 };
const HEADLINES = ["power_active", "zone_temperature", "zone_co2", "speed_actual", "motor_power", "running", "energy_active_import", "energy_active_export", "heat_energy", "heat_power", "volume", "flow", "gate_state", "door_open", "door_open_1", "door_open_2", "door_open_3", "door_open_4", "door_locked", "power_state", "input_source", "passes_in", "passes_out", "recording", "online", "online_1", "secure_channel", "tamper", "zone_humidity", "frequency", "voltage_l1", "current_l1", "voltage_l2", "voltage_l3"];
const SYSTEMS = { "": "needs attention", ba: "building automation" };
const LAST = /^x_|_text$|^clock_skew$/;  // what is shown on a card only where there is nothing else
const $ = (id) => document.getElementById(id);
const view = new Proxy({}, {
  get: (_, key) => new URLSearchParams(location.hash.slice(1)).get(key),
  set: (_, key, value) => {
    const parts = new URLSearchParams(location.hash.slice(1));
    value === null ? parts.delete(key) : parts.set(key, value);
    history.replaceState(null, "", "#" + parts);
    return true;
  },
});
let devices = [], agents = [], latest = new Map(), events = [], alarms = [], skew = 0;

async function ask(path) {
  const token = sessionStorage.getItem("token");
  const answer = await fetch(path, { headers: token ? { Authorization: `Bearer ${token}` } : {}, signal: AbortSignal.timeout(15000) });
  if (answer.status === 401) {
    const given = prompt("This gateway wants a token:");
    if (!given) throw new Error("no token");
    sessionStorage.setItem("token", given.trim());
    return ask(path);
  }
  const date = Date.parse(answer.headers.get("date"));
  if (date) skew = date - Date.now();
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error ?? answer.statusText);
  return body;
}

function age(t) {
  const s = Math.max(0, (Date.now() + skew - t) / 1000);
  return s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : s < 129600 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

function node(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const UNITS = { Cel: "°C", "kW.h": "kWh", "kV.A{reactive}": "kvar", "kV.A": "kVA", "kV.A.h{reactive}": "kvarh", "kV.A.h": "kVAh", "[ppm]": "ppm", "ug/m3": "µg/m³", "m3/h": "m³/h", m3: "m³", "1": "", "/min": "1/min" };
const shown = (unit) => (unit ? UNITS[unit] ?? unit : "");

function valueNode(sample) {
  const box = document.createDocumentFragment();
  box.append(sample.label ?? format(sample.value));
  if (!sample.label && sample.unit) box.append(node("span", "unit", shown(sample.unit)));
  return box;
}

function headline(samples) {
  const rank = (sample) => { const at = HEADLINES.indexOf(sample.point); return at >= 0 ? at : LAST.test(sample.point) ? 999 : 99; };
  return samples.filter((sample) => sample.value !== null).sort((a, b) => rank(a) - rank(b)).slice(0, 3);
}

function showDevices() {
  const text = $("filter").value.trim().toLowerCase();
  const matches = devices.filter((device) => !text || [device.id, device.name, device.cls, device.system, device.space, device.profile, device.state].join(" ").toLowerCase().includes(text));
  const cards = [];
  let system = null;
  const group = (device) => (["down", "degraded"].includes(device.state) ? "" : device.system);  // "" sorts first
  for (const device of matches.sort((a, b) => group(a).localeCompare(group(b)) || a.id.localeCompare(b.id, "en", { numeric: true }))) {
    if (group(device) !== system) cards.push(node("h2", "", SYSTEMS[(system = group(device))] ?? system.replaceAll("_", " ")));
    const card = node("button", "card");
    card.type = "button";
    card.dataset.device = device.id;
    card.setAttribute("aria-pressed", String(device.id === view.device));
    const name = node("div", "name");
    name.append(node("span", "", device.name), node("span", `state s-${device.state}`, device.state));
    const why = [device.cls.replaceAll("_", " "), device.space, device.state === "ok" ? null : device.sc ?? device.note].filter(Boolean).join(" · ");
    card.append(name, node("div", "sub", why));
    const list = node("dl");
    for (const sample of headline(latest.get(device.id) ?? [])) {
      const value = node("dd", sample.stale ? "stale" : "");
      value.append(valueNode(sample));
      list.append(node("dt", "", sample.point.replaceAll("_", " ")), value);
    }
    card.append(list);
    const last = events.find((event) => event.device === device.id && !event.type.startsWith("system."));
    if (last) card.append(node("div", "sub", `${last.type}${last.data.card || last.data.plate ? ` ${short(last.data.card ?? last.data.plate)}` : ""}, ${age(last.t)} ago`));
    card.onclick = () => { view.device = device.id; view.point = null; showDevices(); showDetail(true); };
    cards.push(card);
  }
  if (!cards.length) cards.push(node("p", "empty", devices.length ? "No device matches the filter." : "No device has announced itself yet. Devices appear as soon as an agent connects."));
  const focused = document.activeElement?.dataset?.device;
  $("devices").replaceChildren(...cards);
  if (focused) $("devices").querySelector(`[data-device="${CSS.escape(focused)}"]`)?.focus();
}

const short = (value) => (String(value).startsWith("hmac:") ? String(value).slice(-6) : value);

function eventNode(event, withDevice) {
  const row = node("li");
  const device = devices.find((one) => one.id === event.device);
  const facts = Object.entries(event.data).filter(([name]) => name !== "since").map(([name, value]) => name === "data_id" ? String(value).replaceAll("_", " ") : `${name.replaceAll("_", " ")} ${short(value)}`);
  row.append(node("time", "", new Date(event.t).toLocaleTimeString("en", { hour12: false })), node("span", "type", event.type));
  if (withDevice) row.append(node("span", "", device?.name ?? event.device));
  row.append(node("span", "sub", facts.join(" · ")));
  return row;
}

function showEvents() {
  const absent = agents.filter((agent) => agent.state !== "online");
  $("happened").hidden = !events.length && !alarms.length && !absent.length;
  $("alarms").replaceChildren(...absent.map((agent) => node("li", "sev-high", `Agent ${agent.id}: ${agent.state}${agent.since ? ` for ${age(agent.since)}` : ""}; what is shown of its devices is old`)), ...alarms.map((alarm) => {
    const device = devices.find((one) => one.id === alarm.device);
    return node("li", `sev-${alarm.sev}`, `${device?.name ?? alarm.device}: ${alarm.id.replaceAll("_", " ")} (${alarm.sev}), ${age(alarm.since)}`);
  }));
  $("events").replaceChildren(...events.filter((event) => !event.type.startsWith("system.")).slice(0, EVENTS).map((event) => eventNode(event, true)));
}

function showDetail(fresh) {
  const device = devices.find((one) => one.id === view.device);
  $("detail").hidden = !device;
  document.querySelector("main").classList.toggle("with-detail", Boolean(device));
  if (!device) return;
  $("detail-name").textContent = device.name;
  const facts = [device.id, device.profile, `${device.proto} ${device.addr}`, device.space, `${device.state}${device.sc ? " " + device.sc : ""}${device.note ? ": " + device.note : ""}`, device.rtt_ms === null ? null : `${Math.round(device.rtt_ms)} ms`, `${device.ok} reads, ${device.err} failed`];
  $("detail-facts").textContent = facts.filter(Boolean).join(" · ");
  $("detail-events").replaceChildren(...events.filter((event) => event.device === device.id).slice(0, EVENTS).map((event) => eventNode(event, false)));
  const samples = latest.get(device.id) ?? [];
  if (!view.point && samples.length) view.point = headline(samples)[0]?.point ?? samples[0].point;
  const rows = samples.map((sample) => {
    const row = node("tr");
    row.setAttribute("aria-selected", String(sample.point === view.point));
    const pick = node("button", "", sample.point);
    pick.type = "button";
    pick.dataset.point = sample.point;
    const name = node("td"), value = node("td", `num${sample.stale ? " stale" : ""}`);
    name.append(pick);
    value.append(valueNode(sample));
    const quality = sample.q === 0 ? (sample.sc && sample.sc !== "Good" ? sample.sc : "good") : sample.sc || ["good", "uncertain", "bad"][sample.q];
    row.append(name, value, node("td", `q-${sample.q}`, sample.stale ? `${quality}, stale` : quality), node("td", "num", age(sample.t)));
    row.onclick = () => { view.point = sample.point; showDetail(true); };
    return row;
  });
  const focused = document.activeElement?.dataset?.point;
  $("points").replaceChildren(...rows);
  if (focused) $("points").querySelector(`[data-point="${CSS.escape(focused)}"]`)?.focus();
  $("ranges").replaceChildren(...Object.keys(RANGES).map((name) => {
    const button = node("button", "", name);
    button.type = "button";
    button.setAttribute("aria-pressed", String(name === (view.range ?? "1h")));
    button.onclick = () => { view.range = name; showDetail(true); };
    return button;
  }));
  if (fresh) showTrend().catch(complain);
}

let drawn = 0;
async function showTrend() {
  const { site, device, point } = view, range = view.range ?? "1h", turn = ++drawn;
  if (!device || !point || !RANGES[range]) return;
  const to = Date.now() + skew, from = Math.round(to - RANGES[range]);
  const step = RANGES[range] > 86400e3 ? "&step=15min" : "";
  const answer = await ask(`/api/v1/history?site=${site}&device=${device}&points=${point}&from=${from}&to=${Math.round(to)}${step}`);
  if (turn !== drawn) return;
  const series = answer.points[point];
  $("trend-name").textContent = `${point.replaceAll("_", " ")}${shown(series.unit) ? `, ${shown(series.unit)}` : ""}`;
  draw($("chart"), { ...series, unit: shown(series.unit) }, from, to, !step);
  const lost = series.gaps.reduce((sum, gap) => sum + gap.b - gap.a, 0);
  const reasons = [...new Set(series.gaps.map((gap) => gap.reason))].join(", ");
  $("trend-note").textContent = `${series.samples.length} ${step ? "quarter hour" : "sample"}${series.samples.length === 1 ? "" : "s"}` + (lost ? ` · nothing stored for ${age(Date.now() + skew - lost)} (${reasons})` : " · no gap");
}

function complain(error) {
  $("problem").textContent = `The gateway does not answer: ${error.message}`;
  $("problem").hidden = false;
  $("link").textContent = "not connected";
}

async function refresh() {
  const sites = await ask("/api/v1/sites");
  const picker = $("site");
  if (sites.length !== picker.options.length || sites.some((site, at) => picker.options[at].value !== site.id)) {
    picker.replaceChildren(...sites.map((site) => new Option(site.name === site.id ? site.id : `${site.name} (${site.id})`, site.id)));
  }
  if (!sites.some((site) => site.id === view.site)) view.site = sites[0]?.id ?? null;
  picker.value = view.site ?? "";
  const site = sites.find((one) => one.id === view.site);
  $("counts").replaceChildren(...Object.entries(site?.devices ?? {}).sort().map(([state, count]) => node("li", `s-${state}`, `${count} ${state}`)));
  if (site) {
    const query = `site=${site.id}`;
    const [listed, samples, happened, active] = await Promise.all([ask(`/api/v1/devices?${query}`), ask(`/api/v1/latest?${query}`), ask(`/api/v1/events?${query}&limit=200`), ask(`/api/v1/alarms?${query}`)]);
    devices = listed;
    events = happened;
    alarms = active;
    latest = Map.groupBy ? Map.groupBy(samples, (sample) => sample.device) : samples.reduce((map, sample) => map.set(sample.device, [...(map.get(sample.device) ?? []), sample]), new Map());
  } else devices = events = alarms = [];
  agents = site?.agents ?? [];
  const said = agents.map((agent) => `${agent.id} ${agent.state}${agent.registered ? "" : ", not registered"}`);
  $("link").textContent = [...said, new Date(Date.now() + skew).toLocaleTimeString("en", { hour12: false })].join(" · ");
  $("problem").hidden = true;
  showDevices();
  showEvents();
  showDetail(false);
}

let beats = 0;
async function loop() {
  try {
    if (!document.hidden) {
      await refresh();
      if (beats++ % 4 === 0) await showTrend();
    }
  } catch (error) { complain(error); }
  setTimeout(loop, REFRESH_MS);
}

$("site").onchange = () => { view.site = $("site").value; view.device = view.point = null; refresh().catch(complain); };
$("filter").value = view.filter ?? "";
$("filter").oninput = () => { view.filter = $("filter").value || null; showDevices(); };
$("close").onclick = () => { view.device = view.point = null; showDevices(); showDetail(false); };
addEventListener("resize", () => showTrend().catch(complain));
addEventListener("hashchange", () => { showDevices(); showDetail(true); });
loop();
