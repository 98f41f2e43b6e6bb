/* One layer of the network beside its drawing: its numbers, the square of the photograph that one of
 * its values sees, and its feature maps for this photograph.
 *
 * SPDX-License-Identifier: MIT */
import * as classify from "./classify.js";
import { byId, count, el, percent, si } from "./dom.js";
import { described, field, shape } from "./graph.js";
import { Picture } from "./picture.js";
import { ask, inWords, withQuery } from "./server.js";

const MAPS = 16;
const REST_MS = 250; /* that the pointer stays before the maps are asked for */
const BUSY_MS = 1000, BUSY_TIMES = 5; /* and how often again when the engine has others to serve */

let network = null, model = null; /* the latter a name */
let unit = null, row = null; /* what is shown, and which row of its group */
let isOpen = false;
let picture;
let timer = 0;
let asking = null; /* an AbortController */
let url = ""; /* of the maps on show */
const kept = new WeakMap(); /* shot -> Map(model and layer -> blob) */

/* ---- the square ------------------------------------------------------------------------------------ */

/* Of the value at these parts of the region, the middle one by default. */
function drawSquare(down = 0.5, across = 0.5) {
    const region = classify.selected()?.region;
    const [, , height, width] = row?.output ?? [];
    if (!region || !row) return picture.square(null);
    const at = (part, n) => Math.min(n - 1, Math.max(0, Math.floor(part * n)));
    picture.square(field(row, network.input, region, at(down, height), at(across, width)));
}

function follow(event) {
    const region = classify.selected()?.region;
    if (!region) return;
    const [x, y] = picture.place(event);
    drawSquare((y - region[1]) / region[3], (x - region[0]) / region[2]);
}

/* ---- the maps --------------------------------------------------------------------------------------- */

function putMaps(...children) {
    byId("maps").replaceChildren(...children);
}

function putImage(blob) {
    URL.revokeObjectURL(url);
    url = URL.createObjectURL(blob);
    const shown = Math.min(MAPS, row.output[1]);
    putMaps(el("figure", {}, el("img", { src: url, alt: `Feature maps of ${row.name}` }),
        el("figcaption", {}, shown === row.output[1] ? `All ${shown} channels` : `The ${shown} of ${count(row.output[1])} channels with the highest mean`)));
}

async function loadMaps(times = BUSY_TIMES) {
    const shot = classify.selected(), wanted = row;
    asking?.abort();
    if (!isOpen || !shot?.sent || shot.state !== "done") return;
    const key = `${model} ${wanted.name}`;
    if (!kept.has(shot)) kept.set(shot, new Map());
    let blob = kept.get(shot).get(key);
    try {
        if (!blob) {
            asking = new AbortController();
            ({ blob } = await ask(withQuery("features", { layer: wanted.name, top: Math.min(MAPS, wanted.output[1]), model }),
                { method: "POST", body: shot.sent.blob, type: "blob", signal: asking.signal }));
            kept.get(shot).set(key, blob);
        }
        if (wanted === row && shot === classify.selected()) putImage(blob);
    } catch (problem) {
        if (problem.name === "AbortError" || wanted !== row) return;
        if (problem.slug === "engine-busy" && times > 0) {
            timer = setTimeout(() => loadMaps(times - 1), BUSY_MS);
            return;
        }
        const { title, advice, detail } = inWords(problem);
        putMaps(el("p", { class: "hint" }, `${title}. ${advice} ${detail}`));
    }
}

function askMaps() {
    clearTimeout(timer);
    timer = setTimeout(() => loadMaps(), REST_MS);
}

/* ---- the numbers ------------------------------------------------------------------------------------ */

const pair = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));

function numbers() {
    const side = row.receptive_field, whole = Math.max(network.input[2], network.input[3]);
    const all = row.op === "avgpool" || row.op === "linear" || side >= 2 * whole;
    return el("dl", { class: "facts" },
        pair("Kind", described(row)), pair("Output", shape(row.output)),
        pair("Parameters", count(row.parameters)),
        pair("Work", row.flops ? `${si(row.flops)}FLOPs, ${percent(row.flops / network.flops)} of all` : "little"),
        pair("One value sees", all ? "the whole input" : `${side} × ${side} of ${network.input[3]} × ${network.input[2]} pixels`));
}

/* The rows behind a convolution: their maps differ, so each can be chosen. */
function rowButtons() {
    if (unit.group.length < 2) return null;
    return el("div", { class: "rows", role: "group", "aria-label": "Rows of this unit" },
        ...unit.group.map((other) => el("button", { "aria-pressed": String(other === row), onclick: () => {
            row = other;
            draw();
        } }, other.op)));
}

function draw() {
    byId("layer").replaceChildren(el("h3", {}, el("bdi", {}, row.name)), ...[rowButtons(), numbers()].filter(Boolean));
    drawSquare();
    askMaps();
}

function drawPhoto() {
    const shot = classify.selected();
    byId("layer-frame").hidden = !shot;
    byId("layer-hint").hidden = Boolean(shot);
    if (!shot || shot.state !== "done") {
        putMaps();
        return;
    }
    picture.show(shot.url, shot.file.name);
    if (!row) return;
    classify.explain(shot).then(() => shot === classify.selected() && drawSquare(), () => {});
    askMaps();
}

/* ---- for network.js --------------------------------------------------------------------------------- */

export function start() {
    picture = new Picture(byId("layer-frame"));
    picture.element.addEventListener("pointermove", follow);
    picture.element.addEventListener("pointerleave", () => drawSquare());
    classify.onSelected(() => isOpen && drawPhoto());
}

export function setNetwork(given, name) {
    network = given;
    model = name;
}

export function show(given) {
    if (unit === given) return;
    unit = given;
    row = given.layer;
    draw();
}

export function setOpen(value) {
    isOpen = value;
    if (isOpen) drawPhoto();
}
