/* The YAML files of docs/deploy: see manifests.sh, which puts this beside the packages.
 *
 *   node check.mjs BINARY FOLDER [FOLDER OF KSERVE'S CRDS]
 *
 * SPDX-License-Identifier: MIT */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import Ajv from "ajv";
import { parseAllDocuments } from "yaml";

const [binary, folder, crds] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
let broken = 0;

function verdict(what, complaints) {
  broken += complaints.length;
  console.log(`manifests  ${complaints.length ? "BROKEN" : "good  "}  ${what}`);
  for (const line of complaints) console.log(`             ${line}`);
}

/* Strict: no duplicate keys, no unresolved tags, no warnings. */
function documents(path) {
  const found = parseAllDocuments(readFileSync(path, "utf8"), { strict: true, uniqueKeys: true });
  verdict(`${path}: YAML 1.2`, found.flatMap((d) => [...d.errors, ...d.warnings]).map(String));
  return found.map((d) => d.toJS());
}

const typed = {
  "apps/v1/Deployment": "kubernetes-models/apps/v1",
  "v1/Service": "kubernetes-models/v1",
  "policy/v1/PodDisruptionBudget": "kubernetes-models/policy/v1",
  "keda.sh/v1alpha1/ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1",
};

/* The compiled schema says what is missing or of the wrong type, the compiler what is unknown. */
async function checkTyped(object, module) {
  const made = await import(module);
  const complaints = [];
  try {
    new made[object.kind](object).validate();
  } catch (e) {
    complaints.push(e.message);
  }
  const source = join(here, "literal.ts");
  writeFileSync(source, `import type { I${object.kind} } from "${module}";\n` +
    `export const it: I${object.kind} = ${JSON.stringify(object, null, 1)};\n`);
  const done = spawnSync("node", [join(here, "node_modules/typescript/bin/tsc"), "--noEmit", "--strict",
    "--skipLibCheck", "--moduleResolution", "node", source], { encoding: "utf8" });
  return complaints.concat(done.stdout.split("\n").filter(Boolean));
}

/* As an API server would with strict field validation: what a schema does not name is an error. */
function close(schema) {
  if (Array.isArray(schema)) schema.forEach(close);
  else if (schema && typeof schema === "object") {
    if (schema.properties && schema.additionalProperties === undefined &&
        !schema["x-kubernetes-preserve-unknown-fields"])
      schema.additionalProperties = false;
    Object.values(schema).forEach(close);
  }
  return schema;
}

function checkCrd(object) {
  const [group, version] = object.apiVersion.split("/");
  const file = readdirSync(crds).find((name) => name === `${group}_${object.kind.toLowerCase()}s.yaml`);
  if (!file) return [`no CRD of ${object.kind} in ${crds}`];
  const [crd] = parseAllDocuments(readFileSync(join(crds, file), "utf8")).map((d) => d.toJS());
  const schema = close(crd.spec.versions.find((v) => v.name === version).schema.openAPIV3Schema);
  delete schema.properties.metadata.additionalProperties;
  const validate = new Ajv({ strict: false, validateFormats: false, allErrors: true }).compile(schema);
  validate(object);
  return (validate.errors ?? []).map((e) => `${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`);
}

/* The container's flags and variables, taken by the program that they are for. */
function checkSettings(container) {
  const env = Object.fromEntries((container.env ?? []).map((e) => [e.name, e.value]));
  const args = (container.args ?? ["serve"]).filter((a) => !a.startsWith("--model="));
  const done = spawnSync(binary, [...args, "--check"], { env, encoding: "utf8" });
  const said = done.stderr.split("\n").filter((l) => l.startsWith("resnetd:") || l.includes("setting ignored"));
  return done.status === 0 ? said : [`exit ${done.status}`, ...said];
}

function matches(selector, labels) {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

const objects = [];
for (const name of readdirSync(folder).filter((n) => n.endsWith(".yaml"))) {
  const path = join(folder, name);
  for (const object of documents(path)) {
    if (!object.kind) continue;
    objects.push(object);
    const module = typed[`${object.apiVersion}/${object.kind}`];
    if (module) verdict(`${path}: ${object.kind}`, await checkTyped(object, module));
    else if (crds) verdict(`${path}: ${object.kind}`, checkCrd(object));
    else console.log(`manifests  SKIPPED  ${path}: ${object.kind}, KSERVE_CRDS names no folder`);
    const containers = object.spec.template?.spec.containers ?? object.spec.containers ?? [];
    for (const c of containers) verdict(`${path}: settings of container ${c.name}`, checkSettings(c));
  }
}

const one = (kind) => objects.find((o) => o.kind === kind);
const pod = one("Deployment").spec.template;
const [container] = pod.spec.containers;
verdict("selectors, ports and names fit together", [
  [matches(one("Deployment").spec.selector.matchLabels, pod.metadata.labels), "the Deployment's selector"],
  [matches(one("Service").spec.selector, pod.metadata.labels), "the Service's selector"],
  [matches(one("PodDisruptionBudget").spec.selector.matchLabels, pod.metadata.labels), "the budget's selector"],
  [container.ports.some((p) => p.name === one("Service").spec.ports[0].targetPort), "the Service's port"],
  [one("ScaledObject").spec.scaleTargetRef.name === one("Deployment").metadata.name, "the ScaledObject's target"],
].filter(([good]) => !good).map(([, what]) => what));

const envoy = documents(join(folder, "envoy.yaml"))[0].static_resources;
const route = envoy.listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0];
verdict("envoy.yaml: the route's cluster is there",
  envoy.clusters.some((c) => c.name === route.route.cluster) ? [] : [route.route.cluster]);
process.exit(broken > 0 ? 1 : 0);
