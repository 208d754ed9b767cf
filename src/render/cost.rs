//! The cost of a request, the keys of its limits, and the pool of API keys. Pure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Request;
use minijinja::value::Value;

use super::auto_cost::{LearnedRatio, TokenPart};
use super::escape_context::EscapeContext;
use super::template::{Template, TemplateScope, Templates};
use crate::error::Error;
use crate::row::Fields;

/// Expressions and templates of a job's limits: `limit.cost`, `limit.per`, `limit.keys`.
#[derive(Debug, Clone, Default)]
pub struct CostExpressions {
    /// The name of each unit, and an expression over the row; without one the cost is 1.
    pub costs: Vec<(String, Option<String>)>,
    /// Templates of keys, each of whose values has limits of its own.
    pub scopes: Vec<String>,
    /// Templates of API keys, one of which each request uses as `{{ key }}`.
    pub keys: Vec<String>,
    /// Whether requests need not use the pool's keys.
    pub is_key_optional: bool,
}

/// The cost of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestCost {
    /// The amount of each unit, in the order of [`CostExpressions::costs`].
    pub units: Vec<u64>,
    /// The key of each scope, in the order of [`CostExpressions::scopes`].
    pub keys: Vec<Arc<str>>,
}

/// The compiled cost expressions and scopes of a job.
#[derive(Debug, Default)]
pub(super) struct CostTemplates {
    costs: Vec<(String, UnitCost)>,
    scopes: Vec<(String, Template)>,
    /// Whether any template uses the request itself.
    sees_request: bool,
}

/// How the cost of a request in one unit is known.
#[derive(Debug)]
enum UnitCost {
    /// It is the same for all requests.
    Fixed(u64),
    /// An expression gives it.
    Rendered(Template),
    /// It is estimated by the length of the request, and by what answers tell.
    Auto(AutoCost),
}

/// An estimated cost, and what answers have told of it.
#[derive(Debug)]
struct AutoCost {
    part: TokenPart,
    ratio: Mutex<LearnedRatio>,
}

impl AutoCost {
    fn ratio(&self) -> MutexGuard<'_, LearnedRatio> {
        self.ratio.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cost that is estimated.
const AUTO: &str = "auto";

/// Placeholder of the pool's key in a rendered request: signing, which comes last,
/// replaces it by the key that is chosen.
pub const KEY_PLACEHOLDER: &str = "throng0key0of0the0pool";

/// The values of `request` that an expression may use.
const OF_REQUEST: [&str; 5] = ["method", "url", "host", "path", "body"];

impl CostTemplates {
    pub fn new(costs: &CostExpressions, templates: &mut Templates) -> Result<CostTemplates, Error> {
        let mut compiled = CostTemplates::default();
        for (unit, text) in &costs.costs {
            let key = format!("limit.cost.{unit} (--cost)");
            let cost = match text.as_deref().map(str::trim) {
                None => UnitCost::Fixed(1),
                Some(AUTO) => {
                    UnitCost::Auto(AutoCost { part: TokenPart::of(unit), ratio: Mutex::default() })
                }
                // An expression takes a hundred times longer.
                Some(text) => match whole_number(text) {
                    Some(units) => UnitCost::Fixed(units),
                    None => {
                        let template = templates.add(EscapeContext::Text, &of_value(text));
                        let template = template.map_err(|why| wrong(&key, &why))?;
                        compiled.check(&key, templates.paths_used(template))?;
                        UnitCost::Rendered(template)
                    }
                },
            };
            compiled.costs.push((unit.clone(), cost));
        }
        for text in &costs.scopes {
            let key = "limit.per (--per)";
            let template =
                templates.add(EscapeContext::Text, text).map_err(|why| wrong(key, &why))?;
            let paths = templates.paths_used(template);
            if paths.is_empty() {
                let why = format!(
                    "{text:?} is the same for all rows: write a template such as {{{{ tenant }}}} or {{{{ request.host }}}}"
                );
                return Err(wrong(key, &why));
            }
            compiled.check(key, paths)?;
            compiled.scopes.push((text.clone(), template));
        }
        Ok(compiled)
    }

    /// The cost of every request, where it is the same for all.
    pub fn fixed(&self) -> Option<RequestCost> {
        if !self.scopes.is_empty() {
            return None;
        }
        let units = self.costs.iter().map(|(_, cost)| match cost {
            UnitCost::Fixed(units) => Some(*units),
            UnitCost::Rendered(_) | UnitCost::Auto(_) => None,
        });
        Some(RequestCost { units: units.collect::<Option<_>>()?, keys: Vec::new() })
    }

    /// The cost of this request.
    pub fn cost(
        &self,
        scope: &TemplateScope<'_>,
        request: &Request<Bytes>,
    ) -> Result<RequestCost, String> {
        let with_request_scope;
        let scope = if self.sees_request {
            with_request_scope = scope.with("request", for_engine(request));
            &with_request_scope
        } else {
            scope
        };
        let units = self.costs.iter().map(|(unit, cost)| match cost {
            UnitCost::Fixed(units) => Ok(*units),
            UnitCost::Auto(cost) => Ok(cost.ratio().apply(cost.part.tokens(request.body()))),
            UnitCost::Rendered(cost) => scope
                .render(*cost)
                .and_then(|text| amount(&text))
                .map_err(|why| format!("limit.cost.{unit}: {why}")),
        });
        let keys = self.scopes.iter().map(|(text, template)| {
            let key = scope.render(*template);
            key.map(Arc::from).map_err(|why| format!("limit.per {text:?}: {why}"))
        });
        Ok(RequestCost {
            units: units.collect::<Result<_, _>>()?,
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// Learns what a request has cost in the unit with this index, if that is estimated.
    pub fn learn(&self, unit: usize, request: &Request<Bytes>, used: u64) {
        if let Some((_, UnitCost::Auto(cost))) = self.costs.get(unit) {
            cost.ratio().learn(cost.part.tokens(request.body()), used);
        }
    }

    /// The units whose cost is estimated, and what the estimate is made of.
    pub fn estimated(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.costs.iter().filter_map(|(unit, cost)| match cost {
            UnitCost::Auto(cost) => Some((unit.as_str(), cost.part.describe())),
            UnitCost::Fixed(_) | UnitCost::Rendered(_) => None,
        })
    }

    /// The units whose cost is estimated, with the number of answers that have told theirs, and
    /// the factor of estimates that was learnt from them.
    pub fn learned(&self) -> impl Iterator<Item = (&str, u32, f64)> {
        self.costs.iter().filter_map(|(unit, cost)| match cost {
            UnitCost::Auto(cost) => {
                let ratio = cost.ratio();
                Some((unit.as_str(), ratio.answers(), ratio.factor()))
            }
            UnitCost::Fixed(_) | UnitCost::Rendered(_) => None,
        })
    }

    fn check(&mut self, key: &str, paths: Vec<String>) -> Result<(), Error> {
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
                return Err(wrong(key, &why));
            }
            self.sees_request = true;
        }
        Ok(())
    }
}

fn wrong(key: &str, why: &str) -> Error {
    Error::plan(format!("{key}: {why}"))
}

/// A request for the engine.
fn for_engine(request: &Request<Bytes>) -> Value {
    let uri = request.uri();
    Value::from_pairs([
        ("method", Value::from(request.method().as_str())),
        ("url", Value::from(uri.to_string())),
        ("host", Value::from(uri.host().unwrap_or_default())),
        ("path", Value::from(uri.path())),
        ("body", Value::from(String::from_utf8_lossy(request.body()))),
    ])
}

/// The template of an expression, which may be one already.
fn of_value(text: &str) -> String {
    if text.contains("{{") { text.to_owned() } else { format!("{{{{ {text} }}}}") }
}

/// The number of units that a text of digits is, if it is one.
fn whole_number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    amount(text).ok().filter(|_| is_number)
}

/// A number of units, rounded up to a whole one.
fn amount(text: &str) -> Result<u64, String> {
    match text.trim().parse::<f64>() {
        Ok(number) if (0.0..=9e15).contains(&number) => Ok(number.ceil() as u64),
        _ => Err(format!("it gives {text:?}, which is not a number of units (0 or more)")),
    }
}

/// Compiles the templates of the pool's keys, and defines `{{ key }}`.
///
/// # Errors
/// That there is a pool and no use of it, or the other way round.
pub(super) fn pool_templates(
    costs: &CostExpressions,
    templates: &mut Templates,
) -> Result<Vec<Template>, Error> {
    let keys = &costs.keys;
    match (keys.is_empty(), templates.uses_key()) {
        (true, true) => Err(Error::plan(
            "the request uses {{ key }}, but there is no pool of keys: limit.keys = [\"{{ env.KEY_A }}\", …] makes one; a field of the rows that is called key needs another name",
        )),
        (false, false) if !costs.is_key_optional => Err(Error::plan(
            "limit.keys is given, but the request uses no {{ key }}: put it where the API key goes",
        )),
        _ => {
            templates.set_key(KEY_PLACEHOLDER);
            let add = |key: &String| templates.add(EscapeContext::Text, key);
            let pool: Result<_, String> = keys.iter().map(add).collect();
            pool.map_err(|why| wrong("limit.keys", &why))
        }
    }
}

/// The keys of the pool themselves.
pub(super) fn pool_keys(templates: &Templates, pool: &[Template]) -> Result<Vec<String>, Error> {
    let no_fields = Fields::new();
    let scope = templates.scope(&no_fields);
    let key = |template: &Template| scope.render(*template);
    let keys: Result<_, String> = pool.iter().map(key).collect();
    keys.map_err(|why| wrong("limit.keys", &why))
}

/// A template of a key by which rows are counted apart, outside of any request.
pub struct KeyTemplate {
    templates: Templates,
    template: Template,
}

impl KeyTemplate {
    /// Compiles a template, which must use a field of the row.
    pub fn new(text: &str) -> Result<KeyTemplate, String> {
        let mut templates = Templates::new();
        let template = templates.add(EscapeContext::Text, text)?;
        if templates.used().fields.is_empty() {
            Err(format!(
                "{text:?} is the same for all rows: write a template such as {{{{ tenant }}}}"
            ))
        } else {
            Ok(KeyTemplate { templates, template })
        }
    }

    /// The key of a row with these fields.
    pub fn of(&self, fields: &Fields) -> Result<String, String> {
        self.templates.scope(fields).render(self.template)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compiled(cost: &str, scope: &str) -> Result<(CostTemplates, Templates), Error> {
        let mut templates = Templates::new();
        let prices = CostExpressions {
            costs: vec![("requests".into(), None), ("tokens".into(), Some(cost.into()))],
            scopes: vec![scope.into()],
            ..CostExpressions::default()
        };
        Ok((CostTemplates::new(&prices, &mut templates)?, templates))
    }

    fn price(cost: &str, scope: &str) -> Result<RequestCost, String> {
        let (compiled, templates) = compiled(cost, scope).map_err(|error| error.to_string())?;
        let fields = serde_json::from_value(json!({"prompt": "12345678", "tenant": "a"}));
        let request = Request::post("http://h/v1?x=1").body(Bytes::from("{}")).unwrap();
        compiled.cost(&templates.scope(&fields.unwrap()), &request)
    }

    #[test]
    fn costs_and_keys_come_from_the_row_or_the_request() {
        for (cost, scope, units, key) in [
            ("prompt | length / 4 + 0.5", "{{ tenant }}", 3, "a"),
            ("{{ request.body | length }}", "{{ request.host }}{{ request.path }}", 2, "h/v1"),
            ("7", "{{ tenant }} {{ request.method }}", 7, "a POST"),
        ] {
            let price = price(cost, scope).unwrap();
            assert_eq!((price.units, &*price.keys[0]), (vec![1, units], key));
        }
    }

    #[test]
    fn a_number_is_the_cost_of_every_request() {
        for (cost, fixed) in [(" 100 ", Some(100)), ("100 + 0", None), ("", None), ("0.5", None)] {
            let costs = vec![("requests".into(), None), ("tokens".into(), Some(cost.into()))];
            let costs = CostExpressions { costs, ..CostExpressions::default() };
            let compiled = CostTemplates::new(&costs, &mut Templates::new());
            let of_all = compiled.ok().and_then(|compiled| compiled.fixed());
            assert_eq!(of_all.map(|cost| cost.units), fixed.map(|units| vec![1, units]), "{cost}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        for (cost, scope, why) in [
            ("promt | length", "{{ tenant }}", "the row has no field \"promt\""),
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

    #[test]
    fn each_row_has_its_own_key() {
        let template = KeyTemplate::new("{{ tenant }}/{{ region }}").unwrap();
        let of = |fields| template.of(&serde_json::from_value(fields).unwrap());
        assert_eq!(of(json!({"tenant": "a", "region": 1})).unwrap(), "a/1");
        let error = of(json!({"tenant": "a"})).unwrap_err();
        assert!(error.contains("region"), "{error}");
        assert!(KeyTemplate::new("tenant").is_err() && KeyTemplate::new("{{").is_err());
    }
}
