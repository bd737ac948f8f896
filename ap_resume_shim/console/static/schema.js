// A checker for the JSON Schemas of questions, and what a form needs to know of a property. Keywords that it does not
// know never refuse a value: the shim and the backend check again.

import { isObject } from "./dom.js";

const MAX_DEPTH = 40;
const MAX_CHECKS = 20_000; // of one value: a schema may refer to itself several times on each level
let checksLeft = 0;

const isNumber = (value) => typeof value === "number" || Boolean(JSON.isRawJSON?.(value));
const number = (value) => (typeof value === "number" ? value : Number(value.rawJSON));
const TYPES = {
  null: (value) => value === null,
  boolean: (value) => typeof value === "boolean",
  string: (value) => typeof value === "string",
  array: Array.isArray,
  object: isObject,
  number: isNumber,
  integer: (value) => isNumber(value) && Number.isInteger(number(value)),
};
const NAMES = {
  null: "null",
  boolean: "true or false",
  string: "a text",
  array: "a list",
  object: "an object",
  number: "a number",
  integer: "a whole number",
};
const FORMATS = {
  date: [/^\d{4}-\d\d-\d\d$/, "a date such as 2026-12-31"],
  "date-time": [/^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d/, "a date and time such as 2026-12-31T09:30:00Z"],
  time: [/^\d\d:\d\d/, "a time such as 09:30:00"],
  email: [/^[^@\s]+@[^@\s]+$/, "an email address"],
  uri: [/^[a-z][a-z0-9+.-]*:\S+$/i, "an address such as https://example.org"],
  uuid: [/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, "a UUID"],
};
const BOUNDS = [
  ["minimum", isNumber, number, (size, bound) => size >= bound, (bound) => `has to be at least ${bound}`],
  ["maximum", isNumber, number, (size, bound) => size <= bound, (bound) => `has to be at most ${bound}`],
  ["exclusiveMinimum", isNumber, number, (size, bound) => size > bound, (bound) => `has to be more than ${bound}`],
  ["exclusiveMaximum", isNumber, number, (size, bound) => size < bound, (bound) => `has to be less than ${bound}`],
  [
    "minLength",
    TYPES.string,
    (text) => [...text].length,
    (size, bound) => size >= bound,
    (bound) => `needs at least ${bound} characters`,
  ],
  [
    "maxLength",
    TYPES.string,
    (text) => [...text].length,
    (size, bound) => size <= bound,
    (bound) => `may have at most ${bound} characters`,
  ],
  [
    "minItems",
    Array.isArray,
    (list) => list.length,
    (size, bound) => size >= bound,
    (bound) => `needs at least ${bound} items`,
  ],
  [
    "maxItems",
    Array.isArray,
    (list) => list.length,
    (size, bound) => size <= bound,
    (bound) => `may have at most ${bound} items`,
  ],
];

// [{path, problem}]: what a schema refuses in a value. Paths are keys and indexes, joined with dots.
export function problems(schema, value, root = schema, path = "", depth = 0) {
  if (depth === 0) checksLeft = MAX_CHECKS;
  if (schema === false) return [{ path, problem: "is not allowed" }];
  if (!isObject(schema) || depth > MAX_DEPTH || checksLeft-- <= 0) return [];
  const check = (part, item, at = path) => problems(part, item, root, at, depth + 1);
  const join = (key) => (path ? `${path}.${key}` : `${key}`);
  const found = [];
  const report = (problem, at = path) => found.push({ path: at, problem });

  if (typeof schema.$ref === "string") found.push(...check(refer(root, schema.$ref), value));
  const types = [schema.type ?? []].flat().filter((name) => Object.hasOwn(TYPES, name));
  if (types.length && !types.some((name) => TYPES[name](value))) {
    if (!(value === null && schema.nullable === true))
      report(`has to be ${types.map((name) => NAMES[name]).join(" or ")}`);
    return found;
  }
  const allowed = "const" in schema ? [schema.const] : schema.enum;
  if (Array.isArray(allowed) && !allowed.some((item) => same(item, value)))
    report(
      `has to be one of ${allowed
        .map((item) => JSON.stringify(item))
        .join(", ")
        .slice(0, 200)}`,
    );
  for (const [name, applies, measure, fits, text] of BOUNDS)
    if (isNumber(schema[name]) && applies(value) && !fits(measure(value), number(schema[name])))
      report(text(number(schema[name])));
  if (typeof value === "string") found.push(...textProblems(schema, value, path));
  if (isObject(value)) {
    const known = isObject(schema.properties) ? schema.properties : {};
    for (const name of Array.isArray(schema.required) ? schema.required : [])
      if (!Object.hasOwn(value, name)) report("is required", join(name));
    for (const [name, item] of Object.entries(value)) {
      const rule = Object.hasOwn(known, name)
        ? known[name]
        : schema.patternProperties
          ? true
          : schema.additionalProperties;
      if (rule === false) report("is not a field of this question", join(name));
      else found.push(...check(rule, item, join(name)));
    }
  }
  if (Array.isArray(value))
    value.forEach((item, index) =>
      found.push(...check(schema.prefixItems?.[index] ?? schema.items, item, join(index))),
    );
  for (const part of Array.isArray(schema.allOf) ? schema.allOf : []) found.push(...check(part, value));
  for (const name of ["anyOf", "oneOf"]) {
    const choices = Array.isArray(schema[name]) ? schema[name].map((part) => check(part, value)) : [];
    if (choices.length && choices.every((each) => each.length))
      found.push(...(choices.length === 1 ? choices[0] : [{ path, problem: "is none of the allowed forms" }]));
  }
  return found;
}

function textProblems(schema, value, path) {
  const found = [];
  const [format, example] = (Object.hasOwn(FORMATS, schema.format ?? "") && FORMATS[schema.format]) || [];
  if (format && !format.test(value)) found.push({ path, problem: `has to be ${example}` });
  if (typeof schema.pattern === "string") {
    let pattern = null;
    try {
      pattern = new RegExp(schema.pattern, "u");
    } catch {
      // another dialect of regular expressions: the backend decides
    }
    if (pattern && !pattern.test(value)) found.push({ path, problem: `has to match ${schema.pattern}` });
  }
  return found;
}

function refer(root, ref) {
  if (ref !== "#" && !ref.startsWith("#/")) return true;
  const keys = ref
    .split("/")
    .slice(1)
    .map((key) => decoded(key).replaceAll("~1", "/").replaceAll("~0", "~"));
  return keys.reduce((found, key) => (found && Object.hasOwn(Object(found), key) ? found[key] : true), root);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a percent sign that escapes nothing
  }
}

const same = (left, right) =>
  isNumber(left) && isNumber(right) ? number(left) === number(right) : canonical(left) === canonical(right);
const canonical = (value) =>
  JSON.stringify(value, (_, item) =>
    isObject(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item,
  );

// How a schema is drawn: {type: "choice" | "several" | "string" | "number" | "form" | "json", schema, options?}. A reference and an
// alternative of null are looked through.
export function drawing(schema, root, depth = 0) {
  if (!isObject(schema) || depth > 8) return { type: "json", schema };
  const outer = ({ $ref, allOf, anyOf, oneOf, ...rest }) => rest;
  if (typeof schema.$ref === "string")
    return drawing({ ...refer(root, schema.$ref), ...outer(schema) }, root, depth + 1);
  if (Array.isArray(schema.allOf) && schema.allOf.length === 1)
    return drawing({ ...schema.allOf[0], ...outer(schema) }, root, depth + 1);
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(alternatives)) {
    const rest = alternatives.filter((each) => each?.type !== "null");
    if (rest.length === 1) return drawing({ ...rest[0], ...outer(schema) }, root, depth + 1);
    if (
      rest.length === alternatives.length &&
      rest.every((each) => isObject(each) && "const" in each && !isObject(each.const))
    )
      return {
        type: "choice",
        schema,
        options: rest.map((each) => ({ label: each.title ?? `${each.const}`, value: each.const })),
      };
    return { type: "json", schema };
  }
  const types = [schema.type ?? []].flat().filter((name) => name !== "null");
  const items = types[0] === "array" && isObject(schema.items) ? drawing(schema.items, root, depth + 1) : null;
  if (items?.type === "choice") return { type: "several", schema, options: items.options };
  const values = "const" in schema ? [schema.const] : schema.enum;
  if (Array.isArray(values) && values.every((each) => each !== null && !isObject(each) && !Array.isArray(each)))
    return {
      type: "choice",
      schema,
      options: values.map((value) => ({ label: typeof value === "string" ? value : JSON.stringify(value), value })),
    };
  if (types.length !== 1) return { type: "json", schema };
  if (types[0] === "boolean")
    return {
      type: "choice",
      schema,
      options: [
        { label: "Yes", value: true },
        { label: "No", value: false },
      ],
    };
  if (types[0] === "string") return { type: "string", schema };
  if (types[0] === "number" || types[0] === "integer") return { type: "number", schema };
  const properties = isObject(schema.properties) ? Object.keys(schema.properties) : [];
  return { type: types[0] === "object" && properties.length ? "form" : "json", schema };
}

// A schema for the arguments of a tool that has none: fields for texts, numbers and truth values. Null if a form would
// lose something.
export function inferred(value) {
  const scalar = (item) => ["string", "boolean"].includes(typeof item) || isNumber(item);
  if (!isObject(value) || !Object.keys(value).length || !Object.values(value).every(scalar)) return null;
  const type = (item) => ({ type: isNumber(item) ? "number" : typeof item });
  const properties = Object.fromEntries(Object.entries(value).map(([name, item]) => [name, type(item)]));
  return { type: "object", properties, required: Object.keys(properties) };
}
