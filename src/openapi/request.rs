//! URL and method of a request, and its parameters as templates.

use serde_json::{Map, Value};

use super::body::{self, template};
use super::find::{Description, Operation};

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
        notes.push(format!("optional parameters are left out: {}", optional.join(", ")));
    }
    let mut request = Map::new();
    request.insert("url".into(), format!("{}{path}", server(description, operation, notes)).into());
    request.insert("method".into(), operation.method.clone().into());
    request.insert("query".into(), query.into());
    request.insert("headers".into(), headers.into());
    body::add(description, operation, &mut request, notes);
    request
}

/// The first server's URL, with its variables' defaults.
fn server(description: &Description, operation: &Operation, notes: &mut Vec<String>) -> String {
    let own = operation.body.pointer("/servers/0");
    let server = own.or_else(|| description.0.pointer("/servers/0"));
    let mut url = server.and_then(|server| server["url"].as_str()).unwrap_or("/").to_owned();
    let variables = server.and_then(|server| server["variables"].as_object());
    for (name, variable) in variables.into_iter().flatten() {
        let default = variable["default"].as_str().unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), default);
    }
    if !url.contains("://") {
        notes.push("the description names no host: replace api.example by that of the API".into());
        url = format!("https://api.example{url}");
    }
    url.trim_end_matches('/').to_owned()
}
