// Which interval of a chart is under the pointer.

import { expect, test } from "vitest";
import { nearest } from "../ipyllm_widgets/static/dashboard/chart_tips.js";

test("the nearest interval with values is shown", () => {
  expect(nearest([0.2, 0.4, 0.9], 0.31)).toBe(1);
  expect(nearest([0.2, 0.4, 0.9], 0)).toBe(0);
  expect(nearest([0.2, 0.4, 0.9], 2)).toBe(2);
  expect(nearest([0.5], 0.1)).toBe(0);
});
