// @ts-check
/**
 * Hold signed.mjs and checks.mjs to the vectors in docs/reference/vectors: `node vectors.mjs`.
 * It needs no package; the cases that need the model are left out where onnxruntime is missing.
 */
import { createHash, createPublicKey } from "node:crypto";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { admit, readOrder, VersionRefused } from "./checks.mjs";
import { canonical, decoded, isObject, isSigned } from "./signed.mjs";

const folder = process.argv[2] ?? fileURLToPath(new URL("../../docs/reference/vectors", import.meta.url));
/** @param {string} name */
const read = (name) => JSON.parse(readFileSync(join(folder, name), "utf8"));
/** @type {string[]} */
const wrong = [];
let held = 0;
let leftOut = 0;

/** @param {string} name @param {boolean} right @param {unknown} [found] */
function hold(name, right, found = "") {
  held += 1;
  if (!right) wrong.push(`${name}: ${found}`);
}

/** @param {string} text */
function refuses(text) {
  try {
    canonical(decoded(Buffer.from(text)));
    return !isObject(JSON.parse(text));
  } catch {
    return true;
  }
}

const texts = read("canonical.json");
for (const { name, text, canonical: wanted, sha256 } of texts.accepted) {
  const bytes = canonical(decoded(Buffer.from(text)));
  const digest = createHash("sha256").update(bytes).digest("hex");
  hold(name, bytes.equals(Buffer.from(wanted)) && digest === sha256, bytes);
}
for (const { name, text } of texts.refused) hold(name, refuses(text), "was taken");

const { key, cases: signatures } = read("signatures.json");
const publicKey = createPublicKey(key.public_pem);
for (const { name, text, signed } of signatures) hold(name, isSigned(publicKey, text) === signed);

const built = new URL("dist/bot.js", import.meta.url);
const { open } = existsSync(built) ? await import(built.href) : {};
const { slot, cases, orders } = read("cases.json");
for (const { name, text, accepted } of orders) {
  let taken = true;
  try {
    readOrder(Buffer.from(text));
  } catch {
    taken = false;
  }
  hold(`order: ${name}`, taken === accepted);
}
const scratch = mkdtempSync(join(tmpdir(), "hyperdrift-"));
for (const [i, { name, files, order, after_ms: afterMs, accepted, words, needs_model }] of cases.entries()) {
  if (needs_model && !open) {
    leftOut += 1;
    continue;
  }
  const copy = join(scratch, String(i));
  cpSync(join(folder, "version"), copy, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    if (content === null) rmSync(join(copy, file));
    else writeFileSync(join(copy, file), content.text ?? Buffer.from(content.base64, "base64"));
  }
  const reason = await admit(join(copy, "LATEST.json"), { slot, order, key: publicKey, afterMs, open })
    .then(() => "", (e) => (e instanceof VersionRefused ? e.message : `not refused: ${e}`));
  hold(name, accepted ? reason === "" : reason !== "" && !reason.startsWith("not refused") && reason.includes(words), reason);
}
rmSync(scratch, { recursive: true });

for (const line of wrong) console.log(`wrong: ${line}`);
console.log(`${held} vectors, ${wrong.length} wrong, ${leftOut} left out for want of onnxruntime-node`);
process.exitCode = wrong.length ? 1 : 0;
