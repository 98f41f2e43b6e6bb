/* The photograph in a frame, with what is drawn over it: the heat map of a class, and the square that
 * one value of a layer sees. Both are given in pixels of the upright image.
 *
 * SPDX-License-Identifier: MIT */
import { el, svg } from "./dom.js";

const HEAT_SIDE = 128; /* of the canvas that the browser scales over the photograph */

/* Dark violet over red to yellow: rising in lightness, so that it reads without colour, too. */
const colours = [[0, 30, 10, 80], [0.3, 120, 28, 109], [0.55, 207, 54, 70], [0.8, 251, 155, 6], [1, 255, 225, 70]];

function colour(x) {
    let i = 1;
    while (i < colours.length - 1 && x > colours[i][0]) i++;
    const [from, ...low] = colours[i - 1];
    const [to, ...high] = colours[i];
    const t = Math.min(1, Math.max(0, (x - from) / (to - from)));
    return low.map((value, k) => value + t * (high[k] - value));
}

/* The grid's value at a place given in cells, between the cells' centres by Catmull-Rom in x and y. */
function spline(a, b, c, d, t) {
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}

function sample(grid, y, x) {
    const height = grid.length, width = grid[0].length;
    const row = (j) => grid[Math.min(height - 1, Math.max(0, j))];
    const at = (j, i) => row(j)[Math.min(width - 1, Math.max(0, i))];
    const j = Math.floor(y), i = Math.floor(x);
    const across = (k) => spline(at(k, i - 1), at(k, i), at(k, i + 1), at(k, i + 2), x - i);
    return spline(across(j - 1), across(j), across(j + 1), across(j + 2), y - j);
}

export class Picture {
    #image = el("img", { alt: "" });
    #heat = el("canvas", { class: "heat", width: HEAT_SIDE, height: HEAT_SIDE, hidden: true, "aria-hidden": "true" });
    #over = svg("svg", { class: "over", preserveAspectRatio: "none", "aria-hidden": "true" });
    #photo = el("div", { class: "photo" }, this.#image, this.#heat, this.#over);
    #size = [1, 1];

    constructor(frame) {
        frame.append(this.#photo);
        this.#image.addEventListener("load", () => this.#fit(this.#image.naturalWidth, this.#image.naturalHeight));
        this.#image.addEventListener("error", () => this.#photo.classList.add("unseen-image"));
    }

    #fit(width, height) {
        this.#size = [width, height];
        this.#photo.style.setProperty("--ratio", width / height);
        this.#photo.classList.toggle("coarse", Math.max(width, height) <= 128);
        this.#over.setAttribute("viewBox", `0 0 ${width} ${height}`);
    }

    show(url, alt) {
        if (this.#image.getAttribute("src") !== url) {
            this.#photo.classList.remove("unseen-image");
            this.#image.src = url;
        }
        this.#image.alt = alt;
        this.heat(null);
        this.square(null);
    }

    get element() {
        return this.#photo;
    }

    /* Where in the upright image a pointer is. */
    place(event) {
        const { left, top, width, height } = this.#photo.getBoundingClientRect();
        return [((event.clientX - left) / width) * this.#size[0], ((event.clientY - top) / height) * this.#size[1]];
    }

    /* {grid, region} of an answer's "explain", null for none. */
    heat(map) {
        this.#heat.hidden = !map;
        if (!map) return;
        const { grid, region: [x, y, width, height] } = map;
        const [all, tall] = this.#size;
        const place = { left: x / all, top: y / tall, width: width / all, height: height / tall };
        for (const [side, part] of Object.entries(place)) this.#heat.style[side] = `${100 * part}%`;
        const values = grid.flat();
        const low = Math.min(...values), high = Math.max(...values);
        const context = this.#heat.getContext("2d");
        const pixels = context.createImageData(HEAT_SIDE, HEAT_SIDE);
        for (let j = 0, at = 0; j < HEAT_SIDE; j++)
            for (let i = 0; i < HEAT_SIDE; i++, at += 4) {
                const v = sample(grid, ((j + 0.5) / HEAT_SIDE) * grid.length - 0.5,
                    ((i + 0.5) / HEAT_SIDE) * grid[0].length - 0.5);
                const part = high > low ? Math.min(1, Math.max(0, (v - low) / (high - low))) : 0;
                pixels.data.set(colour(part), at);
                pixels.data[at + 3] = 255 * (0.35 + 0.65 * part);
            }
        context.putImageData(pixels, 0, 0);
    }

    opacity(part) {
        this.#heat.style.opacity = part;
    }

    /* [x, y, width, height]: bright inside, dim outside; null for none. */
    square(box) {
        this.#over.replaceChildren();
        if (!box) return;
        const [x, y, width, height] = box;
        const [all, tall] = this.#size;
        this.#over.append(
            svg("path", { class: "dim", "fill-rule": "evenodd",
                d: `M0 0H${all}V${tall}H0ZM${x} ${y}h${width}v${height}h${-width}Z` }),
            svg("rect", { class: "field-edge", x, y, width, height }),
            svg("rect", { class: "field", x, y, width, height }));
    }
}
