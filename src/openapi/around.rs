//! Authentication and pagination of an operation.

use serde_json::{Map, Value, json};

use super::find::{Description, Operation};

/// Adds the first authentication scheme of the operation.
pub fn authenticate(
    description: &Description,
    operation: &Operation,
    request: &mut Map<String, Value>,
    job: &mut Map<String, Value>,
    notes: &mut Vec<String>,
) {
    let wanted = operation.body.get("security").or_else(|| description.0.get("security"));
    let first = wanted.and_then(|wanted| wanted.pointer("/0")).and_then(Value::as_object);
    for name in first.into_iter().flat_map(Map::keys) {
        let schemes = &description.0["components"]["securitySchemes"];
        let scheme = description.resolve(&schemes[name.as_str()]);
        match (scheme["type"].as_str(), scheme["in"].as_str(), scheme["scheme"].as_str()) {
            (Some("apiKey"), Some("query"), _) => add(request, "query", scheme, "API_KEY"),
            (Some("apiKey"), Some("header"), _) => add(request, "headers", scheme, "API_KEY"),
            (Some("http"), _, Some("basic")) => drop(job.insert(
                "auth".into(),
                json!({"kind": "basic", "user": "{{ env.API_USER }}", "password": "{{ env.API_PASSWORD }}"}),
            )),
            (Some("http" | "openIdConnect"), _, _) => drop(job.insert(
                "auth".into(),
                json!({"kind": "bearer", "token": "{{ env.API_TOKEN }}"}),
            )),
            (Some("oauth2"), _, _) => drop(job.insert("auth".into(), oauth2(scheme))),
            (Some("mutualTLS"), _, _) => {
                notes.push("it requires a client certificate: give tls.cert and tls.key".into());
            }
            _ => notes.push(format!("its authentication {name:?} is not known: add it")),
        }
    }
}

fn add(request: &mut Map<String, Value>, part: &str, scheme: &Value, variable: &str) {
    let name = scheme["name"].as_str().unwrap_or("x-api-key");
    request[part][name] = format!("{{{{ env.{variable} }}}}").into();
}

fn oauth2(scheme: &Value) -> Value {
    match scheme.pointer("/flows/clientCredentials/tokenUrl") {
        Some(url) => json!({
            "kind": "oauth2", "token-url": url,
            "client-id": "{{ env.CLIENT_ID }}", "client-secret": "{{ env.CLIENT_SECRET }}",
        }),
        None => json!({"kind": "bearer", "token": "{{ env.API_TOKEN }}"}),
    }
}

/// The pagination and the items of an operation, guessed from its parameters and its
/// answer.
pub fn pages(
    description: &Description,
    operation: &Operation,
    request: &mut Map<String, Value>,
) -> Option<(Value, String)> {
    let schema = answer(description, operation)?;
    let each = items(description, schema)?;
    let query = |names: &[&str]| {
        let parameters = operation.parameters.iter().filter(|parameter| parameter["in"] == "query");
        parameters
            .filter_map(|parameter| parameter["name"].as_str())
            .find(|name| names.contains(&name.to_ascii_lowercase().as_str()))
    };
    let links = operation.body.pointer("/responses/200/headers/Link").is_some();
    let cursor =
        query(&["cursor", "page_token", "pagetoken", "after", "starting_after", "next_token"]);
    let pages = if links {
        json!({ "next": "link" })
    } else if let (Some(name), Some(next)) = (cursor, next_cursor(schema)) {
        json!({ "cursor": format!("{name}=.{next}") })
    } else if let Some(name) = query(&["page", "page_number", "pagenumber"]) {
        json!({ "page": name })
    } else if let (Some(name), Some(size)) =
        (query(&["offset", "skip", "start"]), query(&["limit", "count", "size"]))
    {
        request["query"][size] = "100".into();
        json!({ "offset": format!("{name}=100") })
    } else {
        return None;
    };
    Some((pages, each))
}

/// The schema of a successful answer.
fn answer<'a>(description: &'a Description, operation: &'a Operation) -> Option<&'a Value> {
    let responses = operation.body.get("responses")?.as_object()?;
    let good = responses.iter().find(|(status, _)| status.starts_with('2'))?.1;
    let content = description.resolve(good).get("content")?.as_object()?;
    let json = content.iter().find(|(kind, _)| kind.contains("json"))?.1;
    Some(description.resolve(json.get("schema")?))
}

/// The jq program for the items: the answer itself, or its only list.
fn items(description: &Description, schema: &Value) -> Option<String> {
    let is_list = |schema: &Value| description.resolve(schema)["type"] == "array";
    if is_list(schema) {
        return Some(".[]".into());
    }
    let properties = schema.get("properties")?.as_object()?;
    let mut lists = properties.iter().filter(|(_, schema)| is_list(schema));
    match (lists.next(), lists.next()) {
        (Some((name, _)), None) => Some(format!(".{name}[]")),
        _ => None,
    }
}

fn next_cursor(schema: &Value) -> Option<&str> {
    let names = [
        "next_cursor",
        "nextcursor",
        "next_page_token",
        "nextpagetoken",
        "cursor",
        "next_token",
        "after",
    ];
    let properties = schema.get("properties")?.as_object()?;
    let mut keys = properties.keys();
    keys.find(|name| names.contains(&name.to_ascii_lowercase().as_str())).map(String::as_str)
}
