"""Rewrites a JSON schema for servers: what they would refuse is expressed differently, or moved to the description.

The answer is always checked against the original, so that the rewriting loses guarantees, never checks.
Measured with llama.cpp (xllamacpp 2026.10); the limits of OpenAI's strict mode are from its structured-outputs guide.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from typing import Any, NamedTuple
from urllib.parse import unquote

__all__ = ["WRAPPER", "PortableSchema", "to_portable"]

WRAPPER = "value"
"""Name of the single property that wraps a value that is not an object."""

# What every server can enforce, by type. Not `pattern`: llama.cpp ignores some, fails on others during a response, and
# no server supports Python's dialect. Not `uniqueItems`, `not`, `if`: hardly any server supports them.
_ENFORCED: dict[str, tuple[str, ...]] = {
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("minItems", "maxItems"),
}
_KEYWORDS_OF = {
    "object": {"properties", "required", "additionalProperties", "patternProperties", "propertyNames",
               "minProperties", "maxProperties", "unevaluatedProperties", "dependentRequired", "dependentSchemas"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains",
              "maxContains", "unevaluatedItems", "additionalItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}  # fmt: skip
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
_COUNT_KEYWORDS = {"minLength", "maxLength", "minItems", "maxItems"}
_MAX_COUNT = 1000  # llama.cpp refuses grammars that repeat a rule 2,000 times, some versions fewer
_IGNORED = {"title", "$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "discriminator", "deprecated",
           "readOnly", "writeOnly", "contentMediaType", "contentEncoding"}  # fmt: skip
_ANNOTATIONS = {"description", "default", "examples"}
_ANYTHING = ["object", "array", "string", "number", "boolean", "null"]
_MAX_NOTE = 200


class PortableSchema(NamedTuple):
    """A schema to send; whether the answer is wrapped, and whether strict mode accepts it."""

    schema: dict[str, Any]
    wrapped: bool
    strict: bool


def to_portable(raw: dict[str, Any]) -> PortableSchema:
    """Rewrite a JSON schema so that servers accept it; raise ValueError for a reference without a target.

    The top level is a closed object with all properties required; references are local, and inlined if used once. A
    property that ``required`` omits stays optional, which strict mode does not support.
    """
    rewriter = _Rewriter(raw)
    schema = rewriter.visit(rewriter.resolve(raw))
    wrapped = schema.get("type") != "object"
    if wrapped:
        schema = _closed_object({WRAPPER: schema})
    if rewriter.defs:
        schema["$defs"] = rewriter.defs
    return PortableSchema(schema, wrapped, rewriter.strict)


def _closed_object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


class _Rewriter:
    """Rewrites one schema; afterwards ``strict`` and ``defs`` are set."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.strict = True
        self.defs: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._uses = Counter(_references(raw))
        self._inlined = {"#"}
        for pointer in self._uses:  # also those that rewriting does not reach
            self._resolve_pointer(pointer)

    def visit(self, node: Any) -> dict[str, Any]:
        """Return the rewritten (sub)schema."""
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
        siblings = {key: value for key, value in node.items() if key != "$ref" and key not in _IGNORED}
        if not siblings.keys() <= _ANNOTATIONS:
            return self.visit({"allOf": [{"$ref": pointer}, siblings]})
        target = self._target(pointer)
        if self._uses[pointer] == 1 and pointer not in self._inlined:
            self._inlined.add(pointer)
            return self.visit({**target, **siblings} if isinstance(target, dict) else target)
        if pointer not in self._names:
            self._names[pointer] = name = self._free_name(pointer)
            self.defs[name] = {}  # reserves the name: the target may refer to itself
            self.defs[name] = self.visit(target)
        reference = {"$ref": f"#/$defs/{self._names[pointer]}"}
        description = _description(siblings)
        # Strict mode allows nothing beside a $ref, but allows a description beside an anyOf.
        return {"anyOf": [reference], **description} if description else reference

    def _target(self, pointer: Any) -> Any:
        """Return the target of a reference, past references to references."""
        for _ in range(len(self._uses) + 1):  # a longer chain is a cycle
            target = self._resolve_pointer(pointer)
            if not (isinstance(target, dict) and target.keys() == {"$ref"}):
                return target
            pointer = target["$ref"]
        raise ValueError(f"the reference {pointer!r} is circular")

    def _resolve_pointer(self, pointer: Any) -> Any:
        """Resolve a JSON pointer (RFC 6901) within the schema."""
        if not isinstance(pointer, str) or not re.fullmatch(r"#(/.*)?", pointer, re.DOTALL):
            raise ValueError(f"the reference {pointer!r} points outside the schema; put its target under $defs")
        target: Any = self.raw
        for part in pointer.split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(key) if isinstance(target, list) else key]
            except (LookupError, ValueError, TypeError):
                raise ValueError(f"the reference {pointer!r} has no target") from None
        if not isinstance(target, dict | bool):
            raise ValueError(f"the reference {pointer!r} does not point to a schema")  # noqa: TRY004 - one type for all
        return target

    def _free_name(self, pointer: str) -> str:
        name = base = re.sub(r"[^a-zA-Z0-9_-]+", "_", pointer.rpartition("/")[2]).strip("_") or "root"
        count = 1
        while name in self.defs:
            count += 1
            name = f"{base}_{count}"
        return name

    def resolve(self, node: Any) -> dict[str, Any]:
        """Return ``node``, or the target if it is a reference; for merging schemas, and for the top level."""
        for _ in range(len(self._uses) + 1):  # a longer chain is a cycle
            if not isinstance(node, dict) or "$ref" not in node:
                return node if isinstance(node, dict) else {}
            target = self._target(node["$ref"])
            siblings = {key: value for key, value in node.items() if key != "$ref"}
            node = {**target, **siblings} if isinstance(target, dict) else siblings
        raise ValueError(f"the reference {node['$ref']!r} is circular")

    # ---- schemas made of schemas -----------------------------------------------------------------

    def _conjunction(self, node: dict[str, Any]) -> dict[str, Any]:
        """Merge ``allOf``: servers use only one of several."""
        others = {key: value for key, value in node.items() if key != "allOf"}
        parts = node["allOf"]
        if len(parts) == 1 and isinstance(parts[0], dict) and others.keys() <= _IGNORED | _ANNOTATIONS:
            return {**parts[0], **others}
        return functools.reduce(_merged, [self.resolve(part) for part in [others, *parts]])

    def _choice(self, node: dict[str, Any], key: str) -> dict[str, Any]:
        """Return an ``anyOf``, also for ``oneOf``; keywords beside it go into each branch, or they would be ignored."""
        others = {k: value for k, value in node.items() if k != key and k not in _IGNORED | _ANNOTATIONS}
        branches = [branch for branch in node[key] if branch is not False]
        if others:
            branches = [_merged(others, self.resolve(branch)) for branch in branches]
        return {"anyOf": [self.visit(branch) for branch in branches] or [self._anything()], **_description(node)}

    def _several_types(self, node: dict[str, Any], kinds: list[str]) -> dict[str, Any]:
        """Return a choice of types: a list of names if there are no other keywords, else one schema each."""
        others = {key: value for key, value in node.items() if key not in _ANNOTATIONS | {"type"}}
        if not others.keys() <= _IGNORED or {"object", "array"} & set(kinds):
            return {"anyOf": [self.visit({**others, "type": kind}) for kind in kinds], **_description(node)}
        return {"type": kinds, **_description(node)}

    # ---- schemas of one type ---------------------------------------------------------------------

    def _anything(self) -> dict[str, Any]:
        # Not {}, which llama.cpp reads as "any object".
        self.strict = False
        return {"type": list(_ANYTHING)}

    def _values(self, node: dict[str, Any]) -> dict[str, Any]:
        values = [node["const"]] if "const" in node else node["enum"]
        kinds = list(dict.fromkeys(_type_of_value(value) for value in values))
        if {"object", "array"} & set(kinds):
            self.strict = False
        schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
        schema |= {key: node[key] for key in ("const", "enum") if key in node}
        return schema | _description(node)

    def _typed(self, node: dict[str, Any]) -> dict[str, Any]:
        kind = node.get("type", _implied_type(node))
        if isinstance(kind, list):
            return self._several_types(node, kind)
        if kind is None:
            return {**self._anything(), **_description(node, set())}
        if kind == "object":
            rewritten, used = self._object(node)
        elif kind == "array":
            rewritten, used = self._array(node)
        else:
            rewritten, used = {"type": kind}, set()
        for key in _ENFORCED.get(kind, ()):
            value = node.get(key)
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            if key not in _COUNT_KEYWORDS or value <= _MAX_COUNT:
                rewritten[key] = value
                used.add(key)
                self.strict = self.strict and key not in {"minLength", "maxLength"}
        if kind == "string" and node.get("format") in _FORMATS:
            rewritten["format"] = node["format"]
            used.add("format")
        own_type = "number" if kind == "integer" else kind
        used.update(
            *(keywords for other, keywords in _KEYWORDS_OF.items() if other != own_type)
        )  # keywords that do not apply to this type
        return {**rewritten, **_description(node, used)}

    def _object(self, node: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
        properties = {name: self.visit(part) for name, part in node.get("properties", {}).items() if part is not False}
        properties |= {name: self._anything() for name in node.get("required", ()) if name not in properties}
        rewritten = _closed_object(properties)
        if "required" in node:  # without it, all properties are required
            rewritten["required"] = [name for name in properties if name in node["required"]]
        additional = node.get("additionalProperties", "properties" not in node or "patternProperties" in node)
        if additional is not False:
            rewritten["additionalProperties"] = (
                self.visit(additional) if isinstance(additional, dict) and additional else True
            )
        if additional is not False or len(rewritten["required"]) < len(properties):
            self.strict = False
        if not properties and additional is not False:
            del rewritten["properties"], rewritten["required"]
        return rewritten, {"properties", "required", "additionalProperties"}

    def _array(self, node: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
        items = node.get("items", True)
        prefix = node.get("prefixItems", items if isinstance(items, list) else None)
        if not prefix:
            return {"type": "array", "items": self.visit(items)}, {"items", "prefixItems"}
        self.strict = False
        # Without `items` for further elements: with both, llama.cpp ignores `prefixItems`.
        return {"type": "array", "prefixItems": [self.visit(item) for item in prefix]}, {"items", "prefixItems"}


def _references(node: Any) -> list[str]:
    """Return all references below ``node``, each as often as it is used."""
    if isinstance(node, list):
        return [found for item in node for found in _references(item)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [found for item in node.values() for found in _references(item)]


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Merge two schemas; where both set a keyword, the first one's value is kept, which may allow more than both."""
    rewritten = {**other, **one}
    if "properties" in one and "properties" in other:
        both = one["properties"].keys() & other["properties"].keys()
        rewritten["properties"] = {
            **one["properties"],
            **other["properties"],
            **{name: {"allOf": [one["properties"][name], other["properties"][name]]} for name in both},
        }
    if "required" in one and "required" in other:
        rewritten["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    if "allOf" in one and "allOf" in other:
        rewritten["allOf"] = [*one["allOf"], *other["allOf"]]
    return rewritten


def _implied_type(node: dict[str, Any]) -> str | None:
    """Return the type that a schema without ``type`` implies."""
    if {"properties", "additionalProperties", "required"} & node.keys():
        return "object"
    return "array" if {"items", "prefixItems"} & node.keys() else None


def _type_of_value(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _description(node: dict[str, Any], used: set[str] | None = None) -> dict[str, str]:
    """Return the description, extended by the default, the examples and the limits that are not enforced."""
    covered = used if used is not None else set(node)
    notes = [str(node["description"]).strip()] if node.get("description") else []
    for key, value in node.items():
        if key in {"default", "examples"} or (key not in covered | _IGNORED | {"type", "description"}):
            text = value if isinstance(value, str) and key != "default" else json.dumps(value, ensure_ascii=False)
            if len(text) <= _MAX_NOTE:
                notes.append(f"{key[:1].upper()}{key[1:]}: {text}.")
    return {"description": " ".join(notes)} if notes else {}
