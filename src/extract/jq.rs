//! A jq program, compiled once and run on each answer. Pure.

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, data, unwrap_valr};
use jaq_json::Val;
use serde_json::Value;

/// A body in the form that jq programs take.
pub type Input = Val;

/// A compiled program.
pub struct Program {
    filter: Filter<data::JustLut<Val>>,
}

impl Program {
    /// Compiles a program, or says where it is wrong.
    pub fn new(code: &str) -> Result<Program, String> {
        let definitions = jaq_core::defs()
            .chain(jaq_std::defs())
            .chain(jaq_json::defs());
        let functions = jaq_core::funs()
            .chain(jaq_std::funs())
            .chain(jaq_json::funs());
        let arena = Arena::default();
        let modules = Loader::new(definitions)
            .load(&arena, File { code, path: () })
            .map_err(|errors| unparsed(code, &errors))?;
        let filter = Compiler::default()
            .with_funs(functions)
            .compile(modules)
            .map_err(|errors| undefined(code, &errors))?;
        Ok(Program { filter })
    }

    /// All values of the program, in their order.
    pub fn run_all(&self, input: &Input) -> impl Iterator<Item = Result<Input, String>> {
        let context = Ctx::<data::JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let values = self.filter.id.run((context, input.clone()));
        values.map(|value| unwrap_valr(value).map_err(|error| error.to_string()))
    }

    /// The program's one value.
    pub fn run(&self, input: &Input) -> Result<Value, String> {
        let mut values = self.run_all(input);
        let first = values.next().ok_or("the jq program gave no value")?;
        if values.next().is_some() {
            return Err(
                "the jq program gave more than one value: put it in [ ] to keep them as a list"
                    .into(),
            );
        }
        let value = first?;
        serde_json::from_str(&value.to_string())
            .map_err(|_| format!("{value} can't be written as JSON"))
    }
}

fn unparsed(code: &str, errors: &jaq_core::load::Errors<&str, ()>) -> String {
    use jaq_core::load::Error;
    let near = errors.iter().find_map(|(_, error)| match error {
        Error::Io(_) => None,
        Error::Lex(errors) => errors
            .first()
            .map(|(expected, at)| (expected.as_str().to_owned(), *at)),
        Error::Parse(errors) => errors
            .first()
            .map(|(expected, at)| (expected.as_str().to_owned(), *at)),
    });
    match near {
        Some((expected, "")) => {
            format!("{code:?} is not a jq program: it ends where {expected} is expected")
        }
        Some((expected, at)) => {
            format!("{code:?} is not a jq program: expected {expected} at {at:?}")
        }
        None => format!("{code:?} is not a jq program"),
    }
}

fn undefined(code: &str, errors: &jaq_core::compile::Errors<&str, ()>) -> String {
    let first = errors.iter().flat_map(|(_, errors)| errors).next();
    match first {
        Some((name, _)) if *name == code.trim() => {
            format!("{code:?} is not a jq program: the value of a key is .{name}")
        }
        Some((name, kind)) => format!(
            "{code:?} is not a jq program: undefined {} {name}",
            kind.as_str()
        ),
        None => format!("{code:?} is not a jq program"),
    }
}
