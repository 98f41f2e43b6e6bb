/* An answer of /classify as elements: bars, where the time went, facts, the same by curl.
 *
 * SPDX-License-Identifier: MIT */
import { bytes, count, el, milliseconds, percent } from "./dom.js";
import { hasKey, inWords, withQuery } from "./server.js";

const stages = {
    receive: "the upload",
    decode: "file to pixels",
    preprocess: "resize, crop, normalise",
    queue: "waiting for a worker or a batch",
    inference: "the network",
    respond: "scores to JSON",
};

const caches = {
    miss: "computed for this request",
    hit: "kept from an earlier request",
    coalesced: "shared with the same file in flight",
};

/* choose(prediction), on hover or focus, and choose(null) when that ends; NULL-able. */
export function bars(predictions, choose) {
    const list = el("ol", { class: "bars" });
    for (const prediction of predictions) {
        const { label, score, index } = prediction;
        const fill = el("span", { class: "fill" });
        fill.style.setProperty("--part", score);
        const inside = [
            el("bdi", { class: "label" }, label ?? `class ${index}`),
            el("span", { class: "score" }, percent(score)),
            el("span", { class: "track" }, fill)];
        const row = choose
            ? el("button", { class: "bar", "data-class": index, "aria-pressed": "false",
                onpointerenter: (event) => event.pointerType !== "touch" && choose(prediction),
                onfocus: () => choose(prediction), onclick: () => choose(prediction) }, ...inside)
            : el("div", { class: "bar" }, ...inside);
        list.append(el("li", {}, row));
    }
    return list;
}

export function waterfall(timings, here) {
    const total = timings.total || 1;
    let before = 0;
    const rows = Object.entries(stages).filter(([name]) => name in timings).map(([name, meaning]) => {
        const bar = el("span", { class: `span stage-${name}` });
        bar.style.setProperty("--from", before / total);
        bar.style.setProperty("--part", timings[name] / total);
        before += timings[name];
        return el("tr", { title: meaning },
            el("th", { scope: "row" }, name), el("td", { class: "track-cell" }, el("span", { class: "lane" }, bar)),
            el("td", { class: "number" }, milliseconds(timings[name])));
    });
    return el("table", { class: "waterfall" },
        el("caption", {}, "Where the time went"), el("tbody", {}, ...rows),
        el("tfoot", {}, el("tr", {}, el("th", { scope: "row" }, "total"),
            el("td", { class: "aside" }, here ? `${milliseconds(here)} as seen from this browser` : ""),
            el("td", { class: "number" }, milliseconds(timings.total)))));
}

const fact = (name, value, title) => value === "" || value == null ? [] :
    [el("div", { title }, el("dt", {}, name), el("dd", {}, el("bdi", {}, value)))];

export function facts(answer) {
    const { image, model, batch, cache } = answer;
    const turned = image.exif_orientation > 1 ? `, turned by EXIF ${image.exif_orientation}` : "";
    return el("dl", { class: "facts" },
        ...fact("Batch", batch.size === 1 ? "alone" : `with ${batch.size - 1} other${batch.size > 2 ? "s" : ""}`,
            "Images that ran together through the network"),
        ...fact("Cache", `${cache}: ${caches[cache] ?? ""}`),
        ...fact("Image", `${image.format.toUpperCase()}, ${image.width} × ${image.height}, ${bytes(image.bytes)}${turned}`),
        ...fact("Model", `${model.name}${model.version ? ` ${model.version}` : ""}, ${model.precision}`, model.digest),
        ...fact("Request", answer.id));
}

/* A word of a shell that stays one word whatever is in it. */
const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`;

/* What cannot be shown or pasted safely is replaced. */
function fileWord(name) {
    const safe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(name) || name === "" ? "photo.jpg" : name;
    return quoted(safe.startsWith("-") ? `./${safe}` : safe);
}

export function curlLine(name, members) {
    const url = new URL(withQuery("classify", members), location.href);
    const glob = /[[\]{}]/.test(name) ? "-g " : "";
    const key = hasKey() ? `-H "Authorization: Bearer $KEY" ` : "";
    return `curl ${glob}${key}-T ${fileWord(name)} ${quoted(url.href)}`;
}

export function curlBox(line) {
    const code = el("code", { tabindex: "0", "aria-label": "The same with curl" }, line);
    const copy = el("button", { class: "quiet", onclick: async () => {
        try {
            await navigator.clipboard.writeText(line);
            copy.textContent = "Copied";
        } catch { /* no permission, or no secure context: select it for the person to copy */
            getSelection().selectAllChildren(code);
            copy.textContent = "Selected";
        }
        setTimeout(() => (copy.textContent = "Copy"), 1500);
    } }, "Copy");
    return el("div", { class: "curl" }, el("h3", {}, "The same with curl"), el("div", { class: "command" }, code, copy));
}

/* retry(makeSmaller) tries again. */
export function trouble(problem, retry) {
    const { title, advice, detail, id, smaller, again } = inWords(problem);
    return el("div", { class: "trouble", role: "alert" },
        el("h2", {}, title), advice && el("p", {}, advice),
        detail && el("p", { class: "detail" }, el("bdi", {}, detail)),
        id && el("p", { class: "detail" }, `Request ${id}`),
        el("p", { class: "buttons" },
            smaller ? el("button", { class: "primary", onclick: () => retry(true) }, "Send a smaller copy") : null,
            again ? el("button", { class: smaller ? "quiet" : "primary", onclick: () => retry(false) }, "Try again") : null));
}

/* What stands there before the first photograph. */
export function modelCard(model) {
    const [, height, width] = model.input;
    return el("div", { class: "model-card" },
        el("p", { class: "eyebrow" }, "This server runs"),
        el("h2", {}, el("bdi", {}, model.name)),
        el("dl", { class: "facts" },
            ...fact("Classes", count(model.classes)), ...fact("Parameters", count(model.parameters)),
            ...fact("Sees", `${width} × ${height} pixels`), ...fact("Precision", model.precision),
            ...fact("Version", model.version), ...fact("Accuracy", model.accuracy),
            ...fact("Source", model.source), ...fact("Digest", model.digest)));
}
