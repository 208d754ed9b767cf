//! A CSS selector: which elements of a page it matches. Pure.

use super::page::{ElementPlace, Page};
use super::tree::NodeId;

/// A selector: an element is matched if one of these chains matches it.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector(Vec<Vec<Link>>);

/// One part of a chain such as `ul > li.item`: how its element stands to that of the part before,
/// and what it is.
#[derive(Debug, Clone, PartialEq)]
struct Link {
    combinator: Combinator,
    tests: Vec<Test>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Combinator {
    /// ` `: within it.
    Within,
    /// `>`: a child of it.
    Child,
    /// `+`: the element after it.
    Next,
    /// `~`: an element after it, with the same parent.
    After,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Name(String),
    Attribute(String, AttributeTest),
    /// The place of an element among others, which is `step` times some number plus `first`.
    Place {
        kind: PlaceKind,
        step: i32,
        first: i32,
    },
    Not(Vec<Test>),
}

#[derive(Debug, Clone, PartialEq)]
enum AttributeTest {
    Exists,
    Is(String),
    /// `~=`: one of its words.
    HasWord(String),
    /// `|=`: the text, or the text before a `-`.
    HasLanguage(String),
    Begins(String),
    Ends(String),
    Contains(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct PlaceKind {
    /// Whether elements are counted from the last one.
    from_end: bool,
    /// Whether only elements of the same name are counted.
    of_type: bool,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// Where it is wrong.
    pub fn parse(text: &str) -> Result<Selector, String> {
        let mut reader = Reader { rest: text.trim() };
        reader.selector().map_err(|why| {
            let at = if reader.rest.is_empty() {
                "its end".to_owned()
            } else {
                format!("{:?}", reader.rest)
            };
            format!("{text:?} is no CSS selector: {why} at {at}")
        })
    }

    /// The elements that it matches, in the order of the page.
    pub fn matches(&self, page: &Page) -> Vec<NodeId> {
        let mut is_matched = vec![false; page.len()];
        for chain in &self.0 {
            for id in matches_of_chain(chain, page) {
                is_matched[id] = true;
            }
        }
        page.elements().filter(|id| is_matched[*id]).collect()
    }
}

/// The elements that one chain matches: the elements of each part are found from those of the
/// part before, so that no chain takes longer than its length times the size of the page.
fn matches_of_chain(chain: &[Link], page: &Page) -> Vec<NodeId> {
    let mut before: Option<Vec<bool>> = None;
    for link in chain {
        let mut found = vec![false; page.len()];
        // For each element, whether it is within one of those before, or after one.
        let mut reached = vec![false; page.len()];
        for id in page.elements() {
            let is_reached = match &before {
                None => true,
                Some(before) => {
                    let (parent, previous) = (page.parent(id), page.previous(id));
                    let is_before = |id: Option<NodeId>| id.is_some_and(|id| before[id]);
                    let was_reached = |id: Option<NodeId>| id.is_some_and(|id| reached[id]);
                    match link.combinator {
                        Combinator::Child => is_before(parent),
                        Combinator::Next => is_before(previous),
                        Combinator::Within => is_before(parent) || was_reached(parent),
                        Combinator::After => is_before(previous) || was_reached(previous),
                    }
                }
            };
            reached[id] = is_reached;
            found[id] = is_reached && link.tests.iter().all(|test| test.is_met(page, id));
        }
        before = Some(found);
    }
    let found = before.unwrap_or_default();
    page.elements().filter(|id| found[*id]).collect()
}

impl Test {
    fn is_met(&self, page: &Page, id: NodeId) -> bool {
        match self {
            Test::Name(name) => page.name(id) == name,
            Test::Attribute(name, test) => {
                page.attribute(id, name).is_some_and(|value| test.is_met(value))
            }
            Test::Place { kind, step, first } => {
                let beyond = place(page.place(id), *kind) - first;
                if *step == 0 { beyond == 0 } else { beyond % step == 0 && beyond / step >= 0 }
            }
            Test::Not(tests) => !tests.iter().all(|test| test.is_met(page, id)),
        }
    }
}

/// The place of an element, from 1.
fn place(place: &ElementPlace, kind: PlaceKind) -> i32 {
    match (kind.of_type, kind.from_end) {
        (false, false) => place.child,
        (false, true) => place.last_child,
        (true, false) => place.of_type,
        (true, true) => place.last_of_type,
    }
}

impl AttributeTest {
    fn is_met(&self, value: &str) -> bool {
        match self {
            AttributeTest::Exists => true,
            AttributeTest::Is(text) => value == text,
            AttributeTest::HasWord(word) => value.split_ascii_whitespace().any(|it| it == word),
            AttributeTest::HasLanguage(text) => {
                let rest = value.strip_prefix(text.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            }
            AttributeTest::Begins(text) => !text.is_empty() && value.starts_with(text),
            AttributeTest::Ends(text) => !text.is_empty() && value.ends_with(text),
            AttributeTest::Contains(text) => !text.is_empty() && value.contains(text),
        }
    }
}

/// Reads the text of a selector.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn selector(&mut self) -> Result<Selector, String> {
        let mut chains = vec![self.chain()?];
        while self.takes(",") {
            chains.push(self.chain()?);
        }
        if self.rest.is_empty() { Ok(Selector(chains)) } else { Err("what can't be read".into()) }
    }

    fn chain(&mut self) -> Result<Vec<Link>, String> {
        self.skip_space();
        let mut links = vec![Link { combinator: Combinator::Within, tests: self.compound()? }];
        loop {
            let is_apart = self.skip_space();
            let combinator = if self.takes(">") {
                Combinator::Child
            } else if self.takes("+") {
                Combinator::Next
            } else if self.takes("~") {
                Combinator::After
            } else if is_apart && !self.rest.is_empty() && !self.rest.starts_with(',') {
                Combinator::Within
            } else {
                return Ok(links);
            };
            self.skip_space();
            links.push(Link { combinator, tests: self.compound()? });
        }
    }

    /// An element's name and what else it must have, such as `li.item[id]:first-child`.
    fn compound(&mut self) -> Result<Vec<Test>, String> {
        let start = self.rest;
        let mut tests = Vec::new();
        if !self.takes("*")
            && let Some(name) = self.name()
        {
            tests.push(Test::Name(name.to_ascii_lowercase()));
        }
        loop {
            if self.takes("#") {
                let id = self.name().ok_or("an id is expected")?;
                tests.push(Test::Attribute("id".into(), AttributeTest::Is(id)));
            } else if self.takes(".") {
                let class = self.name().ok_or("a class is expected")?;
                tests.push(Test::Attribute("class".into(), AttributeTest::HasWord(class)));
            } else if self.takes("[") {
                tests.push(self.attribute()?);
            } else if self.takes(":") {
                self.pseudo_class(&mut tests)?;
            } else if self.rest.len() == start.len() {
                return Err("an element, a class, an id or an attribute is expected".into());
            } else {
                return Ok(tests);
            }
        }
    }

    fn attribute(&mut self) -> Result<Test, String> {
        self.skip_space();
        let name = self.name().ok_or("the name of an attribute is expected")?.to_ascii_lowercase();
        self.skip_space();
        if self.takes("]") {
            return Ok(Test::Attribute(name, AttributeTest::Exists));
        }
        type Build = fn(String) -> AttributeTest;
        const OPERATORS: [(&str, Build); 6] = [
            ("=", AttributeTest::Is),
            ("~=", AttributeTest::HasWord),
            ("|=", AttributeTest::HasLanguage),
            ("^=", AttributeTest::Begins),
            ("$=", AttributeTest::Ends),
            ("*=", AttributeTest::Contains),
        ];
        let operator = OPERATORS.iter().find(|(sign, _)| self.takes(sign));
        let (_, test) = operator.ok_or("= or ] is expected")?;
        self.skip_space();
        let value = self.value()?;
        self.skip_space();
        if self.takes("]") {
            Ok(Test::Attribute(name, test(value)))
        } else {
            Err("] is expected".into())
        }
    }

    /// A text in quotes, or a word.
    fn value(&mut self) -> Result<String, String> {
        let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            let end = self.rest.find(|c: char| c == ']' || c.is_whitespace());
            let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            self.rest = rest;
            return if word.is_empty() {
                Err("a value is expected".into())
            } else {
                Ok(word.into())
            };
        };
        let mut value = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => value.extend(chars.next().map(|(_, c)| c)),
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(value);
                }
                c => value.push(c),
            }
        }
        Err("a quote is not closed".into())
    }

    fn pseudo_class(&mut self, tests: &mut Vec<Test>) -> Result<(), String> {
        let start = self.rest;
        let name = self.name().unwrap_or_default();
        if name == "not" && self.takes("(") {
            self.skip_space();
            tests.push(Test::Not(self.compound()?));
            self.skip_space();
            return self.takes(")").then_some(()).ok_or_else(|| ") is expected".into());
        }
        let kind =
            PlaceKind { from_end: name.contains("last"), of_type: name.ends_with("-of-type") };
        match name.as_str() {
            "first-child" | "last-child" | "first-of-type" | "last-of-type" => {
                tests.push(Test::Place { kind, step: 0, first: 1 });
            }
            "only-child" | "only-of-type" => {
                let ends = [false, true].map(|from_end| PlaceKind { from_end, ..kind });
                tests.extend(ends.map(|kind| Test::Place { kind, step: 0, first: 1 }));
            }
            "nth-child" | "nth-last-child" | "nth-of-type" | "nth-last-of-type" => {
                let inside = self.rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
                let (formula, rest) = inside.ok_or("a number in ( ) is expected")?;
                let (step, first) =
                    places(formula).ok_or("a number such as 2, odd or 3n+1 is expected")?;
                self.rest = rest;
                tests.push(Test::Place { kind, step, first });
            }
            _ => {
                self.rest = start;
                return Err("of pseudo-classes, first-child, last-child, only-child, nth-child(), nth-last-child(), the same with -of-type, and not() are known, not that".into());
            }
        }
        Ok(())
    }

    /// A name, in which a backslash stands before what is none.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                name.extend(chars.next().map(|(_, c)| c));
            } else if c.is_alphanumeric() || c == '-' || c == '_' || !c.is_ascii() {
                name.push(c);
            } else {
                end = at;
                break;
            }
        }
        self.rest = &self.rest[end..];
        (!name.is_empty()).then_some(name)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Whether there was any.
    fn skip_space(&mut self) -> bool {
        let rest = self.rest.trim_start();
        let is_some = rest.len() < self.rest.len();
        self.rest = rest;
        is_some
    }
}

/// The step and the first of `odd`, `even`, `3`, `2n` or `-n+3`.
fn places(formula: &str) -> Option<(i32, i32)> {
    let formula: String = formula.to_ascii_lowercase().split_whitespace().collect();
    match formula.as_str() {
        "odd" => return Some((2, 1)),
        "even" => return Some((2, 0)),
        _ => {}
    }
    let number = |text: &str| text.parse::<i16>().ok().map(i32::from);
    let Some((step, first)) = formula.split_once('n') else {
        return Some((0, number(&formula)?));
    };
    let step = match step {
        "" | "+" => 1,
        "-" => -1,
        step => number(step)?,
    };
    Some((step, if first.is_empty() { 0 } else { number(first)? }))
}
