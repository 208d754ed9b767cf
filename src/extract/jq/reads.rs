//! Whether a program reads its input, as far as its text tells. Pure.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path::{Part, Path};

/// Whether the values of a term may depend on its input. A call may read it, and so may
/// definitions.
pub fn reads(term: &Term<&str>) -> bool {
    match term {
        Term::Id | Term::Recurse | Term::Call(..) | Term::Def(..) => true,
        Term::Num(_) | Term::Var(_) | Term::Break(_) => false,
        Term::Str(_, parts) => parts.iter().any(|part| match part {
            StrPart::Term(term) => reads(term),
            _ => false,
        }),
        Term::Arr(items) => items.as_deref().is_some_and(reads),
        // `{name}` is `{name: .name}`, unless the name is a variable.
        Term::Obj(fields) => fields.iter().any(|(key, value)| match value {
            Some(value) => reads(key) || reads(value),
            None => !matches!(key, Term::Var(_)),
        }),
        Term::Neg(term) | Term::Label(_, term) => reads(term),
        // What follows a pipe has the values before it as its input.
        Term::BinOp(left, BinaryOp::Pipe(None), _) => reads(left),
        Term::BinOp(left, BinaryOp::Pipe(Some(pattern)), right) => {
            reads(left) || !matches!(pattern, Pattern::Var(_)) || reads(right)
        }
        Term::BinOp(left, _, right) => reads(left) || reads(right),
        Term::Fold(_, values, pattern, parts) => {
            reads(values) || !matches!(pattern, Pattern::Var(_)) || parts.first().is_none_or(reads)
        }
        Term::TryCatch(term, _) => reads(term),
        Term::IfThenElse(branches, otherwise) => {
            branches.iter().any(|(when, then)| reads(when) || reads(then))
                || otherwise.as_deref().is_none_or(reads)
        }
        Term::Path(term, path) => reads(term) || in_path(path),
    }
}

fn in_path(path: &Path<Term<&str>>) -> bool {
    path.0.iter().any(|(part, _)| match part {
        Part::Index(index) => reads(index),
        Part::Range(from, to) => from.iter().chain(to).any(reads),
    })
}

#[cfg(test)]
mod tests {
    use crate::extract::jq::Program;

    #[test]
    fn a_program_of_variables_alone_reads_no_body() {
        for (code, reads) in [
            ("$headers.etag", false),
            ("$headers[\"x-total\"] | tonumber", false),
            ("$headers | .link // \"\" | split(\",\")[0]", false),
            ("if $status == 200 then $row.id else $url end", false),
            ("[$status, {a: $row.id, $url}, \"\\($status)\"]", false),
            ("$row as $r | $r.a", false),
            ("reduce $row[] as $x (0; . + $x)", false),
            (".", true),
            (".a", true),
            ("$headers.etag // .etag", true),
            ("$row as $r | .a", true),
            ("$headers[.name]", true),
            ("if $status == 200 then 1 end", true),
            ("{id}", true),
            ("length", true),
            ("now", true),
        ] {
            assert_eq!(Program::of_answer(code).unwrap().reads_input(), reads, "{code}");
        }
    }
}
