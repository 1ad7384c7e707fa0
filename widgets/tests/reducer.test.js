// The reducer against recordings of a real widget (made by `python -m tests.widgets.record`).

import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { EMPTY, reduce, spliced } from "../ipyllm_widgets/static/reducer.js";

const home = new URL("recordings/", import.meta.url);
const recordings = readdirSync(home).map((name) => [name, JSON.parse(readFileSync(new URL(name, home), "utf8"))]);

const snapshot = (state) => ({ kind: "snapshot", state });
const replay = (begin, messages) => messages.reduce(reduce, reduce(EMPTY, snapshot(begin)));
const shown = (state) => ({ ...state, turns: state.order.map((id) => state.turns.get(id)) });

describe.each(recordings)("%s", (_name, { begin, messages, end }) => {
  const whole = shown(reduce(EMPTY, snapshot(end)));
  const numbered = messages.filter((message) => message.seq !== undefined);

  test("every message in order leads to what the kernel says at the end", () => {
    expect(shown(replay(begin, messages))).toEqual(whole);
  });

  test("a message that comes twice changes nothing", () => {
    expect(shown(replay(begin, messages.flatMap((message) => [message, message])))).toEqual(whole);
  });

  test("any message that is lost is noticed at the next, and a snapshot mends it", () => {
    for (let lost = 0; lost < numbered.length - 1; lost++) {
      const state = replay(begin, numbered.toSpliced(lost, 1));
      expect(state.stale).toBe(true);
      expect(shown(reduce(state, snapshot(end)))).toEqual(whole);
    }
  });

  test("messages in a wrong order are never shown in that order", () => {
    for (let at = 0; at < numbered.length - 1; at++) {
      const swapped = numbered.toSpliced(at, 2, numbered[at + 1], numbered[at]);
      expect(replay(begin, swapped).stale).toBe(true);
    }
  });

  test("old messages after a snapshot are passed over", () => {
    const state = messages.reduce(reduce, reduce(EMPTY, snapshot(end)));
    expect(shown(state)).toEqual(whole);
  });

  test("an older snapshot does not undo what is known", () => {
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

test("frozen blocks are the same strings from state to state", () => {
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
  { kind: "snapshot" },
  { kind: "snapshot", state: { seq: 3 } },
  { kind: "snapshot", state: { seq: 3, turns: [], order: ["t1"] } },
])("a malformed message %j shows nothing wrong", (message) => {
  const [, { begin }] = recordings[0];
  const before = reduce(EMPTY, snapshot(begin));
  const after = reduce(before, message);
  expect({ ...shown(after), stale: false }).toEqual({ ...shown(before), stale: false });
});

test("a splice of another text is refused", () => {
  expect(spliced("abcdef", [2, "X", 1])).toBe("abXf");
  expect(() => spliced("ab", [2, "X", 1])).toThrow();
});
