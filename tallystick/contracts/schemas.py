"""JSON schemas of everything that travels as JSON, from the structs themselves."""

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/"


def schemas(values: Mapping[str, Any]) -> dict[str, Schema]:
    """Return the schemas of `values`, by name, followed by those of the structs within them.

    They are of the dialect of AsyncAPI 3 (JSON Schema draft 7, with the name of a tag as `discriminator`), and refer to
    each other below `REFERENCE`.
    """
    roots, components = msgspec.json.schema_components(values.values(), ref_template=f"{REFERENCE}{{name}}")
    named = {name: components.get(name, root) for name, root in zip(values, roots, strict=True)}
    return {name: _adapt(schema) for name, schema in (named | dict(sorted(components.items()))).items()}


def _adapt(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_adapt(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    adapted = {name: _adapt(value) for name, value in schema.items()}
    if isinstance(description := schema.get("description"), str):
        adapted["description"] = inspect.cleandoc(description)
    if "prefixItems" in adapted:
        adapted["items"] = adapted.pop("prefixItems")
    if isinstance(tag := schema.get("discriminator"), dict) and "propertyName" in tag:
        adapted["discriminator"] = tag["propertyName"]
    return adapted
