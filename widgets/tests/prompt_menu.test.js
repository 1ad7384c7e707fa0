// Which prompts a "/" in the box finds.

import { expect, test } from "vitest";
import { matching, slashQuery } from "../ipyllm_widgets/static/prompt_menu.js";

test("only a slash at the beginning of a single line looks for a prompt", () => {
  expect(slashQuery("/")).toBe("");
  expect(slashQuery("/code rev")).toBe("code rev");
  for (const text of ["", "a/b", " /review", "/usr/lib", "/one\ntwo", `/${"x".repeat(81)}`]) expect(slashQuery(text)).toBe(null);
});

test("names contain all words, and those that begin with them come first", () => {
  const items = ["A review", "explain", "Review code", "unit tests"].map((name) => ({ name }));
  expect(matching(items, "review").map(({ name }) => name)).toEqual(["Review code", "A review"]);
  expect(matching(items, "code REV").map(({ name }) => name)).toEqual(["Review code"]);
  expect(matching(items, "").length).toBe(4);
  expect(matching(items, "nothing")).toEqual([]);
});
