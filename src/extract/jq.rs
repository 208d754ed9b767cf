//! A jq program, compiled once and run on each answer. Pure, except for the clock that
//! bounds a run.

use std::fmt;
use std::io::{self, Write};

use jaq_core::{Ctx, Filter, Vars};
use jaq_json::Val;
use jaq_json::write::{Pp, write};
use serde_json::Value;

mod budget;
mod compile;
mod guard;
mod reads;
#[cfg_attr(not(feature = "html"), path = "jq/select/disabled.rs")]
mod select;

use budget::{Bounded, JqBudget, Running};
use compile::compile;

use super::context::{AnswerContext, VARIABLES};
use super::css;
use super::json::value as parsed;
use crate::record::{Failure, FailureKind};

/// The input of a jq program.
pub type JqInput = Val;

/// A compiled program.
pub struct Program {
    filter: Filter<Bounded>,
    /// The variables of an answer that its text names.
    variables: Vec<&'static str>,
    /// Whether its values may depend on its input.
    reads_input: bool,
    /// Whether it selects from HTML.
    selects: bool,
}

/// Why a program has no value.
#[derive(Debug, Clone, PartialEq)]
pub enum JqError {
    /// The program failed, or gave no value.
    Failed(String),
    /// The program was stopped, since it exceeded its budget.
    Stopped(&'static str),
}

impl Program {
    /// Compiles a program.
    ///
    /// # Errors
    /// Where it is wrong.
    pub fn new(code: &str) -> Result<Program, String> {
        Program::with(code, &[], Vec::new())
    }

    /// Compiles a program that reads an answer, and may use `$status`, `$headers`, `$url` and
    /// `$row`.
    ///
    /// # Errors
    /// Where it is wrong.
    pub fn of_answer(code: &str) -> Result<Program, String> {
        let mut variables = VARIABLES.to_vec();
        variables.retain(|name| code.contains(name));
        if variables.is_empty() {
            return Program::new(code);
        }
        Program::with(code, &VARIABLES, variables)
    }

    fn with(code: &str, known: &[&str], variables: Vec<&'static str>) -> Result<Program, String> {
        let filter = compile(code, known)?;
        let (reads_input, selects) = (compile::reads_input(code), selects(code));
        Ok(Program { filter, variables, reads_input, selects })
    }

    /// Compiles a program that reads the answer that a record keeps, and may use `$status` and
    /// `$row`.
    ///
    /// # Errors
    /// Where it is wrong, or that it reads what no record keeps.
    pub fn of_record(code: &str) -> Result<Program, String> {
        let program = Program::of_answer(code)?;
        let reads_lost = program.uses("$headers") || program.uses("$url");
        if reads_lost && compile(code, &["$status", "$row"]).is_err() {
            return Err(
                "a record keeps the body and the status of its answer, neither its headers nor its URL: only a run can read $headers and $url".into(),
            );
        }
        Ok(program)
    }

    /// Whether the text of the program names this variable of an answer.
    pub fn uses(&self, variable: &str) -> bool {
        self.variables.contains(&variable)
    }

    /// Whether the values of the program may depend on its input.
    pub fn reads_input(&self) -> bool {
        self.reads_input
    }

    /// Whether it selects from a page in HTML.
    pub fn selects(&self) -> bool {
        self.selects
    }

    /// All values of the program in this context, in order.
    pub fn run_all(
        &self,
        input: &JqInput,
        context: &AnswerContext<'_>,
    ) -> Result<Vec<JqInput>, JqError> {
        self.values(input, &JqBudget::new(), context).collect()
    }

    /// The values of the program, which are made one after the other.
    fn values<'a>(
        &'a self,
        input: &JqInput,
        budget: &'a JqBudget,
        context: &AnswerContext<'_>,
    ) -> impl Iterator<Item = Result<JqInput, JqError>> + use<'a> {
        let running = Running { lut: &self.filter.lut, budget };
        let variables =
            if self.variables.is_empty() { Vars::new([]) } else { Vars::new(context.values()) };
        let context = Ctx::<Bounded>::new(running, variables);
        let values = self.filter.id.run((context, input.clone()));
        values.map(|value| value.map_err(|why| JqError::of(why, budget)))
    }

    /// The program's one value.
    pub fn run(&self, input: &JqInput) -> Result<Value, JqError> {
        self.run_in(input, &AnswerContext::default())
    }

    /// The program's one value in this context.
    pub fn run_in(&self, input: &JqInput, context: &AnswerContext<'_>) -> Result<Value, JqError> {
        let value = self.run_if_any(input, context)?;
        value.ok_or_else(|| JqError::Failed("the jq program gave no value".into()))
    }

    /// The program's value, if it gives one.
    ///
    /// # Errors
    /// That it fails, or gives several.
    pub fn run_if_any(
        &self,
        input: &JqInput,
        context: &AnswerContext<'_>,
    ) -> Result<Option<Value>, JqError> {
        let budget = JqBudget::new();
        let mut values = self.values(input, &budget, context);
        let Some(value) = values.next().transpose()? else {
            return Ok(None);
        };
        if values.next().transpose()?.is_some() {
            return Err(JqError::Failed(
                "the jq program gave more than one value: put it in [ ] to keep them as a list"
                    .into(),
            ));
        }
        let text = json(&value)?;
        parsed(&text).map(Some).map_err(|_| {
            let start: String = text.chars().take(MAX_ERROR).collect();
            JqError::Failed(format!("{start} can't be written as JSON"))
        })
    }
}

/// Whether a program selects from HTML.
fn selects(code: &str) -> bool {
    css::selector(code).is_some() || code.contains("css(") || code.contains("html(")
}

impl JqError {
    fn of(why: jaq_core::Exn<'_, Val>, budget: &JqBudget) -> JqError {
        match (budget.exceeded(), why.get_err()) {
            (Some(what), _) => JqError::Stopped(what),
            (None, Ok(error)) => {
                let mut text = BoundedText::new(MAX_ERROR);
                // An error may quote a value of any size.
                drop(write!(text, "{error}"));
                JqError::Failed(String::from_utf8_lossy(&text.bytes).into_owned())
            }
            (None, Err(_)) => JqError::Stopped("it ended by itself"),
        }
    }

    /// Why the program of this key failed.
    ///
    /// # Errors
    /// The failure of the row, if the program was stopped.
    pub fn or_failure(self, key: &str) -> Result<String, Failure> {
        match self {
            JqError::Failed(why) => Ok(why),
            stopped => Err(Failure::new(FailureKind::JqTooLong, format!("{key}: {stopped}"))),
        }
    }
}

impl fmt::Display for JqError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JqError::Failed(why) => f.write_str(why),
            JqError::Stopped(what) => write!(f, "the program was ended, since {what}"),
        }
    }
}

/// A value as JSON. A value may hold one list many times over, so its text can exceed all
/// memory and is bounded.
pub fn json(value: &JqInput) -> Result<String, JqError> {
    let mut text = BoundedText::new(budget::MAX_TEXT);
    write(&mut text, &Pp::default(), 0, value)
        .map_err(|_| JqError::Stopped("its value is too long to be written"))?;
    String::from_utf8(text.bytes)
        .map_err(|_| JqError::Failed("the value has bytes that are no text in UTF-8".into()))
}

/// Maximum length of an error in bytes.
const MAX_ERROR: usize = 4_096;

/// A text with a maximum length.
struct BoundedText {
    bytes: Vec<u8>,
    max: usize,
}

impl BoundedText {
    fn new(max: usize) -> BoundedText {
        BoundedText { bytes: Vec::new(), max }
    }
}

impl Write for BoundedText {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        let free = self.max - self.bytes.len();
        let taken = more.get(..free).unwrap_or(more);
        self.bytes.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(code: &str, input: Value) -> Result<Value, JqError> {
        let input = serde_json::from_value(input).unwrap();
        Program::new(code).unwrap().run(&input)
    }

    fn is_ended(code: &str) -> bool {
        let body = json!({"n": 1_000_000_000_000_u64, "text": "x".repeat(1_000), "deep": "[".repeat(1_000_000)});
        matches!(run(code, body), Err(JqError::Stopped(_)))
    }

    #[test]
    fn what_never_ends_is_ended() {
        for code in [
            "until(false; .)",
            "[repeat(.)]",
            "last(repeat(1))",
            "[limit(.n; repeat(1))] | length",
            "first(repeat(empty))",
            "[recurse(.)] | length",
            "[range(.n)] | length",
            "last(range(0; 1; 0))",
            "reduce range(.n) as $i (0; . + $i)",
            "def f: f; f",
            "def f: . as $x | f; f",
            "try until(false; .) catch 1",
            "until(false; .)?",
            "(until(false; .)) // 1",
            "first(until(false; .), 1)",
            "label $out | until(false; .)",
            "path(until(false; .))",
            "[limit(40; repeat([1, 2]))] | [combinations] | length",
            &format!("[{} 1] | length", "(1, 2) as $x | ".repeat(40)),
            &format!("[range(1000)] | [{} 1]", ".[] as $x | ".repeat(5)),
            &format!("[range(1000)] | [{} 1]", ".. as $x | ".repeat(5)),
        ] {
            assert!(is_ended(code), "{code}");
        }
    }

    #[test]
    fn what_calls_itself_too_deep_is_ended() {
        for code in [
            "def f(g): f(g); f(.)",
            "def f(g): g | f(g); f(.)",
            "def f(g): f(g | g); f(.)",
            "def f($n; g): f($n; g); f(1; .)",
            "def f(g): def h: f(g); h; f(.)",
            "def f: 1 + f; f",
            "def f: [f]; f",
            "def f: f | .; f",
            "def f: {a: f}; f",
            "def f(g): f(g | g) | .; f(.)",
            "def f: try f catch f; f",
            "until(false; .) |= 1",
            "[recurse(if . == null then null else [.] end)]",
            "reduce range(1000000) as $i (null; [.])",
            "reduce range(1000000) as $i (null; {a: [1, .]})",
            "def f: [.] | f; f",
        ] {
            assert!(is_ended(code), "{code}");
        }
    }

    #[test]
    fn what_would_fill_all_memory_is_ended() {
        for code in [
            ".text * .n",
            ".n * .text",
            ".text * 1000000000000000000000000",
            ".text *= .n",
            "reduce range(100) as $i (\"x\"; . + .)",
            "reduce range(100) as $i (\"x\"; \"\\(.)\\(.)\")",
            "reduce range(100) as $i (\"xx\"; @base64)",
            "reduce range(100) as $i ([1]; . + .)",
            "reduce range(100) as $i (3; . * .)",
            "reduce range(100) as $i (1; [., .])",
        ] {
            assert!(is_ended(code), "{code}");
        }
    }

    #[test]
    fn what_a_server_sends_cant_exhaust_the_stack() {
        let error = run(".deep | fromjson", json!({"deep": "[".repeat(1_000_000)})).unwrap_err();
        assert!(error.to_string().contains("nested too deep"), "{error}");
        let error = run("tonumber", json!("9".repeat(1_000_000))).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }

    #[test]
    fn programs_with_steps_in_them_give_what_jq_gives() {
        let body = json!({"a": [1, 2, {"b": [3, null, "x,y"]}], "s": "[1,[2]] 3", "n": 4});
        for (code, value) in [
            ("[.a[] | numbers]", json!([1, 2])),
            ("[.. | scalars] | length", json!(7)),
            ("[paths] | length", json!(10)),
            ("[path(..)] | length", json!(11)),
            (".a[2].b[] |= tostring | .a[2].b", json!(["3", "null", "x,y"])),
            ("(.a[0, 1]) |= . + 10 | .a[:2]", json!([11, 12])),
            ("del(.a[2]) | .a", json!([1, 2])),
            ("[.s | fromjson]", json!([[1, [2]], 3])),
            ("[limit(3; repeat(.n))]", json!([4, 4, 4])),
            ("last(range(100000))", json!(99_999)),
            ("[limit(100000; repeat(1))] | length", json!(100_000)),
            ("[.n | until(. > 100000; . + 1)]", json!([100_001])),
            ("[recurse(.a?; . != null) | length] | length", json!(2)),
            ("def f: if . > 100000 then . else . + 1 | f end; .n | f", json!(100_001)),
            ("reduce .a[:2][] as $x (0; . * 10 + $x)", json!(12)),
            ("[foreach (1, 2, 3) as $x (0; . + $x; [$x, .])]", json!([[1, 1], [2, 3], [3, 6]])),
            (".n *= 3 | .n", json!(12)),
            ("[(1, 2) * (10, 20)]", json!([10, 20, 20, 40])),
            ("\"ab\" * 2", json!("abab")),
            ("[\"\\(.n, 5) \\(.a[0])\"] | length", json!(2)),
            ("to_entries | map(.key) | add", json!("asn")),
            ("[.a[2] | {b, (\"c\", \"d\"): 1} | keys]", json!([["b", "c"], ["b", "d"]])),
            (
                "label $out | foreach .a[] as $x (0; . + 1; if . == 2 then ., break $out else empty end)",
                json!(2),
            ),
            ("def f(g): g | g; .n | f(. + 1)", json!(6)),
            ("def f(g): if . > 400 then . else g | f(g) end; .n | f(. + 1)", json!(401)),
            (
                "def f(g): map_values(g); [range(9000)] | [.[] | [.] | f(. + 1)] | length",
                json!(9_000),
            ),
            ("[range(9000) | [limit(1; select(true))]] | length", json!(9_000)),
            ("path(def f(g): g; f(.a) | f(.[0]))", json!(["a", 0])),
            ("(def f(g): g; f(.a) | f(.[0])) |= 7 | .a[0]", json!(7)),
            ("[splits(\",\")?] | length", json!(0)),
            ("@base64 \"\\(.n)\"", json!("NA==")),
            ("walk(if type == \"number\" then . + 1 else . end) | .n", json!(5)),
            ("[.n, .none, .a | list | length]", json!([1, 0, 3])),
            (
                "[.s, .none, {\"#text\": 1}, {\"@a\": 1} | text]",
                json!(["[1,[2]] 3", null, 1, null]),
            ),
            ("def text: 7; text", json!(7)),
        ] {
            match run(code, body.clone()) {
                Ok(found) => assert_eq!(found, value, "{code}"),
                Err(error) if code.contains("?//") || code.contains("label") => {
                    assert!(matches!(error, JqError::Failed(_)), "{code}: {error}");
                }
                Err(error) => panic!("{code}: {error}"),
            }
        }
    }

    #[test]
    fn what_reaches_out_of_a_program_is_left_out() {
        for code in [
            "halt",
            "1, halt",
            "halt(1)",
            "halt_error",
            "\"x\" | halt_error(3)",
            "env",
            "env | tostring",
            "env.PATH",
            "$ENV",
            "$ENV.PATH",
            "debug",
            "debug(1)",
            "stderr",
            "debug_empty",
            "stderr_empty",
            "input",
            "[inputs]",
            "input_line_number",
            "input_filename",
            "$__loc__",
            "get_search_list",
        ] {
            let error = Program::new(code).err().unwrap_or_default();
            assert!(error.contains("is left out of jq here"), "{code}: {error}");
        }
        for code in [
            "import \"a\" as a; 1",
            "include \"a\"; 1",
            "import \"a\" as $a; $a",
            "!step",
            "throng_programm",
        ] {
            assert!(Program::new(code).is_err(), "{code}");
        }
        // A job's own definition of such a name is its own affair.
        assert_eq!(run("def env: 7; env", json!(1)), Ok(json!(7)));
    }

    #[test]
    fn bytes_that_are_no_text_are_no_value() {
        let error = run("@base64d", json!("//79")).unwrap_err();
        assert!(error.to_string().contains("no text in UTF-8"), "{error}");
    }
}
