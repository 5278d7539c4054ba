/**
 * A small bot that follows the live model of hyperdrift: `npm ci && npm run build && node dist/bot.js`,
 * or `node bot.ts` from Node 22.18 on.
 *
 * Each line on stdin is a closed bar, {"t": <open time, ms UTC>, "features": [17 numbers]}; its
 * prediction goes to stdout and to the daemon. A real bot calls `ModelSlot.predict` instead.
 */
import { createPublicKey, randomBytes, type KeyObject } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { isAbsolute, join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import mqtt, { type MqttClient } from "mqtt";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { admit, FEATURES, readOrder, sameTexts, VersionNotHere, VersionRefused } from "./checks.mjs";
import type { Manifest, Model, SwapOrder } from "./checks.mjs";
import { isSigned } from "./signed.mjs";

export interface Prediction {
  model_id: string;
  /** Probabilities of DOWN, NEUTRAL, UP. */
  p: [number, number, number];
  /** 0 DOWN, 1 NEUTRAL, 2 UP, by the model's own thresholds. */
  decision: 0 | 1 | 2;
}

export interface Options {
  broker: string;
  slot: string;
  botId: string;
  /** The models folder as this bot sees it; without it the order's own path is read. */
  models?: string;
  /** The daemon's public key, PEM. Without it anybody on the broker chooses what is loaded. */
  publicKey?: string;
  prefix?: string;
  password?: string;
}

const log = (text: string): void => console.error(text);
/** How often the bot says that it lives: a broker that was killed may forget the last will. */
const HEARTBEAT_S = 30;
/** How long it waits before it looks again for files that are not here yet. */
const LOOK_S = 2;
/** A bot's id is one level of its topic. */
const level = (id: string): string =>
  id.replace(/[%/+#\x00-\x1f\x7f]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);

/** Load a portable form from bytes that were compared with their digest. */
export async function open(file: Uint8Array): Promise<Model> {
  const session = await InferenceSession.create(file, {
    executionProviders: ["cpu"],
    // A second thread makes one row no faster, and one that spins takes a core.
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: "0" } } },
  });
  const predict = async (rows: number[][]): Promise<number[][]> => {
    // The file gives no error for NaN or infinity.
    if (!rows.every((row) => row.length === FEATURES && row.every(Number.isFinite)))
      throw new RangeError(`a row must have ${FEATURES} features, none of them NaN or infinite`);
    const features = new Tensor("float64", Float64Array.from(rows.flat()), [rows.length, FEATURES]);
    const given = (await session.run({ features }, ["probabilities"]))["probabilities"];
    const values = Array.from(given?.data as Float64Array);
    return rows.map((_, i) => values.slice(3 * i, 3 * i + 3));
  };
  return { inputs: session.inputMetadata, outputs: session.outputMetadata, predict };
}

/** The live model of one slot. The old one answers until the new one has passed every check. */
export class ModelSlot {
  readonly #options: Options;
  readonly #key: KeyObject | undefined;
  readonly #base: string;
  readonly #presenceTopic: string;
  #heartbeat: NodeJS.Timeout | undefined;
  #client: MqttClient | undefined;
  #live: { manifest: Manifest; model: Model } | undefined;
  #accepted: SwapOrder | undefined;
  #waiting: SwapOrder | undefined;
  #following = false;
  #waitingFor = "";
  #look: NodeJS.Timeout | undefined;

  constructor(options: Options) {
    this.#options = options;
    this.#base = `${options.prefix ?? "hyperdrift"}/${options.slot}`;
    this.#presenceTopic = `${this.#base}/bot/${level(options.botId)}`;
    this.#key = options.publicKey ? createPublicKey(readFileSync(options.publicKey)) : undefined;
    if (this.#key && this.#key.asymmetricKeyType !== "ed25519")
      throw new Error(`${options.publicKey} is not an Ed25519 key; copy the daemon's`);
  }

  get modelId(): string {
    return this.#live?.manifest.model_id ?? "";
  }

  /** Load the live version, connect, and follow the daemon's orders; a broker may come later. */
  async start(): Promise<void> {
    const { broker, botId, models, slot, password } = this.#options;
    const latest = models && join(models, slot, "LATEST.json");
    if (latest && existsSync(latest)) await this.#take(latest).catch((e) => log(`refused: ${e.message}`));
    const will = { topic: this.#presenceTopic, payload: this.#presence(false), qos: 1, retain: true } as const;
    const clientId = `bot-${botId}-${randomBytes(4).toString("hex")}`;
    const client = mqtt.connect(broker, { clientId, will, ...(password ? { password } : {}) });
    this.#client = client;
    client.on("connect", () => {
      (client.stream as unknown as Socket).setNoDelay?.(true);
      client.subscribe(`${this.#base}/model`, { qos: 1 });
      this.#announce(); // also after a broker came back that has forgotten it
    });
    client.on("message", (_topic, payload) => this.#takeOrder(payload));
    client.on("error", (e) => log(`broker: ${e.message}`));
    this.#heartbeat = setInterval(() => client.connected && this.#announce(), 1000 * HEARTBEAT_S);
  }

  /** Say goodbye and disconnect; `predict` still works. */
  async stop(): Promise<void> {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#look);
    if (this.#client?.connected)
      await this.#client.publishAsync(this.#presenceTopic, this.#presence(false), { qos: 1, retain: true });
    await this.#client?.endAsync(!this.#client.connected);
  }

  /** Return the live model's prediction for one row; one model answers the whole call. */
  async predict(features: number[]): Promise<Prediction> {
    const live = this.#live;
    if (live === undefined) throw new Error(`${this.#options.slot} has no model yet`);
    const [row = []] = await live.model.predict([features]);
    const [down = NaN, neutral = NaN, up = NaN] = row;
    const upExcess = up - live.manifest.up;
    const downExcess = down - live.manifest.down;
    let decision: Prediction["decision"] = 1;
    if (upExcess >= 0 && upExcess > downExcess) decision = 2;
    else if (downExcess >= 0 && downExcess > upExcess) decision = 0;
    return { model_id: live.manifest.model_id, p: [down, neutral, up], decision };
  }

  /** Tell the daemon what was predicted for the bar that opened at `t`, and from what. */
  publishPrediction(t: number, { model_id, p }: Prediction, features?: number[]): void {
    if (this.#client?.connected) this.#publish("prediction", { t, model_id, p, features });
  }

  async #take(path: string, order?: SwapOrder): Promise<void> {
    const { slot } = this.#options;
    const afterMs = this.#live?.manifest.deployed_ms ?? 0;
    const { manifest, model } = await admit(path, { slot, order, key: this.#key, afterMs, open });
    if (model) this.#live = { manifest, model }; // one assignment, between two predictions
  }

  #takeOrder(payload: Uint8Array): void {
    if (payload.length === 0) return; // the daemon follows this slot no longer; the live model stays
    try {
      const { order, text } = readOrder(payload);
      if (this.#key && !isSigned(this.#key, text)) {
        this.#acknowledge(order, "the order is not signed with the daemon's key", 0);
        return;
      }
      // Of the orders that wait only the newest counts.
      if (!this.#waiting || order.issued_ms >= this.#waiting.issued_ms) this.#waiting = order;
    } catch (e) {
      log(`malformed order: ${(e as Error).message}`);
      return;
    }
    if (!this.#following) void this.#follow();
  }

  async #follow(): Promise<void> {
    this.#following = true;
    for (let order = this.#waiting; order; order = this.#waiting) {
      this.#waiting = undefined;
      clearTimeout(this.#look);
      const began = performance.now();
      let error = "";
      try {
        await this.#obey(order);
      } catch (e) { // loading may throw anything; then the live model stays
        if (e instanceof VersionNotHere) {
          this.#lookAgain(order, e.message);
          continue;
        }
        error = e instanceof VersionRefused ? e.message : String(e);
      }
      this.#waitingFor = "";
      this.#acknowledge(order, error, performance.now() - began);
    }
    this.#following = false;
  }

  /** Say what the version lacks here, and look again as long as no newer order comes. */
  #lookAgain(order: SwapOrder, why: string): void {
    if (why !== this.#waitingFor) {
      this.#waitingFor = why;
      log(`waiting for ${order.model_id}: ${why}; still live: ${this.modelId || "none"}`);
      this.#announce();
    }
    this.#look = setTimeout(() => {
      this.#waiting ??= order;
      if (!this.#following) void this.#follow();
    }, 1000 * LOOK_S);
  }

  async #obey(order: SwapOrder): Promise<void> {
    if (this.#accepted && order.issued_ms < this.#accepted.issued_ms)
      throw new VersionRefused("the order is older than the last accepted one");
    const live = this.#live?.manifest;
    if (live?.model_id !== order.model_id || !sameTexts(live.sha256, order.sha256)) {
      const { models, slot } = this.#options;
      if (!models && !isAbsolute(order.manifest))
        throw new VersionRefused("the order has a relative path; give the bot a models folder");
      await this.#take(models ? join(models, slot, "LATEST.json") : order.manifest, order);
    }
    this.#accepted = order;
  }

  #acknowledge({ swap_id, model_id }: SwapOrder, error: string, ms: number): void {
    const status = error ? "refused" : "loaded";
    const load_ms = Math.round(ms * 1000) / 1000;
    this.#publish("model/ack", { swap_id, model_id, status, error, load_ms, bot_id: this.#options.botId });
    log(error ? `refused ${model_id}: ${error}; still live: ${this.modelId || "none"}` : `live: ${model_id}`);
    if (!error) this.#announce();
  }

  #presence(online: boolean): string {
    const { botId: bot_id } = this.#options;
    const more = online ? { heartbeat_s: HEARTBEAT_S, waiting_for: this.#waitingFor } : {};
    return JSON.stringify({ online, bot_id, model_id: this.modelId, forms: ["onnx"], ...more });
  }

  #announce(): void {
    this.#client?.publish(this.#presenceTopic, this.#presence(true), { qos: 1, retain: true });
  }

  #publish(topic: string, message: object): void {
    this.#client?.publish(`${this.#base}/${topic}`, JSON.stringify(message), { qos: 1 });
  }
}

async function main(): Promise<void> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ options: { broker: text, slot: text, id: text, models: text, key: text } });
  const { broker = "mqtt://127.0.0.1:1883", slot: name = "BTC-5m", id = "node-bot", models, key } = values;
  const password = process.env["MQTT_PASSWORD"];
  const slot = new ModelSlot({ broker, slot: name, botId: id, models, publicKey: key, password });
  await slot.start();
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      const { t, features } = JSON.parse(line) as { t: number; features: number[] };
      const prediction = await slot.predict(features);
      slot.publishPrediction(t, prediction, features);
      console.log(JSON.stringify({ t, ...prediction }));
    } catch (e) {
      log(`no prediction: ${(e as Error).message}`);
    }
  }
  await slot.stop();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href)
  await main().catch((e: Error) => {
    log(`bot: ${e.message}`);
    process.exit(2);
  });
