/* The text of GET /metrics (Prometheus), and what is computed from two of them. Pure.
 *
 * SPDX-License-Identifier: MIT */

const LINE = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;

function labelsOf(text = "") {
    const labels = {};
    for (const [, name, value] of text.matchAll(LABEL))
        labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    return labels;
}

/* name -> [{labels, value}] */
export function parse(text) {
    const families = new Map();
    for (const line of text.split("\n")) {
        const [, name, labels, value] = LINE.exec(line) ?? [];
        if (!name) continue;
        if (!families.has(name)) families.set(name, []);
        families.get(name).push({ labels: labelsOf(labels), value: Number(value) });
    }
    return families;
}

/* The sum of a family's series whose labels pass. */
export function total(families, name, passes = () => true) {
    return (families.get(name) ?? []).reduce((sum, { labels, value }) => sum + (passes(labels) ? value : 0), 0);
}

/* [[upper bound, cumulative count]] of a histogram, its series added up. */
export function buckets(families, name, passes = () => true) {
    const counts = new Map();
    for (const { labels, value } of families.get(`${name}_bucket`) ?? [])
        if (passes(labels)) {
            const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
            counts.set(bound, (counts.get(bound) ?? 0) + value);
        }
    return [...counts].sort(([a], [b]) => a - b);
}

/* What came between two readings. A counter that fell belongs to a server that was started anew. */
export const grown = (now, before) => (now >= before ? now - before : now);

export function bucketsGrown(now, before) {
    const earlier = new Map(before);
    return now.map(([bound, n]) => [bound, grown(n, earlier.get(bound) ?? 0)]);
}

/* As Prometheus' histogram_quantile: linear inside a bucket, the last bound at most; null without
 * observations. */
export function quantile(cumulative, part) {
    const n = cumulative.at(-1)?.[1] ?? 0;
    if (n === 0) return null;
    let low = 0, below = 0;
    for (const [bound, upTo] of cumulative) {
        if (upTo >= part * n && upTo > below)
            return bound === Infinity ? low : low + ((bound - low) * (part * n - below)) / (upTo - below);
        low = bound;
        below = upTo;
    }
    return low;
}
