/* The second view: the loaded network as in the paper's figure (He et al. 2015, figure 3), and what a
 * layer of it is, sees and makes of the photograph.
 *
 * Every block is a drawing of its own in a line that wraps like text, so that a phone shows as much of
 * it as a wide screen. One unit at a time takes the keyboard's focus; arrow keys go on from there.
 *
 * SPDX-License-Identifier: MIT */
import { byId, count, el, percent, si, svg } from "./dom.js";
import { boxText, described, shape, stageNames, structure } from "./graph.js";
import * as layer from "./layer.js";
import { ask, inWords, withQuery } from "./server.js";

const BOX = 82, TALL = 38, GAP = 16, PLUS = 11;
const HEIGHT = 108, MIDDLE = 76, TOP = 22, ASIDE = 30;

let model = null, drawn = null; /* names */
let isOpen = false;
let units = [], nodes = [];
let mostFlops = 1;

/* ---- drawing -------------------------------------------------------------------------------------- */

/* With what is written in the box, which is what somebody who speaks to a computer would say. */
function nameOf({ layer: row }) {
    return `${row.name}: ${boxText(row)}; ${described(row)}, output ${shape(row.output)}`;
}

function unitNode(unit, ...shapes) {
    const at = units.indexOf(unit);
    const node = svg("g", { class: `unit op-${unit.layer.op}`, role: "button", tabindex: -1, "aria-pressed": "false",
        "aria-label": nameOf(unit), onpointerenter: (event) => event.pointerType !== "touch" && point(at),
        onfocus: () => point(at), onclick: () => node.focus() }, ...shapes);
    nodes[at] = node;
    return node;
}

/* A box with its text, and along its lower edge its share of the work. */
function box(unit, x, middle, tall) {
    const y = middle - tall / 2;
    const part = unit.layer.flops / mostFlops, text = boxText(unit.layer);
    return unitNode(unit,
        svg("rect", { class: "box", x, y, width: BOX, height: tall, rx: 7 }),
        part > 0 ? svg("rect", { class: "work", x: x + 7, y: y + tall - 5, width: Math.max(1, part * (BOX - 14)), height: 2.5, rx: 1.2 }) : "",
        svg("text", { class: text.length > 11 ? "narrow" : null, x: x + BOX / 2, y: middle + (tall > 34 ? 2 : 3) }, text));
}

function plus(unit, x) {
    const r = PLUS;
    return unitNode(unit, svg("circle", { class: "box", cx: x, cy: MIDDLE, r }),
        svg("path", { class: "cross", d: `M${x - 5} ${MIDDLE}h10M${x} ${MIDDLE - 5}v10` }));
}

const arrow = (x, y, down) => svg("path", { class: "head", d: down ? `M${x - 4} ${y - 7}h8l-4 7z` : `M${x - 7} ${y - 4}v8l7-4z` });
const wire = (d, style = "") => svg("path", { class: `wire ${style}`, d });

/* Units one after the other, from x on; what to append, and where it ends. */
function chain(list, x) {
    const parts = [];
    for (const unit of list) {
        parts.push(wire(`M${x} ${MIDDLE}h${GAP}`), arrow(x + GAP, MIDDLE), box(unit, x + GAP, MIDDLE, TALL));
        x += GAP + BOX;
    }
    return { parts, x };
}

function drawing(width, top, label, parts) {
    return svg("svg", { class: "block", width, height: HEIGHT - top, viewBox: `0 ${top} ${width} ${HEIGHT - top}`, role: "group", "aria-label": label }, ...parts);
}

function blockDrawing(stage, block, i) {
    const fork = 6;
    const { parts, x } = chain(block.main, fork);
    const end = x + GAP + PLUS;
    const dashed = block.shortcut === "projection" ? "dashed" : "";
    const over = [wire(`M0 ${MIDDLE}h${fork}`),
        wire(`M${fork} ${MIDDLE}V${TOP + 8}q0-8 8-8H${end - 8}q8 0 8 8V${MIDDLE - PLUS}`, `shortcut ${dashed}`),
        arrow(end, MIDDLE - PLUS, true), wire(`M${x} ${MIDDLE}h${GAP}`), arrow(x + GAP, MIDDLE),
        wire(`M${end + PLUS} ${MIDDLE}h6`)];
    if (block.aside) over.push(box(block.aside, (fork + end - BOX) / 2, TOP, ASIDE));
    return drawing(end + PLUS + 6, 0, `${stageNames[stage.name]}, block ${i + 1}, ${block.shortcut} shortcut`, [...over, ...parts, plus(block.add, end)]);
}

function stageSection(stage, network) {
    const sum = (member) => stage.units.reduce((all, { group }) => all + group.reduce((n, row) => n + row[member], 0), 0);
    const blocks = stage.blocks.length;
    const facts = [blocks ? `${blocks} block${blocks > 1 ? "s" : ""}` : null, shape(stage.units.at(-1).layer.output),
        `${si(sum("parameters"))} parameters`, `${percent(sum("flops") / network.flops)} of the work`].filter(Boolean);
    const loose = stage.units.filter(({ layer: row }) => row.block === undefined);
    const { parts, x } = chain(loose, 0);
    return el("section", { class: `stage-row ${stage.name}` },
        el("h3", {}, stageNames[stage.name], el("span", {}, facts.join(" · "))),
        el("div", { class: "blocks" }, loose.length ? drawing(x + 8, MIDDLE - TALL / 2 - 10, stageNames[stage.name], parts) : null,
            ...stage.blocks.map((block, i) => blockDrawing(stage, block, i))));
}

/* ---- choosing -------------------------------------------------------------------------------------- */

function point(at) {
    nodes.forEach((node, i) => {
        node.setAttribute("aria-pressed", String(i === at));
        node.setAttribute("tabindex", i === at ? 0 : -1);
    });
    layer.show(units[at]);
}

function onKey(event) {
    const at = nodes.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: nodes.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    nodes[Math.min(nodes.length - 1, Math.max(0, to))].focus();
}

/* ---- the network itself ------------------------------------------------------------------------------ */

function draw(network) {
    const { stages, units: all } = structure(network);
    units = all;
    nodes = [];
    mostFlops = Math.max(1, ...units.map(({ layer: row }) => row.flops));
    byId("drawing").replaceChildren(
        el("header", { class: "network-head" }, el("h2", {}, el("bdi", {}, network.name)),
            el("p", {}, `${network.architecture === network.name ? "" : `${network.architecture}, `}${count(network.parameters)} parameters, ${si(network.flops)}FLOPs for an image of ${network.input[3]} × ${network.input[2]}`)),
        ...stages.map((stage) => stageSection(stage, network)),
        el("ul", { class: "legend" },
            el("li", {}, svg("svg", { width: 34, height: 10 }, wire("M0 5h34")), "identity shortcut"),
            el("li", {}, svg("svg", { width: 34, height: 10 }, wire("M0 5h34", "dashed")), "projection"),
            el("li", {}, svg("svg", { width: 34, height: 10 }, svg("rect", { class: "work", y: 4, width: 34, height: 2.5 })), "share of the work")));
    layer.setNetwork(network, model);
    point(units.indexOf(stages.find(({ blocks }) => blocks.length > 0)?.blocks[0].main[0] ?? units[0]));
}

async function load() {
    if (!isOpen || !model || drawn === model) return;
    const wanted = model;
    try {
        const { json } = await ask(withQuery("network", { model: wanted }));
        if (model !== wanted) return;
        draw(json);
        drawn = wanted;
    } catch (problem) {
        const { title, advice } = inWords(problem);
        byId("drawing").replaceChildren(el("p", { class: "notice", role: "alert" }, `${title}. ${advice}`));
    }
}

export function start() {
    byId("drawing").addEventListener("keydown", onKey);
    layer.start();
}

export function setModel({ name }) {
    model = name;
    load();
}

export function setOpen(value) {
    isOpen = value;
    layer.setOpen(value);
    load();
}
