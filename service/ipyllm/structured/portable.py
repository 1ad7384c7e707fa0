"""A JSON schema as servers take it: what they would refuse is put in other words, or into the description.

The answer is checked against the original in any case, so that what is lost on the way is a guarantee, never a check.
Measured against llama.cpp (xllamacpp 2026.10); the limits of OpenAI's strict mode are those of its guide to
structured outputs.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from typing import Any, NamedTuple
from urllib.parse import unquote

__all__ = ["WRAPPER", "Portable", "portable"]

WRAPPER = "value"
"""Name of the one property that holds what is not an object by itself."""

# What every server can enforce, by type. Not `pattern`: llama.cpp ignores some, stumbles over others in the midst of
# an answer, and no server knows Python's dialect. Not `uniqueItems`, `not`, `if`: next to nobody can.
_ENFORCED: dict[str, tuple[str, ...]] = {
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("minItems", "maxItems"),
}
_ABOUT = {
    "object": {"properties", "required", "additionalProperties", "patternProperties", "propertyNames",
               "minProperties", "maxProperties", "unevaluatedProperties", "dependentRequired", "dependentSchemas"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains",
              "maxContains", "unevaluatedItems", "additionalItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}  # fmt: skip
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
_COUNTS = {"minLength", "maxLength", "minItems", "maxItems"}
_MAX_COUNT = 1000  # llama.cpp refuses grammars that repeat a rule 2,000 times, some versions a little fewer
_SILENT = {"title", "$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "discriminator", "deprecated",
           "readOnly", "writeOnly", "contentMediaType", "contentEncoding"}  # fmt: skip
_SAID = {"description", "default", "examples"}
_ANYTHING = ["object", "array", "string", "number", "boolean", "null"]
_MAX_NOTE = 200


class Portable(NamedTuple):
    """A schema to send; whether the answer is wrapped, and whether strict mode takes it."""

    schema: dict[str, Any]
    wrapped: bool
    strict: bool


def portable(raw: dict[str, Any]) -> Portable:
    """Put a JSON schema into words that servers take.

    The top level is an object, closed, with all properties required; references are local, and one that is used once
    is put in its place. A property that ``required`` leaves out stays optional, which strict mode cannot say.

    Raises
    ------
    ValueError
        For a reference that leads nowhere, with a phrase that says so.

    Examples
    --------
    >>> portable({"type": "integer", "default": 5}).schema["properties"]
    {'value': {'type': 'integer', 'description': 'Default: 5.'}}
    """
    walk = _Walk(raw)
    schema = walk.visit(walk.followed(raw))
    wrapped = schema.get("type") != "object"
    if wrapped:
        schema = _closed({WRAPPER: schema})
    if walk.defs:
        schema["$defs"] = walk.defs
    return Portable(schema, wrapped, walk.strict)


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


class _Walk:
    """One walk over a schema. ``strict`` and ``defs`` are known at its end."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.strict = True
        self.defs: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._uses = Counter(_references(raw))
        self._open = {"#"}  # pointers that stand in their place already
        for pointer in self._uses:  # those too that the walk does not come to
            self._at(pointer)

    def visit(self, node: Any) -> dict[str, Any]:
        """Return one (sub)schema in servers' words."""
        if not isinstance(node, dict):
            return self._anything()
        if "$ref" in node:
            return self._reference(node)
        if "allOf" in node:
            return self.visit(self._conjunction(node))
        if "anyOf" in node or "oneOf" in node:
            return self._choice(node, "anyOf" if "anyOf" in node else "oneOf")
        if "const" in node or "enum" in node:
            return self._values(node)
        return self._typed(node)

    # ---- references ------------------------------------------------------------------------------

    def _reference(self, node: dict[str, Any]) -> dict[str, Any]:
        pointer = node["$ref"]
        beside = {key: value for key, value in node.items() if key != "$ref" and key not in _SILENT}
        if not beside.keys() <= _SAID:
            return self.visit({"allOf": [{"$ref": pointer}, beside]})
        target = self._target(pointer)
        if self._uses[pointer] == 1 and pointer not in self._open:
            self._open.add(pointer)
            return self.visit({**target, **beside} if isinstance(target, dict) else target)
        if pointer not in self._names:
            self._names[pointer] = name = self._free_name(pointer)
            self.defs[name] = {}  # holds its place while it is visited, since it may lead back to itself
            self.defs[name] = self.visit(target)
        reference = {"$ref": f"#/$defs/{self._names[pointer]}"}
        described = _description(beside)
        # Strict mode allows nothing beside a $ref, but a description beside an anyOf.
        return {"anyOf": [reference], **described} if described else reference

    def _target(self, pointer: Any) -> Any:
        """Where a reference leads, past references that lead to references."""
        seen = {pointer}
        target = self._at(pointer)
        while isinstance(target, dict) and target.keys() == {"$ref"}:
            pointer = target["$ref"]
            if pointer in seen:
                raise ValueError(f"the reference {pointer!r} leads to nothing but itself")
            seen.add(pointer)
            target = self._at(pointer)
        return target

    def _at(self, pointer: Any) -> Any:
        """Resolve a JSON pointer (RFC 6901) within the schema."""
        if not isinstance(pointer, str) or not re.fullmatch(r"#(/.*)?", pointer, re.DOTALL):
            raise ValueError(f"the reference {pointer!r} leads out of it; bring what it names in under $defs")
        place: Any = self.raw
        for part in pointer.split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                place = place[int(key) if isinstance(place, list) else key]
            except (LookupError, ValueError, TypeError):
                raise ValueError(f"the reference {pointer!r} leads nowhere") from None
        if not isinstance(place, dict | bool):
            raise ValueError(f"the reference {pointer!r} does not lead to a schema")  # noqa: TRY004 - one type for all
        return place

    def _free_name(self, pointer: str) -> str:
        name = base = re.sub(r"[^a-zA-Z0-9_-]+", "_", pointer.rpartition("/")[2]).strip("_") or "root"
        count = 1
        while name in self.defs:
            count += 1
            name = f"{base}_{count}"
        return name

    def followed(self, node: Any) -> dict[str, Any]:
        """Put what a reference names in its place: where schemas are merged, and at the top."""
        while isinstance(node, dict) and "$ref" in node:
            target = self._target(node["$ref"])
            beside = {key: value for key, value in node.items() if key != "$ref"}
            node = {**target, **beside} if isinstance(target, dict) else beside
        return node if isinstance(node, dict) else {}

    # ---- schemas made of schemas -----------------------------------------------------------------

    def _conjunction(self, node: dict[str, Any]) -> dict[str, Any]:
        """Merge ``allOf``: of several, servers look at one."""
        rest = {key: value for key, value in node.items() if key != "allOf"}
        parts = node["allOf"]
        if len(parts) == 1 and isinstance(parts[0], dict) and rest.keys() <= _SILENT | _SAID:
            return {**parts[0], **rest}
        return functools.reduce(_merged, [self.followed(part) for part in [rest, *parts]])

    def _choice(self, node: dict[str, Any], key: str) -> dict[str, Any]:
        """Make an ``anyOf``, of ``oneOf`` too; what stands beside it goes into each branch, or it would be ignored."""
        rest = {k: value for k, value in node.items() if k != key and k not in _SILENT | _SAID}
        branches = [branch for branch in node[key] if branch is not False]
        if rest:
            branches = [_merged(rest, self.followed(branch)) for branch in branches]
        return {"anyOf": [self.visit(branch) for branch in branches] or [self._anything()], **_description(node)}

    def _kinds(self, node: dict[str, Any], kinds: list[str]) -> dict[str, Any]:
        """Make a choice of types: in one word if that is all, else each with its own keywords."""
        rest = {key: value for key, value in node.items() if key not in _SAID | {"type"}}
        if not rest.keys() <= _SILENT or {"object", "array"} & set(kinds):
            return {"anyOf": [self.visit({**rest, "type": kind}) for kind in kinds], **_description(node)}
        return {"type": kinds, **_description(node)}

    # ---- schemas of one type ---------------------------------------------------------------------

    def _anything(self) -> dict[str, Any]:
        # Not {}: llama.cpp has read that as "any object".
        self.strict = False
        return {"type": list(_ANYTHING)}

    def _values(self, node: dict[str, Any]) -> dict[str, Any]:
        values = [node["const"]] if "const" in node else node["enum"]
        kinds = list(dict.fromkeys(_kind_of_value(value) for value in values))
        if {"object", "array"} & set(kinds):
            self.strict = False
        made: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
        made |= {key: node[key] for key in ("const", "enum") if key in node}
        return made | _description(node)

    def _typed(self, node: dict[str, Any]) -> dict[str, Any]:
        kind = node.get("type", _kind(node))
        if isinstance(kind, list):
            return self._kinds(node, kind)
        if kind is None:
            return {**self._anything(), **_description(node, set())}
        if kind == "object":
            made, used = self._object(node)
        elif kind == "array":
            made, used = self._array(node)
        else:
            made, used = {"type": kind}, set()
        for key in _ENFORCED.get(kind, ()):
            value = node.get(key)
            enforced = isinstance(value, int | float) and not isinstance(value, bool)
            if enforced and not (key in _COUNTS and value > _MAX_COUNT):  # type: ignore[operator]
                made[key] = value
                used.add(key)
                self.strict = self.strict and key not in {"minLength", "maxLength"}
        if kind == "string" and node.get("format") in _FORMATS:
            made["format"] = node["format"]
            used.add("format")
        about = "number" if kind == "integer" else kind
        used.update(*(keywords for other, keywords in _ABOUT.items() if other != about))  # they say nothing here
        return {**made, **_description(node, used)}

    def _object(self, node: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
        properties = {name: self.visit(part) for name, part in node.get("properties", {}).items() if part is not False}
        properties |= {name: self._anything() for name in node.get("required", ()) if name not in properties}
        made = _closed(properties)
        if "required" in node:  # a schema that does not say which properties it requires wants them all
            made["required"] = [name for name in properties if name in node["required"]]
        others = node.get("additionalProperties", "properties" not in node or "patternProperties" in node)
        if others is not False:
            made["additionalProperties"] = self.visit(others) if isinstance(others, dict) and others else True
        if others is not False or len(made["required"]) < len(properties):
            self.strict = False
        if not properties and others is not False:
            del made["properties"], made["required"]
        return made, {"properties", "required", "additionalProperties"}

    def _array(self, node: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
        items = node.get("items", True)
        row = node.get("prefixItems", items if isinstance(items, list) else None)
        if not row:
            return {"type": "array", "items": self.visit(items)}, {"items", "prefixItems"}
        self.strict = False
        # Without `items` for what comes after the row: with both, llama.cpp forgets the row.
        return {"type": "array", "prefixItems": [self.visit(item) for item in row]}, {"items", "prefixItems"}


def _references(node: Any) -> list[str]:
    """All references anywhere below ``node``, each as often as it is used."""
    if isinstance(node, list):
        return [found for item in node for found in _references(item)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [found for item in node.values() for found in _references(item)]


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both at once, as far as one schema can say it: where they differ the first is kept, which allows more."""
    made = {**other, **one}
    if "properties" in one and "properties" in other:
        both = one["properties"].keys() & other["properties"].keys()
        made["properties"] = {
            **one["properties"],
            **other["properties"],
            **{name: {"allOf": [one["properties"][name], other["properties"][name]]} for name in both},
        }
    if "required" in one and "required" in other:
        made["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    if "allOf" in one and "allOf" in other:
        made["allOf"] = [*one["allOf"], *other["allOf"]]
    return made


def _kind(node: dict[str, Any]) -> str | None:
    """Which type a schema means that names none."""
    if {"properties", "additionalProperties", "required"} & node.keys():
        return "object"
    return "array" if {"items", "prefixItems"} & node.keys() else None


def _kind_of_value(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _description(node: dict[str, Any], used: set[str] | None = None) -> dict[str, str]:
    """Return the description, with what no keyword says: the default, the examples, limits that are not enforced."""
    told = used if used is not None else set(node)
    notes = [str(node["description"]).strip()] if node.get("description") else []
    for key, value in node.items():
        if key in {"default", "examples"} or (key not in told | _SILENT | {"type", "description"}):
            text = value if isinstance(value, str) and key != "default" else json.dumps(value, ensure_ascii=False)
            if len(text) <= _MAX_NOTE:
                notes.append(f"{key[:1].upper()}{key[1:]}: {text}.")
    return {"description": " ".join(notes)} if notes else {}
