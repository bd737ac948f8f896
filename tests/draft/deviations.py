"""Compares an OpenAPI document of the three routes with the draft's, field by field, texts and examples aside."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

ABSENT, PRESENT = "absent", "present"
_TEXTS = ("title", "description", "summary", "example")
_NAMES = ("RunResume", "RunResumeStream", "Run", "RunWaitResponse", "Message", "ErrorResponse", "Problem")


def deviations(draft: Json, ours: Json) -> dict[str, tuple[Any, Any]]:
    """Return what differs: `RunResume.thread_id` -> ({"format": "uuid"}, {"maxLength": 512}), by place."""
    before, after = _places(draft), _places(ours)
    found: dict[str, tuple[Any, Any]] = {}
    for place in {**before, **after}:
        old, new = before.get(place), after.get(place)
        if found.get(place.partition(".")[0]) == (
            ABSENT,
            PRESENT,
        ):  # a schema that the draft does not have, with all its fields
            continue
        if old is None or new is None:
            found[place] = (ABSENT, PRESENT) if old is None else (PRESENT, ABSENT)
        elif old != new:
            words = sorted(word for word in {*old, *new} if old.get(word) != new.get(word))
            found[place] = tuple({word: side[word] for word in words if word in side} for side in (old, new))  # type: ignore[assignment]
    return found


def _places(document: Json) -> dict[str, Json]:
    schemas = {name: _flat(document, name) for name in _NAMES if name in document["components"]["schemas"]}
    stream, resume = schemas["RunResumeStream"], schemas["RunResume"]
    stream["required"] = sorted({*stream["required"]} - {*resume["required"]})
    for name in resume["properties"]:
        assert stream["properties"].pop(name) == resume["properties"][name]
    places: dict[str, Json] = {name: {"required": sorted({*schema["required"]})} for name, schema in schemas.items()}
    for name, schema in schemas.items():
        places |= {f"{name}.{field}": value for field, value in schema["properties"].items()}
    for path, item in document["paths"].items():
        assert [*item] == ["patch"]
        operation = item["patch"]
        places[f"PATCH {path}"] = {
            "operationId": operation["operationId"],
            "tags": operation["tags"],
            "body": _content(operation["requestBody"]),
            "body required": operation["requestBody"]["required"],
        }
        places |= {f"{parameter['name']} (request header)": {} for parameter in operation.get("parameters", ())}
        for status, response in operation["responses"].items():
            place = f"{status} of {path}" if status == "200" else status
            content = _content(response)
            assert places.setdefault(place, content) == content
            places |= {f"{name} (response header)": {} for name in response.get("headers", ())}
    return places


def _content(part: Json) -> Json:
    schemas = {kind: _without_texts(media["schema"]) for kind, media in part["content"].items()}
    return {kind: schema.get("$ref", "").rpartition("/")[2] or schema for kind, schema in schemas.items()}


def _flat(document: Json, name: str) -> Json:
    """Return a schema with the parts of `allOf` as one, and without references."""
    schema = document["components"]["schemas"][name]
    flat: Json = {"properties": {}, "required": []}
    for part in schema.get("allOf", (schema,)):
        named = part.get("$ref", "").rpartition("/")[2]
        own = _flat(document, named) if named else _plain(part, document)
        flat["properties"] |= own.get("properties", {})
        flat["required"] += own.get("required", [])
    return flat


def _plain(value: Any, document: Json) -> Any:
    """Return a schema without texts and references; parts that say nothing are left out."""
    if isinstance(value, list):
        return [_plain(item, document) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return {"schema": name} if name in _NAMES else _plain(document["components"]["schemas"][name], document)
    plain = {key: _plain(item, document) for key, item in _without_texts(value).items()}
    if plain.get("additionalProperties") in (True, {}):
        del plain["additionalProperties"]
    return plain


def _without_texts(schema: Json) -> Json:
    return {key: value for key, value in schema.items() if key not in _TEXTS or isinstance(value, dict)}
