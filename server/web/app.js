/* The frame of the page: views, what comes in by drop, paste, dialog and camera, the model's choice,
 * the API key, the server's state.
 *
 * SPDX-License-Identifier: MIT */
import * as classify from "./classify.js";
import * as live from "./live.js";
import * as network from "./network.js";
import { byId, el } from "./dom.js";
import { ask, onRefused, setKey } from "./server.js";

const STATE_MS = 5000;
const views = { classify, network, live };

/* ---- views: the tabs pattern of the ARIA practices ------------------------------------------------ */

let opened = "classify";
const tabs = Object.keys(views).map((name) => byId(`tab-${name}`));

function open(name, { focus = false } = {}) {
    for (const tab of tabs) {
        const mine = tab.id === `tab-${name}`;
        tab.setAttribute("aria-selected", String(mine));
        tab.tabIndex = mine ? 0 : -1;
        byId(tab.getAttribute("aria-controls")).hidden = !mine;
        if (mine && focus) tab.focus();
    }
    for (const [other, view] of Object.entries(views)) view.setOpen?.(other === name);
    opened = name;
    if (named() !== name) history.replaceState(null, "", `#/${name}`);
}

/* The view in the address: "#/live". Not the id of an element, to which a browser would jump. */
function named() {
    const name = location.hash.slice(2);
    return name in views ? name : "classify";
}

function startViews() {
    for (const [i, tab] of tabs.entries()) {
        tab.addEventListener("click", () => open(tab.getAttribute("aria-controls")));
        tab.addEventListener("keydown", (event) => {
            const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: -1 }[event.key];
            if (to === undefined) return;
            event.preventDefault();
            open(tabs.at(to % tabs.length).getAttribute("aria-controls"), { focus: true });
        });
    }
    addEventListener("hashchange", () => open(named()));
    open(named());
}

/* ---- photographs come in -------------------------------------------------------------------------- */

function take(files) {
    const list = [...files];
    if (list.length === 0) return;
    if (opened === "live") open("classify");
    classify.add(list);
}

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

function startFiles() {
    let depth = 0; /* dragenter and dragleave come for every element on the way */
    const veil = (shown) => (byId("drop-veil").hidden = !shown);
    addEventListener("dragenter", (event) => hasFiles(event) && veil(++depth > 0));
    addEventListener("dragleave", (event) => hasFiles(event) && veil(--depth > 0));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
        event.preventDefault();
        depth = 0;
        veil(false);
        take(event.dataTransfer?.files ?? []);
    });
    addEventListener("paste", (event) => take(event.clipboardData?.files ?? []));
    for (const [button, input] of [["choose", "files"], ["layer-choose", "files"], ["shoot", "camera"]])
        byId(button).addEventListener("click", () => byId(input).click());
    for (const input of ["files", "camera"])
        byId(input).addEventListener("change", (event) => {
            take(event.target.files);
            event.target.value = "";
        });
}

/* ---- models and the key --------------------------------------------------------------------------- */

let models = [];
let refused = false; /* for want of a key */

function chooseModel() {
    const row = models.find(({ name }) => name === byId("model").value) ?? models[0];
    classify.setModel(row);
    network.setModel(row);
}

async function loadModels() {
    const { json } = await ask("models");
    const chosen = byId("model").value;
    models = json.models;
    byId("model").replaceChildren(...models.map(({ name }) => el("option", { value: name, selected: name === chosen }, name)));
    byId("model-choice").hidden = models.length < 2;
    chooseModel();
}

async function useKey(event) {
    event.preventDefault();
    setKey(byId("key").value.trim());
    byId("key-form").hidden = true;
    refused = false;
    try {
        await loadModels();
        classify.retryAll();
    } catch { /* onRefused has said it, or the state will */ }
}

function startModels() {
    byId("model").addEventListener("change", chooseModel);
    byId("key-form").addEventListener("submit", useKey);
    onRefused((problem) => {
        refused = true;
        byId("key-form").hidden = false;
        byId("key-problem").textContent = problem.status === 403 ? "It does not take this one." : "";
    });
}

/* ---- the server's state ---------------------------------------------------------------------------- */

async function look() {
    let state = "no answer";
    try {
        state = (await ask("readyz")).json.status;
    } catch (problem) {
        if (problem.slug !== "unreachable") state = problem.members.status; /* "loading", "stuck", "draining" */
    }
    if (byId("state-text").textContent !== state) byId("state-text").textContent = state;
    byId("state").dataset.state = state.replaceAll(" ", "-");
    if (state === "ready" && models.length === 0 && !refused) loadModels().catch(() => {});
}

classify.start();
network.start();
live.start();
startViews();
startFiles();
startModels();
look();
setInterval(() => document.visibilityState === "visible" && look(), STATE_MS);
