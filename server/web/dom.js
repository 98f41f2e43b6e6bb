/* Elements without HTML strings, and numbers as people write them.
 *
 * Labels, file names, model names and error texts are anybody's: they become text nodes here and
 * nothing else. The browser refuses HTML from strings on this page (Trusted Types).
 *
 * SPDX-License-Identifier: MIT */

function build(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
        else if (value === true) node.setAttribute(name, "");
        else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
}

export const el = (tag, attributes = {}, ...children) =>
    build(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) =>
    build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

export const byId = (id) => document.getElementById(id);

const grouped = new Intl.NumberFormat("en");
export const count = (n) => grouped.format(n);

/* At most three digits that count: 0.42, 4.2, 42, 420. */
export function short(x) {
    const size = Math.abs(x);
    if (size >= 100 || size === 0) return x.toFixed(0);
    if (size >= 10) return x.toFixed(1);
    return x.toFixed(size >= 0.1 ? 2 : 3);
}

export function si(n, unit = "") {
    const steps = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
    const [size, letter] = steps.find(([step]) => n >= step) ?? [1, ""];
    const text = letter ? short(n / size) : String(n);
    return `${text}${letter || unit ? " " : ""}${letter}${unit}`;
}

export const bytes = (n) => si(n, "B");
export const milliseconds = (ms) => `${short(ms)} ms`;
export function percent(x) {
    if (x > 0 && x < 0.00005) return "< 0.01 %";
    return `${(100 * x).toFixed(x >= 0.0995 || x === 0 ? 0 : x >= 0.001 ? 1 : 2)} %`;
}

/* What a screen reader says next, without moving the focus. */
export function say(sentence) {
    byId("said").textContent = sentence;
}
