//! Finds the operation and resolves `$ref`.

use serde_json::Value;

use super::yaml;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// An OpenAPI description.
pub struct Description(pub Value);

/// One operation of a description.
pub struct Operation {
    pub method: String,
    pub path: String,
    pub body: Value,
    /// The parameters of the operation and of its path.
    pub parameters: Vec<Value>,
}

impl Description {
    /// Reads JSON or YAML.
    pub fn parse(text: &str) -> Result<Description, String> {
        let value: Value = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| error.to_string())?
        } else {
            yaml::parse(text)?
        };
        match value.get("openapi").and_then(Value::as_str) {
            Some(version) if version.starts_with("3.") => Ok(Description(value)),
            Some(version) => Err(format!("its version is {version}: 3.0 and 3.1 are known")),
            None => Err("it has no \"openapi\": \"3.…\"".into()),
        }
    }

    /// The value itself, or the one that its `$ref` names within the description.
    pub fn resolve<'a>(&'a self, mut value: &'a Value) -> &'a Value {
        for _ in 0..16 {
            let pointer = value.get("$ref").and_then(Value::as_str);
            match pointer.and_then(|pointer| self.0.pointer(pointer.strip_prefix('#')?)) {
                Some(target) => value = target,
                None => break,
            }
        }
        value
    }

    /// The operation with this id, or this `METHOD /path`.
    pub fn operation(&self, wanted: &str) -> Result<Operation, String> {
        let mut ids = Vec::new();
        let paths = self.0.get("paths").and_then(Value::as_object);
        for (path, item) in paths.into_iter().flatten() {
            let item = self.resolve(item);
            for method in METHODS {
                let Some(body) = item.get(method) else {
                    continue;
                };
                let id = body.get("operationId").and_then(Value::as_str);
                let name = format!("{} {path}", method.to_uppercase());
                if id == Some(wanted) || name == wanted {
                    return Ok(self.found(method, path, item, body));
                }
                ids.push(id.map_or(name, str::to_owned));
            }
        }
        Err(no_such(wanted, ids))
    }

    fn found(&self, method: &str, path: &str, item: &Value, body: &Value) -> Operation {
        let list = |value: &Value| -> Vec<Value> {
            let list = value.get("parameters").and_then(Value::as_array);
            let list = list.into_iter().flatten();
            list.map(|parameter| self.resolve(parameter).clone()).collect()
        };
        let mut parameters = list(body);
        for inherited in list(item) {
            let same =
                |own: &Value| own["name"] == inherited["name"] && own["in"] == inherited["in"];
            if !parameters.iter().any(same) {
                parameters.push(inherited);
            }
        }
        Operation {
            method: method.to_uppercase(),
            path: path.to_owned(),
            body: body.clone(),
            parameters,
        }
    }
}

/// An error that lists the operations: all, or the most similar ones.
fn no_such(wanted: &str, mut ids: Vec<String>) -> String {
    const MAX_LISTED: usize = 50;
    if ids.is_empty() {
        return "it has no operations".to_owned();
    }
    if wanted.is_empty() {
        let more = match ids.len().saturating_sub(MAX_LISTED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        ids.truncate(MAX_LISTED);
        return format!("choose one of its operations (--operation): {}{more}", ids.join(", "));
    }
    ids.sort_by_key(|id| strsim::damerau_levenshtein(id, wanted));
    ids.truncate(5);
    format!("it has no operation {wanted:?} (--operation); the nearest are: {}", ids.join(", "))
}
