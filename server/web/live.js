/* What the server is doing: GET /metrics every two seconds while this view is open and the page in
 * sight, five minutes of it kept.
 *
 * SPDX-License-Identifier: MIT */
import { columnChart, lineChart } from "./chart.js";
import { byId, bytes, count, el, milliseconds, percent, short } from "./dom.js";
import { buckets, bucketsGrown, grown, parse, quantile, total } from "./metrics.js";
import { ask, inWords } from "./server.js";

const EVERY_MS = 2000;
const KEPT = 150;
const WINDOW_MS = 10000; /* that a latency is taken over */
const MINUTE_MS = 60000;

const readings = []; /* oldest first */
let timer = 0;
let isOpen = false;
let looking = false;
let parts;

/* ---- one reading ---------------------------------------------------------------------------------- */

const isClassify = ({ path }) => path === "/classify";
const answered = ({ path, code }) => path === "/classify" && code === "200";

function read(text) {
    const families = parse(text);
    const one = (name) => total(families, name);
    const requests = (passes) => total(families, "resnetd_http_requests_total", (labels) => isClassify(labels) && passes(Number(labels.code)));
    return {
        at: Date.now(),
        ok: requests((code) => code < 400),
        bad: requests((code) => code >= 400 && code < 500),
        refused: requests((code) => code >= 500),
        queue: one("resnetd_queue_images"),
        inFlight: one("resnetd_in_flight_requests"),
        limit: one("resnetd_queue_limit_images"),
        saturation: one("resnetd_saturation_ratio"),
        wait: one("resnetd_predicted_wait_seconds"),
        memory: one("process_resident_memory_bytes"),
        started: one("process_start_time_seconds"),
        latency: buckets(families, "resnetd_http_request_duration_seconds", answered),
        batches: buckets(families, "resnetd_batch_size"),
        images: families.get("resnetd_images_total") ?? [],
        curve: families.get("resnetd_engine_batch_duration_predicted_seconds") ?? [],
    };
}

/* ---- series ----------------------------------------------------------------------------------------- */

const rates = (name) => readings.map((now, i) => {
    const last = readings[i - 1];
    return last ? grown(now[name], last[name]) / ((now.at - last.at) / 1000) : null;
});

/* The oldest reading that is at most so much older than another one. */
const before = (now, ms) => readings.find(({ at }) => at >= now.at - ms - EVERY_MS / 2);

const latencies = (part) => readings.map((now, i) => {
    const seconds = i > 0 ? quantile(bucketsGrown(now.latency, before(now, WINDOW_MS).latency), part) : null;
    return seconds === null ? null : 1000 * seconds;
});

/* Cumulative counts to parts of the whole. */
function shares(cumulative) {
    const n = cumulative.at(-1)?.[1] || 1;
    return cumulative.map(([, upTo], i) => (upTo - (cumulative[i - 1]?.[1] ?? 0)) / n);
}

/* ---- drawing ---------------------------------------------------------------------------------------- */

function tile(name) {
    const value = el("b", {}, "–");
    return { value, root: el("div", { class: "tile" }, value, el("span", {}, name)) };
}

function build() {
    parts = {
        problem: el("p", { class: "notice", hidden: true, role: "alert" }),
        tiles: Object.fromEntries(["Answers a second", "In the queue", "Median latency", "99 % faster than", "Expected wait", "Saturation", "Memory", "Running for"]
            .map((name) => [name, tile(name)])),
        rate: lineChart("Requests a second", { format: short }),
        latency: lineChart("Latency of answers", { hint: "In ms, over the last ten seconds", format: milliseconds }),
        queue: lineChart("Queue", { hint: "Images waiting, requests under way", format: short }),
        batches: columnChart("Batch sizes", { hint: "Share of the batches, by images in them", format: percent }),
        curve: lineChart("Learned time of a batch", { hint: "In ms, by images in it; admission counts on it", format: milliseconds, dots: true }),
        refusals: el("tbody"),
        none: el("p", { class: "hint" }, "Nothing was refused since the server started."),
    };
    parts.table = el("table", { class: "refusals" },
        el("thead", {}, el("tr", {}, ...["Reason", "Last minute", "Since start"].map((name, i) => el("th", { scope: "col", class: i > 0 ? "number" : null }, name)))), parts.refusals);
    byId("live").append(parts.problem,
        el("div", { class: "tiles" }, ...Object.values(parts.tiles).map(({ root }) => root)),
        el("div", { class: "charts" }, parts.rate.root, parts.latency.root, parts.queue.root, parts.batches.root, parts.curve.root,
            el("section", { class: "card chart" }, el("h2", {}, "Refused, by reason"), parts.none, parts.table)));
}

function duration(seconds) {
    const [days, hours, minutes] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
    if (days) return `${days} d ${hours} h`;
    if (hours) return `${hours} h ${minutes} min`;
    return minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

function drawTiles(now, perSecond, median, p99) {
    const set = (name, text) => (parts.tiles[name].value.textContent = text);
    set("Answers a second", perSecond === null ? "–" : short(perSecond));
    set("In the queue", `${count(now.queue)} of ${count(now.limit)}`);
    set("Median latency", median === null ? "–" : milliseconds(median));
    set("99 % faster than", p99 === null ? "–" : milliseconds(p99));
    set("Expected wait", milliseconds(1000 * now.wait));
    set("Saturation", percent(now.saturation));
    set("Memory", bytes(now.memory));
    set("Running for", duration(now.at / 1000 - now.started));
}

function drawRefusals(now, minuteAgo) {
    const earlier = new Map(minuteAgo.images.map(({ labels, value }) => [labels.outcome + labels.reason, value]));
    const rows = now.images.filter(({ labels }) => labels.outcome !== "ok").sort((a, b) => b.value - a.value);
    parts.none.hidden = rows.length > 0;
    parts.table.hidden = rows.length === 0;
    parts.refusals.replaceChildren(...rows.map(({ labels, value }) =>
        el("tr", {}, el("th", { scope: "row" }, labels.reason || labels.outcome, el("span", {}, labels.reason ? labels.outcome : "")),
            el("td", { class: "number" }, count(grown(value, earlier.get(labels.outcome + labels.reason) ?? 0))),
            el("td", { class: "number" }, count(value)))));
}

function drawCurve(now) {
    const chosen = byId("model").value;
    const rows = now.curve.filter(({ labels }) => !chosen || labels.model === chosen)
        .map(({ labels, value }) => [Number(labels.batch_size), 1000 * value]).sort(([a], [b]) => a - b);
    if (rows.length === 0) return;
    parts.curve.draw({
        x: rows.map(([size]) => size), labels: rows.map(([size]) => [size, String(size)]),
        series: [{ name: "the batch", style: "one", values: rows.map(([, ms]) => ms) },
            { name: "per image", style: "two", values: rows.map(([size, ms]) => ms / size) }],
    });
}

function draw() {
    const now = readings.at(-1), minuteAgo = before(now, MINUTE_MS);
    const x = readings.map(({ at }) => (at - now.at) / 1000);
    const minutes = -x[0] / 60;
    const labels = x.length > 1 ? [[x[0], minutes >= 1 ? `${Math.round(minutes)} min ago` : `${Math.round(-x[0])} s ago`], [0, "now"]] : [];
    const rate = rates("ok"), median = latencies(0.5), p99 = latencies(0.99);
    const time = (series, least) => ({ x, labels, series, least });
    drawTiles(now, rate.at(-1), median.at(-1), p99.at(-1));
    parts.rate.draw(time([{ name: "answered", style: "one", values: rate },
        { name: "refused or late", style: "three", values: rates("refused") },
        { name: "bad requests", style: "two", values: rates("bad") }]));
    parts.latency.draw(time([{ name: "median", style: "one", values: median },
        { name: "90 %", style: "two", values: latencies(0.9) }, { name: "99 %", style: "three", values: p99 }]));
    parts.queue.draw(time([{ name: "waiting", style: "one", values: readings.map(({ queue }) => queue) },
        { name: "under way", style: "two", values: readings.map(({ inFlight }) => inFlight) }], 4));
    const recent = bucketsGrown(now.batches, minuteAgo.batches);
    parts.batches.draw({ labels: now.batches.map(([bound], i) => (bound === Infinity ? "more" : bound - (now.batches[i - 1]?.[0] ?? 0) > 1 ? `≤ ${bound}` : String(bound))),
        series: [{ name: "last minute", style: "one", values: shares(recent) }, { name: "since the start", style: "faint", values: shares(now.batches) }] });
    drawCurve(now);
    drawRefusals(now, minuteAgo);
}

/* ---- polling ---------------------------------------------------------------------------------------- */

async function look() {
    if (looking) return;
    looking = true;
    try {
        const { text } = await ask("metrics", { type: "text" });
        readings.push(read(text));
        if (readings.length > KEPT) readings.shift();
        parts.problem.hidden = true;
        if (isOpen) draw();
    } catch (problem) {
        parts.problem.hidden = false;
        parts.problem.textContent = inWords(problem).title;
    } finally {
        looking = false;
    }
}

function schedule() {
    clearInterval(timer);
    if (!isOpen || document.visibilityState !== "visible") return;
    look();
    timer = setInterval(look, EVERY_MS);
}

export function start() {
    build();
    document.addEventListener("visibilitychange", schedule);
}

export function setOpen(value) {
    if (isOpen === value) return;
    isOpen = value;
    schedule();
}
