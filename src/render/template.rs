//! Templates, and the names that they use. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Object, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::escape_context::{EscapeContext, JSON_SCALAR, escape_of, json_scalar, write_escaped};
use super::keys::looks_like_key;
use super::plain::PlainTemplate;
use super::scope::{RenderContext, TemplateScope};
use crate::row::Fields;
use crate::secret::Vault;

/// Names that are no field of the row: the environment, the job's secrets, the key of
/// the pool, and, in costs and keys of limits, the request.
const RESERVED_NAMES: [&str; 4] = ["env", "secret", "key", "request"];

/// Maximum number of steps of one template for one row: under a second of work, so that
/// an endless loop fails its row and does not hold the worker.
const MAX_STEPS: u64 = 5_000_000;

/// The compiled templates of a plan; a [`Template`] is the number of one.
pub struct Templates {
    engine: Environment<'static>,
    names: Vec<String>,
    plain: Vec<Option<PlainTemplate>>,
    fields: BTreeSet<String>,
    variables: BTreeSet<String>,
    secrets: BTreeSet<String>,
    carry_secrets: bool,
}

/// The names that a template uses.
#[derive(Debug, Default)]
pub struct Names {
    /// Fields of the row.
    pub fields: Vec<String>,
    /// Variables of the environment.
    pub variables: Vec<String>,
    /// Secrets of the job.
    pub secrets: Vec<String>,
}

impl Names {
    /// Whether any name is that of a secret.
    pub fn has_secrets(&self, vault: &Vault) -> bool {
        let is_private = |name: &String| !vault.is_public(name);
        self.variables.iter().any(is_private) || !self.secrets.is_empty()
    }
}

/// One template of [`Templates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template(usize);

impl Templates {
    pub fn new() -> Templates {
        let mut engine = Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        // A body may end in a line break.
        let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
        engine.set_syntax(syntax.unwrap_or_default());
        engine.set_auto_escape_callback(escape_of);
        engine.set_formatter(write_escaped);
        engine.add_filter(JSON_SCALAR, json_scalar);
        engine.set_fuel(Some(MAX_STEPS));
        Templates {
            engine,
            names: Vec::new(),
            plain: Vec::new(),
            fields: BTreeSet::new(),
            variables: BTreeSet::new(),
            secrets: BTreeSet::new(),
            carry_secrets: false,
        }
    }

    /// Compiles `text`, whose values are escaped for `context`.
    pub fn add(&mut self, context: EscapeContext, text: &str) -> Result<Template, String> {
        let name = format!("{}{}", context.prefix(), self.names.len());
        let prepared = context.prepare(text);
        self.engine
            .add_template_owned(name.clone(), prepared.clone().into_owned())
            .map_err(|error| format!("the template {text:?} does not parse: {}", reason(&error)))?;
        self.check(&name)
            .map_err(|why| format!("the template {text:?} can't be filled in: {why}"))?;
        let names = self.names_in(&name);
        self.plain.push(PlainTemplate::parse(&prepared, context, &names.fields));
        self.fields.extend(names.fields);
        self.variables.extend(names.variables);
        self.secrets.extend(names.secrets);
        self.names.push(name);
        Ok(Template(self.names.len() - 1))
    }

    /// Finds mistakes that fail every row.
    fn check(&mut self, name: &str) -> Result<(), String> {
        let is_whole = |path: &String| ["env", "secret"].contains(&path.as_str());
        if let Some(all) = self.paths_in(name).iter().find(|path| is_whole(path)) {
            return Err(format!(
                "{{{{ {all} }}}} is all of them: write {{{{ {all}.NAME }}}}; and a field of the rows that is called {all} needs another name"
            ));
        }
        // It is rendered without values, whose lack must be no mistake here.
        self.engine.set_undefined_behavior(UndefinedBehavior::Lenient);
        let template = self.engine.get_template(name);
        let tried = template.and_then(|template| template.render(()));
        self.engine.set_undefined_behavior(UndefinedBehavior::Strict);
        match tried {
            Err(error) if fails_every_row(error.kind()) => Err(reason(&error)),
            _ => Ok(()),
        }
    }

    /// The names that a template uses.
    pub fn names_used(&self, template: Template) -> Names {
        self.names_in(&self.names[template.0])
    }

    /// The paths that a template uses: `a.b`, `env.NAME`.
    pub fn paths_used(&self, template: Template) -> Vec<String> {
        self.paths_in(&self.names[template.0])
    }

    fn paths_in(&self, name: &str) -> Vec<String> {
        let template = self.engine.get_template(name);
        let paths = template.map(|template| template.undeclared_variables(true));
        paths.unwrap_or_default().into_iter().collect()
    }

    /// Whether any template so far uses the key of the pool.
    pub fn uses_key(&self) -> bool {
        (0..self.names.len()).any(|number| self.uses_key_in(Template(number)))
    }

    /// Whether this template uses the key of the pool.
    pub fn uses_key_in(&self, template: Template) -> bool {
        self.paths_used(template).iter().any(|path| path == "key")
    }

    fn names_in(&self, name: &str) -> Names {
        let Ok(template) = self.engine.get_template(name) else {
            return Names::default();
        };
        let globals: BTreeSet<&str> = self.engine.globals().map(|(name, _)| name).collect();
        let paths = template.undeclared_variables(true);
        let within = |prefix: &str| {
            let paths = paths.iter().filter_map(|path| path.strip_prefix(prefix));
            paths.map(str::to_owned).collect()
        };
        Names {
            fields: template
                .undeclared_variables(false)
                .into_iter()
                .filter(|name| {
                    !RESERVED_NAMES.contains(&name.as_str()) && !globals.contains(name.as_str())
                })
                .collect(),
            variables: within("env."),
            secrets: within("secret."),
        }
    }

    /// The fields of a row that the templates use.
    pub fn fields(&self) -> &BTreeSet<String> {
        &self.fields
    }

    /// The secrets of the job that the templates use.
    pub fn secrets(&self) -> &BTreeSet<String> {
        &self.secrets
    }

    /// Whether any template uses a secret; known after [`set_context`](Self::set_context).
    pub fn carry_secrets(&self) -> bool {
        self.carry_secrets
    }

    /// Defines `{{ env.NAME }}` and `{{ secret.NAME }}`, and hides their values.
    ///
    /// # Errors
    /// Which variable or secret does not exist.
    pub fn set_context(&mut self, context: &RenderContext<'_>) -> Result<(), crate::Error> {
        let mut values = BTreeMap::new();
        for name in &self.variables {
            let value = (context.environment)(name).ok_or_else(|| {
                crate::Error::plan(format!(
                    "the environment variable {name} is not set, and the job uses {{{{ env.{name} }}}}: export {name}=… and run again"
                ))
            })?;
            context.vault.add_variable(name, &value, looks_like_key(name));
            values.insert(name, value);
        }
        if let Some(name) = self.secrets.iter().find(|name| context.vault.get(name).is_none()) {
            return Err(crate::Error::plan(format!(
                "the job uses {{{{ secret.{name} }}}}, but has no secrets.{name}: give it one (--secret {name}=file:PATH)"
            )));
        }
        let is_private = |name: &String| !context.vault.is_public(name);
        self.carry_secrets = self.variables.iter().any(is_private) || !self.secrets.is_empty();
        self.engine.add_global("env", Value::from(Serde(values)));
        let vault = Value::from_object(CurrentSecrets(context.vault.clone()));
        self.engine.add_global("secret", vault);
        Ok(())
    }

    /// Defines `{{ key }}`.
    pub fn set_key(&mut self, value: &'static str) {
        self.engine.add_global("key", value);
    }

    /// The scope of a row: the fields that the templates use.
    pub fn scope<'a>(&'a self, fields: &'a Fields) -> TemplateScope<'a> {
        TemplateScope::of(fields, &self.fields)
    }

    /// The template's text for a row.
    ///
    /// # Errors
    /// Which value is missing or does not fit.
    pub fn render(&self, template: Template, scope: &TemplateScope<'_>) -> Result<String, String> {
        let plain = self.plain[template.0].as_ref();
        if let Some(text) = plain.and_then(|plain| plain.render(scope)) {
            return Ok(text);
        }
        let name = &self.names[template.0];
        self.engine
            .get_template(name)
            .and_then(|template| template.render(scope.engine().clone()))
            .map_err(|error| self.explain(name, scope, &error))
    }

    /// The reason of an error; the engine doesn't name an undefined field, so it is
    /// looked for.
    fn explain(&self, name: &str, scope: &TemplateScope<'_>, error: &Error) -> String {
        let missing =
            self.names_in(name).fields.into_iter().find(|field| {
                scope.engine().get_attr(field).is_ok_and(|value| value.is_undefined())
            });
        match missing {
            Some(field) => format!("the row has no field \"{field}\""),
            None => reason(error),
        }
    }
}

/// The current values of the job's secrets.
#[derive(Debug)]
struct CurrentSecrets(Arc<Vault>);

impl Object for CurrentSecrets {
    fn get_value(self: &Arc<Self>, name: &Value) -> Option<Value> {
        let secret = self.0.get(name.as_str()?)?;
        Some(Value::from(secret.expose()))
    }
}

/// Whether the mistake is in the template and fails every row.
fn fails_every_row(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::OutOfFuel
    )
}

fn reason(error: &Error) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return format!("it takes more than {MAX_STEPS} steps: does a loop never end?");
    }
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(
        context: EscapeContext,
        text: &str,
        row: serde_json::Value,
    ) -> Result<String, String> {
        let mut templates = Templates::new();
        let template = templates.add(context, text)?;
        let serde_json::Value::Object(fields) = row else { panic!("a row is an object") };
        templates.render(template, &templates.scope(&fields))
    }

    #[test]
    fn a_value_is_escaped_for_its_context() {
        let row = serde_json::json!({"x": "a b/\"c\"&é", "n": 3, "yes": true, "list": [1, null]});
        for (context, text, expected) in [
            (EscapeContext::Url, "/v/{{ x }}?n={{ n }}", "/v/a%20b%2F%22c%22%26%C3%A9?n=3"),
            (EscapeContext::Header, "key {{ x }}", "key a b/\"c\"&é"),
            (EscapeContext::JsonText, "say {{ x }}", "say a b/\\\"c\\\"&é"),
            (EscapeContext::JsonValue, "{{ list }}", "[1,null]"),
            (EscapeContext::JsonValue, "{{ x }}", "\"a b/\\\"c\\\"&é\""),
            (EscapeContext::Text, "{{ x }}", "a b/\"c\"&é"),
            (EscapeContext::Url, "{{ yes }}", "true"),
            (EscapeContext::Url, "{{ x | upper | safe }}", "A B/\"C\"&É"),
        ] {
            assert_eq!(render(context, text, row.clone()).unwrap(), expected, "{context:?}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_its_context_is_refused() {
        let row = serde_json::json!({"x": "a\r\nb: c", "none": null, "list": [1], "n": 9999});
        for (context, text, why) in [
            (EscapeContext::Header, "{{ x }}", "a header can't contain a line break"),
            (EscapeContext::Url, "{{ none }}", "the value is null"),
            (EscapeContext::Url, "{{ list }}", "the value is a list or an object"),
            (EscapeContext::Url, "{{ sybmol }}", "the row has no field \"sybmol\""),
            (
                EscapeContext::Text,
                "{% for a in range(n) %}{% for b in range(n) %}{% endfor %}{% endfor %}",
                "takes more than 5000000 steps",
            ),
            (EscapeContext::Url, "{{ x", "does not parse"),
        ] {
            let error = render(context, text, row.clone()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_mistake_that_fails_every_row_is_found_without_one() {
        for (text, why) in [
            ("{{ id | nofilter }}", "filter nofilter is unknown"),
            ("{{ a }}{% if id is odder %}{% endif %}", "test odder is unknown"),
            ("{{ nofunction(id) }}", "nofunction is unknown"),
            ("{{ env }}", "write {{ env.NAME }}"),
            ("{{ secret | upper }}", "called secret needs another name"),
            (
                "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
                "takes more than 5000000 steps",
            ),
        ] {
            let error = Templates::new().add(EscapeContext::Text, text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        for text in [
            "{{ id | upper | default('x') }}",
            "{{ env.A }}{{ secret.b }}",
            "{{ (a | int) / (b | int) }}{% for x in list %}{{ x.y.z }}{% endfor %}",
        ] {
            Templates::new().add(EscapeContext::Text, text).unwrap();
        }
    }

    #[test]
    fn the_names_that_a_template_uses_are_known() {
        let mut templates = Templates::new();
        let text = "{{ a.b }}{% for x in range(3) %}{{ x }}{% endfor %}{{ env.KEY }}";
        let template =
            templates.add(EscapeContext::Text, &format!("{text}{{{{ secret.token }}}}")).unwrap();
        let names = templates.names_used(template);
        assert_eq!(names.fields, ["a"]);
        assert_eq!(names.variables, ["KEY"]);
        assert_eq!(names.secrets, ["token"]);
    }
}
