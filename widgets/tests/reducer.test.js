// The reducer against recordings of a real widget (made by `python -m tests.widgets.record`).

import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { EMPTY, reduce, applySplice } from "../ipyllm_widgets/static/reducer.js";

const home = new URL("recordings/", import.meta.url);
const recordings = readdirSync(home).map((name) => [name, JSON.parse(readFileSync(new URL(name, home), "utf8"))]);

const snapshot = (state) => ({ kind: "snapshot", state });
const replay = (begin, messages) => messages.reduce(reduce, reduce(EMPTY, snapshot(begin)));
const shown = (state) => ({ ...state, turns: state.order.map((id) => state.turns.get(id)) });

/** A seeded generator of numbers from 0 to 1. */
const random = (seed) => () => ((seed = (seed * 48271) % 2147483647) / 2147483647);

const JUNK = [null, true, -1, 1e308, 0.5, NaN, "", "junk", [], [[]], [null], {}, { a: null }, undefined];

/** Replace a random field of a message with junk, or remove it. */
function corrupt(message, pick) {
  const fields = [];
  const visit = (value) => {
    for (const key of Object.keys(value)) {
      fields.push([value, key]);
      if (typeof value[key] === "object" && value[key] !== null) visit(value[key]);
    }
  };
  visit(message);
  const [holder, key] = fields[Math.floor(pick() * fields.length)];
  if (pick() < 0.2) Array.isArray(holder) ? holder.splice(key, 1) : delete holder[key];
  else holder[key] = JUNK[Math.floor(pick() * JUNK.length)];
}

/** Assert what the views rely on. */
function expectDrawable(state) {
  for (const id of state.order) {
    const turn = state.turns.get(id);
    for (const name of ["text", "footer", "status"]) expect(turn[name]).toBeTypeOf("string");
    expect(turn.chars).toBeTypeOf("number");
    for (const address of turn.images) expect(address).toBeTypeOf("string");
    expect(turn.branch.map((number) => typeof number)).toEqual(["number", "number"]);
    expect(turn.error === null || typeof turn.error === "string").toBe(true);
    for (const part of Object.values(turn.parts)) expect([...part.blocks, part.tail].every((html) => typeof html === "string")).toBe(true);
  }
  expect(state.running === null || typeof state.running === "string").toBe(true);
  expect(state.totals).toBeTypeOf("string");
  const { models, params, limits } = state.settings;
  if (models !== undefined) expect(models.every((model) => typeof model === "string")).toBe(true);
  if (params !== undefined) Object.entries({ ...params });
  if (limits !== undefined) expect(limits.image).toBeTypeOf("number");
}

describe.each(recordings)("%s", (_name, { begin, messages, end }) => {
  const final = shown(reduce(EMPTY, snapshot(end)));
  const numbered = messages.filter((message) => message.seq !== undefined);

  test("all messages in order lead to the final snapshot", () => {
    expect(shown(replay(begin, messages))).toEqual(final);
  });

  test("a repeated message changes nothing", () => {
    expect(shown(replay(begin, messages.flatMap((message) => [message, message])))).toEqual(final);
  });

  test("a lost message is noticed at the next one, and a snapshot repairs the state", () => {
    for (let lost = 0; lost < numbered.length - 1; lost++) {
      const state = replay(begin, numbered.toSpliced(lost, 1));
      expect(state.stale).toBe(true);
      expect(shown(reduce(state, snapshot(end)))).toEqual(final);
    }
  });

  test("messages in a wrong order are not applied", () => {
    for (let at = 0; at < numbered.length - 1; at++) {
      const swapped = numbered.toSpliced(at, 2, numbered[at + 1], numbered[at]);
      expect(replay(begin, swapped).stale).toBe(true);
    }
  });

  test("with shuffled, repeated, lost and unknown messages a state is right or stale, and a snapshot repairs it", () => {
    const unknown = [null, 7, "x", [], {}, { kind: "delta" }, { kind: "news", seq: 1 }, { kind: "ack", nonce: 1 }, { kind: "update", seq: "7" }];
    for (let seed = 1; seed <= 50; seed++) {
      const pick = random(seed);
      const received = [...numbered, ...numbered, ...unknown].filter(() => pick() < 0.8);
      received.sort(() => pick() - 0.5);
      const state = received.reduce(reduce, reduce(EMPTY, snapshot(begin)));
      if (!state.stale) expect(shown(state)).toEqual(shown(replay(begin, numbered.filter(({ seq }) => seq <= state.seq))));
      expect(shown(reduce({ ...state, stale: true }, snapshot(end)))).toEqual(final);
    }
  });

  test("with junk in any field a view can draw the state, and a snapshot repairs it", () => {
    const pick = random(7);
    for (let round = 0; round < 400; round++) {
      const at = Math.floor(pick() * numbered.length);
      const received = structuredClone(numbered);
      corrupt(received[at], pick);
      const state = received.reduce(reduce, reduce(EMPTY, snapshot(begin)));
      expectDrawable(state);
      expect(shown(reduce({ ...state, stale: true }, snapshot(end)))).toEqual(final);
      const corrupted = structuredClone(end);
      corrupt(corrupted, pick);
      expectDrawable(reduce(EMPTY, snapshot(corrupted)));
    }
  });

  test("old messages after a snapshot are ignored", () => {
    const state = messages.reduce(reduce, reduce(EMPTY, snapshot(end)));
    expect(shown(state)).toEqual(final);
  });

  test("an older snapshot changes nothing", () => {
    const state = replay(begin, messages);
    expect(reduce(state, snapshot(begin))).toBe(state);
  });

  test("states are never changed in place", () => {
    const states = [reduce(EMPTY, snapshot(begin))];
    const copies = [structuredClone(shown(states[0]))];
    for (const message of messages) {
      states.push(reduce(states.at(-1), message));
      copies.push(structuredClone(shown(states.at(-1))));
    }
    states.forEach((state, at) => expect(shown(state)).toEqual(copies[at]));
  });
});

test("finished blocks are the same strings in all later states", () => {
  const [, { begin, messages }] = recordings.find(([name]) => name === "streaming.json");
  const blocks = [];
  messages.reduce((state, message) => {
    const next = reduce(state, message);
    const now = next.turns.get("t1")?.parts.text?.blocks ?? [];
    blocks.forEach((block, at) => expect(now[at]).toBe(block));
    blocks.splice(0, blocks.length, ...now);
    return next;
  }, reduce(EMPTY, snapshot(begin)));
  expect(blocks.length).toBeGreaterThan(2);
});

test.each([
  null,
  undefined,
  "x",
  7,
  {},
  { kind: "delta" },
  { kind: "delta", seq: 1, deltas: [{ id: "t9", part: "text", tail: [0, "", 0] }] },
  { kind: "delta", seq: 1, deltas: [{ id: "t1", part: "text", tail: [99, "", 99] }] },
  { kind: "delta", seq: 1, deltas: 7 },
  { kind: "update", seq: 1, turns: [{ id: "t1", status: "ok" }], order: ["t1"] },
  { kind: "update", seq: 1, order: ["t7"] },
  { kind: "update", seq: 1, settings: "x" },
  { kind: "update", seq: 1, totals: 7 },
  { kind: "update", seq: 1, turns: [{ id: "t1", footer: "", parts: { text: { blocks: [7], tail: "" } } }], order: ["t1"] },
  { kind: "update", seq: 1, turns: [{ id: "t1", footer: "", parts: { text: { blocks: [], tail: null } } }], order: ["t1"] },
  { kind: "update", seq: 1, turns: [{ id: "t1", footer: "", parts: { text: 7 } }], order: ["t1"] },
  { kind: "update", seq: 1, turns: 7 },
  { kind: "snapshot" },
  { kind: "snapshot", state: { seq: 3 } },
  { kind: "snapshot", state: { seq: 3, turns: [], order: ["t1"] } },
])("a malformed message %j does not change what is shown", (message) => {
  const [, { begin }] = recordings[0];
  const before = reduce(EMPTY, snapshot(begin));
  const after = reduce(before, message);
  expect({ ...shown(after), stale: false }).toEqual({ ...shown(before), stale: false });
});

test("a splice of another text is refused", () => {
  expect(applySplice("abcdef", [2, "X", 1])).toBe("abXf");
  expect(() => applySplice("ab", [2, "X", 1])).toThrow();
  expect(() => applySplice("ab", [-1, "X", 0])).toThrow();
  expect(() => applySplice("ab", [0, 7, 0])).toThrow();
  expect(() => applySplice("ab", [NaN, "X", 0])).toThrow();
});
