// The clock of the line that says what an answer waits for.

import { afterEach, expect, test, vi } from "vitest";
import { WaitingLine } from "../ipyllm_widgets/static/waiting.js";

afterEach(() => vi.restoreAllMocks());

function receivedAt(now, waiting, line = new WaitingLine()) {
  vi.spyOn(performance, "now").mockReturnValue(now);
  line.update(waiting);
  return line;
}

test("it runs up from what the kernel's clock showed", () => {
  const line = receivedAt(5000, { before: "thinking · ", seconds: 40.2, step: 1, after: " s" });
  expect(line.text(5000)).toBe("thinking · 40 s");
  expect(line.text(6900)).toBe("thinking · 42 s");
});

test("it runs down to 0", () => {
  const line = receivedAt(0, { before: "rate limited, next try in ", seconds: 18.5, step: -1, after: " s, attempt 2 of 3" });
  expect(line.text(0)).toBe("rate limited, next try in 19 s, attempt 2 of 3");
  expect(line.text(17_600)).toBe("rate limited, next try in 1 s, attempt 2 of 3");
  expect(line.text(60_000)).toBe("rate limited, next try in 0 s, attempt 2 of 3");
});

test("the same message again does not start it anew, another does", () => {
  const first = { before: "thinking · ", seconds: 1, step: 1, after: " s" };
  const line = receivedAt(0, first);
  receivedAt(3000, first, line);
  expect(line.text(3000)).toBe("thinking · 4 s");
  receivedAt(4000, { ...first, seconds: 0 }, line);
  expect(line.text(4000)).toBe("thinking · 0 s");
});

test("without a message there is no line", () => {
  expect(new WaitingLine().text(0)).toBe("");
  expect(receivedAt(0, null).text(0)).toBe("");
});
