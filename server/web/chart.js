/* Line charts and columns as SVG, redrawn whole: a few hundred points at most.
 *
 * A chart is {root, draw(data)}. Its accessible name says the latest values, since a picture does not.
 *
 * SPDX-License-Identifier: MIT */
import { el, short, svg } from "./dom.js";

const HEIGHT = 170, LEFT = 44, RIGHT = 12, TOP = 10, BOTTOM = 22;

/* The least of 1, 2, 2.5, 5 × 10^k that is not below x. */
function roundUp(x) {
    if (!(x > 0)) return 1;
    const power = 10 ** Math.floor(Math.log10(x));
    return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= x * 0.9999);
}

function frame(title, hint) {
    const legend = el("ul", { class: "legend" });
    const canvas = svg("svg", { class: "plot", height: HEIGHT, role: "img" });
    const root = el("section", { class: "card chart" },
        el("h2", {}, title), hint && el("p", { class: "hint" }, hint), legend, canvas);
    return { root, legend, canvas };
}

function legendRows(legend, rows) {
    legend.replaceChildren(...rows.map(({ name, style, text }) =>
        el("li", {}, el("span", { class: `key ${style}` }), name, text ? el("b", {}, text) : null)));
}

const tick = (x) => String(Number(short(x)));

function grid(canvas, width, top, format = tick) {
    for (const part of [0, 0.5, 1]) {
        const y = TOP + (1 - part) * (HEIGHT - TOP - BOTTOM);
        canvas.append(svg("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }),
            svg("text", { class: "tick end", x: LEFT - 8, y: y + 4 }, format(part * top)));
    }
}

/* Redraws when the width changes; draws nothing while hidden. */
function responsive(chart, redraw) {
    let data = null;
    const draw = () => {
        const width = chart.canvas.clientWidth;
        if (!data || width === 0) return;
        chart.canvas.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
        chart.canvas.replaceChildren();
        redraw(data, width);
    };
    new ResizeObserver(draw).observe(chart.canvas);
    return { root: chart.root, draw: (next) => {
        data = next;
        draw();
    } };
}

/* data: {x: [number], labels: [[x, text]], series: [{name, style, values: [number|null]}], area} */
export function lineChart(title, { hint, format, dots = false } = {}) {
    const chart = frame(title, hint);
    let pointed = null; /* where the pointer is, as a part of the width */

    function redraw({ x, labels, series, least = 0 }, width) {
        const { canvas, legend } = chart;
        const all = series.flatMap(({ values }) => values.filter((v) => v !== null));
        const top = roundUp(Math.max(least, ...all));
        const [first, last] = [x[0], x.at(-1)];
        const px = (v) => LEFT + ((v - first) / (last - first || 1)) * (width - LEFT - RIGHT);
        const py = (v) => TOP + (1 - v / top) * (HEIGHT - TOP - BOTTOM);
        grid(canvas, width, top);
        for (const [at, text] of labels)
            canvas.append(svg("text", { class: `tick ${at === last ? "end" : at === first ? "" : "middle"}`, x: px(at), y: HEIGHT - 6 }, text));
        for (const { values, style } of series) {
            let path = "";
            values.forEach((v, i) => {
                if (v === null) return;
                const alone = values[i - 1] == null && values[i + 1] == null;
                path += `${values[i - 1] == null ? "M" : "L"}${px(x[i]).toFixed(1)} ${py(v).toFixed(1)}${alone ? "h.1" : ""}`;
                if (dots) canvas.append(svg("circle", { class: `dot ${style}`, cx: px(x[i]), cy: py(v), r: 3.5 }));
            });
            canvas.append(svg("path", { class: `line ${style}`, d: path }));
        }
        let at = x.length - 1;
        if (pointed !== null) {
            const wanted = first + pointed * (last - first);
            at = x.reduce((best, v, i) => (Math.abs(v - wanted) < Math.abs(x[best] - wanted) ? i : best), 0);
            canvas.append(svg("line", { class: "cursor", x1: px(x[at]), x2: px(x[at]), y1: TOP, y2: HEIGHT - BOTTOM }));
        }
        const rows = series.map(({ name, style, values }) =>
            ({ name, style, text: values[at] == null ? "–" : format(values[at]) }));
        legendRows(legend, rows);
        canvas.setAttribute("aria-label", `${title}: ${rows.map(({ name, text }) => `${name} ${text}`).join(", ")}`);
    }

    const drawn = responsive(chart, redraw);
    const point = (event) => {
        const { left, width } = chart.canvas.getBoundingClientRect();
        pointed = Math.min(1, Math.max(0, (event.clientX - left - LEFT) / (width - LEFT - RIGHT)));
        drawn.draw(drawn.data);
    };
    const plain = drawn.draw;
    drawn.draw = (data) => plain((drawn.data = data));
    chart.canvas.addEventListener("pointermove", point);
    chart.canvas.addEventListener("pointerleave", () => {
        pointed = null;
        drawn.draw(drawn.data);
    });
    return drawn;
}

/* data: {labels: [text], series: [{name, style, values: [part]}]}, side by side */
export function columnChart(title, { hint, format } = {}) {
    const chart = frame(title, hint);
    return responsive(chart, ({ labels, series }, width) => {
        const { canvas, legend } = chart;
        const top = roundUp(Math.max(...series.flatMap(({ values }) => values)));
        grid(canvas, width, top, format);
        const room = (width - LEFT - RIGHT) / labels.length;
        const bar = Math.min(34, (room * 0.7) / series.length);
        const height = HEIGHT - TOP - BOTTOM;
        labels.forEach((label, i) => {
            const middle = LEFT + (i + 0.5) * room;
            series.forEach(({ values, style }, k) => {
                const tall = (values[i] / top) * height;
                canvas.append(svg("rect", { class: `column ${style}`, width: Math.max(1, bar - 2), height: tall, rx: Math.min(2, tall / 2),
                    x: middle + (k - series.length / 2) * bar + 1, y: TOP + height - tall }));
            });
            canvas.append(svg("text", { class: "tick middle", x: middle, y: HEIGHT - 6 }, label));
        });
        legendRows(legend, series);
        canvas.setAttribute("aria-label", `${title}: ` + series.map(({ name, values }) =>
            `${name} ${labels.map((label, i) => `${label} ${format(values[i])}`).join(", ")}`).join("; "));
    });
}
