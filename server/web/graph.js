/* The rows of GET /network as what is drawn: units (a convolution, pooling or the classifier, with the
 * normalisation and activation behind it), residual blocks of units, and stages of blocks. Pure.
 *
 * SPDX-License-Identifier: MIT */

const DRAWN = new Set(["conv", "maxpool", "avgpool", "linear", "add", "shortcut"]);

const opNames = {
    conv: "convolution", maxpool: "maximum pooling", avgpool: "average pooling", linear: "linear classifier",
    add: "addition", shortcut: "shortcut without weights", bn: "batch normalisation", relu: "ReLU", input: "input",
};

export const stageNames = {
    stem: "Stem", stage1: "Stage 1", stage2: "Stage 2", stage3: "Stage 3", stage4: "Stage 4", head: "Head",
};

/* "3×3 convolution, stride 2" */
export function described({ op, kernel, stride }) {
    const size = kernel > 0 ? `${kernel}×${kernel} ` : "";
    return `${size}${opNames[op] ?? op}${stride > 1 ? `, stride ${stride}` : ""}`;
}

/* "64 × 56 × 56", "1000" */
export function shape([, channels, height, width]) {
    return height === 1 && width === 1 ? String(channels) : `${channels} × ${height} × ${width}`;
}

/* What the paper's figure writes into a box: "3×3, 64, /2". */
export function boxText({ op, kernel, stride, output }) {
    const half = stride > 1 ? `, /${stride}` : "";
    if (op === "conv") return `${kernel}×${kernel}, ${output[1]}${half}`;
    if (op === "linear") return `fc, ${output[1]}`;
    if (op === "maxpool") return `max ${kernel}×${kernel}${half}`;
    if (op === "avgpool") return "average";
    return op === "shortcut" ? `pad, ${output[1]}${half}` : "+";
}

/* {stages: [{name, units, blocks: [{main, aside, add, shortcut}]}], units}: aside is the shortcut's own
 * unit or null. A unit is {layer, group}, the group beginning with the layer itself. */
export function structure({ layers }) {
    const units = [], stages = new Map(), last = new Map(); /* last: name -> the unit that a row belongs to */
    for (const layer of layers) {
        const before = last.get(layer.inputs[0]);
        if (!DRAWN.has(layer.op)) {
            before?.group.push(layer);
            if (before) last.set(layer.name, before);
            continue;
        }
        const unit = { layer, group: [layer] };
        units.push(unit);
        last.set(layer.name, unit);
        if (!stages.has(layer.stage)) stages.set(layer.stage, { name: layer.stage, units: [], blocks: [] });
        const stage = stages.get(layer.stage);
        stage.units.push(unit);
        if (layer.block !== undefined) (stage.blocks[layer.block] ??= []).push(unit);
    }
    for (const stage of stages.values())
        stage.blocks = stage.blocks.map((block) => {
            const add = block.find(({ layer }) => layer.op === "add");
            const aside = block.find((unit) => unit !== add && last.get(add?.layer.inputs[1]) === unit) ?? null;
            return { main: block.filter((unit) => unit !== add && unit !== aside), aside, add, shortcut: add?.layer.shortcut };
        });
    return { stages: [...stages.values()], units };
}

/* The pixels of the upright image that the value in the middle of (y, x) of a layer's output sees, not
 * cut at its edges: [x, y, width, height]. region is the part of the image that became the input. */
export function field(layer, input, region, y, x) {
    const [left, top, width, height] = region;
    const across = width / input[3], down = height / input[2];
    const from = (at) => layer.center + at * layer.jump - layer.receptive_field / 2;
    return [left + from(x) * across, top + from(y) * down, layer.receptive_field * across, layer.receptive_field * down];
}
