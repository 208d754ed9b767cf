//! Inserts steps into every loop of a program, so that a run can be stopped. Pure.
//!
//! The work between two steps is bounded by the length of the program and the size of the
//! current value: loops are definitions that call themselves, and streams of values, which
//! `.[]`, `..`, `,`, `range`, `fromjson`, `css` and `html` produce.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

type Code<'s> = Term<&'s str>;

/// The variable of the depth of nested calls of definitions with filters as parameters:
/// each keeps its caller's scope, and all scopes are dropped at once.
const DEPTH: &str = "$!depth";

/// The variable of the factor of `*=`.
const FACTOR: &str = "$!factor";

/// An outermost definition with steps.
pub fn guarded_def(def: Def<&str>) -> Def<&str> {
    let def = inner_def(def);
    let outermost = bind(Term::Num("0"), DEPTH, def.body);
    Def { body: outermost, ..def }
}

/// A definition with steps.
fn inner_def(def: Def<&str>) -> Def<&str> {
    let body = after_step(guarded(def.body));
    let has_filters = def.args.iter().any(|name| !name.starts_with('$'));
    let body = if has_filters { bind(Term::Call("!depth", Vec::new()), DEPTH, body) } else { body };
    Def { body, ..def }
}

/// `value as $name | term`
fn bind<'s>(value: Code<'s>, name: &'s str, term: Code<'s>) -> Code<'s> {
    let name = BinaryOp::Pipe(Some(Pattern::Var(name)));
    Term::BinOp(Box::new(value), name, Box::new(term))
}

/// A term with steps.
pub fn guarded<'s>(term: Code<'s>) -> Code<'s> {
    match term {
        Term::Id | Term::Num(_) | Term::Break(_) | Term::Var(_) => term,
        Term::Recurse => before_step(term),
        Term::Str(format, parts) => Term::Str(format, parts.into_iter().map(part).collect()),
        Term::Arr(items) => Term::Arr(items.map(|items| boxed(*items))),
        Term::Obj(fields) => {
            // `{name}` stays as it is, which means `{name: .name}`.
            let field = |(key, value): (Code<'s>, Option<Code<'s>>)| match value {
                Some(value) => (guarded(key), Some(guarded(value))),
                None => (key, None),
            };
            Term::Obj(fields.into_iter().map(field).collect())
        }
        Term::Neg(term) => Term::Neg(boxed(*term)),
        Term::BinOp(left, op, right) => operation(guarded(*left), op, guarded(*right)),
        Term::Label(name, term) => Term::Label(name, boxed(*term)),
        Term::Fold(name, values, pattern, parts) => {
            let parts = parts.into_iter().map(|part| after_step(guarded(part)));
            Term::Fold(name, boxed(*values), in_pattern(pattern), parts.collect())
        }
        Term::TryCatch(term, catch) => {
            Term::TryCatch(boxed(*term), catch.map(|catch| boxed(*catch)))
        }
        Term::IfThenElse(branches, otherwise) => {
            let branch = |(when, then)| (guarded(when), guarded(then));
            let branches = branches.into_iter().map(branch).collect();
            Term::IfThenElse(branches, otherwise.map(|term| boxed(*term)))
        }
        Term::Def(defs, term) => Term::Def(defs.into_iter().map(inner_def).collect(), boxed(*term)),
        Term::Call(name, arguments) => call(name, arguments.into_iter().map(guarded).collect()),
        Term::Path(term, path) => in_path(*term, path),
    }
}

fn boxed(term: Code) -> Box<Code> {
    Box::new(guarded(term))
}

fn pipe<'s>(first: Code<'s>, then: Code<'s>) -> Code<'s> {
    Term::BinOp(Box::new(first), BinaryOp::Pipe(None), Box::new(then))
}

fn step<'s>() -> Code<'s> {
    Term::Call("!step", Vec::new())
}

/// A step with each input. A tail call stays one.
fn after_step(term: Code) -> Code {
    pipe(step(), term)
}

/// A step with each output.
fn before_step(term: Code) -> Code {
    pipe(term, step())
}

fn part<'s>(part: StrPart<&'s str, Code<'s>>) -> StrPart<&'s str, Code<'s>> {
    match part {
        StrPart::Term(term) => StrPart::Term(guarded(term)),
        other => other,
    }
}

fn operation<'s>(left: Code<'s>, op: BinaryOp<&'s str>, right: Code<'s>) -> Code<'s> {
    match op {
        BinaryOp::Comma => Term::BinOp(Box::new(after_step(left)), op, Box::new(after_step(right))),
        BinaryOp::Pipe(pattern) => {
            Term::BinOp(Box::new(left), BinaryOp::Pipe(pattern.map(in_pattern)), Box::new(right))
        }
        BinaryOp::Math(Math::Mul) => times(left, right),
        // `right as $factor | left |= . * $factor`
        BinaryOp::UpdateMath(Math::Mul) => {
            let product = times(Term::Id, Term::Var(FACTOR));
            let update = Term::BinOp(Box::new(left), BinaryOp::Update, Box::new(product));
            bind(right, FACTOR, update)
        }
        _ => Term::BinOp(Box::new(left), op, Box::new(right)),
    }
}

fn times<'s>(left: Code<'s>, right: Code<'s>) -> Code<'s> {
    Term::Call("!times", vec![left, right])
}

fn in_pattern(pattern: Pattern<&str>) -> Pattern<&str> {
    match pattern {
        Pattern::Var(_) => pattern,
        Pattern::Arr(items) => Pattern::Arr(items.into_iter().map(in_pattern).collect()),
        Pattern::Obj(fields) => {
            let field = |(key, value)| (guarded(key), in_pattern(value));
            Pattern::Obj(fields.into_iter().map(field).collect())
        }
    }
}

fn call<'s>(name: &'s str, arguments: Vec<Code<'s>>) -> Code<'s> {
    match (name, arguments.len()) {
        ("range", 3) | ("css" | "html", 1) => before_step(Term::Call(name, arguments)),
        ("fromjson", 0) => {
            let shallow = Term::Call("!shallow", Vec::new());
            before_step(pipe(shallow, Term::Call(name, arguments)))
        }
        (_, 0) => Term::Call(name, arguments),
        _ => {
            let deeper = Term::Call("!deeper", vec![Term::Var(DEPTH)]);
            pipe(deeper, Term::Call(name, arguments))
        }
    }
}

fn in_path<'s>(term: Code<'s>, path: Path<Code<'s>>) -> Code<'s> {
    let gives_many = |(part, _): &(Part<_>, _)| matches!(part, Part::Range(None, None));
    let many = path.0.iter().any(gives_many);
    let part = |part| match part {
        Part::Index(index) => Part::Index(guarded(index)),
        Part::Range(from, to) => Part::Range(from.map(guarded), to.map(guarded)),
    };
    let parts = path.0.into_iter().map(|(one, opt)| (part(one), opt));
    let path = Term::Path(Box::new(guarded(term)), Path(parts.collect()));
    if many { before_step(path) } else { path }
}
