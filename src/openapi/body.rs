//! The body of a request by its schema, with a template for each value.

use serde_json::{Map, Value, json};

use super::find::{Description, Operation};

/// Maximum depth of a body, since schemas can contain themselves.
const DEEPEST: usize = 6;

/// The content types of bodies that a job can build, and its keys for them.
const KINDS: [(&str, &str); 3] =
    [("json", "json"), ("x-www-form-urlencoded", "form"), ("multipart/form-data", "multipart")];

/// The schema of an object, with those of its parts (`allOf`).
#[derive(Default)]
struct Object<'a> {
    properties: Vec<(&'a str, &'a Value)>,
    required: Vec<&'a str>,
}

/// Adds the operation's body to the `request` part of a job.
pub fn add(
    description: &Description,
    operation: &Operation,
    request: &mut Map<String, Value>,
    notes: &mut Vec<String>,
) {
    let body = operation.body.get("requestBody").map(|body| description.resolve(body));
    let Some(content) = body.and_then(|body| body["content"].as_object()) else {
        return;
    };
    for (kind, key) in KINDS {
        if let Some((_, media)) = content.iter().find(|(name, _)| name.contains(kind)) {
            let schema = description.resolve(&media["schema"]);
            let object = object(description, schema, DEEPEST);
            let sample = match key {
                "json" => json_text(sample(description, schema, "body", DEEPEST)),
                _ => fields(description, &object, key),
            };
            request.insert(key.into(), sample);
            notes.extend(left_out(&object));
            return;
        }
    }
    if let Some(kind) = content.keys().next() {
        request.insert("data".into(), "{{ body }}".into());
        request["headers"]["Content-Type"] = kind.as_str().into();
    }
}

/// A sample as the text of a JSON body, in which a template has its quotes.
fn json_text(sample: Value) -> Value {
    match sample {
        Value::String(_) => sample.to_string().into(),
        other => other,
    }
}

/// The fields of a form: texts or files.
fn fields(description: &Description, object: &Object, key: &str) -> Value {
    let field = |(name, schema): (&str, &Value)| {
        let text = match sample(description, schema, name, DEEPEST) {
            Value::Object(_) | Value::Array(_) => template(name).into(),
            text => text,
        };
        let value = if key == "multipart" && is_file(description.resolve(schema)) {
            json!({ "file": text })
        } else {
            text
        };
        (name.to_owned(), value)
    };
    object.wanted().map(field).collect()
}

/// Whether a schema is that of a file, in OpenAPI 3.0 or 3.1.
fn is_file(schema: &Value) -> bool {
    schema["format"] == "binary" || schema.get("contentMediaType").is_some()
}

fn sample(description: &Description, schema: &Value, name: &str, depth: usize) -> Value {
    let schema = description.resolve(schema);
    let object = object(description, schema, depth);
    if depth > 0 && !object.properties.is_empty() {
        let value = |(name, schema): (&str, &Value)| {
            let value = sample(description, schema, name, depth - 1);
            (name.to_owned(), value)
        };
        return object.wanted().map(value).collect();
    }
    if let Some(choice) = choice(description, schema).filter(|_| depth > 0) {
        return sample(description, choice, name, depth - 1);
    }
    match fixed(schema) {
        Some(fixed) => fixed.clone(),
        None => template(name).into(),
    }
}

/// The value that a schema prescribes or suggests.
fn fixed(schema: &Value) -> Option<&Value> {
    let only = match schema["enum"].as_array().map(Vec::as_slice) {
        Some([only]) => Some(only),
        _ => None,
    };
    let named = schema.get("const").or(only).or_else(|| schema.get("default"));
    named.filter(|value| !value.is_null())
}

/// The first of alternative schemas other than null.
fn choice<'a>(description: &'a Description, schema: &'a Value) -> Option<&'a Value> {
    let choices = schema.get("oneOf").or_else(|| schema.get("anyOf"));
    let mut choices = choices.and_then(Value::as_array)?.iter();
    choices.find(|choice| description.resolve(choice)["type"] != "null")
}

fn object<'a>(description: &'a Description, schema: &'a Value, depth: usize) -> Object<'a> {
    let mut all = Object::default();
    let list = |key: &str| schema.get(key).and_then(Value::as_array).into_iter().flatten();
    for part in list("allOf").filter(|_| depth > 0) {
        let mut part = description.resolve(part);
        if part.get("properties").is_none() && part.get("allOf").is_none() {
            part = choice(description, part).map_or(part, |part| description.resolve(part));
        }
        let part = object(description, part, depth - 1);
        all.properties.extend(part.properties);
        all.required.extend(part.required);
    }
    let own = schema.get("properties").and_then(Value::as_object);
    let own = own.into_iter().flatten();
    // Read-only fields are left out.
    let own = own.filter(|(_, schema)| schema["readOnly"] != true);
    all.properties.extend(own.map(|(name, schema)| (name.as_str(), schema)));
    all.required.extend(list("required").filter_map(Value::as_str));
    all
}

impl<'a> Object<'a> {
    /// The required fields; all fields if none is required.
    fn wanted(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let properties = self.properties.iter().copied();
        properties.filter(|(name, _)| self.required.is_empty() || self.required.contains(name))
    }
}

fn left_out(object: &Object) -> Option<String> {
    let optional = |name: &&str| !object.required.is_empty() && !object.required.contains(name);
    let names = object.properties.iter().map(|(name, _)| *name);
    let names: Vec<&str> = names.filter(optional).collect();
    (!names.is_empty())
        .then(|| format!("optional fields of the body are left out: {}", names.join(", ")))
}

/// `{{ name }}`, as a row's field can be called in a template.
pub(super) fn template(name: &str) -> String {
    let letters = name.chars();
    let field: String = letters.map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("{{{{ {field} }}}}")
}
