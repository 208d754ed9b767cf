//! Parameters and bodies as templates.

use serde_json::{Map, Value, json};

use super::find::{Description, Operation};

/// Schemas may contain themselves.
const DEEPEST: usize = 6;

/// The `request` part of the job.
pub fn request(
    description: &Description,
    operation: &Operation,
    notes: &mut Vec<String>,
) -> Map<String, Value> {
    let mut path = operation.path.clone();
    let (mut query, mut headers, mut optional) = (Map::new(), Map::new(), Vec::new());
    for parameter in &operation.parameters {
        let name = parameter["name"].as_str().unwrap_or_default();
        let text = Value::from(template(name));
        let required = parameter["required"] == true;
        match parameter["in"].as_str() {
            Some("path") => path = path.replace(&format!("{{{name}}}"), &template(name)),
            Some("query") if required => drop(query.insert(name.into(), text)),
            Some("header") if required => drop(headers.insert(name.into(), text)),
            _ => optional.push(name.to_owned()),
        }
    }
    if !optional.is_empty() {
        notes.push(format!(
            "optional parameters are left out: {}",
            optional.join(", ")
        ));
    }
    let mut request = Map::new();
    request.insert(
        "url".into(),
        format!("{}{path}", server(description, operation, notes)).into(),
    );
    request.insert("method".into(), operation.method.clone().into());
    request.insert("query".into(), query.into());
    request.insert("headers".into(), headers.into());
    add_body(description, operation, &mut request);
    request
}

/// `{{ name }}`, as a row's field can be called in a template.
fn template(name: &str) -> String {
    let letters = name.chars();
    let field: String = letters
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    format!("{{{{ {field} }}}}")
}

/// The first server's URL, with its variables' defaults.
fn server(description: &Description, operation: &Operation, notes: &mut Vec<String>) -> String {
    let own = operation.body.pointer("/servers/0");
    let server = own.or_else(|| description.0.pointer("/servers/0"));
    let mut url = server
        .and_then(|server| server["url"].as_str())
        .unwrap_or("/")
        .to_owned();
    let variables = server.and_then(|server| server["variables"].as_object());
    for (name, variable) in variables.into_iter().flatten() {
        let default = variable["default"].as_str().unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), default);
    }
    if !url.contains("://") {
        notes.push(
            "the description names no host: put the API's in the place of api.example".into(),
        );
        url = format!("https://api.example{url}");
    }
    url.trim_end_matches('/').to_owned()
}

fn add_body(description: &Description, operation: &Operation, request: &mut Map<String, Value>) {
    let body = operation
        .body
        .get("requestBody")
        .map(|body| description.resolve(body));
    let Some(content) = body.and_then(|body| body["content"].as_object()) else {
        return;
    };
    let kinds = [
        ("json", "json"),
        ("x-www-form-urlencoded", "form"),
        ("multipart/form-data", "multipart"),
    ];
    for (kind, key) in kinds {
        if let Some((_, media)) = content.iter().find(|(name, _)| name.contains(kind)) {
            let sample = sample(description, &media["schema"], "body", DEEPEST);
            request.insert(key.into(), sample);
            return;
        }
    }
    if let Some(kind) = content.keys().next() {
        request.insert("data".into(), "{{ body }}".into());
        request["headers"]["Content-Type"] = kind.as_str().into();
    }
}

/// What a schema wants, with a template for each value.
fn sample(description: &Description, schema: &Value, name: &str, depth: usize) -> Value {
    let schema = description.resolve(schema);
    for key in ["allOf", "oneOf", "anyOf"] {
        let parts = schema
            .get(key)
            .and_then(Value::as_array)
            .filter(|_| depth > 0);
        if let Some(parts) = parts {
            let mut all = parts
                .iter()
                .map(|part| sample(description, part, name, depth - 1));
            return match key {
                "allOf" => all.fold(json!({}), merged),
                _ => all.next().unwrap_or_default(),
            };
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    if let Some(properties) = properties.filter(|_| depth > 0) {
        let required = schema.get("required").and_then(Value::as_array);
        let wanted = |name: &str| required.is_none_or(|all| all.iter().any(|one| one == name));
        return properties
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, schema)| (name.clone(), sample(description, schema, name, depth - 1)))
            .collect();
    }
    match schema.get("const").or_else(|| schema.get("default")) {
        Some(fixed) => fixed.clone(),
        None => template(name).into(),
    }
}

fn merged(mut one: Value, other: Value) -> Value {
    match (one.as_object_mut(), other) {
        (Some(map), Value::Object(more)) => {
            map.extend(more);
            one
        }
        (_, other) => other,
    }
}
