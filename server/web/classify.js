/* The first view: photographs come in, each is sent on its own so that it has a progress, an answer
 * or a problem of its own; what is sent together runs in one batch on the server.
 *
 * SPDX-License-Identifier: MIT */
import { bars, curlBox, curlLine, facts, modelCard, trouble, waterfall } from "./answer.js";
import { byId, el, percent, say } from "./dom.js";
import { Picture } from "./picture.js";
import { prepare, repaint } from "./photo.js";
import { ask, inWords, Problem, withQuery } from "./server.js";

const MAX_SHOTS = 64;
const MAX_SENDING = 4;
const TOP_K = 5;

const shots = []; /* in the order they came */
let current = null;
let model = null; /* a row of GET /models */
let picture;
let chosen = null; /* the prediction whose heat map is on show */
const followers = []; /* who wants to know of another photograph or answer */

const waiting = (shot) => shot.state === "waiting";
const sending = (shot) => shot.state === "sending";

/* ---- one photograph's way --------------------------------------------------------------------- */

async function run(shot) {
    shot.state = "sending";
    shot.progress = 0;
    shot.abort = new AbortController();
    refresh(shot);
    try {
        if (!shot.sent || shot.makeSmaller) shot.sent = await prepare(shot.file, shot.makeSmaller);
        shot.makeSmaller = false;
        if (shot.sent.blob.size === 0) throw new Problem({ type: "/problems/empty-body" });
        shot.model = model?.name;
        const { json, ms } = await ask(withQuery("classify", query(shot)), {
            method: "POST", body: shot.sent.blob, signal: shot.abort.signal,
            progress: (part) => {
                shot.progress = part;
                refreshProgress(shot);
            },
        });
        Object.assign(shot, { state: "done", answer: json, ms, problem: null, maps: new Map(), region: null });
        const best = json.predictions[0];
        say(best ? `${shot.file.name}: ${best.label}, ${percent(best.score)}` : `${shot.file.name}: no prediction`);
    } catch (error) {
        if (error.name === "AbortError") return;
        shot.state = "failed";
        shot.problem = error instanceof Problem ? error : new Problem({ title: "That did not work", detail: error.message });
        say(`${shot.file.name}: ${inWords(shot.problem).title}`);
    } finally {
        pump();
    }
    refresh(shot);
}

function query(shot) {
    const several = model && byId("model").options.length > 1;
    return { top_k: Math.min(TOP_K, model?.classes ?? TOP_K), model: several ? shot.model : null };
}

function pump() {
    const free = MAX_SENDING - shots.filter(sending).length;
    for (const shot of shots.filter(waiting).slice(0, Math.max(0, free))) run(shot);
}

function again(shot, makeSmaller) {
    shot.makeSmaller = makeSmaller;
    shot.state = "waiting";
    refresh(shot);
    pump();
}

/* ---- why --------------------------------------------------------------------------------------------- */

/* The class-activation map of a class, of the best one by default: {grid, region, bias}. Kept for the
 * shot as long as its answer. */
export async function explain(shot, index = shot.answer.predictions[0]?.index ?? 0) {
    const maps = shot.maps;
    if (!maps.has(index))
        maps.set(index, ask(withQuery("classify", { ...query(shot), top_k: 1, explain: "cam", explain_class: index }),
            { method: "POST", body: shot.sent.blob }).then(({ json }) => json.explain));
    try {
        const map = await maps.get(index);
        shot.region = map.region;
        return map;
    } catch (problem) {
        maps.delete(index); /* it may work later */
        throw problem;
    }
}

function pressed(index) {
    for (const bar of byId("answer").querySelectorAll("button.bar"))
        bar.setAttribute("aria-pressed", String(bar.dataset.class === String(index)));
}

/* The map is exact: the mean of its values and the class's bias make the logit. */
function logitOf({ grid, bias }) {
    const values = grid.flat();
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return `; the map's mean and the class's bias make the logit ${(mean + bias).toFixed(2)}`;
}

async function showHeat(prediction) {
    const shot = current;
    chosen = prediction;
    pressed(prediction.index);
    byId("heat-of").textContent = "";
    try {
        const map = await explain(shot, prediction.index);
        if (shot !== current || chosen !== prediction) return;
        picture.heat(map);
        byId("heat-controls").hidden = false;
        byId("heat-of").replaceChildren("Evidence for ", el("bdi", {}, prediction.label ?? `class ${prediction.index}`), logitOf(map));
    } catch (problem) {
        if (shot !== current || chosen !== prediction) return;
        byId("heat-controls").hidden = false;
        byId("heat-of").textContent = `No heat map: ${inWords(problem).title}`;
    }
}

/* The pointer goes over several bars on its way to one. */
let resting = 0;
function choose(prediction) {
    clearTimeout(resting);
    if (prediction !== chosen) resting = setTimeout(() => showHeat(prediction), 80);
}

/* ---- the row of thumbnails --------------------------------------------------------------------- */

function thumbnail(shot) {
    shot.image = el("img", { src: shot.url, alt: "", loading: "lazy" });
    shot.image.addEventListener("error", () => (shot.image.hidden = true));
    shot.meter = el("span", { class: "meter", "aria-hidden": "true" });
    shot.caption = el("bdi", { class: "caption" });
    shot.button = el("button", { class: "shot", onclick: () => select(shot) }, el("span", { class: "thumb" }, shot.image, shot.meter), shot.caption);
    shot.button.addEventListener("keydown", (event) => {
        if (event.key === "Delete" || event.key === "Backspace") remove(shot);
    });
    shot.item = el("li", {}, shot.button);
    byId("shots").append(shot.item);
}

function captionOf(shot) {
    if (shot.state === "failed") return inWords(shot.problem).title;
    if (shot.state === "done") return shot.answer.predictions[0]?.label ?? "no prediction";
    return shot.state === "sending" ? "sending" : "waiting";
}

function refreshProgress(shot) {
    shot.meter.style.setProperty("--part", shot.progress);
    const bar = byId("answer").querySelector("progress");
    if (shot === current && bar) bar.value = shot.progress;
}

function refresh(shot) {
    shot.button.dataset.state = shot.state;
    shot.button.setAttribute("aria-label", `${shot.file.name}: ${captionOf(shot)}`);
    shot.button.setAttribute("aria-current", String(shot === current));
    shot.caption.textContent = captionOf(shot);
    refreshProgress(shot);
    if (shot === current) show();
}

function select(shot) {
    const before = current;
    current = shot;
    if (before && before !== shot) refresh(before);
    if (shot.state === "done" && shot.model !== model?.name) again(shot, false);
    refresh(shot);
}

function forget(shot) {
    shot.abort?.abort();
    URL.revokeObjectURL(shot.url);
    shot.item.remove();
}

function remove(shot) {
    const at = shots.indexOf(shot);
    shots.splice(at, 1);
    forget(shot);
    const next = shots[Math.min(at, shots.length - 1)] ?? null;
    if (current === shot) current = null;
    if (next) {
        select(next);
        next.button.focus();
    }
    showAll();
    pump();
}

function clear() {
    shots.splice(0).forEach(forget);
    current = null;
    showAll();
    byId("choose").focus();
}

/* ---- what is shown ------------------------------------------------------------------------------ */

function showAll() {
    byId("empty").hidden = shots.length > 0;
    byId("frame").hidden = shots.length === 0;
    byId("clear").hidden = shots.length === 0;
    byId("shots").hidden = shots.length < 2;
    byId("choose").classList.toggle("primary", shots.length === 0);
    show();
}

function answerOf(shot) {
    const { answer } = shot;
    return [
        el("h2", { class: "unseen" }, "Predictions"),
        shot.sent.note && el("p", { class: "note" }, shot.sent.note),
        bars(answer.predictions, choose),
        answer.timings_ms && waterfall(answer.timings_ms, shot.ms),
        facts(answer),
        curlBox(curlLine(shot.sent.name, query(shot))),
    ].filter(Boolean);
}

function show() {
    const place = byId("answer");
    chosen = null;
    byId("heat-controls").hidden = true;
    for (const follow of followers) follow();
    if (!current) {
        place.replaceChildren(...(model ? [modelCard(model)] : []));
        return;
    }
    picture.show(current.url, current.file.name);
    if (current.state === "failed") place.replaceChildren(trouble(current.problem, (smaller) => again(current, smaller)));
    else if (current.state === "done") {
        place.replaceChildren(...answerOf(current));
        if (current.answer.predictions.length > 0) showHeat(current.answer.predictions[0]);
    } else place.replaceChildren(el("div", { class: "busy" },
        el("p", {}, current.state === "waiting" ? "Waiting for its turn" : "Sending"),
        el("progress", { value: current.progress, max: 1, "aria-label": "Upload" })));
}

/* ---- for app.js --------------------------------------------------------------------------------- */

export function start() {
    picture = new Picture(byId("frame"));
    byId("clear").addEventListener("click", clear);
    byId("heat").addEventListener("input", (event) => picture.opacity(event.target.value / 100));
    picture.opacity(byId("heat").value / 100);
    showAll();
}

/* The photograph that is selected, null without one; follow() is called when that or its state changes. */
export const selected = () => current;
export const onSelected = (follow) => followers.push(follow);

export function setModel(row) {
    model = row;
    if (current?.state === "done" && current.model !== model.name) again(current, false);
    else show();
}

/* Files of a drop, the clipboard, the dialog or the camera. */
export function add(files) {
    let first = null;
    for (const file of files) {
        const shot = { file, url: URL.createObjectURL(file), state: "waiting", progress: 0 };
        first ??= shot;
        shots.push(shot);
        thumbnail(shot);
        if (shots.length > MAX_SHOTS) forget(shots.shift());
    }
    if (!first) return;
    for (const shot of shots) if (shot !== first) refresh(shot);
    select(first);
    showAll();
    pump();
}

/* What failed because the server was away or a key was missing. */
export function retryAll() {
    for (const shot of shots)
        if (shot.state === "failed" && ["unauthorized", "forbidden"].includes(shot.problem.slug)) again(shot, false);
}
