// @ts-check
/**
 * The checks that a version must pass before it may go live in a bot: those of
 * hyperdrift/verification.py, in its order and its words. Node's own modules alone.
 *
 * A file that is read here may come from a thief, a bad disk or an old backup. What was compared
 * with its digest is used from memory: replacing the file afterwards has no effect.
 *
 * @typedef {{manifest: string, model_id: string, sha256: Record<string, string>,
 *   swap_id: string, sklearn: string, reason: string, issued_ms: number}} SwapOrder
 * @typedef {{model_id: string, slot: string, schema_hash: string, feature_dim: number,
 *   up: number, down: number, deployed_ms: number, promoted: boolean, feature_columns: string,
 *   training_meta: string, golden: string, forms: Record<string, string>, computer: string,
 *   sha256: Record<string, string>, text: string, signature: unknown}} Manifest
 * @typedef {{name: string, type?: string, shape?: readonly (string | number)[]}} Value
 * @typedef {{inputs: readonly Value[], outputs: readonly Value[],
 *   predict: (rows: number[][]) => Promise<number[][]>}} Model
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { canonical, decoded, isObject, isSigned } from "./signed.mjs";

export const FEATURES = 17;
/** Names the 17 features and the version of their formulas: hyperdrift/features.py. */
export const SCHEMA_HASH = "ba55f4789d38";
export const GATES = [
  "train_accuracy", "test_accuracy", "all_classes", "overfit", "beats_prior", "direction",
  "calibrated", "beats_champion", "parity", "loads", "budget",
];
const FILES = ["meta_classifier", "feature_columns", "training_meta", "golden", "report"];
const TEXTS = [...FILES, "slot", "interval", "schema_hash", "sklearn", "python"];
const NUMBERS = ["feature_dim", "horizon_bars", "trained_to_ms"];
const GOLDEN_TOLERANCE = 1e-6;

/** A version may not go live; the message is one sentence that says why and what to do. */
export class VersionRefused extends Error {}
/** Its files are not, or not yet, in this folder as the daemon has them: look again, refuse nothing. */
export class VersionNotHere extends VersionRefused {}

// What is read.

/** @param {any} value @returns {value is Record<string, string>} */
const isTexts = (value) => isObject(value) && Object.values(value).every((v) => typeof v === "string");
/** @param {any} name */
const isPlain = (name) => typeof name === "string" && /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name);

/** Read a JSON object. @param {Uint8Array} bytes @param {string} name */
function readObject(bytes, name) {
  let text, document;
  try {
    text = decoded(bytes);
    document = JSON.parse(text);
    canonical(text);
  } catch (e) {
    throw new VersionRefused(`${name}: is not JSON (${/** @type {Error} */ (e).message})`);
  }
  if (!isObject(document)) throw new VersionRefused(`${name}: is not a JSON object`);
  return { text, document };
}

/** Read a swap order; throws what is wrong with it. @param {Uint8Array} payload */
export function readOrder(payload) {
  const { text, document } = readObject(payload, "the order");
  const { sha256, issued_ms } = document;
  for (const name of ["swap_id", "model_id", "manifest", "sklearn", "reason"])
    if (typeof document[name] !== "string") throw new VersionRefused(`${name} must be a text`);
  if (!isTexts(sha256)) throw new VersionRefused("sha256 must be an object of texts");
  if (!Number.isInteger(issued_ms)) throw new VersionRefused("issued_ms must be an integer");
  return { order: /** @type {SwapOrder} */ (document), text };
}

/** Read LATEST.json and check its form. @param {string} path @returns {Promise<Manifest>} */
async function readManifest(path) {
  const { text, document } = readObject(await read(path), path);
  /** @param {string} what */
  const wrong = (what) => new VersionRefused(`${path}: not a usable manifest (${what})`);
  for (const name of TEXTS)
    if (typeof document[name] !== "string") throw wrong(`${name} must be a text`);
  for (const name of NUMBERS)
    if (typeof document[name] !== "number") throw wrong(`${name} must be a number`);
  const { model_id, sha256, signal_threshold: signal, class_order, meta_classifier } = document;
  if (String(class_order) !== "0,1,2") throw wrong("class_order must be [0, 1, 2]");
  if (typeof signal?.up !== "number" || typeof signal?.down !== "number")
    throw wrong("signal_threshold must have up and down");
  const deployed_ms = document.deployed?.at_ms ?? 0;
  if (!Number.isInteger(deployed_ms)) throw wrong("deployed.at_ms must be an integer");
  const forms = { joblib: meta_classifier, ...document.forms };
  if (!isTexts(sha256) || !isTexts(forms)) throw wrong("sha256 and forms must hold texts");
  for (const name of [model_id, ...Object.keys(sha256)])
    if (!isPlain(name)) throw wrong(`${name} is not a plain file name`);
  for (const name of [...FILES.map((each) => document[each]), ...Object.values(forms)])
    if (!Object.hasOwn(sha256, name)) throw wrong(`sha256 does not cover ${name}`);
  return /** @type {Manifest} */ ({
    ...document, forms, text, up: signal.up, down: signal.down,
    computer: document.computer ?? "builtin", deployed_ms, promoted: Boolean(document.promoted_by),
  });
}

/** @param {string} path */
async function read(path) {
  try {
    return await readFile(path);
  } catch (e) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (e);
    throw new VersionNotHere(`${path}: cannot be read (${code}); restore it`);
  }
}

// The checks, one after the other.

/**
 * Make every check of the version that a LATEST.json names, and open its portable form.
 * @param {string} path
 * @param {{slot: string, order?: SwapOrder, key?: import("node:crypto").KeyObject,
 *   afterMs?: number, open?: (file: Uint8Array) => Promise<Model>}} options
 *   `afterMs`: when the live version was deployed; `open` loads the file, without it the
 *   version is checked up to there.
 */
export async function admit(path, { slot, order, key, afterMs = 0, open }) {
  const manifest = await readManifest(path).catch((/** @type {Error} */ e) => {
    throw new VersionNotHere(e.message); // it may be half written
  });
  checkOrder(manifest, order);
  checkIdentity(manifest, slot);
  const file = manifest.forms["onnx"];
  if (file === undefined)
    throw new VersionRefused(`it has no onnx form, it has ${Object.keys(manifest.forms)}; retrain`);
  if (key !== undefined) checkSignature(manifest, key);
  if (manifest.deployed_ms < afterMs)
    throw new VersionNotHere("an old LATEST.json came back; a newer one was live already");
  const contents = await checkFiles(manifest, dirname(path));
  if (!manifest.promoted) checkCertificate(contents(manifest.training_meta), manifest.training_meta);
  const golden = readGolden(manifest, contents);
  const content = contents(file);
  checkFacts(manifest, content, file);
  const model = await open?.(content).catch((/** @type {Error} */ e) => {
    throw new VersionRefused(`cannot be loaded (${e.name}: ${e.message})`);
  });
  if (model !== undefined) {
    checkShape(model, file);
    await checkGolden(model, golden, manifest.golden);
  }
  return { manifest, model };
}

/** @param {Manifest} manifest @param {SwapOrder} [order] */
function checkOrder(manifest, order) {
  if (order && manifest.model_id !== order.model_id)
    throw new VersionNotHere(`LATEST.json names ${manifest.model_id}, the order ${order.model_id}`);
  if (order && !sameTexts(manifest.sha256, order.sha256))
    throw new VersionNotHere("the digests of the order are not those of LATEST.json");
}

/** @param {Manifest} manifest @param {string} slot */
function checkIdentity(manifest, slot) {
  let reason;
  if (manifest.slot !== slot) reason = `it is a model of ${manifest.slot}, not of ${slot}`;
  else if (manifest.computer !== "builtin")
    reason = `it reads the features of ${manifest.computer}, this bot computes builtin`;
  else if (manifest.schema_hash !== SCHEMA_HASH)
    reason = "it was trained on other features; install the same hyperdrift on both sides";
  else if (manifest.feature_dim !== FEATURES)
    reason = `it takes ${manifest.feature_dim} features, must take ${FEATURES}`;
  if (reason) throw new VersionRefused(reason);
}

/** @param {Record<string, string>} a @param {Record<string, string>} b */
export function sameTexts(a, b) {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/** @param {Manifest} manifest @param {import("node:crypto").KeyObject} key */
function checkSignature(manifest, key) {
  if (!manifest.signature) throw new VersionRefused("its manifest is not signed");
  if (!isSigned(key, manifest.text))
    throw new VersionRefused("the signature of its manifest is not the daemon's; copy the daemon's key");
}

/** Compare every file with its digest. @param {Manifest} manifest @param {string} folder */
async function checkFiles(manifest, folder) {
  /** @type {Map<string, Buffer>} */
  const contents = new Map();
  for (const [name, expected] of Object.entries(manifest.sha256)) {
    const content = await read(join(folder, name));
    const actual = createHash("sha256").update(content).digest("hex");
    if (actual !== expected) {
      const reason = `its SHA-256 is ${actual.slice(0, 12)}, the manifest says ${expected.slice(0, 12)}`;
      throw new VersionNotHere(`${join(folder, name)}: ${reason}; restore it`);
    }
    contents.set(name, content);
  }
  return (/** @type {string} */ name) => /** @type {Buffer} */ (contents.get(name));
}

/** Every gate must have passed. @param {Uint8Array} content @param {string} name */
function checkCertificate(content, name) {
  const { gates, passed } = readObject(content, name).document;
  if (!Array.isArray(gates) || !gates.every(isObject))
    throw new VersionRefused("its training_meta has no certificate");
  const named = new Set(gates.map((gate) => gate["name"]));
  const missing = GATES.filter((gate) => !named.has(gate)).sort();
  if (missing.length) throw new VersionRefused(`its certificate is incomplete, without ${missing.join(", ")}`);
  const refused = gates.filter((gate) => gate["passed"] !== true).map((gate) => gate["name"]);
  if (refused.length) throw new VersionRefused(`its gates refused it (${refused.join(", ")})`);
  if (passed !== true) throw new VersionRefused("its certificate says that it did not pass");
}

/** @param {Manifest} manifest @param {(name: string) => Uint8Array} contents */
function readGolden(manifest, contents) {
  const columns = readObject(contents(manifest.feature_columns), manifest.feature_columns).document;
  const { rows, probabilities } = readObject(contents(manifest.golden), manifest.golden).document;
  /** @param {any} list @param {number} width @param {number} limit */
  const isTable = (list, width, limit) => Array.isArray(list) && list.every((row) => Array.isArray(row)
    && row.length === width && row.every((x) => typeof x === "number" && Math.abs(x) < limit));
  if (columns["feature_cols"]?.length !== FEATURES)
    throw new VersionRefused(`${manifest.feature_columns}: it does not name ${FEATURES} features; retrain`);
  if (!isTable(rows, FEATURES, 1e38) || !isTable(probabilities, 3, 2) || !rows.length
      || rows.length !== probabilities.length)
    throw new VersionRefused(`${manifest.golden}: the golden rows have a shape or values that no model takes; retrain`);
  return /** @type {{rows: number[][], probabilities: number[][]}} */ ({ rows, probabilities });
}

/** The file must say of itself what the manifest says. @param {Manifest} manifest @param {Uint8Array} content @param {string} name */
function checkFacts(manifest, content, name) {
  const facts = metadata(content);
  const wanted = { model_id: manifest.model_id, schema_hash: manifest.schema_hash, class_order: "0,1,2" };
  for (const [key, value] of Object.entries(wanted))
    if (facts.get(key) !== value)
      throw new VersionRefused(`${name}: its ${key} is ${facts.get(key)}, the manifest says ${value}`);
}

/**
 * Return the `metadata_props` of an ONNX file: field 14 of the message, each with a key (field
 * 1) and a value (field 2). onnxruntime-node does not give them.
 * @param {Uint8Array} content
 */
function metadata(content) {
  const facts = new Map();
  for (const [field, bytes] of fields(content))
    if (field === 14) {
      const pair = new Map(fields(bytes));
      facts.set(decoded(pair.get(1) ?? new Uint8Array()), decoded(pair.get(2) ?? new Uint8Array()));
    }
  return facts;
}

/** Yield number and bytes of each field with a length. @param {Uint8Array} content @returns {Generator<[number, Uint8Array]>} */
function* fields(content) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = content[at++];
      if (byte === undefined) throw new VersionRefused("the ONNX file is cut short");
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < content.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      yield [Math.floor(tag / 8), content.subarray(at, at + length)];
      at += length;
    } else throw new VersionRefused("it is no ONNX file");
  }
}

/** @param {Model} model @param {string} name */
function checkShape({ inputs, outputs }, name) {
  /** @param {readonly Value[]} values @param {string} wanted @param {number} width */
  const fits = (values, wanted, width) => values.length === 1 && values[0]?.name === wanted
    && values[0].type === "float64" && values[0].shape?.length === 2 && values[0].shape[1] === width;
  if (!fits(inputs, "features", FEATURES))
    throw new VersionRefused(`${name}: its inputs must be features (N, ${FEATURES}) in doubles`);
  if (!fits(outputs, "probabilities", 3))
    throw new VersionRefused(`${name}: its outputs must be probabilities (N, 3) in doubles`);
}

/** @param {Model} model @param {{rows: number[][], probabilities: number[][]}} golden @param {string} name */
async function checkGolden(model, golden, name) {
  const given = await model.predict(golden.rows);
  const difference = Math.max(...golden.probabilities.flatMap((row, i) =>
    row.map((p, j) => Math.abs(p - (given[i]?.[j] ?? NaN)))));
  if (!(difference <= GOLDEN_TOLERANCE)) // also when it is NaN
    throw new VersionRefused(`${name}: the golden rows come out ${difference.toPrecision(3)} off; `
      + "update onnxruntime, or restore the file");
}
