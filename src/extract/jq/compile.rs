//! Compiles a jq program with its budget, without the definitions that reach out of it. Pure.

use jaq_core::load::parse::{Def, Parser, Term};
use jaq_core::load::{Arena, File, Lexer, Loader, lex};
use jaq_core::{Compiler, Filter};

use super::budget::{Bounded, functions};
use super::guard::guarded_def;
use super::reads::reads;
use super::select;
use crate::extract::css;

/// The name by which the program is defined.
const PROGRAM: &str = "throng_program";

/// Definitions of jq that programs can't use here. Only the first four exist in jaq.
const EXCLUDED: [(&str, &str); 14] = [
    ("halt", "it would end the whole run"),
    ("halt_error", "it would end the whole run"),
    ("env", ENVIRONMENT),
    ("debug", NO_OUTPUT),
    ("stderr", NO_OUTPUT),
    ("debug_empty", NO_OUTPUT),
    ("stderr_empty", NO_OUTPUT),
    ("$ENV", ENVIRONMENT),
    ("input", ONE_INPUT),
    ("inputs", ONE_INPUT),
    ("input_line_number", ONE_INPUT),
    ("input_filename", ONE_INPUT),
    ("$__loc__", ONE_INPUT),
    ("get_search_list", "there are no modules"),
];
const ENVIRONMENT: &str =
    "records don't hold the environment; {{ env.NAME }} in a template reads it";
const NO_OUTPUT: &str = "programs write nothing but their values";
const ONE_INPUT: &str = "a program has one input, which is .";

/// Definitions beside those of jq, for values of XML.
const OWN: [(&str, &str); 2] = [
    ("list", "if type == \"array\" then . elif . == null then [] else [.] end"),
    ("text", "if type == \"object\" then .[\"#text\"] else . end"),
];

fn is_excluded(name: &str) -> bool {
    EXCLUDED.iter().any(|(known, _)| *known == name)
}

/// Compiles a program with these variables.
///
/// # Errors
/// Where it is wrong.
pub fn compile(code: &str, variables: &[&str]) -> Result<Filter<Bounded>, String> {
    if let Some(selector) = css::selector(code) {
        select::check(selector)?;
    }
    let of_selector = css::of_value(code);
    let code = of_selector.as_deref().unwrap_or(code);
    let standard = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .filter(|def| !is_excluded(def.name));
    let mut definitions: Vec<Def<&str>> = standard.collect();
    for (name, code) in OWN {
        definitions.push(Def { name, args: Vec::new(), body: parsed(code)? });
    }
    definitions.push(Def { name: PROGRAM, args: Vec::new(), body: parsed(code)? });
    let definitions = definitions.into_iter().map(guarded_def);
    let functions = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .filter(|(name, ..)| !is_excluded(name))
        .chain(functions())
        .chain(select::functions());
    let arena = Arena::default();
    let call = File { code: PROGRAM, path: () };
    let modules = Loader::new(definitions)
        .load(&arena, call)
        .map_err(|_| format!("{code:?} is not a jq program"))?;
    Compiler::default()
        .with_funs(functions)
        .with_global_vars(variables.iter().copied())
        .compile(modules)
        .map_err(|errors| undefined(code, &errors))
}

/// Whether the values of a program may depend on its input.
pub fn reads_input(code: &str) -> bool {
    parsed(code).map_or(true, |term| reads(&term))
}

/// The syntax tree of a program, or where it is wrong.
fn parsed(code: &str) -> Result<Term<&str>, String> {
    let tokens = Lexer::new(code).lex().map_err(|errors| {
        let first = errors.first();
        unparsed(code, first.map(|(expected, at)| (expected.as_str(), *at)))
    })?;
    Parser::new(&tokens).parse(|parser| parser.term()).map_err(|errors| {
        let first = errors.first();
        let at = |found| lex::Token::opt_as_str(found, code);
        unparsed(code, first.map(|(expected, found)| (expected.as_str(), at(*found))))
    })
}

fn unparsed(code: &str, near: Option<(&str, &str)>) -> String {
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
    let Some((name, kind)) = errors.iter().flat_map(|(_, errors)| errors).next() else {
        return format!("{code:?} is not a jq program");
    };
    if let Some((_, why)) = EXCLUDED.iter().find(|(excluded, _)| excluded == name) {
        format!("{code:?}: {name} is left out of jq here: {why}")
    } else if ["css", "html"].contains(name) {
        format!("{code:?}: this build reads no HTML: build with --features html")
    } else if *name == code.trim() && !name.starts_with('$') {
        format!("{code:?} is not a jq program: the value of a key is .{name}")
    } else {
        format!("{code:?} is not a jq program: undefined {} {name}", kind.as_str())
    }
}
