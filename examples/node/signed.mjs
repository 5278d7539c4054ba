// @ts-check
/**
 * The bytes that the daemon signs, and whether it signed them. Node's own modules alone.
 * docs/reference/checks.md says the same in words; its vectors hold this file to it.
 */
import { verify } from "node:crypto";

/** @param {any} value @returns {value is Record<string, any>} */
export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Return the text of UTF-8 bytes; throws where they are not. @param {Uint8Array} bytes */
export const decoded = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

/**
 * Return canonical JSON: keys sorted by code point, no spaces, nothing escaped that need not be,
 * numbers as they stand in the text, no `signature` at the top.
 * @param {string} text
 */
export function canonical(text) {
  JSON.parse(text); // nothing but JSON may pass
  // Each text becomes "s...", each number "n...". So a number keeps its digits, and no key has
  // a meaning to JavaScript.
  const tagged = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g, (token) =>
    token[0] === '"' ? `"s${token.slice(1)}` : `"n${token}"`);
  const document = JSON.parse(tagged);
  if (isObject(document)) delete document["ssignature"];
  return Buffer.from(write(document));
}

/** @param {any} value @returns {string} */
function write(value) {
  if (typeof value === "string") return value[0] === "n" ? value.slice(1) : quoted(value.slice(1));
  if (Array.isArray(value)) return `[${value.map(write)}]`;
  if (!isObject(value)) return String(value);
  const keys = Object.keys(value).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return `{${keys.map((key) => `${write(key)}:${write(value[key])}`)}}`;
}

/** @param {string} text */
function quoted(text) {
  if (/\p{Surrogate}/u.test(text)) throw new SyntaxError("a text has half a character");
  return JSON.stringify(text);
}

/**
 * Whether the daemon signed a JSON object: Ed25519 over its canonical form, in base64.
 * @param {import("node:crypto").KeyObject} key
 * @param {string} text
 */
export function isSigned(key, text) {
  try {
    const { signature } = JSON.parse(text);
    if (!/^[A-Za-z0-9+/]{86}==$/.test(signature)) return false; // Buffer would take any other
    return verify(null, canonical(text), key, Buffer.from(signature, "base64"));
  } catch {
    return false;
  }
}
