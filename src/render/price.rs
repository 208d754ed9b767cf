//! What a request costs, and whose limits it counts against. Pure.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use minijinja::value::Value;

use super::place::EscapeContext;
use super::scope::TemplateScope;
use super::template::{Template, Templates};
use crate::error::Error;

/// What limits want to know of a request, as the job writes it.
#[derive(Debug, Clone, Default)]
pub struct CostExpressions {
    /// By unit: its name, and an expression over the row. Without one it costs 1.
    pub costs: Vec<(String, Option<String>)>,
    /// Templates, each of whose values has limits for itself.
    pub scopes: Vec<String>,
    /// Templates of API keys, of which each request gets one as `{{ key }}`.
    pub keys: Vec<String>,
}

/// What limits want to know of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostExpression {
    /// By unit, as [`CostExpressions::costs`] has them.
    pub units: Vec<u64>,
    /// By scope, as [`CostExpressions::scopes`] has them.
    pub keys: Vec<Arc<str>>,
}

/// The compiled prices of a job.
#[derive(Debug, Default)]
pub(super) struct Pricing {
    costs: Vec<(String, Option<Template>)>,
    scopes: Vec<(String, Template)>,
    /// Whether anything looks at the request itself.
    sees_request: bool,
}

/// What an expression may ask of `request`.
const OF_REQUEST: [&str; 5] = ["method", "url", "host", "path", "body"];

impl Pricing {
    pub fn new(prices: &CostExpressions, templates: &mut Templates) -> Result<Pricing, Error> {
        let mut pricing = Pricing::default();
        for (unit, text) in &prices.costs {
            let place = format!("limit.cost.{unit} (--cost)");
            let template = text
                .as_ref()
                .map(|text| templates.add(EscapeContext::Text, &of_value(text)));
            let template = template.transpose().map_err(|why| wrong(&place, &why))?;
            if let Some(template) = template {
                pricing.check(&place, templates.paths_used(template))?;
            }
            pricing.costs.push((unit.clone(), template));
        }
        for text in &prices.scopes {
            let place = "limit.per (--per)";
            let template = templates
                .add(EscapeContext::Text, text)
                .map_err(|why| wrong(place, &why))?;
            let paths = templates.paths_used(template);
            if paths.is_empty() {
                let why = format!(
                    "{text:?} is the same for all rows: write a template such as {{{{ tenant }}}} or {{{{ request.host }}}}"
                );
                return Err(wrong(place, &why));
            }
            pricing.check(place, paths)?;
            pricing.scopes.push((text.clone(), template));
        }
        Ok(pricing)
    }

    /// What limits want to know of any request, where that is the same for all.
    pub fn same(&self) -> Option<CostExpression> {
        let is_same = self.scopes.is_empty() && self.costs.iter().all(|(_, cost)| cost.is_none());
        is_same.then(|| CostExpression {
            units: vec![1; self.costs.len()],
            keys: Vec::new(),
        })
    }

    /// What limits want to know of this request.
    pub fn price(
        &self,
        templates: &Templates,
        scope: &TemplateScope<'_>,
        request: &Request<Bytes>,
    ) -> Result<CostExpression, String> {
        let seeing;
        let scope = if self.sees_request {
            seeing = with_request(scope, request).into();
            &seeing
        } else {
            scope
        };
        let units = self.costs.iter().map(|(unit, cost)| match cost {
            None => Ok(1),
            Some(cost) => templates
                .render(*cost, scope)
                .and_then(|text| amount(&text))
                .map_err(|why| format!("limit.cost.{unit}: {why}")),
        });
        let keys = self.scopes.iter().map(|(text, template)| {
            let key = templates.render(*template, scope);
            key.map(Arc::from)
                .map_err(|why| format!("limit.per {text:?}: {why}"))
        });
        Ok(CostExpression {
            units: units.collect::<Result<_, _>>()?,
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    fn check(&mut self, place: &str, paths: Vec<String>) -> Result<(), Error> {
        for path in paths {
            let Some(rest) = path.strip_prefix("request") else {
                continue;
            };
            let name = rest.strip_prefix('.').unwrap_or(rest);
            if !OF_REQUEST.contains(&name) {
                let why = format!(
                    "there is no \"{path}\"; there are request.{}",
                    OF_REQUEST.join(", request.")
                );
                return Err(wrong(place, &why));
            }
            self.sees_request = true;
        }
        Ok(())
    }
}

fn wrong(place: &str, why: &str) -> Error {
    Error::plan(format!("{place}: {why}"))
}

fn with_request(scope: &TemplateScope<'_>, request: &Request<Bytes>) -> Value {
    let uri = request.uri();
    let of_request = Value::from_pairs([
        ("method", Value::from(request.method().as_str())),
        ("url", Value::from(uri.to_string())),
        ("host", Value::from(uri.host().unwrap_or_default())),
        ("path", Value::from(uri.path())),
        ("body", Value::from(String::from_utf8_lossy(request.body()))),
    ]);
    minijinja::value::merge_maps([
        Value::from_pairs([("request", of_request)]),
        scope.engine().clone(),
    ])
}

/// An expression is a template that says nothing else.
fn of_value(text: &str) -> String {
    if text.contains("{{") {
        text.to_owned()
    } else {
        format!("{{{{ {text} }}}}")
    }
}

/// Units are whole; what is left over counts.
fn amount(text: &str) -> Result<u64, String> {
    match text.trim().parse::<f64>() {
        Ok(number) if (0.0..=9e15).contains(&number) => Ok(number.ceil() as u64),
        _ => Err(format!(
            "it gives {text:?}, which is not a number of units (0 or more)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pricing(cost: &str, scope: &str) -> Result<(Pricing, Templates), Error> {
        let mut templates = Templates::new();
        let prices = CostExpressions {
            costs: vec![
                ("requests".into(), None),
                ("tokens".into(), Some(cost.into())),
            ],
            scopes: vec![scope.into()],
            keys: Vec::new(),
        };
        Ok((Pricing::new(&prices, &mut templates)?, templates))
    }

    fn price(cost: &str, scope: &str) -> Result<CostExpression, String> {
        let (pricing, templates) = pricing(cost, scope).map_err(|error| error.to_string())?;
        let fields = serde_json::from_value(json!({"prompt": "12345678", "tenant": "a"}));
        let request = Request::post("http://h/v1?x=1")
            .body(Bytes::from("{}"))
            .unwrap();
        pricing.price(&templates, &templates.scope(&fields.unwrap()), &request)
    }

    #[test]
    fn costs_and_keys_come_from_the_row_or_the_request() {
        for (cost, scope, units, key) in [
            ("prompt | length / 4 + 0.5", "{{ tenant }}", 3, "a"),
            (
                "{{ request.body | length }}",
                "{{ request.host }}{{ request.path }}",
                2,
                "h/v1",
            ),
            ("7", "{{ tenant }} {{ request.method }}", 7, "a POST"),
        ] {
            let price = price(cost, scope).unwrap();
            assert_eq!((price.units, &*price.keys[0]), (vec![1, units], key));
        }
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        for (cost, scope, why) in [
            (
                "promt | length",
                "{{ tenant }}",
                "the row has no field \"promt\"",
            ),
            ("tenant", "{{ tenant }}", "which is not a number of units"),
            ("0 - 1", "{{ tenant }}", "which is not a number of units"),
            ("1", "{{ request.hots }}", "there is no \"request.hots\""),
            ("1", "tenant", "is the same for all rows"),
            ("1 +", "{{ tenant }}", "limit.cost.tokens (--cost)"),
        ] {
            let error = price(cost, scope).map(|_| ()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
