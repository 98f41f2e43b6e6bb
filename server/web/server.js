/* Talking to the daemon: JSON in and out, uploads with progress, problems in plain words.
 *
 * Paths are relative, so that the page works behind a proxy's prefix. The API key lives in this tab's
 * session storage and goes nowhere but into the Authorization header.
 *
 * SPDX-License-Identifier: MIT */

const KEY = "resnetd-key";
let key = sessionStorage.getItem(KEY) ?? "";
export const hasKey = () => key !== "";
export function setKey(given) {
    key = given;
    sessionStorage.setItem(KEY, given);
}

/* What went wrong: a problem+json of the daemon, or that there was no answer. */
export class Problem extends Error {
    constructor(members) {
        super(members.detail || members.title || "");
        this.members = members;
        this.slug = String(members.type ?? "").replace(/^.*\/problems\//, "");
        this.status = members.status ?? 0;
    }
}

const unreachable = () =>
    new Problem({ type: "/problems/unreachable", detail: "There was no answer from " + location.host + "." });

/* title: what happened; advice: what to do about it. {name} is a member of the problem. */
const words = {
    unreachable: ["The server does not answer", "It may have stopped or be starting again. Try again in a moment."],
    unauthorized: ["The server wants an API key", "Type it in above."],
    forbidden: ["The server does not take this API key", "Type another one in above."],
    "unsupported-format": ["This kind of file cannot be read", "Neither this browser nor the server can read it. Save it as JPEG or PNG."],
    "image-corrupt": ["The file is damaged", "It begins like an image, but cannot be decoded. Try another copy of it."],
    "image-truncated": ["The file ends too early", "Part of the image is missing, as after a broken download. Try another copy."],
    "empty-body": ["The file is empty", "It has no bytes. Try another copy of it."],
    "body-too-large": ["The file is too large", "A smaller copy will do: networks look at a few hundred pixels."],
    "image-side-too-long": ["The image is too long", "A smaller copy will do: networks look at a few hundred pixels."],
    "image-too-many-pixels": ["The image has too many pixels", "A smaller copy will do: networks look at a few hundred pixels."],
    "image-too-much-memory": ["The image is too large to decode", "A smaller copy will do: networks look at a few hundred pixels."],
    "image-too-much-time": ["The image takes too long to decode", "A smaller or simpler copy will do."],
    "image-too-many-scans": ["The JPEG has too many scans", "Save it with fewer scans or as baseline; a smaller copy made here will do."],
    "image-breaks-decoder": ["The image breaks the decoder", "The server goes on without harm. Please report the file."],
    "queue-full": ["The server is busy", "It refuses what it could not answer in time. Try again in a moment."],
    "engine-busy": ["The server is busy", "It shows its insides only while nobody is waiting. Try again in a moment."],
    "uploads-full": ["The server is busy", "Too many uploads arrive just now. Try again in a moment."],
    "deadline-unmeetable": ["The server is busy", "It could not answer in time and said so at once. Try again in a moment."],
    "deadline-exceeded": ["The answer came too late", "The server was busier than it thought. Try again."],
    loading: ["The server is starting", "Its self-test has not passed yet. Try again in a moment."],
    draining: ["The server is shutting down", "Try again when it is back."],
    "unknown-model": ["This model is not loaded any more", "Choose another one above."],
    internal: ["The server failed", "Its log has the reason under the request's id."],
    "upload-timeout": ["The upload took too long", "Try again, or send a smaller copy."],
};
const smaller = new Set(["body-too-large", "image-side-too-long", "image-too-many-pixels", "image-too-much-memory",
    "image-too-much-time", "image-too-many-scans", "upload-timeout"]);
const later = new Set(["unreachable", "queue-full", "uploads-full", "engine-busy", "deadline-unmeetable", "deadline-exceeded",
    "loading", "draining", "internal", "unauthorized", "forbidden"]);

/* {title, advice, detail, smaller, again}: the last two say what button helps. */
export function inWords(problem) {
    const [title, advice] = words[problem.slug] ?? [problem.members.title || "That did not work", ""];
    const id = String(problem.members.instance ?? "").replace("urn:resnetd:request:", "");
    return {
        title, advice, id, detail: problem.message, smaller: smaller.has(problem.slug),
        again: later.has(problem.slug) || problem.status >= 500,
    };
}

function problemOf(status, text) {
    try {
        const members = JSON.parse(text);
        if (members && typeof members === "object") return new Problem({ status, ...members });
    } catch { /* a proxy's page, say */ }
    return new Problem({ status, title: `The server answered ${status}` });
}

const listeners = [];
export const onRefused = (listener) => listeners.push(listener);

/* {json | blob | text, ms}. Throws a Problem, or an AbortError by the signal. XMLHttpRequest because
 * fetch does not tell the progress of uploads. */
export function ask(path, { method = "GET", body = null, type = "json", progress, signal } = {}) {
    return new Promise((resolve, reject) => {
        const request = new XMLHttpRequest();
        const started = performance.now();
        request.open(method, path);
        request.responseType = "blob";
        request.timeout = 60000;
        if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
        if (progress) request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
        request.onerror = request.ontimeout = () => reject(unreachable());
        request.onabort = () => reject(new DOMException("The request was given up.", "AbortError"));
        request.onload = async () => {
            const ms = performance.now() - started;
            try {
                if (request.status !== 200) throw problemOf(request.status, await request.response.text());
                if (type === "blob") resolve({ blob: request.response, ms });
                else if (type === "text") resolve({ text: await request.response.text(), ms });
                else resolve({ json: JSON.parse(await request.response.text()), ms });
            } catch (error) {
                const problem = error instanceof Problem ? error : problemOf(request.status, "");
                if (problem.status === 401 || problem.status === 403)
                    for (const listener of listeners) listener(problem);
                reject(problem);
            }
        };
        if (signal?.aborted) {
            reject(new DOMException("The request was given up.", "AbortError"));
            return;
        }
        signal?.addEventListener("abort", () => request.abort(), { once: true });
        request.send(body);
    });
}

/* "classify?top_k=5&model=x"; members that are null or "" are left out. */
export function withQuery(path, members) {
    const query = new URLSearchParams(Object.entries(members).filter(([, value]) => value != null && value !== ""));
    return `${query}` ? `${path}?${query}` : path;
}
