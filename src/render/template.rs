//! Templates, the values that they see, and their texts for a row. Pure.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Object, Serde, Value, merge_maps};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value as Json;

use super::escape_context::{
    EscapeContext, JSON_SCALAR, escape, escape_of, json_scalar, write_escaped,
};
use super::keys::looks_like_key;
use super::row_names::{
    ROW, meant, mistaken_literal, name_after, remedy, remedy_of_unparsed, row_names, stands_alone,
    with_row,
};
use crate::row::Fields;
use crate::secret::Vault;

/// Names that are no field of the row: the environment, the job's secrets, the key of
/// the pool, the row itself, and, in costs and keys of limits, the request.
const RESERVED_NAMES: [&str; 5] = ["env", "secret", "key", "request", ROW];

/// The field of a row that is asked again, with its last answer.
pub const LAST: &str = "last";

/// Maximum number of steps of one template for one row: under a second of work, so that
/// an endless loop fails its row and does not hold the worker.
const MAX_STEPS: u64 = 5_000_000;

/// The compiled templates of a plan; a [`Template`] is the number of one.
pub struct Templates {
    engine: Environment<'static>,
    names: Vec<String>,
    plain: Vec<Option<PlainTemplate>>,
    used: Names,
    /// Whether any template asks the row for a field.
    asks_row: bool,
    /// Whether any template computes the name of a field.
    uses_any: bool,
    carry_secrets: bool,
}

/// One template of [`Templates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template(usize);

/// The names that templates use.
#[derive(Debug, Default)]
pub struct Names {
    /// Fields of the row.
    pub fields: BTreeSet<String>,
    /// Variables of the environment.
    pub variables: BTreeSet<String>,
    /// Secrets of the job.
    pub secrets: BTreeSet<String>,
}

/// The values besides the fields of a row that templates may use.
#[derive(Clone, Copy)]
pub struct RenderContext<'a> {
    /// The environment's variables, as `{{ env.NAME }}`.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The job's secrets, as `{{ secret.NAME }}`.
    pub vault: &'a Arc<Vault>,
}

/// Templates and the fields of a row.
pub struct TemplateScope<'a> {
    templates: &'a Templates,
    fields: &'a Fields,
    /// The fields for the engine, once a template needs it.
    engine: OnceCell<Value>,
}

impl<'a> TemplateScope<'a> {
    /// The template's text for the row.
    ///
    /// # Errors
    /// Which value is missing or does not fit.
    pub fn render(&self, template: Template) -> Result<String, String> {
        let plain = self.templates.plain[template.0].as_ref();
        let mut text = String::with_capacity(plain.map_or(0, |plain| plain.length));
        self.render_to(template, &mut text)?;
        Ok(text)
    }

    /// Appends the template's text for the row.
    ///
    /// # Errors
    /// Which value is missing or does not fit; then nothing is appended.
    pub fn render_to(&self, template: Template, text: &mut String) -> Result<(), String> {
        let plain = self.templates.plain[template.0].as_ref();
        let start = text.len();
        if plain.and_then(|plain| plain.render_to(self.fields, text)).is_none() {
            text.truncate(start);
            text.push_str(&self.render_by_engine(&self.templates.names[template.0])?);
        }
        Ok(())
    }

    fn render_by_engine(&self, name: &str) -> Result<String, String> {
        let template = self.templates.engine.get_template(name);
        let text = template.and_then(|template| template.render(self.for_engine().clone()));
        text.map_err(|error| {
            // The engine doesn't name an undefined field.
            let mut fields = self.templates.names_in(name).fields.into_iter();
            let missing = fields.find(|field| {
                self.for_engine().get_attr(field).is_ok_and(|value| value.is_undefined())
            });
            let Some(field) = missing else { return reason(&error) };
            let names = self.fields.keys().map(String::as_str);
            match self.templates.remedy(&field, names) {
                Some(remedy) => remedy,
                None => format!("the row has no field \"{field}\""),
            }
        })
    }

    /// The fields of the row.
    pub fn fields(&self) -> &'a Fields {
        self.fields
    }

    /// The scope with one more value.
    pub fn with(&self, name: &str, value: Value) -> TemplateScope<'a> {
        let value = Value::from_pairs([(name, value)]);
        let engine = merge_maps([value, self.for_engine().clone()]).into();
        TemplateScope { engine, ..*self }
    }

    fn for_engine(&self) -> &Value {
        self.engine.get_or_init(|| {
            let used = self.templates.used.fields.iter();
            let values =
                Value::from_pairs(used.filter_map(|name| {
                    Some((name.as_str(), engine_value(self.fields.get(name)?)))
                }));
            if !self.templates.asks_row {
                return values;
            }
            let row = if self.templates.uses_any {
                let all = self.fields.iter();
                Value::from_pairs(all.map(|(name, value)| (name.as_str(), engine_value(value))))
            } else {
                // A field may be called `row`, and have fields itself.
                let row = self.fields.get("row").map(|row| ("row", engine_value(row)));
                merge_maps([Value::from_pairs(row), values.clone()])
            };
            merge_maps([Value::from_pairs([(ROW, Value::from_object(RowValue(row)))]), values])
        })
    }
}

fn engine_value(value: &Json) -> Value {
    match value {
        Json::String(text) => Value::from(text.as_str()),
        other => Value::from(Serde(other)),
    }
}

/// The fields of a row by any name: `row["Order ID"]`.
#[derive(Debug)]
struct RowValue(Value);

impl Object for RowValue {
    fn get_value(self: &Arc<Self>, name: &Value) -> Option<Value> {
        let found = |of: &Value| of.get_item(name).ok().filter(|value| !value.is_undefined());
        found(&self.0).or_else(|| found(&self.0.get_attr("row").ok()?))
    }
}

/// A template of texts and fields alone, as most are: it is rendered without the engine,
/// which takes longer, and to the same text.
#[derive(Debug, PartialEq)]
struct PlainTemplate {
    pieces: Vec<PlainPiece>,
    context: EscapeContext,
    /// Estimated length of the text, in bytes.
    length: usize,
}

#[derive(Debug, PartialEq)]
enum PlainPiece {
    Text(String),
    Field(String),
}

impl PlainTemplate {
    /// Appends the text of a row; none if a field is no text or can't be escaped: then the engine
    /// reports why.
    fn render_to(&self, fields: &Fields, text: &mut String) -> Option<()> {
        for piece in &self.pieces {
            match piece {
                PlainPiece::Text(fixed) => text.push_str(fixed),
                PlainPiece::Field(name) => {
                    text.push_str(&escape(self.context, fields.get(name)?.as_str()?).ok()?);
                }
            }
        }
        Some(())
    }

    /// Parses a template; none if it has more than texts and fields. `fields` are the
    /// names in it that the engine takes for fields of the row.
    fn parse(
        text: &str,
        context: EscapeContext,
        fields: &BTreeSet<String>,
    ) -> Option<PlainTemplate> {
        // The engine treats a line break at the end and these brackets in its own way.
        if text.ends_with(['\n', '\r']) || text.contains("{%") || text.contains("{#") {
            return None;
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, inside)) = rest.split_once("{{") {
            let (name, after) = inside.split_once("}}")?;
            let name = field_name(name.trim_matches(' '));
            let name = name.filter(|name| fields.contains(name))?;
            pieces.push(PlainPiece::Text(before.to_owned()));
            pieces.push(PlainPiece::Field(name));
            rest = after;
        }
        pieces.push(PlainPiece::Text(rest.to_owned()));
        Some(PlainTemplate { pieces, context, length: text.len() + 32 })
    }
}

/// The field that an expression is: `name`, or `row["name"]` and nothing else.
fn field_name(expression: &str) -> Option<String> {
    match expression.strip_prefix(ROW) {
        None => Some(expression.to_owned()),
        Some(rest) => {
            let is_last = rest.starts_with('[') && rest.find(']') == Some(rest.len() - 1);
            name_after(rest).filter(|_| is_last)
        }
    }
}

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
            used: Names::default(),
            asks_row: false,
            uses_any: false,
            carry_secrets: false,
        }
    }

    /// Compiles `text`, whose values are escaped for `context`.
    pub fn add(&mut self, context: EscapeContext, text: &str) -> Result<Template, String> {
        let name = format!("{}{}", context.prefix(), self.names.len());
        let prepared = context.prepare(text);
        let prepared =
            if self.asks_row_in(&prepared) { with_row(&prepared) } else { prepared.into() };
        self.engine.add_template_owned(name.clone(), prepared.clone()).map_err(|error| {
            let (reason, remedy) = (reason(&error), remedy_of_unparsed(text));
            format!("the template {text:?} does not parse: {reason}; {remedy}")
        })?;
        self.check(&name)
            .map_err(|why| format!("the template {text:?} can't be filled in: {why}"))?;
        let names = self.names_in(&name);
        self.plain.push(PlainTemplate::parse(&prepared, context, &names.fields));
        let row = row_names(&prepared);
        self.asks_row |= row.is_any || !row.names.is_empty();
        self.uses_any |= row.is_any;
        self.used.fields.extend(names.fields);
        self.used.variables.extend(names.variables);
        self.used.secrets.extend(names.secrets);
        self.names.push(name);
        Ok(Template(self.names.len() - 1))
    }

    /// Whether `row` is the row in this template, and no variable of its own.
    fn asks_row_in(&self, text: &str) -> bool {
        text.contains("row")
            && match self.engine.template_from_str(text) {
                Ok(template) => template.undeclared_variables(false).contains("row"),
                Err(_) => false,
            }
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

    /// The text of a template that is the same for all rows, if it needs no engine.
    pub fn fixed(&self, template: Template) -> Option<&str> {
        match self.plain[template.0].as_ref()?.pieces.as_slice() {
            [PlainPiece::Text(text)] => Some(text),
            _ => None,
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
        let mut fields = template.undeclared_variables(false);
        let is_field =
            |it: &String| !globals.contains(&**it) || stands_alone(template.source(), it);
        fields.retain(|it| !RESERVED_NAMES.contains(&&**it) && is_field(it));
        fields.extend(row_names(template.source()).names);
        Names {
            fields: fields.into_iter().collect(),
            variables: within("env."),
            secrets: within("secret."),
        }
    }

    /// How the templates take the field that they mean where they name `missing`, which
    /// these `names` lack.
    pub fn remedy<'a>(
        &self,
        missing: &str,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<String> {
        self.names.iter().find_map(|template| {
            let template = self.engine.get_template(template).ok()?;
            meant(template.source(), missing, names.clone()).map(remedy)
        })
    }

    /// How the templates take a field of these names that they write as a number or a truth
    /// value.
    pub fn mistaken_literal<'a>(
        &self,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<String> {
        self.names.iter().find_map(|template| {
            let template = self.engine.get_template(template).ok()?;
            mistaken_literal(template.source(), names.clone())
        })
    }

    /// The names that all templates use.
    pub fn used(&self) -> &Names {
        &self.used
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
        for name in &self.used.variables {
            let value = (context.environment)(name).ok_or_else(|| {
                let text = format!(
                    "the environment variable {name} is not set, and the job uses {{{{ env.{name} }}}}: export {name}=… and run again"
                );
                crate::Error::missing_variable(name, text)
            })?;
            context.vault.add_variable(name, &value, looks_like_key(name));
            values.insert(name, value);
        }
        let mut secrets = self.used.secrets.iter();
        if let Some(name) = secrets.find(|name| context.vault.get(name).is_none()) {
            return Err(crate::Error::plan(format!(
                "the job uses {{{{ secret.{name} }}}}, but has no secrets.{name}: give it one (--secret {name}=file:PATH)"
            )));
        }
        self.carry_secrets = self.used.has_secrets(context.vault);
        self.engine.add_global("env", Value::from(Serde(values)));
        let vault = Value::from_object(CurrentSecrets(context.vault.clone()));
        self.engine.add_global("secret", vault);
        Ok(())
    }

    /// Defines `{{ key }}`.
    pub fn set_key(&mut self, value: &'static str) {
        self.engine.add_global("key", value);
    }

    /// Defines `{{ last }}` for rows that are asked for the first time.
    pub fn set_last(&mut self) {
        self.engine.add_global(LAST, Value::from_pairs([("error", ""), ("answer", "")]));
    }

    /// The templates with the fields of a row.
    pub fn scope<'a>(&'a self, fields: &'a Fields) -> TemplateScope<'a> {
        TemplateScope { templates: self, fields, engine: OnceCell::new() }
    }
}

impl Names {
    /// Whether any name is that of a secret.
    pub fn has_secrets(&self, vault: &Vault) -> bool {
        self.variables.iter().any(|name| !vault.is_public(name)) || !self.secrets.is_empty()
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
        templates.scope(&fields).render(template)
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
        assert_eq!(names.fields, ["a".to_owned()].into());
        assert_eq!(names.variables, ["KEY".to_owned()].into());
        assert_eq!(names.secrets, ["token".to_owned()].into());
    }

    #[test]
    fn a_field_of_any_name_is_taken_from_the_row() {
        let row = serde_json::json!({
            "Order ID": 7, "customer.name": "a b", "row": {"x": 1}, "it's": "q", "id": "i", "name": "id",
        });
        for (text, expected) in [
            ("{{ row[\"Order ID\"] }}", "7"),
            ("{{ row['customer.name'] | upper }}", "A B"),
            ("{{ row[\"it's\"] }}/{{ id }}/{{ row.id }}", "q/i/i"),
            ("{{ row[name] }}", "i"),
            ("{{ row.x }}{{ row[\"x\"] }}", "11"),
            ("{% for row in [1, 2] %}{{ row }}{% endfor %}", "12"),
            ("{% set row = {'z': 3} %}{{ row.z }}", "3"),
            ("{{ row['none'] | default('-') }}", "-"),
        ] {
            assert_eq!(render(EscapeContext::Text, text, row.clone()).unwrap(), expected, "{text}");
        }
        let error = render(EscapeContext::Text, "{{ customer.name }}", row.clone()).unwrap_err();
        assert!(error.ends_with("write {{ row[\"customer.name\"] }}"), "{error}");
        let error = render(EscapeContext::Text, "{{ row['none'] }}", row).unwrap_err();
        assert_eq!(error, "the row has no field \"none\"");
    }

    #[test]
    fn only_texts_and_fields_are_a_plain_template() {
        let fields = ["x", "env", "a b"].map(str::to_owned).into();
        let plain = |text: &str| {
            PlainTemplate::parse(&with_row(text), EscapeContext::Text, &fields).is_some()
        };
        for text in
            ["", "a", "{{ x }}", "{{x}}/{{ x }}", "}} { x }", "a\n {{ x }}", "{{ row[\"a b\"] }}"]
        {
            assert!(plain(text), "{text}");
        }
        for text in [
            "{{ x }}\n",
            "{{ y }}",
            "{{ x | upper }}",
            "{{- x }}",
            "{{ x.y }}",
            "{{ row['a b'][0] }}",
            "{{ row['c'] }}",
            "{{ env.KEY }}",
            "{% if x %}{% endif %}",
            "{# x #}",
            "{{ x",
            "{{ '}}' }}",
        ] {
            assert!(!plain(text), "{text}");
        }
    }

    #[test]
    fn a_plain_template_gives_the_engine_s_text() {
        let texts = ["a b/c?d=é&\"x\"\\", "", "a\r\nb", "\u{0}", "longer than what is kept within"];
        let contexts = [
            EscapeContext::Url,
            EscapeContext::Header,
            EscapeContext::Quoted,
            EscapeContext::Parameter,
            EscapeContext::Cookie,
            EscapeContext::JsonValue,
            EscapeContext::JsonText,
            EscapeContext::Graphql,
            EscapeContext::Xml,
            EscapeContext::Text,
        ];
        for (text, context) in texts.iter().flat_map(|text| contexts.map(|context| (text, context)))
        {
            let mut templates = Templates::new();
            let plain = templates.add(context, "<{{ x }}|{{x}}\n{{ y }}>").unwrap();
            // A comment is nothing, but not plain.
            let engine = templates.add(context, "<{{ x }}|{{x}}\n{{ y }}{# #}>").unwrap();
            for row in [
                serde_json::json!({"x": text, "y": "1"}),
                serde_json::json!({"x": text, "y": 1.5}),
                serde_json::json!({"x": 1}),
            ] {
                let scope = templates.scope(row.as_object().unwrap());
                let expected = scope.render(engine);
                assert_eq!(scope.render(plain), expected, "{context:?}");
            }
        }
    }
}
